use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::directory::is_managed;
use super::{managed, names, sharded};
use crate::error::Error;
use crate::format::hugging_face::{Role, is_trainer_directory};
use crate::record::{Manifest, Marker, Seal};

/// The files that a checkpoint consists of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Parts {
    /// The files, in an order in which they may be written: what makes the others a checkpoint (an index, the
    /// state of a Trainer, a manifest) comes last. Completion markers and seals are left out: they belong to their file.
    pub files: Vec<Part>,
    /// What a checkpoint's directory holds beside them and isn't looked at: directories, devices.
    pub others: Vec<PathBuf>,
}

/// A file of a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Where it is.
    pub path: PathBuf,
    /// Whether it holds tensors or other state in one of the formats that are verified; if not, it is JSON, a
    /// tokenizer, a model card.
    pub is_state: bool,
}

/// Lists the files of the checkpoint at `path`: the file itself; a shard index and its shards; or what is in
/// the directory of a Hugging Face Trainer or of a managed checkpoint.
///
/// # Errors
///
/// The path can't be read, the index is damaged, or the directory as a whole is no checkpoint.
///
/// ```
/// # let directory = tempfile::tempdir()?;
/// # let path = directory.path().join("last.pt");
/// # std::fs::write(&path, b"")?;
/// let parts = ckpt::validate::parts(&path)?;
/// assert_eq!(parts.files[0].path, path);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn parts(path: &Path) -> Result<Parts, Error> {
    let metadata = fs::metadata(path).map_err(|error| Error::io(path, "look at it", error))?;
    if metadata.is_dir() {
        return directory(path);
    }
    let mut files = Vec::new();
    if names::is_shard_index(path) {
        let index = sharded::read(path).map_err(|finding| Error::found(path, *finding))?;
        let place = path.parent().unwrap_or(Path::new(""));
        files.extend(index.shards.iter().map(|name| Part { path: place.join(name), is_state: true }));
        files.push(Part { path: path.to_owned(), is_state: false });
    } else {
        files.push(Part { path: path.to_owned(), is_state: true });
    }
    Ok(Parts { files, others: Vec::new() })
}

/// Lists a directory that is one checkpoint.
fn directory(path: &Path) -> Result<Parts, Error> {
    let (mut names, mut parts) = (Vec::new(), Parts::default());
    let failed = |error: io::Error| Error::io(path, "list the directory", error);
    for entry in fs::read_dir(path).map_err(failed)? {
        let name = entry.map_err(failed)?.file_name();
        if is_companion(&name) {
            continue;
        }
        match fs::metadata(path.join(&name)) {
            Ok(metadata) if metadata.is_file() => names.push(name),
            _ => parts.others.push(path.join(name)),
        }
    }
    let texts: Vec<String> = names.iter().map(|name| name.to_string_lossy().into_owned()).collect();
    let has_manifest = texts.iter().any(|name| name == Manifest::NAME);
    if is_managed(path, has_manifest) {
        parts.files = managed_parts(path, names);
        parts.others.sort();
        return Ok(parts);
    }
    if !is_trainer_directory(&texts) {
        return Err(Error::usage(
            "the directory as a whole is no checkpoint: name the files, or the shard index, in it",
        )
        .at(path));
    }
    names.sort_by_cached_key(|name| (rank(role(name)), name.clone()));
    parts.files = names.into_iter().map(|name| part(path, name)).collect();
    parts.others.sort();
    Ok(parts)
}

/// Takes up the files of a managed checkpoint: its artifacts in the manifest's order, what somebody put there
/// later, and the manifest. Where that can't be read, nothing says what the others are.
fn managed_parts(directory: &Path, mut names: Vec<OsString>) -> Vec<Part> {
    let artifacts = managed::read(directory).map_or_else(|_| Vec::new(), |manifest| manifest.artifacts);
    let place = |name: &OsStr| artifacts.iter().position(|artifact| name == artifact.name.as_str());
    let rank = |name: &OsStr| place(name).unwrap_or(artifacts.len());
    names.sort_by_cached_key(|name| (name == Manifest::NAME, rank(name), name.clone()));
    let is_state = |name: &OsStr| place(name).and_then(|at| artifacts.get(at)).is_some_and(|one| one.proven);
    names.into_iter().map(|name| Part { is_state: is_state(&name), path: directory.join(name) }).collect()
}

/// Takes up a file of a Trainer's directory.
fn part(directory: &Path, name: OsString) -> Part {
    let plain = matches!(role(&name), Role::WeightsIndex | Role::TrainerState | Role::Engine | Role::Other);
    Part { path: directory.join(name), is_state: !plain }
}

/// Returns what a file is for; its name is plain text if it is for anything.
fn role(name: &OsStr) -> Role {
    name.to_str().map_or(Role::Other, Role::of)
}

/// Returns the place in the order of writing: the Trainer itself writes its state last.
fn rank(role: Role) -> u8 {
    match role {
        Role::TrainerState => 2,
        Role::WeightsIndex => 1,
        _ => 0,
    }
}

/// Returns whether a file says something about another.
fn is_companion(name: &OsStr) -> bool {
    let name = name.as_encoded_bytes();
    name.ends_with(Marker::SUFFIX.as_bytes()) || name.ends_with(Seal::SUFFIX.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    fn place(files: &[(&str, &str)]) -> tempfile::TempDir {
        let place = tempfile::tempdir().unwrap();
        for (name, text) in files {
            fs::write(place.path().join(name), text).unwrap();
        }
        place
    }

    fn names(parts: &Parts) -> Vec<(String, bool)> {
        let name = |part: &Part| part.path.file_name().unwrap().to_str().unwrap().to_owned();
        parts.files.iter().map(|part| (name(part), part.is_state)).collect()
    }

    #[test]
    fn an_index_comes_behind_its_shards() {
        let index = r#"{"weight_map": {"a": "b.safetensors", "b": "a.safetensors"}}"#;
        let place = place(&[("model.safetensors.index.json", index)]);
        let parts = parts(&place.path().join("model.safetensors.index.json")).unwrap();
        let expected =
            [("b.safetensors", true), ("a.safetensors", true), ("model.safetensors.index.json", false)];
        assert_eq!(names(&parts), expected.map(|(name, is_state)| (name.to_owned(), is_state)));
    }

    #[test]
    fn a_trainers_state_comes_last_and_markers_belong_to_their_files() {
        let place = place(&[
            ("trainer_state.json", ""),
            ("optimizer.pt", ""),
            ("optimizer.pt.done", ""),
            ("model.safetensors.index.json", ""),
            ("tokenizer.json", ""),
            ("training_args.bin", ""),
        ]);
        fs::create_dir(place.path().join("global_step5")).unwrap();
        let parts = parts(place.path()).unwrap();
        let expected = [
            ("optimizer.pt", true),
            ("tokenizer.json", false),
            ("training_args.bin", true),
            ("model.safetensors.index.json", false),
            ("trainer_state.json", false),
        ];
        assert_eq!(names(&parts), expected.map(|(name, is_state)| (name.to_owned(), is_state)));
        assert_eq!(parts.others, [place.path().join("global_step5")]);
    }

    #[test]
    fn what_is_no_checkpoint_has_no_parts() {
        let place = place(&[("a.pt", ""), ("x.index.json", "{")]);
        assert_eq!(parts(place.path()).unwrap_err().kind(), ErrorKind::Usage);
        assert_eq!(parts(&place.path().join("gone")).unwrap_err().kind(), ErrorKind::Io);
        assert_eq!(parts(&place.path().join("x.index.json")).unwrap_err().kind(), ErrorKind::Corrupted);
    }
}
