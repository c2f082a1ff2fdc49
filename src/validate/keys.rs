//! Level 4: the required keys are there, and the version is one that can be read.

use super::VerifyOptions;
use super::contents::Contents;
use super::requirement::{KeyEntry, check_like, check_requirements};
use crate::record::{Code, Finding, Level};

/// The newest major version of the checkpoint layout that this library reads.
const SUPPORTED_MAJOR: u64 = 1;

pub(super) fn check(contents: &Contents, options: &VerifyOptions) -> Vec<Finding> {
    let mut findings = Vec::new();
    if contents.tagged || options.compat {
        findings.extend(check_version(contents.version.as_deref()));
        findings.extend(check_status(contents.status.as_deref()));
    }
    if !options.requirements.is_empty() && !contents.is_map {
        let message = "keys are asked for, and the checkpoint's top level is no map";
        findings.push(Finding::incompatible(Code::NotAMap, Level::Keys, message));
        return findings;
    }
    let keys: Vec<KeyEntry<'_>> = contents
        .keys
        .iter()
        .map(|(path, tensor)| KeyEntry { path, tensor: tensor.and_then(|at| contents.tensors.get(at)) })
        .collect();
    findings.extend(check_requirements(&options.requirements, &keys));
    if let Some(reference) = &options.like {
        findings.extend(check_like(reference, &contents.tensors));
    }
    findings
}

/// No version is `0.x`, which is fine; a newer major one can mean anything.
fn check_version(version: Option<&str>) -> Option<Finding> {
    let Some(version) = version else {
        let message = "there is no version field: taken as version 0.x";
        return Some(Finding::note(Code::VersionMissing, Level::Keys, message));
    };
    let major = version.split('.').next().and_then(|major| major.trim().parse::<u64>().ok());
    let message = match major {
        Some(0..=SUPPORTED_MAJOR) => return None,
        Some(_) => format!(
            "the checkpoint is of version {}, and versions up to {SUPPORTED_MAJOR}.x are known: upgrade ckpt to read it",
            version.escape_debug()
        ),
        None => format!("the version field is no version: '{}'", version.escape_debug()),
    };
    Some(Finding::incompatible(Code::VersionTooNew, Level::Keys, message).at_key("version"))
}

fn check_status(status: Option<&str>) -> Option<Finding> {
    (status == Some("in_progress")).then(|| {
        let message = "the checkpoint says of itself that it isn't finished";
        Finding::note(Code::InProgress, Level::Keys, message).at_key("status")
    })
}
