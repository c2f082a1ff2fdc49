//! Python's floats as float32.

use crate::tensor::{Node, NodeId, Tree};

/// The bytes of a float32.
const FLOAT32_BYTES: usize = 4;

/// Writes floats as `torch.tensor` makes them: the nearest float32, little-endian. As many as both have room for.
pub(super) fn narrow(floats: &[f64], out: &mut [u8]) {
    let (places, _) = out.as_chunks_mut::<FLOAT32_BYTES>();
    for (place, float) in places.iter_mut().zip(floats) {
        *place = to_float32(*float).to_le_bytes();
    }
}

/// As [`narrow`], for the items of an ordinary list: floats, and whole numbers among them.
pub(super) fn narrow_items(tree: &Tree, items: &[NodeId], out: &mut [u8]) {
    let (places, _) = out.as_chunks_mut::<FLOAT32_BYTES>();
    for (place, item) in places.iter_mut().zip(items) {
        let value = number(tree.node(*item)).unwrap_or_default();
        *place = to_float32(value).to_le_bytes();
    }
}

/// Returns whether a list is one of floats: whole numbers may be among them, but not alone. PyTorch would make
/// integers of those.
pub(super) fn is_floats(tree: &Tree, items: &[NodeId]) -> bool {
    let nodes = || items.iter().map(|item| tree.node(*item));
    nodes().all(|node| number(node).is_some()) && nodes().any(|node| matches!(node, Node::Float(_)))
}

fn number(node: &Node) -> Option<f64> {
    match node {
        Node::Float(value) => Some(*value),
        Node::Int(value) => Some(to_float64(*value)),
        _ => None,
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the nearest float32 is what PyTorch makes of it")]
fn to_float32(value: f64) -> f32 {
    value as f32
}

#[expect(clippy::cast_precision_loss, reason = "the nearest float is what Python makes of it")]
fn to_float64(value: i64) -> f64 {
    value as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_are_rounded_to_the_nearest() {
        let floats = [0.1, 1e300, -0.0, f64::NAN, 1.0 + f64::EPSILON];
        let mut out = [0; 20];
        narrow(&floats, &mut out);
        let (read, _) = out.as_chunks::<4>();
        let read: Vec<f32> = read.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
        assert_eq!(read[..2], [0.1_f32, f32::INFINITY]);
        assert!(read[2].is_sign_negative() && read[3].is_nan());
        assert_eq!(read[4].to_bits(), 1.0_f32.to_bits());
    }
}
