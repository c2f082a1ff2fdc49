use std::collections::{HashMap, HashSet};

use super::Index;
use crate::Dtype;
use crate::record::{Code, Finding, Level, TensorInfo, first_few, quoted};

/// A shard that is there: its file name and its tensors.
type Shard = (String, Vec<TensorInfo>);

/// Holds the shards against their index: every shard there, every tensor where the index says, no
/// tensor that it doesn't know, and the total size right.
///
/// `shards` are those that could be read. The size is looked at only where nothing else is wrong.
/// What is missing is *corrupted*: a part of the checkpoint is gone. What is too much, or of another
/// size, is *incompatible*: sound files that don't belong together.
pub fn check_shards(index: &Index, shards: &[Shard]) -> Vec<Finding> {
    let there: HashMap<&str, &[TensorInfo]> =
        shards.iter().map(|(name, tensors)| (name.as_str(), tensors.as_slice())).collect();
    let mut findings = missing_shards(index, &there);
    findings.extend(missing_tensors(index, &there));
    findings.extend(foreign_tensors(index, shards));
    if findings.is_empty() {
        findings.extend(total_size(index, shards));
    }
    findings
}

/// Finds the shards that the index names and that could not be read.
fn missing_shards(index: &Index, there: &HashMap<&str, &[TensorInfo]>) -> Vec<Finding> {
    let missing = index.shards.iter().filter(|name| !there.contains_key(name.as_str()));
    let finding = |name: &String| {
        let message = format!("the shard {} is missing", quoted(name));
        Finding::corrupted(Code::ArtifactMissing, Level::Size, message).at_file(name)
    };
    first_few(missing, finding, "shards are missing")
}

/// Finds the tensors that are not in the shard where the index puts them. Tensors of a missing shard are left
/// out: its absence has been said.
fn missing_tensors(index: &Index, there: &HashMap<&str, &[TensorInfo]>) -> Vec<Finding> {
    let names: HashMap<&str, HashSet<&str>> = there
        .iter()
        .map(|(shard, tensors)| (*shard, tensors.iter().map(|tensor| tensor.name.as_str()).collect()))
        .collect();
    let missing = index.weight_map.keys().filter_map(|tensor| {
        let shard = index.shard_of(tensor)?;
        (!names.get(shard)?.contains(tensor.as_str())).then_some((tensor, shard))
    });
    let finding = |(tensor, shard): (&String, &str)| {
        let message = format!("the index puts {} into {}, which lacks it", quoted(tensor), quoted(shard));
        Finding::corrupted(Code::IndexDisagrees, Level::Container, message).at_file(shard).at_tensor(tensor)
    };
    first_few(missing, finding, "tensors are missing from their shards")
}

/// Finds the tensors that the index doesn't know, or puts elsewhere. A loader that goes by the index would
/// pass them over in silence.
fn foreign_tensors(index: &Index, shards: &[Shard]) -> Vec<Finding> {
    let all = shards.iter().flat_map(|(shard, tensors)| tensors.iter().map(move |tensor| (shard, tensor)));
    let foreign = all.filter(|(shard, tensor)| index.shard_of(&tensor.name) != Some(shard.as_str()));
    let finding = |(shard, tensor): (&String, &TensorInfo)| {
        let held = format!("{} holds {}", quoted(shard), quoted(&tensor.name));
        let message = match index.shard_of(&tensor.name) {
            Some(named) => format!("{held}, which the index puts into {}", quoted(named)),
            None => format!("{held}, which the index lacks"),
        };
        let finding = Finding::incompatible(Code::IndexDisagrees, Level::Container, message);
        finding.at_file(shard).at_tensor(&tensor.name)
    };
    first_few(foreign, finding, "tensors are in another shard than the index says")
}

/// Holds `total_size` against the tensors' bytes.
///
/// `huggingface_hub` counts whole storages, each once, however many tensors share it. A safetensors
/// shard has a storage for each tensor. In a `.bin` shard it may be otherwise, and the tensors' infos
/// don't say: there, a larger total is a note (a tensor is a view of a larger storage), and a smaller
/// one as long as tensors of equal size within a shard could account for the difference.
/// `transformers`, while it had a count of its own, took a boolean for an eighth of a byte.
fn total_size(index: &Index, shards: &[Shard]) -> Option<Finding> {
    let total = index.total_size?;
    let tensors = || shards.iter().flat_map(|(_, tensors)| tensors);
    let sum = tensors().fold(0_u64, |sum, tensor| sum.saturating_add(tensor.bytes));
    let booleans = tensors().filter(|tensor| tensor.dtype == Dtype::Bool);
    let booleans = booleans.fold(0_u64, |sum, tensor| sum.saturating_add(tensor.bytes));
    if total == sum || total == sum - booleans + booleans / 8 {
        return None;
    }
    let message = format!("the index gives a total size of {total} bytes, and the tensors have {sum}");
    let pickled = shards.iter().any(is_pickled);
    if pickled && sum.saturating_sub(total) <= shareable(shards) {
        let message = format!("{message}: some of them may share a storage, or be a part of one");
        return Some(Finding::note(Code::IndexDisagrees, Level::Container, message));
    }
    Some(Finding::incompatible(Code::IndexDisagrees, Level::Container, message))
}

/// Returns the most bytes that `.bin` shards can hold less than their tensors ask for, if all
/// tensors of equal size within a shard are one.
fn shareable(shards: &[Shard]) -> u64 {
    let shared = shards.iter().filter(|shard| is_pickled(shard)).flat_map(|(_, tensors)| {
        let mut sizes = HashSet::new();
        tensors.iter().map(|tensor| tensor.bytes).filter(move |&bytes| !sizes.insert(bytes))
    });
    shared.fold(0, u64::saturating_add)
}

/// Returns whether a shard is one that can hold shared storages.
fn is_pickled((name, _): &Shard) -> bool {
    !name.ends_with(".safetensors")
}
