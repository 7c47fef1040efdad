//! Which callers are admitted, and which errors the others get.

use jiff::Timestamp;

use super::*;
use crate::domain::clock::ManualClock;
use crate::domain::webhook::Source;
use crate::routes::glob::Names;

const CLIENT: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 7));

fn caller(name: &str, roles: &[Role], sources: Limit) -> Caller {
    let token = Digest::of(format!("token of {name}").as_bytes());
    Caller::new(name, token, roles.iter().copied(), sources, Limit::Everything)
}

fn access() -> Access {
    let shop = Limit::To(Names::new(&["shop*".to_owned()]));
    let callers = [
        caller("sender", &[Role::Submit], Limit::Everything),
        caller("reader", &[Role::Read], shop),
        caller("operator", &[Role::Operate], Limit::Everything),
    ];
    let clock = ManualClock::new(Timestamp::UNIX_EPOCH);
    Access::new(Arc::new(Tokens::new(callers, false)), Arc::new(clock))
}

/// The name of the caller that is admitted with this token, or the reason of the refusal.
fn admitted(access: &Access, need: Need, token: &str) -> std::result::Result<String, Reason> {
    let header = format!("Bearer {token}");
    let admitted = access.admit(need, [header.as_bytes()], Some(CLIENT));
    admitted.map(|caller| caller.name().to_owned()).map_err(|error| error.reason())
}

#[test]
fn a_token_is_admitted_for_its_roles_only() {
    let access = access();
    let names = ["sender", "reader", "operator"];
    for (role, allowed) in [
        (Role::Submit, &["sender"][..]),
        (Role::Read, &["reader", "operator"]),
        (Role::Work, &[]),
        (Role::Operate, &["operator"]),
    ] {
        for name in names {
            let expected = if allowed.contains(&name) { Ok(name.to_owned()) } else { Err(Reason::Forbidden) };
            assert_eq!(admitted(&access, Need::Role(role), &format!("token of {name}")), expected, "{role}");
        }
        assert_eq!(admitted(&access, Need::Role(role), "token"), Err(Reason::Unauthenticated));
        let without = access.admit(Need::Role(role), [], Some(CLIENT)).expect_err("refused");
        assert_eq!(without.reason(), Reason::Unauthenticated);
    }
    assert_eq!(admitted(&access, Need::Nothing, "token"), Ok("unknown".to_owned()));
}

#[test]
fn metrics_need_a_reader_without_limits_unless_they_are_open() {
    let access = access();
    assert_eq!(admitted(&access, Need::Metrics, "token of operator"), Ok("operator".to_owned()));
    for name in ["sender", "reader"] {
        assert_eq!(
            admitted(&access, Need::Metrics, &format!("token of {name}")),
            Err(Reason::Forbidden),
            "{name}"
        );
    }
    access.set(Arc::new(Tokens::new([caller("sender", &[Role::Submit], Limit::Everything)], true)));
    assert!(access.admit(Need::Metrics, [], None).is_ok());
}

#[test]
fn without_tokens_everybody_is_admitted() {
    let access = access();
    access.set(Arc::default());
    assert_eq!(admitted(&access, Need::Role(Role::Operate), "any"), Ok("anonymous".to_owned()));
    assert!(access.check(&Caller::anonymous()).is_ok());
}

#[test]
fn failed_tokens_are_slowed_and_valid_ones_are_not() {
    let access = access();
    let read = Need::Role(Role::Read);
    for _ in 0..10 {
        assert_eq!(admitted(&access, read, "wrong"), Err(Reason::Unauthenticated));
    }
    assert_eq!(admitted(&access, read, "wrong"), Err(Reason::TooManyFailedTokens));
    assert_eq!(admitted(&access, read, "token of reader"), Ok("reader".to_owned()));
    assert_eq!(access.admit(read, [], Some(CLIENT)).expect_err("refused").reason(), Reason::Unauthenticated);
}

#[test]
fn a_caller_whose_token_was_changed_or_removed_is_noticed() {
    let access = access();
    let sender = caller("sender", &[Role::Submit], Limit::Everything);
    assert!(access.check(&sender).is_ok());
    access.set(Arc::new(Tokens::new([caller("sender", &[Role::Read], Limit::Everything)], false)));
    assert!(access.check(&sender).is_err());
    assert!(access.check(&Caller::anonymous()).is_err());
}

#[test]
fn a_limit_is_a_list_of_globs() {
    let source = |name: &str| Source::new(name).expect("valid");
    let reader =
        caller("reader", &[Role::Read], Limit::To(Names::new(&["shop".to_owned(), "b?".to_owned()])));
    assert!(reader.sees_source(&source("shop")) && reader.sees_source(&source("b1")));
    assert!(!reader.sees_source(&source("shop2")) && reader.is_limited() && !reader.has_limited_routes());
    assert_eq!(reader.only_source(), None);
    let one = caller("reader", &[Role::Read], Limit::To(Names::new(&["shop".to_owned()])));
    assert_eq!(one.only_source(), Some(source("shop")));
    assert!(!Caller::unknown().sees_source(&source("shop")));
}
