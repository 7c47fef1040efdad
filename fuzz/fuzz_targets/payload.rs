#![no_main]

libfuzzer_sys::fuzz_target!(init: hookbox_fuzz::seed("payload"), |data: &[u8]| hookbox_fuzz::run("payload", data));
