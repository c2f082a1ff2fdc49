//! The level `keys`: what is asked of a checkpoint's names, dtypes and shapes.

use std::collections::HashMap;

use super::contents::Contents;
use super::near::nearest;
use super::{Requirement, VerifyOptions, version};
use crate::record::{Code, Finding, Level, TensorInfo, first_few, quoted};

/// Checks what the options ask of a checkpoint's contents.
pub(super) fn check_contents(contents: &Contents, options: &VerifyOptions) -> Vec<Finding> {
    let mut findings = Vec::new();
    if contents.tagged || options.compat {
        findings.extend(version::check(contents, options.compat));
    }
    if !options.requirements.is_empty() && !contents.is_map {
        let message = "keys are asked for, and the checkpoint's top level is no map";
        findings.push(Finding::incompatible(Code::NotAMap, Level::Keys, message));
        return findings;
    }
    let tensor = |at: &Option<usize>| at.and_then(|at| contents.tensors.get(at));
    let keys: Vec<KeyEntry<'_>> =
        contents.keys.iter().map(|(path, at)| KeyEntry { path, tensor: tensor(at) }).collect();
    findings.extend(check_requirements(&options.requirements, &keys));
    if let Some(reference) = &options.like {
        findings.extend(check_like(reference, &contents.tensors));
    }
    findings
}

/// A key of a checkpoint: a path of keys joined by dots, and its tensor where it leads to one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct KeyEntry<'a> {
    /// The path.
    pub(crate) path: &'a str,
    /// The tensor at the path.
    pub(crate) tensor: Option<&'a TensorInfo>,
}

/// Holds a checkpoint's keys against what was asked for.
///
/// All findings are *incompatible*, at [`Level::Keys`]. A tensor of another dtype and another shape
/// has two.
pub(crate) fn check_requirements(requirements: &[Requirement], keys: &[KeyEntry<'_>]) -> Vec<Finding> {
    requirements.iter().flat_map(|requirement| check(requirement, keys)).collect()
}

/// Holds all keys against one requirement. With a pattern, every tensor that matches must have the dtype and
/// the shape; what matches and is no tensor is passed over, unless nothing else does.
fn check(requirement: &Requirement, keys: &[KeyEntry<'_>]) -> Vec<Finding> {
    let matching: Vec<&KeyEntry<'_>> = keys.iter().filter(|key| requirement.matches(key.path)).collect();
    if matching.is_empty() {
        return vec![missing(requirement, keys)];
    }
    if requirement.dtype().is_none() && requirement.shape().is_none() {
        return Vec::new();
    }
    let tensors: Vec<&TensorInfo> = matching.iter().filter_map(|key| key.tensor).collect();
    if tensors.is_empty() {
        return vec![no_tensor(requirement, &matching)];
    }
    let place =
        |finding: Finding, tensor: &TensorInfo| finding.at_key(requirement.as_str()).at_tensor(&tensor.name);
    let mut findings = Vec::new();
    if let Some(wanted) = requirement.dtype() {
        let others = tensors.iter().filter(|tensor| tensor.dtype != wanted);
        let finding = |tensor: &&TensorInfo| place(other_dtype(tensor, wanted.as_str(), "required"), tensor);
        findings.extend(first_few(others, finding, "tensors have another dtype than required"));
    }
    if let Some(wanted) = requirement.shape() {
        let others = tensors.iter().filter(|tensor| !wanted.matches(&tensor.shape));
        let finding =
            |tensor: &&TensorInfo| place(other_shape(tensor, &wanted.to_string(), "required"), tensor);
        findings.extend(first_few(others, finding, "tensors have another shape than required"));
    }
    findings
}

/// Says that a key is missing, and what may have been meant.
fn missing(requirement: &Requirement, keys: &[KeyEntry<'_>]) -> Finding {
    let name = requirement.name();
    let message = if requirement.is_pattern() {
        format!("no key of {} matches {}", keys.len(), quoted(name))
    } else if let Some((before, after)) = name.rsplit_once(':')
        && keys.iter().any(|key| key.path == before)
    {
        let (name, before, after) = (quoted(name), quoted(before), quoted(after));
        format!("the key {name} is missing; there is {before}, and {after} is no dtype and no shape")
    } else if let Some(near) = nearest(name, keys.iter().map(|key| key.path)) {
        format!("the key {} is missing; the closest one there is {}", quoted(name), quoted(near))
    } else {
        format!("the key {} is missing", quoted(name))
    };
    incompatible(Code::KeyMissing, message).at_key(requirement.as_str())
}

/// Says that a dtype or a shape was asked of what has none.
fn no_tensor(requirement: &Requirement, matching: &[&KeyEntry<'_>]) -> Finding {
    let message = match matching {
        [key] => format!("{} is no tensor, so that it has no dtype and no shape", quoted(key.path)),
        keys => {
            format!("none of the {} keys that match {} is a tensor", keys.len(), quoted(requirement.name()))
        }
    };
    let code = if requirement.dtype().is_some() { Code::DtypeMismatch } else { Code::ShapeMismatch };
    incompatible(code, message).at_key(requirement.as_str())
}

/// Holds a checkpoint's tensors against those of a reference: the same names, each with the same
/// dtype and shape.
///
/// All findings are *incompatible*, at [`Level::Keys`], by kind: missing, unexpected, dtype, shape.
pub(crate) fn check_like(reference: &[TensorInfo], actual: &[TensorInfo]) -> Vec<Finding> {
    let there = by_name(actual);
    let wanted = by_name(reference);
    let missing = reference.iter().filter(|tensor| !there.contains_key(tensor.name.as_str()));
    let unexpected: Vec<&TensorInfo> =
        actual.iter().filter(|tensor| !wanted.contains_key(tensor.name.as_str())).collect();
    let pairs = || reference.iter().filter_map(|wanted| Some((wanted, *there.get(wanted.name.as_str())?)));

    let finding = |tensor: &TensorInfo| missing_tensor(tensor, &unexpected);
    let mut findings = first_few(missing, finding, "tensors of the reference are missing");
    findings.extend(first_few(unexpected.iter().copied(), foreign, "tensors aren't in the reference"));
    let dtypes = pairs().filter(|(wanted, tensor)| wanted.dtype != tensor.dtype);
    let finding = |(wanted, tensor): (&TensorInfo, &TensorInfo)| {
        other_dtype(tensor, wanted.dtype.as_str(), "in the reference").at_tensor(&tensor.name)
    };
    findings.extend(first_few(dtypes, finding, "tensors have another dtype than in the reference"));
    let shapes = pairs().filter(|(wanted, tensor)| wanted.shape != tensor.shape);
    let finding = |(wanted, tensor): (&TensorInfo, &TensorInfo)| {
        other_shape(tensor, &list(&wanted.shape), "in the reference").at_tensor(&tensor.name)
    };
    findings.extend(first_few(shapes, finding, "tensors have another shape than in the reference"));
    findings
}

/// The tensors by name. Of two of one name, which only a pickle can have, the last counts.
fn by_name(tensors: &[TensorInfo]) -> HashMap<&str, &TensorInfo> {
    tensors.iter().map(|tensor| (tensor.name.as_str(), tensor)).collect()
}

/// Says that a tensor is missing, and which of those that nobody expects it may be.
fn missing_tensor(tensor: &TensorInfo, unexpected: &[&TensorInfo]) -> Finding {
    let name = &tensor.name;
    let message = match nearest(name, unexpected.iter().map(|tensor| tensor.name.as_str())) {
        Some(near) => {
            format!("the tensor {} of the reference is missing; there is {}", quoted(name), quoted(near))
        }
        None => format!("the tensor {} of the reference is missing", quoted(name)),
    };
    incompatible(Code::KeyMissing, message).at_key(name)
}

/// The finding for a tensor that the reference hasn't.
fn foreign(tensor: &TensorInfo) -> Finding {
    let message = format!("the tensor {} isn't in the reference", quoted(&tensor.name));
    incompatible(Code::KeyUnexpected, message).at_tensor(&tensor.name)
}

/// The finding for a dtype; `by` says who wants another.
fn other_dtype(tensor: &TensorInfo, wanted: &str, by: &str) -> Finding {
    let message = format!("{} has the dtype {}, and {wanted} is {by}", quoted(&tensor.name), tensor.dtype);
    incompatible(Code::DtypeMismatch, message)
}

/// The finding for a shape; `by` says who wants another.
fn other_shape(tensor: &TensorInfo, wanted: &str, by: &str) -> Finding {
    let message =
        format!("{} has the shape {}, and {wanted} is {by}", quoted(&tensor.name), list(&tensor.shape));
    incompatible(Code::ShapeMismatch, message)
}

/// Prints a shape as a requirement writes it.
fn list(shape: &[u64]) -> String {
    let lengths: Vec<String> = shape.iter().map(u64::to_string).collect();
    format!("[{}]", lengths.join(","))
}

/// A finding of this level: sound bytes that aren't what was asked for.
fn incompatible(code: Code, message: String) -> Finding {
    Finding::incompatible(code, Level::Keys, message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Dtype, Verdict};

    fn tensor(name: &str, dtype: Dtype, shape: &[u64]) -> TensorInfo {
        let bytes = dtype.bytes_for(TensorInfo::count(shape).unwrap()).unwrap();
        TensorInfo { name: name.to_owned(), dtype, shape: shape.to_vec(), bytes }
    }

    fn model() -> Vec<TensorInfo> {
        vec![tensor("model.weight", Dtype::F32, &[768, 10]), tensor("model.bias", Dtype::Bf16, &[10])]
    }

    /// Checks one requirement against `model`, `step` and the model's two tensors.
    fn findings(requirement: &str) -> Vec<Finding> {
        let tensors = model();
        let mut keys: Vec<KeyEntry<'_>> =
            ["model", "step"].map(|path| KeyEntry { path, tensor: None }).to_vec();
        keys.extend(tensors.iter().map(|tensor| KeyEntry { path: &tensor.name, tensor: Some(tensor) }));
        let findings = check_requirements(&[requirement.parse().unwrap()], &keys);
        for finding in &findings {
            assert_eq!((finding.level, finding.verdict), (Level::Keys, Verdict::Incompatible));
            assert_eq!(finding.at.key.as_deref(), Some(requirement));
        }
        findings
    }

    fn only(findings: Vec<Finding>) -> (Code, String) {
        let [finding] = <[Finding; 1]>::try_from(findings).unwrap();
        (finding.code, finding.message)
    }

    #[test]
    fn what_is_there_is_fine() {
        for requirement in [
            "step",
            "model",
            "model.*",
            "model.weight:f32[768,*]",
            "model.weight:[768,10]",
            "model.weight:float32",
            "model*:[...,10]",
            "{step,model.bias}:bf16[10]",
        ] {
            assert_eq!(findings(requirement), [], "{requirement}");
        }
    }

    #[test]
    fn a_missing_key_names_the_nearest() {
        let (code, message) = only(findings("model.wieght"));
        assert_eq!(code, Code::KeyMissing);
        assert_eq!(message, "the key 'model.wieght' is missing; the closest one there is 'model.weight'");
        assert_eq!(only(findings("scheduler")).1, "the key 'scheduler' is missing");
        assert_eq!(only(findings("x.*")).1, "no key of 4 matches 'x.*'");
        assert!(
            only(findings("step:f33")).1.ends_with("there is 'step', and 'f33' is no dtype and no shape")
        );
    }

    #[test]
    fn another_dtype_or_shape_is_found() {
        assert_eq!(
            only(findings("model.weight:f16")),
            (Code::DtypeMismatch, "'model.weight' has the dtype f32, and f16 is required".to_owned())
        );
        assert_eq!(
            only(findings("model.weight:[768,*,1]")),
            (
                Code::ShapeMismatch,
                "'model.weight' has the shape [768,10], and [768,*,1] is required".to_owned()
            )
        );
        let both = findings("model.weight:f16[1]");
        assert_eq!(
            both.iter().map(|finding| finding.code).collect::<Vec<_>>(),
            [Code::DtypeMismatch, Code::ShapeMismatch]
        );
        let of_pattern = findings("model.*:f32");
        assert_eq!(of_pattern[0].at.tensor.as_deref(), Some("model.bias"));
        assert_eq!(of_pattern.len(), 1);
    }

    #[test]
    fn what_is_no_tensor_has_no_dtype() {
        assert_eq!(only(findings("step:i64")).0, Code::DtypeMismatch);
        assert_eq!(only(findings("step:[]")).0, Code::ShapeMismatch);
        assert!(only(findings("{step,model}:f32")).1.contains("none of the 2 keys"));
    }

    #[test]
    fn the_same_tensors_are_alike_in_any_order() {
        let mut reversed = model();
        reversed.reverse();
        assert_eq!(check_like(&model(), &reversed), []);
    }

    #[test]
    fn each_difference_from_the_reference_is_found() {
        let actual = [
            tensor("module.model.weight", Dtype::F32, &[768, 10]),
            tensor("model.bias", Dtype::F32, &[1, 10]),
        ];
        let findings = check_like(&model(), &actual);
        let codes: Vec<Code> = findings.iter().map(|finding| finding.code).collect();
        assert_eq!(codes, [Code::KeyMissing, Code::KeyUnexpected, Code::DtypeMismatch, Code::ShapeMismatch]);
        assert!(findings[0].message.ends_with("there is 'module.model.weight'"), "{:?}", findings[0]);
        assert!(findings[2].message.ends_with("has the dtype f32, and bf16 is in the reference"));
        assert!(findings[3].message.ends_with("has the shape [1,10], and [10] is in the reference"));
        assert!(findings.iter().all(|finding| finding.verdict == Verdict::Incompatible));
    }

    #[test]
    fn many_differences_are_summed_up() {
        let reference: Vec<_> = (0..100).map(|n| tensor(&format!("x{n}"), Dtype::U8, &[n])).collect();
        let findings = check_like(&reference, &[]);
        assert_eq!(findings.len(), 21);
        assert_eq!(findings[20].message, "80 more tensors of the reference are missing");
        let actual: Vec<_> = (0..100).map(|n| tensor(&format!("x{n}"), Dtype::I8, &[n + 1])).collect();
        assert_eq!(check_like(&reference, &actual).len(), 42);
    }
}
