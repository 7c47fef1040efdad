#![no_main]

libfuzzer_sys::fuzz_target!(init: hookbox_fuzz::seed("headers"), |data: &[u8]| hookbox_fuzz::run("headers", data));
