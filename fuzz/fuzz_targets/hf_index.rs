//! Any bytes, read as a Hugging Face shard index.
#![no_main]

use ckpt::format::hugging_face::read_index;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let _ = read_index(data);
});
