#![no_main]

libfuzzer_sys::fuzz_target!(init: hookbox_fuzz::seed("login"), |data: &[u8]| hookbox_fuzz::run("login", data));
