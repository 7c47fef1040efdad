//! Bytes of strangers: every target of `fuzz/`, for a moment and always with the same inputs. `cargo fuzz` runs them for
//! as long as it may.

mod bodies;
mod callers;
mod corpus;
mod sources;
mod targets;

use std::path::Path;
use std::time::Duration;

use hookbox::internals::domain::verdict::Verdict;
use hookbox::internals::sources::Presets;
use hookbox::internals::telemetry::metrics::Stopwatch;

use self::corpus::corpus;
use self::sources::verdict_of;
use self::targets::{TARGETS, Target};

/// The inputs depend on it, and on nothing else.
const SEED: u64 = 0x5eed;

/// How long each target is run with mutated inputs.
const TIME: Duration = Duration::from_millis(165);

/// The fewest mutated inputs of a target. Fewer mean that an input takes far too long.
const MIN_CASES: usize = 200;

/// The longest mutated input, in bytes.
const MAX_BYTES: usize = 64 * 1024;

/// What is put into inputs.
const PIECES: [&[u8]; 24] = [
    b"\n",
    b"\n\n",
    b"\0",
    b" ",
    b":",
    b",",
    b"=",
    b"&",
    b"%",
    b"%00",
    b"+",
    b"\"",
    b"\\u0000",
    b"{",
    b"}",
    b"[",
    b"null",
    b"-1",
    b"1e999",
    b"\xff",
    b"\xef\xbb\xbf",
    "ż".as_bytes(),
    b"v1=",
    &[b'['; 300],
];

#[test]
fn the_inputs_begin_with_a_genuine_request_of_every_preset() {
    let found = corpus("source").iter().map(|input| verdict_of(input)).collect::<Vec<_>>();
    for (preset, _) in Presets::built_in().iter() {
        let is_genuine = [(preset, Verdict::Verified), (preset, Verdict::None)];
        assert!(found.iter().any(|found| is_genuine.contains(found)), "no request of {preset} is verified");
    }
}

#[test]
fn cargo_fuzz_has_every_target() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
    let manifest = std::fs::read_to_string(folder.join("Cargo.toml")).unwrap();
    let manifest = toml::from_str::<toml::Table>(&manifest).unwrap();
    let programs = manifest["bin"].as_array().unwrap().iter();
    let named = programs.map(|program| program["name"].as_str().unwrap()).collect::<Vec<_>>();
    assert_eq!(named, TARGETS.map(|(name, _)| name));
    for name in named {
        let program = std::fs::read_to_string(folder.join(format!("fuzz_targets/{name}.rs"))).unwrap();
        assert!(program.contains(&format!("seed(\"{name}\")")), "{name} has the inputs of another target");
        assert!(program.contains(&format!("run(\"{name}\", data)")), "{name} runs another target");
    }
}

#[test]
fn no_bytes_of_a_stranger_break_a_promise() {
    for (name, target) in TARGETS {
        let inputs = corpus(name);
        for (at, input) in inputs.iter().enumerate() {
            run(name, target, at, input);
        }
        let (mut random, began, mut cases) = (Random(SEED), Stopwatch::start(), 0);
        while began.elapsed() < TIME || cases < MIN_CASES {
            run(name, target, inputs.len() + cases, &mutated(&mut random, &inputs));
            cases += 1;
        }
    }
}

/// Runs a target, and tells the input if it panics.
fn run(name: &str, target: Target, case: usize, input: &[u8]) {
    if std::panic::catch_unwind(|| target(input)).is_err() {
        panic!("{name} does not take case {case}: {}", input.escape_ascii());
    }
}

/// An input with some changes.
fn mutated(random: &mut Random, inputs: &[Vec<u8>]) -> Vec<u8> {
    let mut input = random.one_of(inputs).clone();
    for _ in 0..*random.one_of(&[1, 1, 1, 2, 3, 8]) {
        let at = random.below(input.len() + 1);
        let end = input.len().min(at + *random.one_of(&[1, 1, 2, 8, 64]));
        match random.below(7) {
            0 if at < end => input[at] ^= 1_u8 << random.below(8),
            1 => drop(input.splice(at..at, random.one_of(&PIECES).iter().copied())),
            2 => drop(input.drain(at..end)),
            3 => {
                let again = input[at..end].to_vec();
                drop(input.splice(at..at, again));
            }
            4 => {
                // The end of another input.
                let other = random.one_of(inputs);
                input.truncate(at);
                input.extend_from_slice(&other[random.below(other.len() + 1)..]);
            }
            5 => drop(input.splice(at..end, random.one_of(&PIECES).repeat(1 + random.below(40)))),
            _ => input.truncate(at),
        }
    }
    input.truncate(MAX_BYTES);
    input
}

/// Numbers that look random and are always the same (xorshift64*).
struct Random(u64);

impl Random {
    fn number(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number below `bound`, which is not 0.
    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.number() >> 33).unwrap_or_default() % bound
    }

    fn one_of<'t, T>(&mut self, items: &'t [T]) -> &'t T {
        &items[self.below(items.len())]
    }
}
