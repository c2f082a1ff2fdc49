use std::io::Write as _;

/// Prints that a save failed, for a process in which nobody has asked. Where even that fails, nobody can be told.
pub(crate) fn say(text: &str) {
    drop(writeln!(std::io::stderr(), "ckpt: {text}"));
}
