//! The targets of `tests/integration/fuzz`, for `cargo fuzz`.

#[path = "../../tests/integration/fuzz/bodies.rs"]
mod bodies;
#[path = "../../tests/integration/fuzz/callers.rs"]
mod callers;
#[path = "../../tests/integration/fuzz/corpus.rs"]
mod corpus;
#[allow(dead_code, reason = "the tests use some of it")]
#[path = "../../tests/integration/fuzz/sources.rs"]
mod sources;
#[path = "../../tests/integration/fuzz/targets.rs"]
mod targets;

use std::fs;
use std::path::Path;

/// Writes the first inputs of a target to its corpus, before `cargo fuzz` reads that.
pub fn seed(name: &str) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(name);
    fs::create_dir_all(&folder).expect("the folder of the corpus can be made");
    for (at, input) in corpus::corpus(name).iter().enumerate() {
        fs::write(folder.join(format!("first-{at}")), input).expect("the corpus can be written");
    }
}

/// Runs a target with an input.
pub fn run(name: &str, data: &[u8]) {
    let (_, target) = targets::TARGETS.iter().find(|(other, _)| *other == name).expect("the target is in the table");
    target(data);
}
