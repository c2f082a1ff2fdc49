/// How a PyTorch file is read.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct ReadOptions {
    /// Globals outside the list that are accepted by their full name (`module.name`), as data. Nothing
    /// is executed; a name that is accepted changes no more than the verdict.
    pub allowed_globals: Vec<String>,
    /// Whether lists of nothing but floats come as one [`Node::Floats`](crate::tensor::Node), where pickling wrote them as it does:
    /// eight bytes a float, where a list has forty. Default: false.
    pub packed_floats: bool,
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

    /// Has lists of nothing but floats come as one node.
    ///
    /// ```
    /// use ckpt::format::torch::{ReadOptions, pickle::read};
    /// use ckpt::tensor::Node;
    ///
    /// let pickled = b"\x80\x02](G?\xe0\0\0\0\0\0\0G\xbf\xf0\0\0\0\0\0\0e.";
    /// let pickle = read(pickled, &ReadOptions::default().with_packed_floats())?;
    /// assert_eq!(pickle.tree.node(pickle.tree.root()), &Node::Floats(vec![0.5, -1.0]));
    /// # Ok::<(), ckpt::format::torch::pickle::Fault>(())
    /// ```
    #[must_use]
    pub fn with_packed_floats(mut self) -> Self {
        self.packed_floats = true;
        self
    }
}
