#![no_main]

libfuzzer_sys::fuzz_target!(init: hookbox_fuzz::seed("content_type"), |data: &[u8]| hookbox_fuzz::run("content_type", data));
