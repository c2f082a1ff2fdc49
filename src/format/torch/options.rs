/// How a PyTorch file is read.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct ReadOptions {
    /// Globals outside the list that are accepted by their full name (`module.name`), as data. Nothing
    /// is executed; a name that is accepted changes no more than the verdict.
    pub allowed_globals: Vec<String>,
}

impl ReadOptions {
    /// Accepts these globals.
    ///
    /// ```
    /// use ckpt::format::torch::ReadOptions;
    /// let options = ReadOptions::default().with_allowed_globals(["argparse.Namespace".to_owned()]);
    /// assert_eq!(options.allowed_globals, ["argparse.Namespace"]);
    /// ```
    #[must_use]
    pub fn with_allowed_globals(mut self, names: impl IntoIterator<Item = String>) -> Self {
        self.allowed_globals.extend(names);
        self
    }
}
