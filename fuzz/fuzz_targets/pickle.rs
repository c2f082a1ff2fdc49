//! Any bytes, as a pickle: nothing stands between the mutation and the reader.
#![no_main]

use ckpt::format::torch::ReadOptions;
use ckpt::format::torch::pickle::read;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Ok(pickle) = read(data, &ReadOptions::default()) {
        let mut bytes = 0_usize;
        let _ = pickle.tree.walk(|leaf| bytes = bytes.wrapping_add(leaf.path.len()));
    }
});
