//! Any bytes, as the metadata of a distributed checkpoint; what it says of chunks is held against itself.
#![no_main]

use ckpt::format::dcp::{MAX_COMPARED, cover, read_metadata};
use ckpt::format::torch::ReadOptions;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Ok(metadata) = read_metadata(data, &ReadOptions::default()) {
        let mut compared = MAX_COMPARED / 100;
        for tensor in &metadata.tensors {
            let _ = cover(&tensor.shape, &tensor.chunks, &mut compared);
        }
    }
});
