use std::collections::HashMap;

use super::{
    Data, MapKind, Node, NodeId, Source, Storage, StorageId, Tensor, TensorRef, TensorView, Tree, Value,
};
use crate::{Dtype, Error};

/// Values that are nested deeper than this are refused: no reader would take them.
const MAX_DEPTH: usize = 100;

/// What is saved and loaded: an ordered map of names to tensors and plain values.
///
/// The values are a [`Tree`]; the bytes of its storages lie beside it, borrowed from the caller or shared.
/// Tensors that share a storage go on sharing it when they are saved and loaded again.
///
/// What is loaded can hold whatever a checkpoint can: sets, large integers, complex numbers, strided views,
/// sparse tensors. What is built here is made of [`Value`]s: plain values, lists, tuples, maps, and tensors
/// without gaps, of which several may share a storage ([`State::alias`], or views with clones of one [`Data`]).
///
/// ```
/// use ckpt::Dtype;
/// use ckpt::tensor::{State, TensorView};
///
/// let weight = [0_u8; 24];
/// let mut state = State::new();
/// state.insert("step", 1200)?;
/// state.insert("embed.weight", TensorView::new(Dtype::F32, [3, 2], weight.as_slice())?)?;
/// state.alias("lm_head.weight", "embed.weight")?; // tied: one storage
///
/// assert_eq!(state.value("step").and_then(|step| step.as_i64()), Some(1200));
/// let head = state.tensor("lm_head.weight").ok_or_else(|| ckpt::Error::usage("no head"))?;
/// assert_eq!((head.shape(), head.bytes()?.len()), (&[3, 2][..], 24));
/// assert_eq!(state.tree().storages().len(), 1);
/// # Ok::<(), ckpt::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct State<'a> {
    tree: Tree,
    /// One for each storage of the tree, in the same order.
    data: Vec<Data<'a>>,
    /// The name of the next storage; names of storages that are gone aren't given again.
    next_key: u64,
    /// The places of the top level's keys, once somebody puts values there: looking through all of them for each
    /// new one would take a state of 10,000 tensors as long as saving it.
    places: Option<HashMap<Box<str>, usize>>,
}

impl Default for State<'_> {
    fn default() -> Self {
        Self::new()
    }
}

impl<'a> State<'a> {
    /// Makes an empty state: a `dict` without entries.
    pub fn new() -> Self {
        Self::from_parts(Tree::new(vec![Node::Map(MapKind::Dict, None)], Vec::new(), NodeId(0)), Vec::new())
    }

    /// Makes a state of values and of the bytes of their storages: one for each, in the same order. A
    /// storage without bytes (of a meta tensor) has empty ones.
    pub fn from_parts(tree: Tree, data: Vec<Data<'a>>) -> Self {
        let numbers = tree.storages().iter().filter_map(|storage| storage.key.parse::<u64>().ok());
        let next_key = numbers.max().map_or(0, |last| last.saturating_add(1));
        Self { tree, data, next_key, places: None }
    }

    /// Returns the values.
    pub fn tree(&self) -> &Tree {
        &self.tree
    }

    /// Returns the bytes of a storage.
    pub fn data(&self, id: StorageId) -> Option<&Data<'a>> {
        self.data.get(id.0 as usize)
    }

    /// Returns the bytes of all storages, in their order.
    pub(crate) fn all_data(&self) -> &[Data<'a>] {
        &self.data
    }

    /// Returns the same values with other bytes for their storages: one for each, in the same order.
    pub(crate) fn with_data<'b>(&self, data: Vec<Data<'b>>) -> State<'b> {
        State { tree: self.tree.clone(), data, next_key: self.next_key, places: None }
    }

    /// Puts a value under a key of the top level. A key that is there already keeps its place and gets the new
    /// value.
    ///
    /// # Errors
    ///
    /// The top level is no map; a map has a key twice, or one that Python has no hash of; or values are nested
    /// too deep. The state is as it was then.
    pub fn insert(&mut self, key: impl Into<String>, value: impl Into<Value<'a>>) -> Result<(), Error> {
        let value = value.into();
        check(&value, 0)?;
        self.check_top()?;
        let value = self.add(value)?;
        self.put(key.into(), value)
    }

    /// Puts another tensor under a key of the top level, which is a view of the same storage as the one at a
    /// path: tied weights.
    ///
    /// # Errors
    ///
    /// There is no tensor at the path, or the top level is no map.
    pub fn alias(&mut self, key: impl Into<String>, existing: &str) -> Result<(), Error> {
        self.check_top()?;
        let Some(tensor @ Node::Tensor(_)) = self.value(existing) else {
            return Err(Error::usage(format!("there is no tensor at '{}'", existing.escape_debug())));
        };
        let copy = self.push(tensor.clone())?;
        self.put(key.into(), copy)
    }

    /// Returns the value at a path: keys and positions, joined by dots. An empty path is the top level.
    pub fn value(&self, path: &str) -> Option<&Node> {
        self.tree.find(path).map(|id| self.tree.node(id))
    }

    /// Returns the tensor at a path.
    pub fn tensor(&self, path: &str) -> Option<TensorRef<'_>> {
        match self.value(path) {
            Some(Node::Tensor(tensor)) => Some(TensorRef::new(path, tensor, self)),
            _ => None,
        }
    }

    /// As [`State::tensor`].
    pub fn get(&self, path: &str) -> Option<TensorRef<'_>> {
        self.tensor(path)
    }

    /// Returns all tensors in order, each with the keys that lead to it; a shared one at every place.
    ///
    /// # Errors
    ///
    /// The values contain themselves, or exceed a limit of [`Tree::walk`]; states that were loaded don't.
    pub fn tensors(&self) -> Result<Vec<TensorRef<'_>>, Error> {
        let mut found = Vec::new();
        let walked = self.tree.walk(|leaf| {
            if matches!(leaf.node, Node::Tensor(_)) {
                found.push((leaf.path.to_owned(), leaf.id));
            }
        });
        walked.map_err(|error| Error::usage(format!("the values are too complex: {error}")))?;
        let tensor = |(path, id)| match self.tree.node(id) {
            Node::Tensor(tensor) => Some(TensorRef::new(path, tensor, self)),
            _ => None,
        };
        Ok(found.into_iter().filter_map(tensor).collect())
    }

    /// Returns the size of all storages in bytes.
    pub fn len_bytes(&self) -> u64 {
        self.data.iter().fold(0, |sum, data| sum.saturating_add(data.len()))
    }

    /// Leaves values out: see [`Tree::pruned`].
    pub(crate) fn pruned(self, dropped: &dyn Fn(NodeId) -> bool) -> Self {
        let (tree, kept) = self.tree.pruned(dropped);
        let data = kept.iter().filter_map(|id| self.data(*id).cloned()).collect();
        Self { tree, data, next_key: self.next_key, places: None }
    }

    fn check_top(&self) -> Result<(), Error> {
        if self.tree.is_map() {
            return Ok(());
        }
        Err(Error::usage("the state's top level is no map, so that nothing can be put under a key"))
    }

    /// Puts a node that is there under a key. What it takes the place of goes, with its storages.
    fn put(&mut self, key: String, value: NodeId) -> Result<(), Error> {
        let root = self.tree.root();
        if let Some(place) = self.place_of(&key) {
            if let Some(Node::Map(_, Some(map))) = self.tree.node_mut(root)
                && let Some(entry) = map.entries.get_mut(place)
            {
                entry.1 = value;
            }
            *self = std::mem::take(self).pruned(&|_| false);
            return Ok(());
        }
        let name = self.push(Node::Text(key.as_str().into()))?;
        if let Some(Node::Map(_, map)) = self.tree.node_mut(root) {
            let entries = &mut map.get_or_insert_default().entries;
            entries.push((name, value));
            let place = entries.len() - 1;
            self.places.get_or_insert_default().insert(key.into(), place);
        }
        Ok(())
    }

    /// Returns the place of a key in the top level.
    fn place_of(&mut self, key: &str) -> Option<usize> {
        let Node::Map(_, Some(map)) = self.tree.node(self.tree.root()) else { return None };
        let places = self.places.get_or_insert_with(|| {
            let texts = map.entries.iter().map(|(id, _)| self.tree.node(*id).as_str());
            let places = texts.zip(0..).filter_map(|(text, place)| Some((Box::from(text?), place)));
            places.collect()
        });
        places.get(key).copied()
    }

    /// Adds a value that was checked.
    fn add(&mut self, value: Value<'a>) -> Result<NodeId, Error> {
        let node = match value {
            Value::None => Node::None,
            Value::Bool(value) => Node::Bool(value),
            Value::Int(value) => Node::Int(value),
            Value::BigInt(bytes) => Node::integer(&bytes),
            Value::Float(value) => Node::Float(value),
            Value::Text(text) => Node::Text(text.into()),
            Value::Bytes(bytes) => Node::Bytes(bytes.into()),
            Value::List(items) => Node::List(self.add_all(items)?),
            Value::Tuple(items) => Node::Tuple(self.add_all(items)?),
            Value::Map(entries) if entries.is_empty() => Node::Map(MapKind::Dict, None),
            Value::Map(entries) => {
                let add = |(key, value)| Ok((self.add(key)?, self.add(value)?));
                let entries = entries.into_iter().map(add).collect::<Result<_, Error>>()?;
                Node::Map(MapKind::Dict, Some(Box::new(super::Map { entries, attributes: None })))
            }
            Value::Tensor(view) => self.add_tensor(view)?,
        };
        self.push(node)
    }

    fn add_all(&mut self, items: Vec<Value<'a>>) -> Result<Vec<NodeId>, Error> {
        items.into_iter().map(|item| self.add(item)).collect()
    }

    /// Adds a tensor, with a storage of its own unless another one was given the same [`Data`].
    fn add_tensor(&mut self, view: TensorView<'a>) -> Result<Node, Error> {
        let TensorView { dtype, shape, data } = view;
        if let Some(id) = self.storage_of(&data, dtype) {
            return Ok(Node::Tensor(Box::new(Tensor::contiguous(dtype, shape, id))));
        }
        let key = self.next_key.to_string();
        let bytes = data.len();
        let storage = Storage { key, dtype: Some(dtype), bytes, device: "cpu".to_owned(), part_of: None };
        let id = self.tree.push_storage(storage).ok_or_else(too_many)?;
        self.next_key = self.next_key.saturating_add(1);
        self.data.push(data);
        Ok(Node::Tensor(Box::new(Tensor::contiguous(dtype, shape, id))))
    }

    /// Finds the storage that was made of a clone of the same source. What nobody cloned isn't looked for.
    fn storage_of(&self, data: &Data<'_>, dtype: Dtype) -> Option<StorageId> {
        let place = data.is_shared().then(|| self.data.iter().position(|other| other.is_same(data)))??;
        let has_dtype = self.tree.storages().get(place)?.dtype == Some(dtype);
        let id = u32::try_from(place).ok().filter(|_| has_dtype)?;
        Some(StorageId(id))
    }

    fn push(&mut self, node: Node) -> Result<NodeId, Error> {
        self.tree.push(node).ok_or_else(too_many)
    }
}

fn too_many() -> Error {
    Error::usage("a state holds no more than 2³² values")
}

/// Refuses what Python couldn't hold, or what is nested too deep.
fn check(value: &Value<'_>, depth: usize) -> Result<(), Error> {
    if depth > MAX_DEPTH {
        return Err(Error::usage(format!("values are nested more than {MAX_DEPTH} deep")));
    }
    match value {
        Value::List(items) | Value::Tuple(items) => items.iter().try_for_each(|item| check(item, depth + 1)),
        Value::Map(entries) => {
            let mut keys = std::collections::HashSet::new();
            for (key, value) in entries {
                let spelled = spell(key, depth + 1).ok_or_else(|| {
                    Error::usage("a map's key is a list, a map, a tensor or a number of more than 128 bits")
                })?;
                if !keys.insert(spelled) {
                    return Err(Error::usage(
                        "a map has a key twice, as Python compares keys: 1, 1.0 and True are one",
                    ));
                }
                check(value, depth + 1)?;
            }
            Ok(())
        }
        _ => Ok(()),
    }
}

/// Returns a text that two keys share exactly if Python takes them for the same; `None` for what can't be a
/// key.
fn spell(key: &Value<'_>, depth: usize) -> Option<String> {
    Some(match key {
        Value::None => "N".to_owned(),
        Value::Bool(value) => format!("n{}", i64::from(*value)),
        Value::Int(value) => format!("n{value}"),
        Value::BigInt(bytes) => format!("n{}", wide(bytes)?),
        // A float that is a whole number prints as one, digit by digit.
        Value::Float(value) if *value == 0.0 => "n0".to_owned(),
        Value::Float(value) if value.fract() == 0.0 => format!("n{value:.0}"),
        Value::Float(value) => format!("n{value}"),
        Value::Text(text) => format!("t{text:?}"),
        Value::Bytes(bytes) => format!("b{bytes:?}"),
        Value::Tuple(items) if depth <= MAX_DEPTH => {
            let items = items.iter().map(|item| spell(item, depth + 1)).collect::<Option<Vec<_>>>()?;
            format!("({})", items.join(","))
        }
        _ => return None,
    })
}

/// Returns the decimal digits of an integer of up to 128 bits.
fn wide(bytes: &[u8]) -> Option<String> {
    let node = Node::integer(bytes);
    let signed = node.as_i128().map(|value| value.to_string());
    signed.or_else(|| node.as_u128().map(|value| value.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn floats(values: &[f32]) -> Vec<u8> {
        values.iter().flat_map(|value| value.to_le_bytes()).collect()
    }

    fn view(values: &[f32]) -> TensorView<'static> {
        TensorView::new(Dtype::F32, [values.len() as u64], floats(values)).unwrap()
    }

    /// A state with what an optimizer's has: tied tensors, numbers for keys, nesting.
    fn training() -> State<'static> {
        let mut state = State::new();
        state.insert("model.w", view(&[1.0, 2.0])).unwrap();
        state.alias("model.tied", "model.w").unwrap();
        let inner = Value::Map(vec![("exp_avg".into(), view(&[0.5]).into()), ("step".into(), 3.into())]);
        let group = Value::Map(vec![("betas".into(), Value::Tuple(vec![0.9.into(), f64::NAN.into()]))]);
        let optimizer = Value::Map(vec![
            ("state".into(), Value::Map(vec![(0.into(), inner)])),
            ("param_groups".into(), Value::List(vec![group])),
        ]);
        state.insert("optimizer", optimizer).unwrap();
        state.insert("name", "run").unwrap();
        state
    }

    #[test]
    fn what_is_put_in_is_found() {
        let state = training();
        let names: Vec<_> = state.tensors().unwrap().iter().map(|tensor| tensor.name().to_owned()).collect();
        assert_eq!(names, ["model.w", "model.tied", "optimizer.state.0.exp_avg"]);
        assert_eq!(*state.tensor("optimizer.state.0.exp_avg").unwrap().bytes().unwrap(), floats(&[0.5]));
        assert_eq!(*state.tensor("model.tied").unwrap().bytes().unwrap(), floats(&[1.0, 2.0]));
        assert_eq!(state.value("optimizer.state.0.step").and_then(Node::as_i64), Some(3));
        assert_eq!(state.value("optimizer.param_groups.0.betas.0").and_then(Node::as_f64), Some(0.9));
        assert_eq!(state.value("name").and_then(Node::as_str), Some("run"));
        for missing in ["model", "model.w.x", "optimizer.state.1", "optimizer.param_groups.00", "name."] {
            assert!(state.value(missing).is_none(), "{missing}");
        }
        assert!(state.tensor("name").is_none() && state.value("").is_some());
        assert_eq!(state.len_bytes(), 12);
    }

    #[test]
    fn a_replaced_value_keeps_its_place_and_frees_its_storage() {
        let mut state = training();
        state.insert("model.w", view(&[9.0])).unwrap();
        // The tied tensor still needs the storage.
        assert_eq!(state.tree().storages().len(), 3);
        state.insert("model.tied", 1).unwrap();
        assert_eq!(state.tree().storages().len(), 2);
        assert_eq!(*state.tensor("model.w").unwrap().bytes().unwrap(), floats(&[9.0]));
        assert_eq!(*state.tensor("optimizer.state.0.exp_avg").unwrap().bytes().unwrap(), floats(&[0.5]));
        let names: Vec<_> = state.tensors().unwrap().iter().map(|tensor| tensor.name().to_owned()).collect();
        assert_eq!(names, ["model.w", "optimizer.state.0.exp_avg"]);
        state.insert("more", view(&[1.0])).unwrap();
        let keys: std::collections::BTreeSet<_> = state.tree().storages().iter().map(|it| &it.key).collect();
        assert_eq!(keys.len(), 3);
    }

    #[test]
    fn a_state_that_was_put_together_elsewhere_has_its_keys_replaced_too() {
        let made = training();
        let mut state = State::from_parts(made.tree().clone(), made.data.clone());
        state.insert("name", "other").unwrap();
        state.insert("model.w", view(&[7.0])).unwrap();
        assert_eq!(state.value("name").and_then(Node::as_str), Some("other"));
        assert_eq!(*state.tensor("model.w").unwrap().bytes().unwrap(), floats(&[7.0]));
        let mut staged = state.with_data(state.data.clone());
        staged.insert("new", 1).unwrap();
        staged.insert("new", 2).unwrap();
        assert_eq!(staged.value("new").and_then(Node::as_i64), Some(2));
        let Node::Map(_, Some(map)) = staged.tree().node(staged.tree().root()) else { panic!("no map") };
        assert_eq!(map.entries.len(), 5);
    }

    #[test]
    fn views_of_one_source_share_their_storage() {
        let data = Data::from(floats(&[1.0, 2.0]));
        let tied = || TensorView::new(Dtype::F32, [2], data.clone()).unwrap();
        let mut state = State::new();
        state.insert("model", Value::from_iter([("a", tied().into()), ("b", tied().into())])).unwrap();
        state.insert("c", TensorView::new(Dtype::F32, [1, 2], data.clone()).unwrap()).unwrap();
        assert_eq!(state.tree().storages().len(), 1);
        // A storage has one dtype, and equal bytes are no sharing.
        state.insert("d", TensorView::new(Dtype::I32, [2], data.clone()).unwrap()).unwrap();
        state.insert("e", view(&[1.0, 2.0])).unwrap();
        assert_eq!((state.tree().storages().len(), state.len_bytes()), (3, 24));
        assert_eq!(*state.tensor("model.b").unwrap().bytes().unwrap(), floats(&[1.0, 2.0]));
    }

    #[test]
    fn what_python_could_not_hold_is_refused() {
        let mut state = State::new();
        let map =
            |keys: Vec<Value<'static>>| Value::Map(keys.into_iter().map(|key| (key, Value::None)).collect());
        for keys in [
            vec![1.into(), true.into()],
            vec![1.into(), 1.0.into()],
            vec![0.0.into(), (-0.0).into()],
            vec![(1_u64 << 63).into(), 9_223_372_036_854_775_808.0.into()],
            vec![Value::BigInt(vec![1; 18])],
            vec!["a".into(), "a".into()],
            vec![Value::List(vec![])],
            vec![Value::Tuple(vec![Value::Map(vec![])])],
        ] {
            assert_eq!(state.insert("m", map(keys)).unwrap_err().kind(), crate::ErrorKind::Usage);
        }
        state
            .insert("m", map(vec![1.into(), "1".into(), Value::None, Value::Tuple(vec![1.into()])]))
            .unwrap();
        let deep = (0..200).fold(Value::None, |inner, _| Value::List(vec![inner]));
        assert!(state.insert("deep", deep).is_err());
        assert!(state.alias("x", "m").is_err() && state.alias("x", "nothing").is_err());
        let mut list = State::from_parts(Tree::new(vec![Node::List(vec![])], vec![], NodeId(0)), vec![]);
        assert!(list.insert("a", 1).is_err());
    }

    #[test]
    fn the_same_states_are_the_same_and_others_are_not() {
        type Change = fn(&mut State<'static>);
        let state = training();
        assert_eq!(state.same_as(&training()).unwrap(), None);
        assert_eq!(state.same_as(&state.clone().pruned(&|_| false)).unwrap(), None);
        let changes: [(&str, Change); 6] = [
            ("model.w", |state| state.insert("model.w", view(&[1.0, -2.0])).unwrap()),
            ("model.tied", |state| state.insert("model.tied", view(&[1.0, 2.0])).unwrap()),
            ("name", |state| state.insert("name", "other").unwrap()),
            ("name", |state| state.insert("name", Value::Bytes(b"run".to_vec())).unwrap()),
            ("", |state| state.insert("more", 1).unwrap()),
            ("optimizer", |state| state.insert("optimizer", Value::Map(vec![])).unwrap()),
        ];
        for (path, change) in changes {
            let mut other = training();
            change(&mut other);
            for (one, other) in [(&state, &other), (&other, &state)] {
                let difference = one.same_as(other).unwrap().unwrap();
                assert!(difference.path == path || path == "model.w", "{difference}");
            }
        }
    }

    #[test]
    fn a_zero_is_not_a_negative_zero_and_a_number_no_truth_value() {
        let with = |value: Value<'static>| {
            let mut state = State::new();
            state.insert("x", Value::Map(vec![(value, Value::None)])).unwrap();
            state
        };
        let values = [Value::from(0.0), Value::from(-0.0), Value::from(0), Value::from(false)];
        for (i, one) in values.iter().enumerate() {
            for (j, other) in values.iter().enumerate() {
                let difference = with(one.clone()).same_as(&with(other.clone())).unwrap();
                assert_eq!(difference.is_none(), i == j);
            }
        }
    }

    #[test]
    fn dropped_values_leave_the_places_of_others() {
        let state = training();
        let drop = state.tree().find("optimizer.param_groups.0").unwrap();
        let tensor = state.tree().find("model.w").unwrap();
        let pruned = state.pruned(&|id| id == drop || id == tensor);
        assert_eq!(pruned.value("optimizer.param_groups.0"), Some(&Node::None));
        assert!(pruned.value("model.w").is_none() && pruned.tensor("model.tied").is_some());
        assert_eq!(pruned.tree().storages().len(), 2);
        let pruned = pruned.pruned(&|_| true);
        assert_eq!((pruned.tree().len(), pruned.tree().storages().len()), (1, 0));
    }

    #[test]
    fn sources_that_are_read_piece_by_piece_give_their_elements() {
        #[derive(Debug)]
        struct Slow(Vec<u8>);
        impl Source for Slow {
            fn len(&self) -> u64 {
                self.0.len() as u64
            }
            fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<(), Error> {
                self.0.read_at(buffer, offset)
            }
        }
        let bytes: Vec<u8> = (0..12).collect();
        let data = Data::new(std::sync::Arc::new(Slow(bytes.clone())));
        let mut state = State::new();
        state.insert("w", TensorView::new(Dtype::I16, [2, 3], data).unwrap()).unwrap();
        assert_eq!(*state.tensor("w").unwrap().bytes().unwrap(), bytes);
        let id = state.tree.find("w").unwrap();
        let Some(Node::Tensor(tensor)) = state.tree.node_mut(id) else { panic!("it is a tensor") };
        tensor.shape = vec![3, 2];
        let super::super::Body::Strided { strides, .. } = &mut tensor.body else { panic!("it is strided") };
        *strides = vec![1, 3];
        let transposed = [0, 1, 6, 7, 2, 3, 8, 9, 4, 5, 10, 11];
        assert_eq!(*state.tensor("w").unwrap().bytes().unwrap(), transposed);
    }

    #[test]
    fn an_expanded_tensor_of_any_size_is_refused() {
        let mut state = State::new();
        state.insert("w", view(&[1.0])).unwrap();
        let id = state.tree.find("w").unwrap();
        let Some(Node::Tensor(tensor)) = state.tree.node_mut(id) else { panic!("it is a tensor") };
        tensor.shape = vec![1 << 40];
        let super::super::Body::Strided { strides, .. } = &mut tensor.body else { panic!("it is strided") };
        *strides = vec![0];
        assert!(state.tensor("w").unwrap().bytes().is_err());
    }
}
