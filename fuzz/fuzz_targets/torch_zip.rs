//! Any bytes, read as a file that PyTorch wrote.
#![no_main]

use ckpt::format::torch::{ReadOptions, read};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let _ = read(&data.to_vec(), &ReadOptions::default());
});
