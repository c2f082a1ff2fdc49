//! Any bytes, read as a safetensors file, with the proof that it may carry.
#![no_main]

use ckpt::format::safetensors::{is_head_damaged, read_header, read_proof};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let file = data.to_vec();
    let _ = is_head_damaged(&file);
    if let Ok(header) = read_header(&file)
        && let Ok(Some(proven)) = read_proof(&file, &header)
    {
        let _ = (proven.is_head_intact(), proven.blocks().len());
    }
});
