//! Proves a checkpoint good.
//!
//! A training job of days dies, and the file it must resume from is short, silently damaged, or of
//! another version. [`verify`] reads a checkpoint the way its framework would, executes nothing of
//! it, holds every byte that has a checksum against that checksum, and says which of four things is
//! true: it is [`Valid`](Verdict::Valid), [`Corrupted`](Verdict::Corrupted),
//! [`Incompatible`](Verdict::Incompatible), or [`Unreadable`](Verdict::Unreadable).
//!
//! ```
//! # let directory = tempfile::tempdir()?;
//! # let path = directory.path().join("model.safetensors");
//! # std::fs::write(&path, b"\x02\0\0\0\0\0\0\0{}")?;
//! use ckpt::{VerifyOptions, Verdict, verify};
//!
//! let report = verify(&path, &VerifyOptions::default());
//! assert_eq!(report.verdict, Verdict::Valid);
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! The layers, lowest first (`ARCHITECTURE.md` has the reasons, a test holds the order):
//! [`record`] and the other words, [`tensor`] and [`io`], [`mod@format`], [`validate`], [`mod@save`],
//! [`manager`], [`pipeline`] and [`features`].
//! Nothing in the library prints, reads an environment variable, or executes a pickle.

#![cfg_attr(
    test,
    allow(clippy::disallowed_methods, reason = "unit tests make and damage files of their own")
)]

pub mod digest;
pub mod dtype;
pub mod error;
pub mod record;

pub mod io;
pub mod tensor;

pub mod format;
#[cfg(feature = "tch")]
pub mod tch;

#[cfg(feature = "candle")]
pub mod candle;

#[cfg(feature = "burn")]
pub mod burn;

pub mod validate;

pub mod save;

pub mod manager;

pub mod features;
pub mod pipeline;

#[cfg(feature = "cli")]
pub mod cli;

pub use dtype::Dtype;
pub use error::{Error, ErrorKind};
pub use record::{Code, Finding, Integrity, Level, Place, Report, Verdict};
pub use save::{Access, LoadOptions, SaveOptions, Saved, load, load_into, save};
pub use tensor::State;
pub use validate::{VerifyOptions, verify};

/// The examples of `README.md`, which are run as documentation tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
