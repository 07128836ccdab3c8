#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| gatepass::fuzzing::config_file(bytes));
