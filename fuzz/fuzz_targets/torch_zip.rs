//! Any bytes, read as a file that PyTorch wrote: the archive, its proof, the values in it, and one tensor.
#![no_main]

use ckpt::format::torch::ReadOptions;
use ckpt::format::torch::archive::TorchArchive;
use ckpt::format::{detect, torch::legacy};
use ckpt::tensor::{Node, Tensor};
use libfuzzer_sys::fuzz_target;

/// Expanded tensors can be far larger than their file.
const LIMIT: u64 = 1 << 20;

fuzz_target!(|data: &[u8]| {
    let file = data.to_vec();
    let _ = detect(&file);
    let options = ReadOptions::default();
    let archive = TorchArchive::open(&file).and_then(|archive| {
        if let Ok(Some(proven)) = archive.read_proof(&file) {
            let _ = (proven.is_head_intact(), proven.blocks().len());
        }
        archive.read(&file, &options)
    });
    let checkpoint = match archive {
        Ok((checkpoint, _)) => checkpoint,
        Err(_) => match legacy::read(&file, &options) {
            Ok(checkpoint) => checkpoint,
            Err(_) => return,
        },
    };
    let mut first: Option<Tensor> = None;
    let _ = checkpoint.tree.walk(|leaf| {
        if let (Node::Tensor(tensor), None) = (leaf.node, &first) {
            first = Some((**tensor).clone());
        }
    });
    if let Some(tensor) = first {
        let _ = checkpoint.read_tensor(&file, &tensor, LIMIT);
    }
});
