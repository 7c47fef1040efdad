//! The handler `exec`: programs as their authors and the operators see them.

mod ends;

use std::collections::{BTreeMap, BTreeSet};

use hookbox::internals::grpc::proto;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use rstest::rstest;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::api::bodies::hookbox_with;
use crate::api::harness::client::{Answer, body};
use crate::api::harness::process::Place;
use crate::api::harness::{HOUR, Hookbox, Postgres, Sqlite, Store};
use crate::support::collector::{Collector, attributes_of, hex};

/// A payload with what a program that reads and writes JSON would change.
const PAYLOAD: &str = "{\"b\" : 1.50,\n \"a\":\"é\\u00e9\", \"id\":12345678901234567890123}";

/// A route that runs a command, with further members.
fn route(command: &[&str], more: &str) -> String {
    // A list of strings is the same in JSON and TOML.
    let command = serde_json::to_string(command).unwrap();
    format!("[[routes]]\nname = \"run\"\nhandler = \"exec\"\ncommand = {command}\n{more}\n")
}

/// A route that runs a script, with these arguments, and with further members.
fn script(script: &str, arguments: &[&str], more: &str) -> String {
    let script = format!("PATH=/usr/bin:/bin; export PATH\n{script}");
    route(&[&["/bin/sh", "-c", &*script, "sh"][..], arguments].concat(), more)
}

/// Runs a webhook through a route; answers all of the webhook once it has this status.
async fn run(routes: &str, status: &str) -> Value {
    run_on(Sqlite, routes, status).await
}

async fn run_on(store: Store, routes: &str, status: &str) -> Value {
    let hookbox = Hookbox::with_routes(store, routes);
    let id = hookbox.rest.submit("evt-001", "order.created", PAYLOAD).await.text_of("id");
    hookbox.wait_for(&id, status).await
}

/// The error of the first attempt.
fn error_of(webhook: &Value) -> &str {
    webhook["attempts"][0]["error"].as_str().unwrap_or_else(|| panic!("no error in {webhook}"))
}

/// The path of a file in a folder.
fn path_in(folder: &TempDir, name: &str) -> String {
    folder.path().join(name).display().to_string()
}

#[rstest]
#[tokio::test]
async fn a_program_that_succeeds_completes_its_job(#[values(Sqlite, Postgres)] store: Store) {
    let webhook = run_on(store, &route(&["/bin/true"], ""), "completed").await;
    assert_eq!((&webhook["attempt_count"], &webhook["result"]), (&json!(1), &Value::Null));
    assert_eq!(webhook["jobs"][0]["handler"], "exec");
}

#[rstest]
#[tokio::test]
async fn the_body_comes_byte_for_byte_and_so_does_json_as_the_result(
    #[values(Sqlite, Postgres)] store: Store,
) {
    let folder = TempDir::new().unwrap();
    let file = path_in(&folder, "body");
    let hookbox = Hookbox::with_routes(store, &script("tee \"$1\"", &[&file], ""));
    let id = hookbox.rest.submit("evt-001", "order.created", PAYLOAD).await.text_of("id");
    hookbox.wait_for(&id, "completed").await;
    assert_eq!(std::fs::read_to_string(file).unwrap(), PAYLOAD);
    let answer = hookbox.rest.get(&format!("/v1/webhooks/{id}")).await.text;
    assert!(answer.contains(&format!("\"result\":{PAYLOAD}")), "{answer}");
    let request = proto::GetWebhookRequest { id, ..Default::default() };
    let webhook = hookbox.grpc().get_webhook(request).await.unwrap().into_inner();
    assert_eq!(webhook.result_json.as_deref(), Some(PAYLOAD));
}

#[tokio::test]
async fn a_body_of_any_bytes_comes_on_standard_input() {
    let folder = TempDir::new().unwrap();
    let file = path_in(&folder, "body");
    let every_byte = (0..=u8::MAX).collect::<Vec<_>>();
    let routes = script("cat > \"$1\"", &[&file], "");
    let (hookbox, id) = hookbox_with(&every_byte, "image/png", &routes, "run").await;
    hookbox.wait_for(&id, "completed").await;
    assert_eq!(std::fs::read(file).unwrap(), every_byte);
}

#[rstest]
#[tokio::test]
async fn output_that_is_not_json_is_a_string(#[values(Sqlite, Postgres)] store: Store) {
    for (output, result) in [("done", "done"), ("a\\377\\000b", "a\u{fffd}\0b"), ("[1] [2]", "[1] [2]")] {
        let webhook = run_on(store, &script("printf \"$1\"", &[output], ""), "completed").await;
        assert_eq!(webhook["result"], result, "{output}");
    }
}

#[tokio::test]
async fn the_environment_is_what_the_handler_gives_and_nothing_else() {
    let webhook = run(&route(&["/usr/bin/env"], ""), "completed").await;
    let environment = webhook["result"].as_str().unwrap();
    let mut environment: BTreeMap<_, _> =
        environment.lines().map(|line| line.split_once('=').unwrap()).collect();
    assert!(environment.remove("PATH").is_some());
    let traceparent = environment.remove("TRACEPARENT").unwrap();
    assert!(traceparent.contains(webhook["trace_id"].as_str().unwrap()), "{traceparent}");
    let id = webhook["id"].as_str().unwrap();
    let delivery = format!("{id}_run");
    let expected = [
        ("HOOKBOX_ID", id),
        ("HOOKBOX_DELIVERY", &*delivery),
        ("HOOKBOX_ROUTE", "run"),
        ("HOOKBOX_KEY", "evt-001"),
        ("HOOKBOX_SOURCE", "default"),
        ("HOOKBOX_EVENT_TYPE", "order.created"),
        ("HOOKBOX_ATTEMPT", "1"),
    ];
    assert_eq!(environment, BTreeMap::from(expected));
}

#[tokio::test]
async fn variables_that_the_route_names_are_passed_and_those_of_hookbox_are_not() {
    let place = Place::new(&[("GREETING", "hello"), ("ANOTHER", "secret")]);
    let routes = route(&["/usr/bin/env"], "env = [\"GREETING\"]");
    std::fs::write(place.path("hookbox.toml"), routes).unwrap();
    let process = place.serve().await;
    let id = process.rest.accept("evt-001").await;
    let webhook = process.wait_for(&id, "completed").await;
    let environment = webhook["result"].as_str().unwrap();
    let names: BTreeSet<_> =
        environment.lines().map(|line| line.split_once('=').map_or(line, |(name, _)| name)).collect();
    let expected = [
        "PATH",
        "GREETING",
        "HOOKBOX_ID",
        "HOOKBOX_DELIVERY",
        "HOOKBOX_ROUTE",
        "HOOKBOX_KEY",
        "HOOKBOX_SOURCE",
        "HOOKBOX_EVENT_TYPE",
        "HOOKBOX_ATTEMPT",
        "TRACEPARENT",
    ];
    assert_eq!(names, BTreeSet::from(expected));
    assert!(environment.lines().any(|line| line == "GREETING=hello"));
}

#[tokio::test]
async fn a_program_has_no_descriptors_but_its_standard_ones() {
    let webhook = run(&route(&["/bin/ls", "/proc/self/fd"], ""), "completed").await;
    // The fourth is that of `ls` itself, for the folder that it lists.
    assert_eq!(webhook["result"], "0\n1\n2\n3\n");
}

#[tokio::test]
async fn exit_code_65_is_a_failure_for_good() {
    let webhook = run(&script("echo no such customer >&2; exit 65", &[], ""), "dead_lettered").await;
    assert_eq!(webhook["attempt_count"], 1);
    assert_eq!(error_of(&webhook), "the program ended with exit code 65: no such customer");
}

#[rstest]
#[tokio::test]
async fn every_other_exit_code_is_retried(#[values(Sqlite, Postgres)] store: Store) {
    let program = "[ \"$HOOKBOX_ATTEMPT\" = 2 ] && exit 0; printf 'not\\000yet' >&2; exit 1";
    let hookbox = Hookbox::with_routes(store, &script(program, &[], ""));
    let id = hookbox.rest.accept("evt-001").await;
    let webhook = hookbox.wait_for(&id, "retrying").await;
    assert_eq!(error_of(&webhook), "the program ended with exit code 1: not\u{fffd}yet");
    hookbox.advance(HOUR);
    assert_eq!(hookbox.wait_for(&id, "completed").await["attempt_count"], 2);
}

#[tokio::test]
async fn a_signal_that_ends_a_program_is_named() {
    // Rust programs ignore SIGPIPE, so this also shows that the programs that hookbox starts do not.
    let webhook = run(&script("kill -s PIPE $$", &[], ""), "retrying").await;
    assert_eq!(
        error_of(&webhook),
        "the program was ended by signal 13 (SIGPIPE), and wrote nothing to standard error"
    );
}

#[tokio::test]
async fn names_of_a_webhook_stay_single_arguments_that_nothing_interprets() {
    let folder = TempDir::new().unwrap();
    let cwd = format!("cwd = {}", json!(folder.path()));
    let command = ["/usr/bin/printf", "<%s>", "{key}", "{event_type}", "{source}", "{route}", "{attempt}"];
    let hookbox = Hookbox::with_routes(Sqlite, &route(&command, &cwd));
    for name in [
        "$(touch x)",
        "; touch x",
        "`touch x`",
        "a b\u{a0}c",
        "'\"",
        "*",
        "--help",
        "{route}",
        "../../x",
        "%s\\n",
    ] {
        let event_type = format!("{name}|");
        let id = hookbox.rest.submit(name, &event_type, "{}").await.text_of("id");
        let webhook = hookbox.wait_for(&id, "completed").await;
        assert_eq!(webhook["result"], format!("<{name}><{event_type}><default><run><1>"));
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "nothing was executed");
    for name in ["a\nb", "a\0b"] {
        hookbox.rest.submit(name, "order.created", "{}").await.refused_field("idempotency_key");
    }
}

#[tokio::test]
async fn a_program_runs_in_the_folder_of_its_route() {
    let folder = TempDir::new().unwrap();
    let webhook = run(&route(&["/bin/pwd"], &format!("cwd = {}", json!(folder.path()))), "completed").await;
    assert_eq!(webhook["result"], format!("{}\n", folder.path().canonicalize().unwrap().display()));
}

#[tokio::test]
async fn a_program_that_cannot_be_run_is_retried_and_the_error_says_why() {
    let folder = TempDir::new().unwrap();
    let (file, missing) = (path_in(&folder, "file"), path_in(&folder, "missing"));
    std::fs::write(&file, "#!/bin/sh\n").unwrap();
    let in_missing = format!("cwd = {}", json!(missing));
    for (command, more, texts) in [
        (&*missing, "", [&*missing, "does not exist", "os error 2"]),
        ("no-such-program", "", ["no-such-program", "does not exist", "os error 2"]),
        (&*file, "", [&*file, "may not be executed", "os error 13"]),
        ("/bin/true", &*in_missing, [&*missing, "change `cwd`", "os error 2"]),
    ] {
        let webhook = run(&route(&[command], more), "retrying").await;
        let error = error_of(&webhook);
        assert!(texts.iter().all(|text| error.contains(text)), "{texts:?} in {error:?}");
    }
}

#[tokio::test]
async fn a_program_that_writes_too_much_completes_and_its_result_is_cut() {
    let webhook = run(&script("yes | head -c 100000000", &[], ""), "completed").await;
    let result = webhook["result"].as_str().unwrap();
    let beginning = result.strip_suffix("… (cut: the program wrote 100000000 bytes)").unwrap();
    assert!(beginning.starts_with("y\ny\n"));
    let json = webhook["result"].to_string().len();
    assert!((65_000..=65_536).contains(&json), "{json}");

    let program = "yes | head -c 10000000 >&2; echo the cause >&2; exit 1";
    let webhook = run(&script(program, &[], ""), "retrying").await;
    let error = error_of(&webhook);
    assert!(error.starts_with("the program ended with exit code 1: …") && error.ends_with("y\nthe cause"));
    assert_eq!(error.chars().count(), 2_000);
}

#[rstest]
#[tokio::test]
async fn json_of_a_program_that_many_clients_cannot_read_is_a_string(
    #[values(Sqlite, Postgres)] store: Store,
) {
    let webhook = run_on(store, &script(r#"printf %s '"cut \ud83d"'"#, &[], ""), "completed").await;
    assert_eq!(webhook["result"], r#""cut \ud83d""#);
}

#[tokio::test]
async fn a_program_that_closes_its_standard_input_early_completes() {
    let hookbox = Hookbox::with_routes(Sqlite, &script("exec 0<&-; sleep 0.1; echo '\"enough\"'", &[], ""));
    let payload = format!("\"{}\"", "x".repeat(1_000_000));
    let id = hookbox.rest.submit("evt-001", "order.created", &payload).await.text_of("id");
    assert_eq!(hookbox.wait_for(&id, "completed").await["result"], "enough");
}

#[tokio::test]
async fn a_run_of_a_program_is_a_span_below_its_attempt_and_the_program_continues_the_trace() {
    let collector = Collector::start().await;
    let place = Place::on(Sqlite, &[("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.endpoint())]);
    std::fs::write(place.path("hookbox.toml"), script("echo \"$TRACEPARENT\"", &[], "")).unwrap();
    let process = place.serve().await;
    let trace_id = "4bf92f3577b34da6a3ce929d0e0e4736";
    let request = process
        .rest
        .submission(body("evt-001", "order.created", "{}"))
        .header("traceparent", format!("00-{trace_id}-00f067aa0ba902b7-01"));
    let id = Answer::of(request).await.text_of("id");
    let webhook = process.wait_for(&id, "completed").await;
    assert_eq!(process.terminate().await, Some(0), "traces are flushed at the end");

    let spans = collector.spans_of(trace_id);
    let one = |kind: SpanKind| {
        let mut found = spans.iter().filter(|span| span.kind == kind as i32);
        let span = found.next().unwrap_or_else(|| panic!("no {kind:?} in {spans:#?}"));
        assert!(found.next().is_none(), "{spans:#?}");
        span
    };
    let (attempt, run) = (one(SpanKind::Consumer), one(SpanKind::Client));
    assert_eq!(run.name, "sh");
    assert_eq!(run.parent_span_id, attempt.span_id);
    let attributes = attributes_of(&run.attributes);
    assert_eq!(attributes["process.executable.name"], "sh");
    assert_eq!(attributes["process.exit.code"], "0");
    assert_eq!(webhook["result"], format!("00-{trace_id}-{}-01\n", hex(&run.span_id)));
}

#[tokio::test]
async fn the_span_of_a_run_that_failed_has_its_exit_code_or_io_as_the_type_of_its_error() {
    let collector = Collector::start().await;
    let place = Place::on(Sqlite, &[("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.endpoint())]);
    let once = "retry = { attempts = 1 }";
    let missing = route(&["/no/such/program"], once).replace("name = \"run\"", "name = \"missing\"");
    std::fs::write(place.path("hookbox.toml"), script("exit 3", &[], once) + &missing).unwrap();
    let process = place.serve().await;
    let id = process.rest.accept("evt-001").await;
    let webhook = process.wait_for(&id, "dead_lettered").await;
    assert_eq!(process.terminate().await, Some(0));
    let spans = collector.spans_of(webhook["trace_id"].as_str().unwrap());
    for (name, error_type, exit_code) in [("sh", "3", Some("3")), ("program", "io", None)] {
        let run = spans.iter().find(|span| span.name == name).unwrap();
        let attributes = attributes_of(&run.attributes);
        assert_eq!(attributes["error.type"], error_type);
        assert_eq!(attributes.get("process.exit.code").map(String::as_str), exit_code, "{name}");
    }
}
