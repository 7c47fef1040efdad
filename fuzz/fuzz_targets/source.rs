#![no_main]

libfuzzer_sys::fuzz_target!(init: hookbox_fuzz::seed("source"), |data: &[u8]| hookbox_fuzz::run("source", data));
