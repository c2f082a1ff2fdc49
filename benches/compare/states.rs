//! The states that are saved: the same shapes as in `save.py`, with random numbers.

use std::borrow::Cow;
use std::error::Error;

use ckpt::tensor::{TensorRef, TensorView};
use ckpt::{Dtype, State};

/// The shapes of a layer of GPT-2.
const LAYER: [&[u64]; 12] = [
    &[768],
    &[768],
    &[768, 2304],
    &[2304],
    &[768, 768],
    &[768],
    &[768],
    &[768],
    &[768, 3072],
    &[3072],
    &[3072, 768],
    &[768],
];

/// The name, type and shape of a tensor.
type Tensor = (String, Dtype, Vec<u64>);

/// Makes a state by its name.
pub(super) fn make(name: &str) -> Result<State<'static>, Box<dyn Error>> {
    let mut state = State::new();
    let mut random = Random(1);
    for (name, dtype, shape) in list(name)? {
        let count: u64 = shape.iter().product();
        let bytes = random.bytes(usize::try_from(count * dtype.bits() / 8)?);
        state.insert(name, TensorView::new(dtype, shape, bytes)?)?;
    }
    Ok(state)
}

/// Puts a state of the same tensors together, whose bytes stay where they are.
pub(super) fn borrowed<'s>(state: &'s State<'_>) -> Result<State<'s>, Box<dyn Error>> {
    let mut views = State::new();
    for tensor in state.tensors()? {
        let bytes = in_memory(&tensor).ok_or("a tensor isn't in memory")?;
        views.insert(tensor.name(), TensorView::new(tensor.dtype(), tensor.shape(), bytes)?)?;
    }
    Ok(views)
}

/// Returns a tensor's bytes where they are.
pub(super) fn in_memory<'s>(tensor: &TensorRef<'s>) -> Option<&'s [u8]> {
    match tensor.bytes() {
        Ok(Cow::Borrowed(bytes)) => Some(bytes),
        _ => None,
    }
}

/// Lists a state's tensors.
fn list(name: &str) -> Result<Vec<Tensor>, Box<dyn Error>> {
    match name {
        "uniform" => Ok((0..64).map(|i| (format!("layer.{i}"), Dtype::F32, vec![4 << 20])).collect()),
        "small" => Ok((0..10_000).map(|i| (format!("tensor.{i}"), Dtype::F32, vec![1024])).collect()),
        "gpt2" => Ok(gpt2()),
        _ => Err(format!("there is no state '{name}'").into()),
    }
}

/// Weights in bfloat16, and two moments of each in float32.
fn gpt2() -> Vec<Tensor> {
    let layers = (0..12).flat_map(|layer| LAYER.iter().enumerate().map(move |(i, shape)| (layer, i, *shape)));
    let mut shapes: Vec<(String, Vec<u64>)> =
        layers.map(|(layer, i, shape)| (format!("h.{layer}.{i}"), shape.to_vec())).collect();
    shapes.push(("wte".into(), vec![50257, 768]));
    shapes.push(("wpe".into(), vec![1024, 768]));
    shapes.push(("ln_f.weight".into(), vec![768]));
    shapes.push(("ln_f.bias".into(), vec![768]));
    let weights = shapes.iter().map(|(name, shape)| (format!("model.{name}"), Dtype::Bf16, shape.clone()));
    let moments = ["exp_avg", "exp_avg_sq"].into_iter().flat_map(|moment| {
        shapes
            .iter()
            .map(move |(name, shape)| (format!("optimizer.{name}.{moment}"), Dtype::F32, shape.clone()))
    });
    weights.chain(moments).collect()
}

/// Bytes that don't repeat, by a multiplicative congruential generator.
struct Random(u64);

impl Random {
    fn bytes(&mut self, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        for chunk in bytes.chunks_mut(4) {
            self.0 = self.0.wrapping_mul(0xD134_2543_DE82_EF95).wrapping_add(1);
            let [.., a, b, c, d] = self.0.to_le_bytes();
            chunk.iter_mut().zip([a, b, c, d]).for_each(|(byte, random)| *byte = random);
        }
        bytes
    }
}
