#![no_main]

libfuzzer_sys::fuzz_target!(init: hookbox_fuzz::seed("traceparent"), |data: &[u8]| hookbox_fuzz::run("traceparent", data));
