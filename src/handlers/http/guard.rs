//! Keeps requests from addresses that the route does not allow. The client asks [`Guard`] to resolve each name, and
//! connects only to the addresses that it returns: no name can resolve to another address after the check.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use ipnet::IpNet;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use url::{Host, Url};

use super::lookups::Lookups;
use super::measure::{Connecting, WaitsFor};
use crate::domain::address::{LOCALHOST, Refusal, is_localhost, refusal};

/// Resolves names. Refuses a name if any of its addresses is refused.
#[derive(Clone, Debug)]
pub(super) struct Guard {
    allow: Arc<[IpNet]>,
    lookups: Lookups,
}

/// Why a target may not be connected to, or cannot be found.
#[derive(Debug, thiserror::Error)]
pub(super) enum TargetError {
    /// The system could not resolve the name.
    #[error("the name {name} cannot be resolved")]
    Unresolved {
        name: String,
        #[source]
        source: Arc<std::io::Error>,
    },
    /// The name has no addresses.
    #[error("the name {name} has no addresses")]
    NoAddress { name: String },
    /// An address is refused.
    #[error(
        "{target}, which hookbox does not connect to unless the route allows it; if that is intended, add allow = \
         [\"{range}\"] to the route"
    )]
    Refused { target: String, range: IpNet },
    /// A loopback address of `localhost` is refused.
    #[error(
        "{name} resolves to {address}, which hookbox does not connect to unless the route allows both addresses of \
         {name}; if that is intended, write allow = [{both}] in the route",
        both = LOCALHOST
    )]
    RefusedLocalhost { name: String, address: IpAddr },
}

impl Guard {
    /// A guard for a route with this `allow`.
    pub(super) fn new(allow: &[IpNet], lookups: Lookups) -> Self {
        Self { allow: allow.into(), lookups }
    }

    /// The addresses of a name. Errors: also if one of them is refused.
    async fn addresses_of(
        &self,
        name: String,
        connecting: &Connecting,
    ) -> Result<Vec<SocketAddr>, TargetError> {
        let found = self.lookups.addresses(&name, || connecting.waits_for(WaitsFor::Name)).await;
        let addresses = found.map_err(|source| TargetError::Unresolved { name: name.clone(), source })?;
        check(&name, &addresses, &self.allow)?;
        Ok(addresses)
    }
}

impl Resolve for Guard {
    fn resolve(&self, name: Name) -> Resolving {
        let (name, guard) = (name.as_str().to_owned(), self.clone());
        // Asked here, because the client may poll the future in another task than that of the request.
        let connecting = Connecting::of_current_task();
        Box::pin(async move {
            connecting.waits_for(WaitsFor::Turn);
            let addresses = guard.addresses_of(name, &connecting).await?;
            connecting.waits_for(WaitsFor::Connection);
            Ok(Box::new(addresses.into_iter()) as Addrs)
        })
    }
}

/// Whether all addresses of a name may be connected to.
fn check(name: &str, addresses: &[SocketAddr], allow: &[IpNet]) -> Result<(), TargetError> {
    if addresses.is_empty() {
        return Err(TargetError::NoAddress { name: name.to_owned() });
    }
    for address in addresses {
        let address = address.ip();
        if let Some(Refusal { kind, range }) = refusal(address, allow) {
            if is_localhost(name) && address.is_loopback() {
                return Err(TargetError::RefusedLocalhost { name: name.to_owned(), address });
            }
            let target = format!("{name} resolves to {address}, {kind}");
            return Err(TargetError::Refused { target, range });
        }
    }
    Ok(())
}

/// Whether the address in a URL may be connected to. A client does not ask the resolver for it. URLs with a name are
/// fine here.
pub(super) fn check_address(url: &Url, allow: &[IpNet]) -> Result<(), TargetError> {
    let address: IpAddr = match url.host() {
        Some(Host::Ipv4(address)) => address.into(),
        Some(Host::Ipv6(address)) => address.into(),
        Some(Host::Domain(_)) | None => return Ok(()),
    };
    match refusal(address, allow) {
        Some(Refusal { kind, range }) => {
            Err(TargetError::Refused { target: format!("{address} is {kind}"), range })
        }
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(text: &str) -> IpNet {
        text.parse().expect("a range")
    }

    fn told(name: &str, addresses: &[&str], allow: &[IpNet]) -> Option<String> {
        let addresses = addresses.iter().map(|address| address.parse::<IpAddr>().expect("an address"));
        let addresses = addresses.map(|address| SocketAddr::new(address, 443)).collect::<Vec<_>>();
        check(name, &addresses, allow).err().map(|error| error.to_string())
    }

    #[test]
    fn a_name_is_refused_if_any_of_its_addresses_is() {
        assert_eq!(told("a.example", &["1.1.1.1", "2606:4700:4700::1111"], &[]), None);
        let refused = told("a.example", &["1.1.1.1", "::ffff:10.0.0.7"], &[]).expect("is refused");
        assert!(refused.starts_with("a.example resolves to ::ffff:10.0.0.7, a private address"), "{refused}");
        assert!(refused.ends_with("add allow = [\"10.0.0.0/8\"] to the route"), "{refused}");
        assert_eq!(told("a.example", &["1.1.1.1", "::ffff:10.0.0.7"], &[range("10.0.0.0/8")]), None);
        assert_eq!(told("a.example", &[], &[]).as_deref(), Some("the name a.example has no addresses"));
    }

    #[test]
    fn localhost_needs_both_of_its_addresses_and_the_error_names_both() {
        let both = ["127.0.0.1", "::1"];
        for (allow, refused) in [("127.0.0.0/8", "::1"), ("::1/128", "127.0.0.1")] {
            let told = told("localhost", &both, &[range(allow)]).expect("is refused");
            assert!(told.starts_with(&format!("localhost resolves to {refused}, ")), "{told}");
            assert!(told.ends_with("write allow = [\"127.0.0.1/32\", \"::1/128\"] in the route"), "{told}");
        }
        assert_eq!(told("localhost", &both, &[range("127.0.0.1/32"), range("::1/128")]), None);
    }

    #[test]
    fn the_address_in_a_url_is_checked_however_it_is_written() {
        for url in [
            "http://127.0.0.1/",
            "http://127.1/",
            "http://2130706433/",
            "http://0x7f.0.0.1/",
            "http://0177.0.0.1/",
            "http://[::1]/",
            "http://[::ffff:127.0.0.1]/",
            "http://[64:ff9b::127.0.0.1]/",
        ] {
            let url = Url::parse(url).expect("a URL");
            let told = check_address(&url, &[]).expect_err(url.as_str()).to_string();
            assert!(told.contains(" is a loopback address"), "{told}");
            assert!(check_address(&url, &[range("127.0.0.0/8"), range("::1/128")]).is_ok(), "{url}");
        }
        for url in ["http://hooks.example/", "http://1.1.1.1/", "http://localhost/"] {
            let url = Url::parse(url).expect("a URL");
            assert!(check_address(&url, &[]).is_ok(), "{url}");
        }
    }
}
