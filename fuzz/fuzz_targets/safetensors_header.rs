//! Any bytes, read as a safetensors file: the header, and the structure in it.
#![no_main]

use ckpt::format::safetensors::{read_header, structure};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Ok(header) = read_header(&data.to_vec()) {
        let _ = structure::read(&header);
    }
});
