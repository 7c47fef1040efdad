//! The memory limit of deploy/kubernetes/deployment.yaml: the sum of the limits in the code, with the settings of that
//! file.

use std::path::Path;

use hookbox::internals::config::{Config, HANDLERS, Layers, Listening};

use super::{MANUAL, member, text_of};

const DEPLOYMENT: &str = "deploy/kubernetes/deployment.yaml";
const SETTINGS: &str = "deploy/kubernetes/hookbox.toml";

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;

// What is measured, or has no limit in the code; OPERATIONS.md says where each comes from.
const PROCESS: u64 = 50 * MIB;
const CONNECTION: u64 = 32 * KIB;
const SMALL_REQUEST: u64 = 2 * KIB;
const THREAD: u64 = 75 * KIB;
const WATCHER: u64 = 150 * KIB;
const IDS_OF_STREAM: u64 = 32 * KIB;
const SEEN_ID: u64 = 35;

/// The value of a constant of the code, which is a number or a product of numbers.
fn constant(file: &str, name: &str) -> u64 {
    let text = text_of(&format!("src/{file}"));
    let declared = text.split_once(&format!("const {name}: ")).and_then(|(_, rest)| rest.split_once(" = "));
    let (_, rest) = declared.unwrap_or_else(|| panic!("{file} has no constant {name}"));
    let (value, _) = rest.split_once(';').unwrap();
    value.split(" * ").map(|factor| factor.replace('_', "").parse::<u64>().unwrap()).product()
}

/// The settings with which a replica starts.
fn config(deployment: &str) -> Config {
    let lines = deployment.lines().map(str::trim).collect::<Vec<_>>();
    let variables = lines.windows(2).filter_map(|pair| {
        let name = pair[0].strip_prefix("- name: HOOKBOX_")?;
        let value = pair[1].strip_prefix("value: ")?.trim_matches('"');
        Some((format!("HOOKBOX_{name}"), value.to_owned()))
    });
    let token = ("HOOKBOX_ADMIN_TOKEN".to_owned(), "hbx_the-token-of-the-test".to_owned());
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(SETTINGS);
    let layers = Layers::read(Some(&path), variables.chain([token]), []).unwrap();
    Config::protected(&layers, HANDLERS, Listening::from_start(&layers)).unwrap()
}

/// The most bytes that each part holds, in the order of the comment in the file.
fn parts(config: &Config) -> Vec<u64> {
    let (workers, max_body) = (config.workers as u64, config.max_body_bytes as u64);
    let connections = constant("connections/open_files.rs", "MAX_CONNECTIONS");
    let of_arrival = |name| constant("connections/arrival.rs", name);
    let bodies = of_arrival("BODIES_BYTES");
    assert!(2 * max_body <= bodies, "the memory for bodies grows with `max_body`");
    let small_request = of_arrival("FREE_BYTES") + SMALL_REQUEST;
    let of_answers = |name| constant("connections/answers.rs", name);
    let payloads =
        constant("worker/slots.rs", "HELD_BYTES") + constant("worker/dispatcher.rs", "CLAIM_BYTES");
    let kept = ["MAX_KEPT_BODY_BYTES", "MAX_KEPT_HEADER_BYTES", "MAX_KEPT_REQUEST_BYTES"];
    let delivery = kept.map(|name| constant("domain/delivery.rs", name)).iter().sum::<u64>();
    let outcome = constant("domain/attempt.rs", "MAX_RESULT_BYTES") + delivery;
    let batch = constant("worker/recorder.rs", "BATCH_OUTCOMES");
    let recorded = constant("worker/recorder.rs", "BATCHES_AT_ONCE") * batch;
    let of_committer = |name| constant("store/postgres/committer.rs", name);
    let seen = constant("service/arrivals/seen.rs", "MAX_SEEN") * SEEN_ID;
    let stream = constant("service/arrivals/ready.rs", "READY_BYTES") + IDS_OF_STREAM + seen;
    vec![
        PROCESS,
        connections * CONNECTION,
        connections * small_request,
        constant("connections/places/waiting.rs", "MAX_WAITING") * small_request,
        // A buffer grows by doubling.
        bodies * 21 / 10,
        2 * of_answers("ANSWERS_BYTES") + of_answers("TURNS_WITHOUT_MEMORY") * of_answers("TURN_BYTES"),
        2 * payloads + workers * THREAD,
        // Batches and their copies, the batch that gathers, and one outcome of each thread.
        (2 * recorded + batch + workers) * outcome + recorded * delivery,
        of_committer("COMMITTERS") * of_committer("BATCH_BYTES").max(max_body) * 3,
        constant("service/conflicts.rs", "MAX_ALL_BODY_BYTES"),
        constant("service/watch.rs", "MAX_WATCHERS") * WATCHER,
        constant("service/arrivals.rs", "MAX_FOLLOWERS") * stream,
    ]
}

/// A number of MiB, as the texts have it.
fn told(mib: u64) -> String {
    if mib < 1_000 { mib.to_string() } else { format!("{},{:03}", mib / 1_000, mib % 1_000) }
}

#[test]
fn the_memory_limit_of_kubernetes_is_enough_for_what_the_settings_allow() {
    let deployment = text_of(DEPLOYMENT);
    let (_, limits) = deployment.split_once(" limits:\n").unwrap();
    let limit = member(limits, "memory").unwrap().strip_suffix("Gi").unwrap().parse::<u64>().unwrap() * 1024;
    let needed = parts(&config(&deployment)).into_iter().map(|bytes| bytes.div_ceil(MIB)).collect::<Vec<_>>();
    let sum = needed.iter().sum::<u64>();
    assert!(sum <= limit, "{sum} of {limit} MiB: {needed:?}");

    let comments = deployment.lines().filter_map(|line| line.trim().strip_prefix('#'));
    let listed = comments.filter_map(|line| line.split_once(" MiB  ")?.0.trim().parse::<u64>().ok());
    assert_eq!(listed.collect::<Vec<_>>(), needed, "the comment in {DEPLOYMENT}");
    let (sum, rest) = (told(sum), told(limit - sum));
    let total = format!("# {sum:>6} MiB; the other {rest} MiB are for what has no limit of its own\n");
    assert!(deployment.contains(&total), "{total} in {DEPLOYMENT}");
    let manual = text_of(MANUAL);
    let in_manual = format!("of 10,000 connections that is {sum} MiB,");
    assert!(manual.contains(&in_manual), "{in_manual} in {MANUAL}");
}
