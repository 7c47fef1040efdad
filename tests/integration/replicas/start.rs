//! Starting replicas: concurrent starts create the tables once, and errors are reported.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::process::Output;
use std::time::Duration;

use tokio::net::TcpSocket;
use tokio::time::Instant;

use crate::replicas::blocking;
use crate::replicas::proxy::Proxy;
use crate::support::client::{client, get};
use crate::support::postgres::{Cluster, Database, Session, server};
use crate::support::server::{Place, Server};

const TOGETHER: usize = 10;

/// Creates the working directory and settings of processes that use this database.
fn place(url: &str) -> Place {
    let url = format!("--database-url={url}");
    // These processes only start and stop, so they need no fixed ports.
    Place::new(&[&url, "--workers=2", "--http-addr=127.0.0.1:0", "--grpc-addr=127.0.0.1:0"])
}

fn ask(database: &Database, sql: &str) -> Vec<String> {
    blocking(|| Session::open(&database.url()).and_then(|session| session.ask(sql))).expect("is asked")
}

fn said(output: &Output) -> (Option<i32>, String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_replicas_that_start_together_create_the_tables_once() {
    let database = blocking(|| server().database_for(TOGETHER / 2));
    let url = format!("--database-url={}", database.url());
    let starts = (0..TOGETHER).map(|_| {
        let url = url.clone();
        tokio::task::spawn_blocking(move || {
            let place = Place::new(&[&url, "--workers=2"]);
            let server = place.start();
            (place, server)
        })
    });
    for started in starts.collect::<Vec<_>>() {
        let (_place, replica): (Place, Server) = started.await.expect("starts");
        assert_eq!(get(&client(), &replica.url("/readyz")).await["ready"], true);
    }
    // A second process that ran a migration would have failed or recorded it twice.
    let versions = ask(&database, "SELECT version FROM __diesel_schema_migrations");
    assert!(!versions.is_empty());
    assert_eq!(versions.len(), versions.iter().collect::<HashSet<_>>().len(), "{versions:?}");
    assert_eq!(ask(&database, "SELECT count(*) FROM queues WHERE id = 0"), ["1"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn migrate_says_what_it_applied_and_then_that_nothing_is_left() {
    let database = blocking(|| server().database());
    let place = place(&database.url());
    let (code, first, _) = said(&place.run("migrate").await);
    assert_eq!(code, Some(0));
    let lines = first.lines().collect::<Vec<_>>();
    let (last, applied) = lines.split_last().expect("says something");
    assert!(!applied.is_empty() && applied.iter().all(|line| line.starts_with("applied ")), "{first}");
    assert!(last.starts_with("postgres://") && last.ends_with(" is up to date"), "{first}");

    let (code, second, _) = said(&place.run("migrate").await);
    assert_eq!((code, second.trim_end()), (Some(0), *last));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tables_of_a_later_version_are_refused() {
    let database = blocking(|| server().database());
    let place = place(&database.url());
    assert!(place.run("migrate").await.status.success());
    ask(&database, "INSERT INTO __diesel_schema_migrations (version) VALUES ('20991231000000')");
    for command in ["serve", "migrate"] {
        let (code, _, complaint) = said(&place.run(command).await);
        assert_eq!(code, Some(1), "{command}");
        assert!(complaint.contains("was migrated by a later hookbox"), "{command}: {complaint}");
        assert!(complaint.contains("20991231000000"), "{command}: {complaint}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unreachable_server_is_named_without_the_password() {
    // The port is bound, so that no other process uses it, but does not listen.
    let closed = TcpSocket::new_v4().expect("a socket");
    closed.bind(SocketAddr::from(([127, 0, 0, 1], 0))).expect("a port is free");
    let closed_at = closed.local_addr().expect("has an address");
    let silent = Proxy::silent().await;
    for (fault, address) in [("connection refused", closed_at), ("no answer within", silent.address())] {
        let place = place(&format!("postgres://zoe:s3cret@{address}/inbox?connect_timeout=1"))
            .with("HOOKBOX_STARTUP_WAIT", "0s");
        for command in ["serve", "migrate"] {
            let (code, _, complaint) = said(&place.run(command).await);
            assert_eq!(code, Some(1), "{command}: {complaint}");
            let named = format!("cannot connect to postgres://{address}/inbox");
            assert!(complaint.contains(&named), "{command}: {complaint}");
            assert!(complaint.to_lowercase().contains(fault), "{command}: {complaint}");
            assert!(!complaint.contains("s3cret") && !complaint.contains("zoe"), "{command}: {complaint}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_with_another_encoding_than_utf8_is_refused_and_not_changed() {
    for encoding in ["LATIN1", "SQL_ASCII"] {
        let database = blocking(|| server().database_in(encoding));
        let place = place(&database.url());
        for command in ["serve", "migrate"] {
            let (code, _, complaint) = said(&place.run(command).await);
            assert_eq!(code, Some(1), "{command}: {complaint}");
            assert!(
                complaint.contains(encoding) && complaint.contains("needs UTF8"),
                "{command}: {complaint}"
            );
        }
        let tables = "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'";
        assert_eq!(ask(&database, tables), ["0"]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_only_database_is_reported_after_the_wait_for_another_primary() {
    const STARTS: usize = 3;
    let database = blocking(|| server().database());
    let place = place(&database.url_with("options=-c%20default_transaction_read_only%3Don"))
        .with("HOOKBOX_STARTUP_WAIT", "1s");
    let tries_again = async |command: &str| {
        let (code, _, complaint) = said(&place.run(command).await);
        assert_eq!(code, Some(1), "{command}: {complaint}");
        assert!(
            complaint.contains("is read-only") && complaint.contains("target_session_attrs=read-write"),
            "{command}: {complaint}"
        );
        complaint.contains("trying again")
    };
    assert!(!tries_again("migrate").await);
    // There is no time left to try again if the first try takes a second, because the machine pauses.
    let mut starts = 1;
    while !tries_again("serve").await {
        assert!(starts < STARTS, "it does not wait");
        starts += 1;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_that_may_not_create_the_schema_is_told_what_to_grant() {
    let cluster = blocking(Cluster::start);
    let session = blocking(|| Session::open(&cluster.url("postgres"))).expect("connects");
    blocking(|| session.ask("CREATE ROLE weak LOGIN")).expect("creates");
    let place = place(&cluster.url("postgres").replacen("postgres@", "weak@", 1));
    for command in ["serve", "migrate"] {
        let (code, _, complaint) = said(&place.run(command).await);
        assert_eq!(code, Some(1), "{command}: {complaint}");
        for told in ["GRANT CREATE ON DATABASE postgres TO", "CREATE SCHEMA hookbox AUTHORIZATION"] {
            assert!(complaint.contains(told), "{command}: {complaint}");
        }
    }
    blocking(|| session.ask("GRANT CREATE ON DATABASE postgres TO weak")).expect("grants");
    assert!(place.run("migrate").await.status.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_without_rights_in_the_schema_is_told_what_to_grant() {
    let cluster = blocking(Cluster::start);
    let session = blocking(|| Session::open(&cluster.url("postgres"))).expect("connects");
    let ask = |sql: &str| blocking(|| session.ask(sql)).expect("is asked");
    ask("CREATE ROLE weak LOGIN");
    ask("CREATE SCHEMA hookbox");
    let owners = place(&cluster.url("postgres"));
    let weak = place(&cluster.url("postgres").replacen("postgres@", "weak@", 1));
    let is_refused = async |expected: &str| {
        for command in ["serve", "migrate"] {
            let (code, _, complaint) = said(&weak.run(command).await);
            assert_eq!(code, Some(1), "{command}: {complaint}");
            assert!(complaint.contains(expected), "{command}: {complaint}");
        }
    };
    is_refused("GRANT USAGE, CREATE ON SCHEMA hookbox TO").await;
    assert!(owners.run("migrate").await.status.success());
    is_refused("GRANT USAGE ON SCHEMA hookbox TO").await;
    ask("GRANT USAGE ON SCHEMA hookbox TO weak");
    is_refused("GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA hookbox TO").await;
    ask("GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA hookbox TO weak");
    ask("GRANT USAGE ON ALL SEQUENCES IN SCHEMA hookbox TO weak");
    assert!(weak.run("migrate").await.status.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_database_is_reported() {
    let database = blocking(|| server().database());
    let place = place(&database.url_of_none());
    for command in ["serve", "migrate"] {
        let (code, _, complaint) = said(&place.run(command).await);
        assert_eq!(code, Some(1), "{command}: {complaint}");
        assert!(complaint.contains("does not exist"), "{command}: {complaint}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_invalid_url_is_a_configuration_error() {
    let place = place("postgres://ann:s3cret@127.0.0.1/inbox?sslmode=perhaps");
    for command in ["serve", "migrate"] {
        let (code, _, complaint) = said(&place.run(command).await);
        assert_eq!(code, Some(64), "{command}: {complaint}");
        assert!(
            complaint.contains("database_url") && complaint.contains("sslmode"),
            "{command}: {complaint}"
        );
        assert!(!complaint.contains("s3cret"), "{command}: {complaint}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tables_of_another_program_are_left_alone() {
    let database = blocking(|| server().database());
    let other =
        "CREATE TABLE public.jobs (id int); CREATE TABLE public.__diesel_schema_migrations (version text)";
    ask(&database, other);
    let place = place(&database.url());
    assert!(place.run("migrate").await.status.success());
    let in_public = "SELECT string_agg(relname::text, ' ' ORDER BY relname) FROM pg_class
                     WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'";
    assert_eq!(ask(&database, in_public), ["__diesel_schema_migrations jobs"]);
    assert_eq!(ask(&database, "SELECT count(*) FROM hookbox.webhooks"), ["0"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_schema_with_tables_of_another_program_is_refused_and_not_changed() {
    let database = blocking(|| server().database());
    ask(&database, "CREATE SCHEMA hookbox; CREATE TABLE hookbox.jobs (id int)");
    let place = place(&database.url());
    for command in ["serve", "migrate"] {
        let (code, _, complaint) = said(&place.run(command).await);
        assert_eq!(code, Some(1), "{command}: {complaint}");
        assert!(complaint.contains("such as hookbox.jobs"), "{command}: {complaint}");
        assert!(complaint.contains("?schema="), "{command}: {complaint}");
    }
    let tables = "SELECT relname::text FROM pg_class WHERE relnamespace = 'hookbox'::regnamespace";
    assert_eq!(ask(&database, tables), ["jobs"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_url_names_the_schema() {
    let database = blocking(|| server().database());
    let place = place(&database.url_with("schema=inbox_2"));
    assert!(place.run("migrate").await.status.success());
    assert_eq!(ask(&database, "SELECT count(*) FROM inbox_2.webhooks"), ["0"]);
    let schemas = "SELECT nspname::text FROM pg_namespace WHERE nspname = 'hookbox'";
    assert_eq!(ask(&database, schemas), [""; 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_waits_for_a_server_that_cannot_be_reached_yet() {
    let database = blocking(|| server().database());
    let (proxy, url) = Proxy::before(&database.url()).await;
    proxy.cut_off();
    let starting = tokio::task::spawn_blocking(move || {
        let place = Place::new(&[&format!("--database-url={url}")]);
        (place.start(), place)
    });
    proxy.is_reached().await;
    assert!(!starting.is_finished());
    proxy.speak();
    let (replica, _place) = starting.await.expect("starts");
    assert!(replica.has_logged("the database cannot be reached yet; trying again"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_does_not_exist_is_reported_at_once_and_as_json() {
    let database = blocking(|| server().database());
    let place = place(&database.url_of_none());
    let started = Instant::now();
    let (code, _, complaint) = said(&place.run("serve").await);
    assert_eq!(code, Some(1), "{complaint}");
    assert!(started.elapsed() < Duration::from_secs(20), "it does not wait for startup_wait");
    let lines = complaint.lines().map(serde_json::from_str::<serde_json::Value>);
    let lines = lines.collect::<Result<Vec<_>, _>>().expect("every line is JSON");
    let last = lines.last().expect("there are some");
    assert_eq!(last["message"], "hookbox stops with an error");
    let error = last["error"].as_str().expect("has an error");
    assert!(error.contains("does not exist") && error.contains("cannot connect to postgres://"), "{error}");
}
