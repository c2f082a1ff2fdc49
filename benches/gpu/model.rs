//! The large state: weights in bfloat16, and two moments of each in float32.

use tch::nn::VarStore;
use tch::{Device, Kind, Tensor, no_grad};

/// The length of a side of each weight.
const SIDE: i64 = 4096;
/// The size of a weight with its moments, in bytes.
const SET_BYTES: u64 = (SIDE.unsigned_abs() * SIDE.unsigned_abs()) * (2 + 4 + 4);

/// Makes variables of about so many bytes.
pub(crate) fn make(device: Device, bytes: u64) -> VarStore {
    let store = VarStore::new(device);
    let sets = (bytes / SET_BYTES).max(1);
    // A state that is smaller than one set has shorter weights.
    let rows = if bytes < SET_BYTES { SIDE * i64::try_from(bytes >> 20).unwrap_or(1) / 160 } else { SIDE };
    let mut variables = store.variables_.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    for set in 0..sets {
        for (part, kind) in
            [("weight", Kind::BFloat16), ("exp_avg", Kind::Float), ("exp_avg_sq", Kind::Float)]
        {
            let tensor = Tensor::randn([rows.max(1), SIDE], (kind, device));
            variables.named_variables.insert(format!("layer.{set}.{part}"), tensor);
        }
    }
    drop(variables);
    store
}

/// Returns copies of all variables on the host, by name.
pub(crate) fn on_host(store: &VarStore) -> Vec<(String, Tensor)> {
    let copy = |(name, tensor): (String, Tensor)| (name, tensor.to_device(Device::Cpu).copy());
    store.variables().into_iter().map(copy).collect()
}

/// Overwrites all variables.
pub(crate) fn wipe(store: &VarStore) {
    no_grad(|| {
        for mut tensor in store.variables().into_values() {
            drop(tensor.fill_(-1.0));
        }
    });
}
