//! Any bytes, read as a safetensors file: the header, and the proof and the structure that it may carry.
#![no_main]

use ckpt::format::safetensors::{is_head_damaged, read_header, read_proof, structure};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let file = data.to_vec();
    let _ = is_head_damaged(&file);
    let Ok(header) = read_header(&file) else { return };
    let _ = structure::read(&header);
    if let Ok(Some(proven)) = read_proof(&file, &header) {
        let _ = (proven.is_head_intact(), proven.blocks().len());
    }
});
