use std::collections::HashSet;
use std::path::{Component, Path};

use crate::format::Flaw;
use crate::record::{Code, Finding, Level, Manifest, ManifestError, quoted};

/// How much of a file's beginning tells a manifest: its first two fields.
const HEAD_BYTES: usize = 256;

/// Returns whether a file named `manifest.json` begins like a checkpoint's. Web pages and browser extensions have
/// files of that name as well.
pub fn looks_like_manifest(head: &[u8]) -> bool {
    let head = String::from_utf8_lossy(head.get(..HEAD_BYTES).unwrap_or(head));
    head.trim_start().starts_with('{') && head.contains("\"layout\"") && head.contains("\"digest\"")
}

/// Reads a manifest's text, and looks at the names in it: each is that of one file in the directory.
///
/// # Errors
///
/// A damaged manifest is `corrupted`; one of a later layout, or with names that can't be, is `incompatible`.
///
/// ```
/// use ckpt::format::managed::read_manifest;
/// use ckpt::record::{CheckpointId, Manifest};
/// let manifest = Manifest::new(CheckpointId { generation: 0, step: 1200 });
/// assert!(read_manifest(manifest.encode().as_bytes()).is_ok());
/// assert!(read_manifest(b"{}").is_err());
/// ```
pub fn read_manifest(text: &[u8]) -> Result<Manifest, Flaw> {
    let manifest = Manifest::parse(text).map_err(unreadable)?;
    let mut names = HashSet::new();
    for name in manifest.artifacts.iter().map(|artifact| artifact.name.as_str()) {
        if !is_file_name(name) || name == Manifest::NAME {
            return Err(unusable(format!(
                "the manifest lists {}, which is no artifact's name",
                quoted(name)
            )));
        }
        if !names.insert(name) {
            return Err(unusable(format!("the manifest lists {} twice", quoted(name))));
        }
    }
    Ok(manifest)
}

/// The finding for a text that is no manifest.
fn unreadable(error: ManifestError) -> Flaw {
    let message = error.to_string();
    Flaw::from(match error {
        ManifestError::Newer(_) => Finding::incompatible(Code::VersionTooNew, Level::Size, message),
        ManifestError::Damaged(_) => Finding::corrupted(Code::IndexMalformed, Level::Size, message),
    })
}

/// The finding for a manifest that is as it was written, and makes no sense.
fn unusable(message: String) -> Flaw {
    Flaw::from(Finding::incompatible(Code::IndexMalformed, Level::Size, message))
}

/// Returns whether a name leads to a file of the directory itself, and nowhere else.
fn is_file_name(name: &str) -> bool {
    let mut components = Path::new(name).components();
    let is_plain = matches!(components.next(), Some(Component::Normal(_))) && components.next().is_none();
    is_plain && !name.contains(['/', '\\', ':', '\0'])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Artifact, CheckpointId, Verdict};

    fn manifest(names: &[&str]) -> Manifest {
        let mut manifest = Manifest::new(CheckpointId { generation: 0, step: 7 });
        manifest.artifacts = names.iter().map(|name| Artifact::new(*name, 0, "")).collect();
        manifest
    }

    fn found(text: &[u8]) -> (Verdict, Code) {
        match read_manifest(text) {
            Err(Flaw::Found(finding)) => (finding.verdict, finding.code),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_manifest_is_told_by_its_first_fields() {
        let text = manifest(&["a"]).encode();
        assert!(looks_like_manifest(text.as_bytes()));
        assert!(looks_like_manifest(&text.as_bytes()[..100]));
        for other in [&b"{\"name\": \"app\", \"icons\": []}"[..], b"", b"\xff\xfe", b"layout digest"] {
            assert!(!looks_like_manifest(other));
        }
    }

    #[test]
    fn a_name_leads_nowhere_else() {
        assert!(read_manifest(manifest(&["state.pt", "a b.json", "..."]).encode().as_bytes()).is_ok());
        let wrong: [&[&str]; 9] = [
            &[""],
            &[".."],
            &["../a"],
            &["/a"],
            &["a/b"],
            &["a/"],
            &["a\\b"],
            &["manifest.json"],
            &["a", "a"],
        ];
        for names in wrong {
            let expected = (Verdict::Incompatible, Code::IndexMalformed);
            assert_eq!(found(manifest(names).encode().as_bytes()), expected, "{names:?}");
        }
    }

    #[test]
    fn damage_and_age_are_told_apart() {
        let text = manifest(&["a"]).encode().replace("\"a\"", "\"b\"");
        assert_eq!(found(text.as_bytes()), (Verdict::Corrupted, Code::IndexMalformed));
        assert_eq!(found(b"{\"layout\": 9}"), (Verdict::Incompatible, Code::VersionTooNew));
    }
}
