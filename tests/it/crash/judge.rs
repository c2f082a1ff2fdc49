//! Is what is left the old checkpoint whole, or the new one whole?

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use ckpt::validate::{Look, discover};
use ckpt::{Verdict, VerifyOptions, verify};
use serde_json::Value;

use super::image::{Bytes, Image};
use super::saving::Vouched;

/// A whole file, with what a marker says of it.
#[derive(Clone, Debug)]
pub(super) struct Whole {
    /// The bytes.
    pub(super) bytes: Bytes,
    /// What a marker says. The id is `None` for a file without a proof.
    pub(super) vouched: Vouched,
}

/// What may be left, and what must.
#[derive(Clone, Debug)]
pub(super) struct Law {
    /// The file's name.
    pub(super) name: String,
    /// What was there before; `None` where nothing was.
    pub(super) old: Option<Whole>,
    /// What is saved.
    pub(super) new: Whole,
    /// What was there before the old file; a marker may still name it.
    pub(super) earlier: Vec<Vouched>,
    /// The old file's marker, where it had one: then one must be there at every moment.
    pub(super) old_marker: Option<Bytes>,
    /// Whether a marker is asked for.
    pub(super) marker: bool,
}

/// A directory in which images are laid out, so that `verify` can look at them.
#[derive(Debug)]
pub(super) struct Stage {
    directory: tempfile::TempDir,
    /// What lies there now.
    shown: BTreeMap<OsString, Bytes>,
}

impl Stage {
    /// Makes an empty directory, in memory where there is such a place.
    pub(super) fn new() -> Self {
        let place = ["/dev/shm", "."].into_iter().find(|place| Path::new(place).is_dir()).unwrap();
        Self { directory: tempfile::tempdir_in(place).unwrap(), shown: BTreeMap::new() }
    }

    /// Lays out an image; what is there already stays.
    fn show(&mut self, image: &Image) {
        let gone: Vec<OsString> =
            self.shown.keys().filter(|name| image.get(name).is_none()).cloned().collect();
        for name in gone {
            fs::remove_file(self.directory.path().join(&name)).unwrap();
            self.shown.remove(&name);
        }
        for (name, bytes) in image.files() {
            if self.shown.get(name) != Some(bytes) {
                fs::write(self.directory.path().join(name), &**bytes).unwrap();
                self.shown.insert(name.clone(), Bytes::clone(bytes));
            }
        }
    }
}

impl Vouched {
    /// Returns whether this describes an old file. One that could not be read is described by its size alone.
    fn may_mean(&self, old: &Self) -> bool {
        self.bytes == old.bytes && (self.id.is_none() || self.id == old.id)
    }
}

impl Law {
    /// Returns the name of the marker.
    pub(super) fn marker_name(&self) -> String {
        format!("{}.done", self.name)
    }

    /// Holds an image against the law. `returned` says that the save had returned without an error, and was
    /// asked to be durable.
    pub(super) fn judge(&self, image: &Image, returned: bool, stage: &mut Stage) -> Result<(), String> {
        let file = image.get(&self.name);
        self.judge_file(file, returned)?;
        self.judge_marker(file, image.get(self.marker_name()), returned)?;
        stage.show(image);
        let path = stage.directory.path().join(&self.name);
        judge_discovery(stage.directory.path(), file.map(|_| &*path))?;
        if file.is_some() { self.judge_verdict(&path) } else { Ok(()) }
    }

    fn judge_file(&self, file: Option<&Bytes>, returned: bool) -> Result<(), String> {
        let is = |whole: &Whole| file == Some(&whole.bytes);
        match file {
            _ if is(&self.new) => Ok(()),
            _ if returned => Err("the save had returned, and the new file isn't there".into()),
            None if self.old.is_none() => Ok(()),
            None => Err("the old file is gone, and the new one isn't there".into()),
            Some(_) if self.old.as_ref().is_some_and(is) => Ok(()),
            Some(bytes) => Err(format!("neither the old file nor the new one: {} bytes", bytes.len())),
        }
    }

    /// A marker must be there where the old file had one, and be true.
    fn judge_marker(
        &self,
        file: Option<&Bytes>,
        marker: Option<&Bytes>,
        returned: bool,
    ) -> Result<(), String> {
        let is_new = file == Some(&self.new.bytes);
        let Some(text) = marker else {
            let missing = self.old_marker.is_some() || (returned && self.marker);
            return if missing { Err("the marker is gone".into()) } else { Ok(()) };
        };
        let Some(file) = file else { return Err("a marker without a file".into()) };
        if !is_new && Some(text) == self.old_marker.as_ref() {
            return Ok(());
        }
        let Ok(value) = serde_json::from_slice::<Value>(text) else {
            return Err(format!("a marker that says nothing vouches for a file of {} bytes", file.len()));
        };
        let claims: Vec<Vouched> = claims(&value);
        let new = &self.new.vouched;
        let before = self.old.iter().map(|old| &old.vouched).chain(&self.earlier);
        let is_known = |claim: &Vouched| claim == new || before.clone().any(|old| claim.may_mean(old));
        if let Some(claim) = claims.iter().find(|claim| !is_known(claim)) {
            return Err(format!("the marker vouches for a file that never was: {claim:?}"));
        }
        let is_meant = |claim: &Vouched| match &self.old {
            Some(old) if !is_new => claim.may_mean(&old.vouched),
            _ => claim == new,
        };
        if !claims.iter().any(is_meant) {
            return Err(format!("the marker says {claims:?}, which isn't the file: {} bytes", file.len()));
        }
        if returned && claims.len() > 1 {
            return Err("the save had returned, and the marker still speaks of the old file".into());
        }
        Ok(())
    }

    /// The real `verify` must pass it, and find the marker that was there before.
    fn judge_verdict(&self, path: &Path) -> Result<(), String> {
        let mut options = VerifyOptions::default().with_threads(1);
        options.require_marker = self.old_marker.is_some();
        let report = verify(path, &options);
        if report.verdict == Verdict::Valid { Ok(()) } else { Err(format!("verify: {:?}", report.reason())) }
    }
}

/// Nothing but the file is a checkpoint: no marker, no temporary file.
fn judge_discovery(directory: &Path, file: Option<&Path>) -> Result<(), String> {
    for look in [Look::Contents, Look::Names] {
        let found: Vec<PathBuf> =
            discover([directory], look).candidates.into_iter().map(|candidate| candidate.path).collect();
        if !found.iter().eq(file.iter()) {
            return Err(format!("counted as checkpoints: {found:?}"));
        }
    }
    Ok(())
}

/// Returns all that a marker says.
fn claims(marker: &Value) -> Vec<Vouched> {
    let id = marker["proof"].as_str().map(str::to_owned);
    let claim = marker["bytes"].as_u64().map(|bytes| Vouched { bytes, id });
    let or = marker.get("or").map(claims).unwrap_or_default();
    claim.into_iter().chain(or).collect()
}
