#![no_main]

libfuzzer_sys::fuzz_target!(init: hookbox_fuzz::seed("credentials"), |data: &[u8]| hookbox_fuzz::run("credentials", data));
