//! Any bytes, as a pickle: nothing stands between the mutation and the reader. Whether lists of floats are packed
//! makes no difference to what is refused.
#![no_main]

use ckpt::format::torch::ReadOptions;
use ckpt::format::torch::pickle::{Pickle, read};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let packed = read(data, &ReadOptions::default().with_packed_floats());
    let plain = read(data, &ReadOptions::default());
    assert!(packed.is_ok() || plain.is_err());
    [packed, plain].into_iter().flatten().for_each(|pickle| walk(&pickle));
});

fn walk(pickle: &Pickle) {
    let mut bytes = 0_usize;
    let _ = pickle.tree.walk(|leaf| bytes = bytes.wrapping_add(leaf.path.len()));
}
