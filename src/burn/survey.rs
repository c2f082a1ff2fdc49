//! What a module has: its parameters by name.

use std::collections::HashSet;

use burn_core::module::{Module, ModuleVisitor, Param, ParamId};
use burn_core::tensor::backend::Backend;
use burn_core::tensor::{BasicOps, Bool, DType, Int, Tensor, TensorKind};

use crate::Error;
use crate::tensor::{TensorSource, TensorView};

/// A parameter of a module, or a running state.
pub(super) struct Entry {
    /// The fields on the way to it, joined by dots, as burn's own stores name it.
    pub(super) name: String,
    /// What burn's optimizers know it by; new in each module that is made.
    pub(super) id: ParamId,
    /// The type of its elements.
    pub(super) dtype: DType,
    /// The length of each dimension.
    pub(super) shape: Vec<u64>,
    /// The elements, where they were asked for.
    pub(super) view: Option<TensorView<'static>>,
}

/// Lists what a module has, with the elements where asked for. Parameters that burn would make when they are first
/// used are made.
///
/// # Errors
///
/// A tensor can't be had, or two have one name, as those of a module that names none do.
pub(super) fn survey<B: Backend, M: Module<B>>(module: &M, with_elements: bool) -> Result<Vec<Entry>, Error> {
    settle(module);
    let mut visitor = Visitor { with_elements, ..Visitor::default() };
    module.visit(&mut visitor);
    if let Some(error) = visitor.failed {
        return Err(error);
    }
    let mut names = HashSet::new();
    match visitor.entries.iter().find(|entry| !names.insert(entry.name.as_str())) {
        Some(twice) => {
            let message = format!("the module has two parameters called '{}'", twice.name.escape_debug());
            Err(Error::usage(message))
        }
        None => Ok(visitor.entries),
    }
}

/// Takes into account what each thread has added to a running state since it was last used: a visit alone would
/// see the state before. Making a record does that, and its tensors share the module's elements.
pub(super) fn settle<B: Backend, M: Module<B>>(module: &M) {
    // A parameter that isn't there yet would be made in the copy as well, of other random numbers.
    module.visit(&mut Visitor::default());
    drop(module.clone().into_record());
}

/// The path that a walk through a module has come.
#[derive(Default)]
pub(super) struct Path(Vec<String>);

impl Path {
    pub(super) fn enter(&mut self, name: &str) {
        self.0.push(name.to_owned());
    }

    pub(super) fn exit(&mut self) {
        self.0.pop();
    }

    /// Returns the name of what is here.
    pub(super) fn name(&self) -> String {
        self.0.join(".")
    }
}

#[derive(Default)]
struct Visitor {
    with_elements: bool,
    path: Path,
    entries: Vec<Entry>,
    /// The first error: a walk can't be stopped.
    failed: Option<Error>,
}

impl Visitor {
    fn take<B, const D: usize, K>(&mut self, id: ParamId, tensor: &Tensor<B, D, K>)
    where
        B: Backend,
        K: TensorKind<B> + BasicOps<B>,
    {
        let name = self.path.name();
        let view =
            if self.with_elements && self.failed.is_none() { owned(tensor).map(Some) } else { Ok(None) };
        match view {
            Ok(view) => {
                let shape = TensorSource::shape(tensor);
                self.entries.push(Entry { name, id, dtype: tensor.dtype(), shape, view });
            }
            Err(error) => {
                let message = format!("the parameter '{}': {error}", name.escape_debug());
                self.failed = Some(Error::usage(message));
            }
        }
    }
}

/// Copies a tensor.
fn owned<B, const D: usize, K>(tensor: &Tensor<B, D, K>) -> Result<TensorView<'static>, Error>
where
    B: Backend,
    K: TensorKind<B> + BasicOps<B>,
{
    TensorView::new(TensorSource::dtype(tensor)?, TensorSource::shape(tensor), super::tensor::copied(tensor)?)
}

impl<B: Backend> ModuleVisitor<B> for Visitor {
    fn enter_module(&mut self, name: &str, _container: &str) {
        self.path.enter(name);
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.exit();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
        self.take(param.id, &param.val());
    }

    fn visit_int<const D: usize>(&mut self, param: &Param<Tensor<B, D, Int>>) {
        self.take(param.id, &param.val());
    }

    fn visit_bool<const D: usize>(&mut self, param: &Param<Tensor<B, D, Bool>>) {
        self.take(param.id, &param.val());
    }
}
