//! The fields `version` and `status` at the top of a checkpoint.

use super::contents::Contents;
use crate::record::{Code, Finding, Level};

/// The newest major version of the checkpoint layout that this library reads.
const SUPPORTED_MAJOR: u64 = 1;

/// Looks at both fields. They mean something only where ckpt wrote them, or where a caller says so
/// (`compat`), who then also wants to hear that there is no version.
pub(super) fn check(contents: &Contents, compat: bool) -> Vec<Finding> {
    let version = check_version(contents.version.as_deref());
    let version = version.filter(|finding| compat || finding.code != Code::VersionMissing);
    version.into_iter().chain(check_status(contents.status.as_deref())).collect()
}

/// Judges the field `version` of a checkpoint. None is `0.x`, which is fine and noted; a newer major one can mean
/// anything.
///
/// ```
/// use ckpt::validate::check_version;
/// assert!(check_version(Some("1.7")).is_none());
/// assert!(check_version(Some("2.0")).is_some_and(|finding| finding.message.contains("upgrade")));
/// ```
pub fn check_version(version: Option<&str>) -> Option<Finding> {
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

/// A checkpoint that was saved in stages says so until the last one.
fn check_status(status: Option<&str>) -> Option<Finding> {
    (status == Some("in_progress")).then(|| {
        let message = "the checkpoint says of itself that it isn't finished";
        Finding::note(Code::InProgress, Level::Keys, message).at_key("status")
    })
}
