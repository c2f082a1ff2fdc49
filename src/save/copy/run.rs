use std::path::{Path, PathBuf};
use std::time::Instant;

use super::plan::{Plan, plan};
use super::{CopyOptions, file};
use crate::Error;
use crate::digest::Digest;
use crate::io::commit::{Disk, LocalDisk, remove_durably};
use crate::record::{COPY_SCHEMA, Copied, CopiedFile, Finding, Marker, Report, Seal, Verdict};
use crate::save::names::beside;
use crate::save::stamp::stamp;
use crate::validate::verify;

/// Copies a checkpoint: byte for byte, verified before, read back after.
///
/// The source is a file, a shard index, or the directory of a Hugging Face Trainer or of a managed checkpoint; the
/// destination a new file, or an existing directory. An existing file is replaced in one step. Completion marker and seal are
/// copied as well, and never vouch for bytes that they weren't made for. Of a checkpoint of several files
/// the one that makes it a checkpoint comes last; it replaces nothing, because that can't be done in one step.
///
/// # Errors
///
/// The source is corrupted, changed meanwhile, or can't be read; something is in the way; the copy can't be
/// written or read back. The destination is as it was then.
///
/// ```
/// # let directory = tempfile::tempdir()?;
/// # let (source, destination) = (directory.path().join("last.safetensors"), directory.path().join("best.safetensors"));
/// # std::fs::write(&source, b"\x02\0\0\0\0\0\0\0{}")?;
/// use ckpt::save::{CopyOptions, copy};
///
/// let copied = copy(&source, &destination, &CopyOptions::default())?;
/// assert_eq!(copied.bytes, 10);
/// assert_eq!(std::fs::read(source)?, std::fs::read(destination)?);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn copy(source: &Path, destination: &Path, options: &CopyOptions) -> Result<Copied, Error> {
    let copying = Copying::plan(source, destination, options)?.verify(options);
    match copying.refusal() {
        Some(finding) => Err(Error::found(source, finding.clone())),
        None => copying.run(options),
    }
}

/// A copy in its steps, for those who show the first one's report: [`Copying::plan`], [`Copying::verify`],
/// [`Copying::run`].
#[derive(Debug)]
pub struct Copying {
    source: PathBuf,
    plan: Plan,
    /// The state of the source before it was verified.
    stamp: Option<Digest>,
    report: Option<Report>,
    began: Instant,
}

impl Copying {
    /// Decides what goes where; nothing is read but an index, and nothing is written.
    ///
    /// # Errors
    ///
    /// The source is no checkpoint, source and destination are one file, or something is in the way.
    pub fn plan(source: &Path, destination: &Path, options: &CopyOptions) -> Result<Self, Error> {
        let began = Instant::now();
        let plan = plan(source, destination, options.overwrite)?;
        Ok(Self { source: source.to_owned(), plan, stamp: None, report: None, began })
    }

    /// Verifies the source.
    #[must_use]
    pub fn verify(mut self, options: &CopyOptions) -> Self {
        self.stamp = stamp(&self.source).ok();
        self.report = Some(verify(&self.source, &options.verify));
        self
    }

    /// Returns the size of the source's files, in bytes.
    pub fn bytes(&self) -> u64 {
        let sizes = self.plan.files.iter().filter_map(|(from, _)| Some(from.metadata().ok()?.len()));
        sizes.fold(0, u64::saturating_add)
    }

    /// Returns why the source is not to be copied, if it isn't: it is damaged, or couldn't be read. What is
    /// merely of no use here is copied as it is.
    pub fn refusal(&self) -> Option<&Finding> {
        let report = self.report.as_ref()?;
        matches!(report.verdict, Verdict::Corrupted | Verdict::Unreadable).then(|| report.reason()).flatten()
    }

    /// Says what would be copied, and that nothing was.
    pub fn refused(self) -> Option<Copied> {
        let report = self.report.clone()?;
        Some(self.copied(report, Vec::new()))
    }

    /// Copies. On an error, nothing of a copy is left.
    ///
    /// # Errors
    ///
    /// See [`copy`].
    pub fn run(mut self, options: &CopyOptions) -> Result<Copied, Error> {
        let Some(report) = self.report.take() else {
            return Err(Error::usage("the source has to be verified first").at(self.source));
        };
        let disk = &LocalDisk;
        if let Some(directory) = &self.plan.new_directory {
            make(disk, directory)?;
        }
        let mut files = Vec::new();
        for (from, to) in &self.plan.files {
            let is_last = files.len() + 1 == self.plan.files.len();
            let is_unchanged = || !is_last || stamp(&self.source).ok() == self.stamp;
            match file::copy(disk, (from, to), options, is_unchanged) {
                Ok(file) => files.push(file),
                Err(error) => {
                    remove(disk, &files, self.plan.new_directory.as_deref());
                    return Err(error);
                }
            }
        }
        Ok(self.copied(report, files))
    }

    fn copied(self, report: Report, files: Vec<CopiedFile>) -> Copied {
        Copied {
            schema: COPY_SCHEMA.to_owned(),
            source: self.source,
            destination: self.plan.destination,
            report,
            bytes: files.iter().fold(0, |sum, file| sum.saturating_add(file.bytes)),
            files,
            elapsed_ms: u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX),
        }
    }
}

/// Makes a directory, durably.
fn make(disk: &dyn Disk, directory: &Path) -> Result<(), Error> {
    std::fs::create_dir(directory).map_err(|error| Error::io(directory, "make the directory", error))?;
    let parent = directory.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    disk.sync_directory(parent).map_err(|error| Error::io(parent, "make the new directory durable", error))
}

/// Removes what was copied of several files, which replaced nothing. What can't be removed is left: the error
/// that is under way says more.
fn remove(disk: &dyn Disk, files: &[CopiedFile], directory: Option<&Path>) {
    for file in files.iter().rev() {
        let to = &file.destination;
        let marker = file.marker.then(|| beside(to, Marker::SUFFIX));
        let seal = file.seal.then(|| beside(to, Seal::SUFFIX));
        // The marker goes first: it says that the file is finished.
        for path in marker.into_iter().chain(seal).chain([to.clone()]) {
            drop(remove_durably(disk, &path));
        }
    }
    if let Some(directory) = directory {
        drop(std::fs::remove_dir(directory));
    }
}
