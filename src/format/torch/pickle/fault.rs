/// The most that a fault's message repeats of the file.
const MAX_MESSAGE_BYTES: usize = 400;

/// Why a pickle can't be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message} (pickle offset {offset})")]
pub struct Fault {
    /// The kind of fault.
    pub kind: FaultKind,
    /// What is wrong, in words.
    pub message: String,
    /// Where in the pickle, in bytes.
    pub offset: u64,
    /// Globals outside the list that it had asked for until then.
    pub unknown_globals: Vec<String>,
}

/// The kinds of [`Fault`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FaultKind {
    /// The bytes end before the pickle does.
    Truncated,
    /// The bytes are no pickle that makes sense.
    Invalid,
    /// A tensor reaches outside its storage, or a storage is used in two ways.
    Tensor,
    /// Well-formed, but a limit of this reader is exceeded.
    TooComplex,
    /// Well-formed, but with something that no file can carry: out-of-band buffers, registered codes.
    Unsupported,
}

/// A fault without its place: the machine adds that.
#[derive(Debug)]
pub(super) struct Wrong(pub(super) FaultKind, pub(super) String);

/// What a step of the machine gives.
pub(super) type Step<T = ()> = Result<T, Wrong>;

/// The bytes make no sense as a pickle of a checkpoint.
pub(super) fn invalid<T>(message: impl Into<String>) -> Step<T> {
    Err(Wrong(FaultKind::Invalid, message.into()))
}

/// A tensor or a storage contradicts itself.
pub(super) fn tensor<T>(message: impl Into<String>) -> Step<T> {
    Err(Wrong(FaultKind::Tensor, message.into()))
}

/// A limit was reached. The limits protect this reader, and no honest file comes near them.
pub(super) fn too_complex<T>(message: impl Into<String>) -> Step<T> {
    Err(Wrong(FaultKind::TooComplex, message.into()))
}

/// What the pickle asks for can't be in any file.
pub(super) fn unsupported<T>(message: impl Into<String>) -> Step<T> {
    Err(Wrong(FaultKind::Unsupported, message.into()))
}

/// The bytes end within `what`.
pub(super) fn truncated(what: &str) -> Wrong {
    Wrong(FaultKind::Truncated, format!("the pickle ends within {what}"))
}

/// Returns a message as a terminal may show it: names in it come from the file, at any length and with
/// any characters.
pub(super) fn plain(message: &str) -> String {
    let end = message.floor_char_boundary(MAX_MESSAGE_BYTES);
    let mut plain = String::with_capacity(end);
    for character in message.get(..end).unwrap_or_default().chars() {
        if character.is_control() {
            plain.extend(character.escape_debug());
        } else {
            plain.push(character);
        }
    }
    if end < message.len() {
        plain.push('…');
    }
    plain
}
