//! Why a structure can't be used.

use std::fmt;

use crate::record::{Code, Finding, Level};

/// What a step makes, or why the structure can't be used.
pub(super) type Step<T = ()> = Result<T, Box<Finding>>;

/// Says that the structure contradicts itself or the header.
pub(super) fn damaged<T>(message: impl fmt::Display) -> Step<T> {
    Err(fault(Code::HeaderMalformed, message))
}

/// Makes the finding of a contradiction.
pub(super) fn fault(code: Code, message: impl fmt::Display) -> Box<Finding> {
    Box::new(Finding::corrupted(code, Level::Load, format!("the structure is wrong: {message}")))
}

/// Says that the structure is beyond a limit.
pub(super) fn too_complex<T>(message: impl fmt::Display) -> Step<T> {
    let message = format!("the structure: {message}");
    Err(Box::new(Finding::incompatible(Code::TooComplex, Level::Load, message)))
}
