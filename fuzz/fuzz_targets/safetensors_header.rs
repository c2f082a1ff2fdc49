//! Any bytes, read as a safetensors file.
#![no_main]

use ckpt::format::safetensors::read_header;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let _ = read_header(&data.to_vec());
});
