//! Files that ckpt writes, opened by candle's readers.

use std::collections::HashMap;
use std::path::Path;

use candle_core::{Device, Tensor, WithDType, pickle, safetensors};
use ckpt::digest::Algorithm;
use ckpt::save::Format;
use ckpt::tensor::TensorView;
use ckpt::{Dtype, SaveOptions, State, save};
use half::{bf16, f16};

/// The types that candle has, each with two numbers.
fn numbers() -> Vec<(&'static str, Dtype, Vec<u8>)> {
    vec![
        ("layer.f32", Dtype::F32, [1.5_f32, -0.25].iter().flat_map(|x| x.to_le_bytes()).collect()),
        ("layer.f64", Dtype::F64, [0.1_f64, 1e300].iter().flat_map(|x| x.to_le_bytes()).collect()),
        ("layer.bf16", Dtype::Bf16, [0x3F80_u16, 0xC000].iter().flat_map(|x| x.to_le_bytes()).collect()),
        ("layer.f16", Dtype::F16, [0x3C00_u16, 0xC000].iter().flat_map(|x| x.to_le_bytes()).collect()),
        ("step", Dtype::I64, [7_i64, -1].iter().flat_map(|x| x.to_le_bytes()).collect()),
        ("mask", Dtype::U8, vec![0, 255]),
    ]
}

fn write(path: &Path, format: Format, algorithm: Algorithm) {
    let numbers = numbers();
    let mut state = State::new();
    for (name, dtype, bytes) in &numbers {
        state.insert(*name, TensorView::new(*dtype, [2, 1], bytes.as_slice()).unwrap()).unwrap();
    }
    let options = SaveOptions::default().with_format(format).with_algorithm(algorithm);
    save(path, &state, &options).unwrap();
}

fn elements<T: WithDType>(tensors: &HashMap<String, Tensor>, name: &str) -> Vec<T> {
    let tensor = &tensors[name];
    assert_eq!(tensor.dims(), [2, 1], "{name}");
    tensor.flatten_all().unwrap().to_vec1().unwrap()
}

fn check(tensors: &HashMap<String, Tensor>) {
    assert_eq!(tensors.len(), numbers().len(), "{:?}", tensors.keys());
    assert_eq!(elements::<f32>(tensors, "layer.f32"), [1.5, -0.25]);
    assert_eq!(elements::<f64>(tensors, "layer.f64"), [0.1, 1e300]);
    assert_eq!(elements::<bf16>(tensors, "layer.bf16"), [bf16::ONE, bf16::from_f32(-2.0)]);
    assert_eq!(elements::<f16>(tensors, "layer.f16"), [f16::ONE, f16::from_f32(-2.0)]);
    assert_eq!(elements::<i64>(tensors, "step"), [7, -1]);
    assert_eq!(elements::<u8>(tensors, "mask"), [0, 255]);
}

#[test]
fn safetensors_files_are_read() {
    let directory = tempfile::tempdir().unwrap();
    for algorithm in Algorithm::ALL {
        let path = directory.path().join(format!("{algorithm}.safetensors"));
        write(&path, Format::Safetensors, algorithm);
        check(&safetensors::load(&path, &Device::Cpu).unwrap());
    }
}

#[test]
fn pytorch_files_are_read() {
    let directory = tempfile::tempdir().unwrap();
    for (number, format) in [Format::Torch, Format::TorchFlat].into_iter().enumerate() {
        let path = directory.path().join(format!("{number}.pt"));
        write(&path, format, Algorithm::default());
        check(&pickle::read_all(&path).unwrap().into_iter().collect());
    }
}
