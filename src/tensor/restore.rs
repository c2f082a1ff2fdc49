//! What a state has to do with the tensors that a model has.

use std::collections::HashMap;

use super::{State, TensorRef};
use crate::record::{Code, Finding, Level, quoted};
use crate::{Dtype, Error};

/// How many names a message has.
const NAMES_SHOWN: usize = 3;

/// A tensor that a model has, and wants the elements of.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// The name, without what stands for the model as a whole.
    pub name: String,
    /// The type of its elements.
    pub dtype: Dtype,
    /// The length of each dimension.
    pub shape: Vec<u64>,
}

/// What may differ between a state and the model that it is restored to. By default nothing may.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RestoreOptions {
    /// Whether tensors of the model may be missing in the state: they stay as they are.
    pub allow_missing: bool,
    /// Whether the state may have tensors that the model hasn't: they are left.
    pub allow_unexpected: bool,
    /// Whether elements are converted to the model's dtype.
    pub cast: bool,
}

impl RestoreOptions {
    /// Restores what is on both sides, and leaves the rest.
    #[must_use]
    pub fn with_partial(mut self) -> Self {
        self.allow_missing = true;
        self.allow_unexpected = true;
        self
    }

    /// Converts elements to the model's dtype.
    #[must_use]
    pub fn with_cast(mut self) -> Self {
        self.cast = true;
        self
    }
}

/// What was restored, and what wasn't.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Restored {
    /// The names of the tensors that got their elements.
    pub restored: Vec<String>,
    /// Those among them whose elements were converted, from and to which dtype.
    pub cast: Vec<(String, Dtype, Dtype)>,
    /// The tensors of the model that the state hasn't.
    pub missing: Vec<String>,
    /// The tensors of the state that the model hasn't.
    pub unexpected: Vec<String>,
}

/// The tensors of a state that belong to those of a model, in the model's order.
#[derive(Debug)]
pub struct Matched<'s> {
    /// For each wanted tensor the one of the state; none where it is missing.
    pub tensors: Vec<Option<TensorRef<'s>>>,
    /// What will have been restored when all of them are applied.
    pub report: Restored,
}

/// Finds the tensors of a model in a state, and holds names, shapes and dtypes against one another, so that
/// nothing is touched where anything differs.
///
/// `prefix` is the path of the map that they are in, such as `model`; empty for the top level. At the top level
/// tensors inside of other values aren't the model's.
///
/// ```
/// use ckpt::tensor::{RestoreOptions, TensorView, Value, Wanted, match_tensors};
/// use ckpt::{Dtype, State};
///
/// let mut state = State::new();
/// let weight = TensorView::new(Dtype::F32, [1], vec![0, 0, 128, 63])?;
/// state.insert("model", Value::from_iter([("layer.weight", weight.into())]))?;
///
/// let wanted = Wanted { name: "layer.weight".into(), dtype: Dtype::F32, shape: vec![1] };
/// let matched = match_tensors(&state, "model", &[wanted], RestoreOptions::default())?;
/// assert_eq!(matched.report.restored, ["layer.weight"]);
/// # Ok::<(), ckpt::Error>(())
/// ```
///
/// # Errors
///
/// A tensor is missing, unexpected, or of another shape or dtype, and the options don't allow that. The message
/// names the first ones, and how many there are.
pub fn match_tensors<'s>(
    state: &'s State<'s>,
    prefix: &str,
    wanted: &[Wanted],
    options: RestoreOptions,
) -> Result<Matched<'s>, Error> {
    let inside = if prefix.is_empty() { String::new() } else { format!("{prefix}.") };
    let mut there: HashMap<String, TensorRef<'s>> = HashMap::new();
    let mut order = Vec::new();
    for tensor in state.tensors()? {
        if let Some(name) = tensor.name().strip_prefix(&inside).map(str::to_owned) {
            order.push(name.clone());
            there.insert(name, tensor);
        }
    }
    let mut report = Restored::default();
    let mut unfit = Unfit::default();
    let mut tensors = Vec::with_capacity(wanted.len());
    for one in wanted {
        let found = there.remove(&one.name);
        match &found {
            None => report.missing.push(one.name.clone()),
            Some(tensor) => fit(one, tensor, options, &mut report, &mut unfit),
        }
        tensors.push(found);
    }
    report.unexpected = order.into_iter().filter(|name| there.contains_key(name)).collect();
    unfit.refuse()?;
    if !options.allow_missing {
        refuse(Code::KeyMissing, "the state hasn't", &report.missing)?;
    }
    if !options.allow_unexpected {
        refuse(Code::KeyMissing, "the model hasn't", &report.unexpected)?;
    }
    Ok(Matched { tensors, report })
}

/// The tensors of another shape or dtype, each with what differs.
#[derive(Default)]
struct Unfit(Vec<(Code, String, String)>);

impl Unfit {
    fn refuse(self) -> Result<(), Error> {
        let count = self.0.len();
        let Some((code, name, message)) = self.0.into_iter().next() else { return Ok(()) };
        let more = if count > 1 { format!("; {} more differ", count - 1) } else { String::new() };
        Err(Error::of(Finding::incompatible(code, Level::Keys, message + &more).at_tensor(name)))
    }
}

/// Holds one tensor against another.
fn fit(
    wanted: &Wanted,
    found: &TensorRef<'_>,
    options: RestoreOptions,
    report: &mut Restored,
    unfit: &mut Unfit,
) {
    let (name, has, wants) = (&wanted.name, found.dtype(), wanted.dtype);
    if found.shape() != wanted.shape {
        let message =
            format!("the state has the shape {:?}, and the model {:?}", found.shape(), wanted.shape);
        unfit.0.push((Code::ShapeMismatch, name.clone(), message));
    } else if has == wants {
        report.restored.push(name.clone());
    } else if options.cast {
        report.restored.push(name.clone());
        report.cast.push((name.clone(), has, wants));
    } else {
        let message = format!("the state has the dtype {has}, and the model {wants}");
        unfit.0.push((Code::DtypeMismatch, name.clone(), message));
    }
}

fn refuse(code: Code, who: &str, names: &[String]) -> Result<(), Error> {
    if names.is_empty() {
        return Ok(());
    }
    let shown: Vec<_> = names.iter().take(NAMES_SHOWN).map(|name| quoted(name)).collect();
    let more = names.len().saturating_sub(NAMES_SHOWN);
    let more = if more > 0 { format!(", and {more} more") } else { String::new() };
    let message = format!("{who} {}{more}", shown.join(", "));
    Err(Error::of(Finding::incompatible(code, Level::Keys, message)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::{TensorView, Value};

    fn state() -> State<'static> {
        let tensor = |dtype, len: u64| Value::from(TensorView::new(dtype, [len], vec![0; 8]).unwrap());
        let mut state = State::new();
        let model = [("a.w", tensor(Dtype::F32, 2)), ("b.w", tensor(Dtype::F64, 1))];
        state.insert("model", Value::from_iter(model)).unwrap();
        state.insert("other", tensor(Dtype::I64, 1)).unwrap();
        state
    }

    fn wanted(list: &[(&str, Dtype, u64)]) -> Vec<Wanted> {
        let one = |(name, dtype, len): &(&str, Dtype, u64)| Wanted {
            name: (*name).to_owned(),
            dtype: *dtype,
            shape: vec![*len],
        };
        list.iter().map(one).collect()
    }

    fn refusal(list: &[(&str, Dtype, u64)]) -> String {
        let state = state();
        let error = match_tensors(&state, "model", &wanted(list), RestoreOptions::default()).unwrap_err();
        assert_eq!(error.kind(), crate::ErrorKind::Incompatible);
        error.to_string()
    }

    #[test]
    fn what_fits_is_found_in_the_models_order() {
        let (state, all) = (state(), [("b.w", Dtype::F64, 1), ("a.w", Dtype::F32, 2)]);
        let matched = match_tensors(&state, "model", &wanted(&all), RestoreOptions::default()).unwrap();
        let dtypes: Vec<_> = matched.tensors.iter().flatten().map(TensorRef::dtype).collect();
        assert_eq!(dtypes, [Dtype::F64, Dtype::F32]);
        assert_eq!(matched.report.restored, ["b.w", "a.w"]);
    }

    #[test]
    fn what_differs_is_refused_and_named() {
        let a = ("a.w", Dtype::F32, 2);
        assert!(refusal(&[a]).contains("the model hasn't 'b.w'"));
        assert!(refusal(&[a, ("b.w", Dtype::F64, 1), ("c", Dtype::F32, 1)]).contains("the state hasn't 'c'"));
        assert!(refusal(&[a, ("b.w", Dtype::F64, 3)]).contains("shape [1], and the model [3]"));
        let several = refusal(&[("a.w", Dtype::F16, 2), ("b.w", Dtype::F32, 1)]);
        assert!(several.contains("dtype f32, and the model f16; 1 more differ"), "{several}");
    }

    #[test]
    fn what_is_allowed_is_reported() {
        let (state, all) = (state(), [("a.w", Dtype::Bf16, 2), ("c", Dtype::F32, 1)]);
        let options = RestoreOptions::default().with_partial().with_cast();
        let report = match_tensors(&state, "model", &wanted(&all), options).unwrap().report;
        assert_eq!(report.restored, ["a.w"]);
        assert_eq!(report.cast, [("a.w".to_owned(), Dtype::F32, Dtype::Bf16)]);
        assert_eq!((report.missing, report.unexpected), (vec!["c".to_owned()], vec!["b.w".to_owned()]));
    }
}
