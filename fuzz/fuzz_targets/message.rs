#![no_main]

libfuzzer_sys::fuzz_target!(init: hookbox_fuzz::seed("message"), |data: &[u8]| hookbox_fuzz::run("message", data));
