//! Signs of a mistake in the training loop, found in what a save knows anyway.
//!
//! The digests of a proof are those of the tensors' bytes. So two saves whose digests are the same hold the same
//! tensors: where the step advanced meanwhile, the optimizer doesn't step, or something else is saved than what
//! is trained. And an optimizer that counts its steps should count as many as the training loop.

use std::collections::BTreeSet;
use std::ops::Range;

use super::{Committed, Notice};
use crate::Dtype;
use crate::digest::{Algorithm, Crc64, Digest};
use crate::record::{CheckpointId, block_ranges};
use crate::save::Saved;
use crate::tensor::{Node, State, TensorRef};

/// What the path of an optimizer's state begins with.
const OPTIMIZER: &str = "optimizer";

/// Looks at one checkpoint after the other.
///
/// ```
/// use ckpt::manager::{Committed, Notice, Semantic};
/// use ckpt::tensor::State;
///
/// fn notices(look: &mut Semantic, saved: &Committed, state: &State<'_>) -> Vec<Notice> {
///     look.at(saved, state)
/// }
/// // Four batches to a step of the optimizer: its count is another one.
/// let look = Semantic::default().without_optimizer_steps();
/// # drop(look);
/// ```
#[derive(Clone, Debug)]
pub struct Semantic {
    compares: bool,
    counts: bool,
    previous: Option<Contents>,
}

impl Default for Semantic {
    fn default() -> Self {
        Self { compares: true, counts: true, previous: None }
    }
}

impl Semantic {
    /// Doesn't compare a checkpoint's tensors with those of the one before: for what changes only now and then.
    #[must_use]
    pub fn without_comparison(mut self) -> Self {
        self.compares = false;
        self
    }

    /// Doesn't compare the optimizer's count of steps with the checkpoint's. They differ rightly where several
    /// batches make one step of the optimizer (gradient accumulation) and the loop counts batches, or where
    /// steps are left out (mixed precision), or a new optimizer was put in.
    #[must_use]
    pub fn without_optimizer_steps(mut self) -> Self {
        self.counts = false;
        self
    }

    /// Looks at a checkpoint that was saved, and keeps its digests for the next one.
    pub fn at(&mut self, committed: &Committed, state: &State<'_>) -> Vec<Notice> {
        let mut notices = Vec::new();
        if self.compares {
            let contents = Contents::of(committed.id, &committed.state);
            notices.extend(self.previous.as_ref().and_then(|previous| previous.unchanged_in(&contents)));
            self.previous = Some(contents);
        }
        if self.counts {
            notices.extend(other_steps(state, committed.id.step));
        }
        notices
    }
}

/// The digests of a checkpoint's tensors.
#[derive(Clone, Debug)]
struct Contents {
    id: CheckpointId,
    algorithm: Algorithm,
    /// Where the tensors lie in the file, and what their blocks are cut by.
    data: Vec<Range<u64>>,
    block_bytes: u64,
    blocks: Vec<Digest>,
}

impl Contents {
    fn of(id: CheckpointId, saved: &Saved) -> Self {
        Self {
            id,
            algorithm: saved.proof.root.algorithm(),
            data: saved.data.clone(),
            block_bytes: saved.proof.block_bytes,
            blocks: saved.proof.blocks.clone(),
        }
    }

    /// Says so where a later checkpoint has the same tensors.
    fn unchanged_in(&self, later: &Self) -> Option<Notice> {
        let is_later = later.id.step > self.id.step && !later.blocks.is_empty();
        (is_later && self.has_same_tensors(later)).then_some(Notice::NothingChanged(self.id))
    }

    fn has_same_tensors(&self, other: &Self) -> bool {
        let cuts = |contents: &Self| (contents.algorithm, contents.block_bytes, contents.data.clone());
        if cuts(self) == cuts(other) {
            return self.blocks == other.blocks;
        }
        // The head has another length, so windows cut the tensors elsewhere.
        let lengths = |contents: &Self| contents.data.iter().map(length).collect::<Vec<_>>();
        lengths(self) == lengths(other)
            && self.whole().zip(other.whole()).is_some_and(|(one, other)| one == other)
    }

    /// Combines the blocks' checksums to those of whole tensors; `None` for digests that don't combine.
    fn whole(&self) -> Option<Vec<Crc64>> {
        if self.algorithm != Algorithm::Crc64Nvme {
            return None;
        }
        let mut blocks = self.blocks.iter();
        let tensor = |range: &Range<u64>| {
            let parts = block_ranges(std::slice::from_ref(range), self.block_bytes);
            parts
                .iter()
                .try_fold(Crc64::default(), |sum, part| Some(sum.then(crc64(blocks.next()?, length(part))?)))
        };
        self.data.iter().map(tensor).collect()
    }
}

fn length(range: &Range<u64>) -> u64 {
    range.end - range.start
}

/// Takes a digest for the checksum that it is.
fn crc64(digest: &Digest, len: u64) -> Option<Crc64> {
    Some(Crc64::computed(u64::from_be_bytes(digest.as_bytes().try_into().ok()?), len))
}

/// Says so where the state's optimizer counts another number of steps, and in all places the same.
fn other_steps(state: &State<'_>, steps: u64) -> Option<Notice> {
    let mut first = None;
    let mut counts = BTreeSet::new();
    let mut places = Vec::new();
    // What is nested too deep has no notices.
    state
        .tree()
        .walk(|leaf| {
            if is_step(leaf.path) {
                places.push((leaf.path.to_owned(), whole(leaf.node)));
            }
        })
        .ok()?;
    for (path, count) in places {
        let Some(count) = count.or_else(|| element(&state.tensor(&path)?)) else { continue };
        counts.insert(count);
        first.get_or_insert(path);
    }
    let (path, count) = (first?, *counts.first()?);
    (counts.len() == 1 && count != steps).then_some(Notice::OptimizerStep { path, steps: count })
}

/// Returns whether it is where optimizers keep their count: `optimizer.state.0.step`.
fn is_step(path: &str) -> bool {
    let inside = path.strip_prefix(OPTIMIZER).and_then(|rest| rest.strip_suffix(".step"));
    inside.is_some_and(|inside| inside.split('.').any(|key| key == "state"))
}

/// Returns the whole number that a value is.
fn whole(node: &Node) -> Option<u64> {
    match node {
        Node::Int(count) => u64::try_from(*count).ok(),
        Node::Float(count) => whole_float(*count),
        _ => None,
    }
}

/// Returns the whole number that a float is; such counts are exact up to 2⁵³.
fn whole_float(count: f64) -> Option<u64> {
    const MOST: f64 = 9_007_199_254_740_992.0;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is whole, and in bounds")]
    (count.fract() == 0.0 && (0.0..=MOST).contains(&count)).then_some(count as u64)
}

/// Returns the whole number that a tensor of one element holds.
fn element(tensor: &TensorRef<'_>) -> Option<u64> {
    if tensor.shape().iter().any(|length| *length != 1) || tensor.len_bytes() > 8 {
        return None;
    }
    let bytes = tensor.bytes().ok()?;
    match tensor.dtype() {
        Dtype::F32 => whole_float(f32::from_le_bytes((*bytes).try_into().ok()?).into()),
        Dtype::F64 => whole_float(f64::from_le_bytes((*bytes).try_into().ok()?)),
        Dtype::I64 => u64::try_from(i64::from_le_bytes((*bytes).try_into().ok()?)).ok(),
        Dtype::I32 => u64::try_from(i32::from_le_bytes((*bytes).try_into().ok()?)).ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::SaveOptions;
    use crate::record::Position;
    use crate::tensor::{TensorView, Value};

    const LENGTH: usize = 5 << 20;

    fn state(weights: &[u8]) -> State<'_> {
        let mut state = State::new();
        for (name, part) in ["a", "b"].into_iter().zip(weights.chunks(LENGTH)) {
            let view = TensorView::new(Dtype::U8, [part.len() as u64], part).unwrap();
            state.insert(name, view).unwrap();
        }
        state
    }

    /// Saves a state, with metadata of some length: the longer, the later the data begins.
    fn save(step: u64, state: &State<'_>, metadata: usize, algorithm: Algorithm) -> Committed {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("state.safetensors");
        let options = SaveOptions::default()
            .with_position(Position::Step(step))
            .with_metadata("more", "x".repeat(metadata))
            .with_algorithm(algorithm);
        let id = CheckpointId { generation: 0, step };
        let saved = crate::save(&path, state, &options).unwrap();
        Committed { id, path, state: saved, notices: Vec::new(), retries: 0, elapsed: Duration::ZERO }
    }

    #[test]
    fn the_same_tensors_at_a_later_step_are_noticed() {
        let weights: Vec<u8> = (0..2 * LENGTH).map(|at| (at * 7 + (at >> 9)).to_le_bytes()[0]).collect();
        let mut changed = weights.clone();
        changed[LENGTH + 3] ^= 1;
        let crc = Algorithm::Crc64Nvme;
        let mut look = Semantic::default();
        let mut notices = |step, weights: &[u8], metadata, algorithm| {
            let state = state(weights);
            look.at(&save(step, &state, metadata, algorithm), &state)
        };
        let since = |step| vec![Notice::NothingChanged(CheckpointId { generation: 0, step })];
        assert_eq!(notices(10, &weights, 0, crc), []);
        assert_eq!(notices(20, &weights, 0, crc), since(10));
        // Windows cut the tensors elsewhere now.
        assert_eq!(notices(30, &weights, 9000, crc), since(20));
        assert_eq!(notices(30, &weights, 9000, crc), [], "the step didn't advance");
        assert_eq!(notices(40, &changed, 0, crc), []);
        assert_eq!(notices(50, &changed[..2 * LENGTH - 1], 0, crc), []);
        assert_eq!(notices(60, &weights, 0, Algorithm::Blake3), [], "another digest says nothing");
        assert_eq!(notices(70, &weights, 0, Algorithm::Blake3), since(60));
        assert_eq!(notices(80, &weights, 9000, Algorithm::Blake3), [], "those don't combine");
        assert_eq!(notices(90, &[], 0, crc), []);
        assert_eq!(notices(91, &[], 0, crc), [], "no tensors at all are no sign");
        let state = state(&weights);
        let saved = [save(1, &state, 0, crc), save(2, &state, 0, crc)];
        let mut look = Semantic::default().without_comparison();
        assert!(saved.iter().all(|saved| look.at(saved, &state).is_empty()));
    }

    fn with_steps(steps: Vec<(&str, Value<'static>)>) -> State<'static> {
        let mut state = State::new();
        let entry = |step| Value::from_iter([("exp_avg", Value::None), ("step", step)]);
        let inner =
            steps.into_iter().map(|(name, step)| (name.to_owned(), entry(step))).collect::<Value<'_>>();
        let optimizer = Value::from_iter([("state", inner), ("step", 99.into())]);
        state.insert("optimizer", optimizer).unwrap();
        state
    }

    fn tensor(dtype: Dtype, bytes: &[u8]) -> Value<'static> {
        TensorView::new(dtype, [], bytes.to_vec()).unwrap().into()
    }

    #[test]
    fn an_optimizer_that_counts_otherwise_is_noticed() {
        let notice =
            |steps: u64| Some(Notice::OptimizerStep { path: "optimizer.state.a.step".to_owned(), steps });
        let one = |step| with_steps(vec![("a", step)]);
        for (state, steps, expected) in [
            (one(7.into()), 7, None),
            (one(7.into()), 8, notice(7)),
            (one(6.0.into()), 7, notice(6)),
            (one(tensor(Dtype::F32, &7_f32.to_le_bytes())), 7, None),
            (one(tensor(Dtype::F32, &7_f32.to_le_bytes())), 14, notice(7)),
            (one(tensor(Dtype::I64, &3_i64.to_le_bytes())), 4, notice(3)),
            // What is no count says nothing.
            (one(tensor(Dtype::F32, &f32::NAN.to_le_bytes())), 7, None),
            (one(0.5.into()), 7, None),
            (one((-1).into()), 7, None),
            (one("7".into()), 8, None),
            (with_steps(vec![]), 8, None),
            // Some parameters were frozen for a while: no single count.
            (with_steps(vec![("a", 6.into()), ("b", 3.into())]), 7, None),
            (with_steps(vec![("a", 6.into()), ("b", 6.0.into())]), 7, notice(6)),
        ] {
            assert_eq!(other_steps(&state, steps), expected, "{steps}: {:?}", state.tree());
        }
        let mut state = State::new();
        state.insert("scheduler", Value::from_iter([("step", 3)].map(|(k, v)| (k, Value::from(v))))).unwrap();
        assert_eq!(other_steps(&state, 7), None);
    }

    #[test]
    fn the_count_is_looked_at_where_it_is_wanted() {
        let state = with_steps(vec![("a", 3.into())]);
        let saved = save(12, &state, 0, Algorithm::default());
        let path = "optimizer.state.a.step".to_owned();
        assert_eq!(Semantic::default().at(&saved, &state), [Notice::OptimizerStep { path, steps: 3 }]);
        assert_eq!(Semantic::default().without_optimizer_steps().at(&saved, &state), []);
    }
}
