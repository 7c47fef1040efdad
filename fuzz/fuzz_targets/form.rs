#![no_main]

libfuzzer_sys::fuzz_target!(init: hookbox_fuzz::seed("form"), |data: &[u8]| hookbox_fuzz::run("form", data));
