#![no_main]
libfuzzer_sys::fuzz_target!(init: targets::let_caught_panics_pass(), |data: &[u8]| targets::photo(data));
