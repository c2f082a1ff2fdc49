use std::path::PathBuf;

/// A stage as the program describes it. A name alone is one: `"extract"`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stage {
    /// Its name.
    pub name: String,
    /// Whether it is finished only when somebody has looked at it and approved it.
    pub review: bool,
    /// The command that does it. Where it was done by another one, it is done anew.
    pub command: Option<Vec<String>>,
    /// What it reads. Where that has changed since the stage was done, or another input was named, it is done anew.
    pub inputs: Vec<PathBuf>,
    /// What it leaves. Where it didn't leave that when it was done, it is done anew.
    pub outputs: Vec<PathBuf>,
}

impl Stage {
    /// Describes a stage by its name alone.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), review: false, command: None, inputs: Vec::new(), outputs: Vec::new() }
    }

    /// Asks for a review: when its work is done, the pipeline is paused until
    /// [`Pipeline::approve`](super::Pipeline::approve).
    #[must_use]
    pub fn with_review(mut self) -> Self {
        self.review = true;
        self
    }

    /// Says by which command it is done, word by word.
    #[must_use]
    pub fn with_command<T: Into<String>>(mut self, command: impl IntoIterator<Item = T>) -> Self {
        self.command = Some(command.into_iter().map(Into::into).collect());
        self
    }

    /// Says that it reads a file, or a directory of files.
    #[must_use]
    pub fn with_input(mut self, path: impl Into<PathBuf>) -> Self {
        self.inputs.push(path.into());
        self
    }

    /// Says that it leaves a file, or a directory of files.
    #[must_use]
    pub fn with_output(mut self, path: impl Into<PathBuf>) -> Self {
        self.outputs.push(path.into());
        self
    }
}

impl From<&str> for Stage {
    fn from(name: &str) -> Self {
        Self::new(name)
    }
}

impl From<String> for Stage {
    fn from(name: String) -> Self {
        Self::new(name)
    }
}

/// That somebody has looked at a stage and lets the pipeline go on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Approval {
    /// Who.
    pub by: Option<String>,
    /// What they say about it.
    pub note: Option<String>,
}

impl Approval {
    /// Says who approves.
    #[must_use]
    pub fn by(mut self, who: impl Into<String>) -> Self {
        self.by = Some(who.into());
        self
    }

    /// Adds what they say about it.
    #[must_use]
    pub fn with_note(mut self, note: impl Into<String>) -> Self {
        self.note = Some(note.into());
        self
    }
}
