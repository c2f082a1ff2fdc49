//! What is saved comes back, bit for bit; and a file of which one byte changed is never taken for what was saved.

use std::collections::HashSet;
use std::fs;
use std::path::Path;

use ckpt::digest::Algorithm;
use ckpt::io::commit::Durability;
use ckpt::record::{BLOCK_BYTES, Position};
use ckpt::save::Target;
use ckpt::tensor::{TensorView, Value};
use ckpt::validate::inspect;
use ckpt::{
    Access, Dtype, ErrorKind, LoadOptions, SaveOptions, State, Verdict, VerifyOptions, load, load_into, save,
    verify,
};
use proptest::collection::vec;
use proptest::prelude::*;
use tempfile::TempDir;

/// A file of each format.
const NAMES: [&str; 2] = ["model.safetensors", "model.pt"];

const BOTH: [Access; 2] = [Access::Eager, Access::Mapped];

/// Many small files are saved: none of them has to survive a loss of power.
fn options(algorithm: Algorithm) -> SaveOptions {
    SaveOptions::default().with_algorithm(algorithm).with_durability(Durability::None)
}

/// Bytes in which neither zeros nor runs hide a mistake.
fn noise(len: usize, seed: usize) -> Vec<u8> {
    (0..len).map(|at| ((at + seed).wrapping_mul(0x9E37_79B1) >> 13).to_le_bytes()[0]).collect()
}

fn view(dtype: Dtype, shape: &[u64], seed: usize) -> TensorView<'static> {
    let bytes = dtype.tensor_bytes(shape.iter().product()).unwrap();
    TensorView::new(dtype, shape, noise(usize::try_from(bytes).unwrap(), seed)).unwrap()
}

/// Saves a state and holds what is loaded against it: read, mapped, and into memory that is there.
fn round_trip(path: &Path, state: &State<'_>, algorithm: Algorithm) -> Result<(), String> {
    let saved = save(path, state, &options(algorithm)).map_err(|error| error.to_string())?;
    assert_eq!(saved.bytes, path.metadata().unwrap().len());
    for access in BOTH {
        let loaded = load(path, &LoadOptions::default().with_access(access)).unwrap();
        let difference = state.same_as(&loaded).unwrap();
        assert!(difference.is_none(), "{} {access:?}: {}", path.display(), difference.unwrap());
        let difference = loaded.same_as(state).unwrap();
        assert!(difference.is_none(), "{} {access:?}: {}", path.display(), difference.unwrap());
    }
    filled(path, state);
    Ok(())
}

/// Loads into memory that is there, and holds it against the state.
fn filled(path: &Path, state: &State<'_>) {
    let mut names = HashSet::new();
    let mut tensors = state.tensors().unwrap();
    tensors.retain(|tensor| names.insert(tensor.name().to_owned()));
    let mut memory: Vec<Vec<u8>> =
        tensors.iter().map(|tensor| vec![0xA5; tensor.bytes().unwrap().len()]).collect();
    let target = |(tensor, bytes)| {
        let tensor: &ckpt::tensor::TensorRef<'_> = tensor;
        let bytes: &mut Vec<u8> = bytes;
        Target { name: tensor.name(), dtype: tensor.dtype(), shape: tensor.shape(), bytes }
    };
    let mut targets: Vec<_> = tensors.iter().zip(&mut memory).map(target).collect();
    load_into(path, &mut targets, &LoadOptions::default()).unwrap();
    for (tensor, bytes) in tensors.iter().zip(&memory) {
        assert!(*tensor.bytes().unwrap() == **bytes, "{} {}", path.display(), tensor.name());
    }
}

/// The dtypes that both formats hold; a test below goes through all of them.
const DTYPES: [Dtype; 10] = [
    Dtype::Bool,
    Dtype::U8,
    Dtype::I64,
    Dtype::U16,
    Dtype::F16,
    Dtype::Bf16,
    Dtype::F32,
    Dtype::F64,
    Dtype::C64,
    Dtype::F8E5m2,
];

fn tensor() -> impl Strategy<Value = Value<'static>> {
    let shape = vec(prop_oneof![9 => 1_u64..5, 1 => Just(0)], 0..4);
    (0..DTYPES.len(), shape, any::<u16>())
        .prop_map(|(dtype, shape, seed)| view(DTYPES[dtype], &shape, seed.into()).into())
}

fn float() -> impl Strategy<Value = Value<'static>> {
    let special = [0x8000_0000_0000_0000, 0x7ff0_0000_0000_0001, 0xffff_ffff_ffff_ffff, 1];
    prop_oneof![any::<u64>(), (0..special.len()).prop_map(move |at| special[at])]
        .prop_map(|bits| f64::from_bits(bits).into())
}

fn integer() -> impl Strategy<Value = Value<'static>> {
    let edges = [i64::MIN, i64::MAX, -1, 0, 255, 256, -32_769, 1 << 31, -(1 << 31) - 1];
    prop_oneof![any::<i64>(), (0..edges.len()).prop_map(move |at| edges[at])].prop_map(Value::from)
}

/// A key that differs from those at other places of its map, as Python compares keys.
fn key(kind: u8, at: usize, text: &str) -> Value<'static> {
    let number = i64::try_from(at).unwrap();
    match kind % 7 {
        0 if at == 0 => Value::None,
        1 if at == 0 => false.into(),
        2 => (number + 2).into(),
        3 => (f64::from(u32::try_from(at).unwrap()) + 0.5).into(),
        4 => Value::Tuple(vec![number.into(), text.into()]),
        5 => Value::Bytes(vec![0xff, u8::try_from(at).unwrap()]),
        _ => format!("{text}{at}").into(),
    }
}

fn value() -> impl Strategy<Value = Value<'static>> {
    let leaf = prop_oneof![
        Just(Value::None),
        any::<bool>().prop_map(Value::from),
        integer(),
        float(),
        "\\PC{0,6}|[\\x00-\\x1f\"\\\\.~]{0,4}".prop_map(Value::from),
        vec(any::<u8>(), 0..9).prop_map(Value::Bytes),
        tensor(),
        tensor(),
    ];
    leaf.prop_recursive(4, 30, 5, |inner| {
        let entry = (any::<u8>(), "[a-c.~]{0,3}", inner.clone());
        prop_oneof![
            vec(inner.clone(), 0..5).prop_map(Value::List),
            vec(inner, 0..5).prop_map(Value::Tuple),
            vec(entry, 0..5).prop_map(|entries| {
                let entries = entries.into_iter().enumerate();
                Value::Map(entries.map(|(at, (kind, text, value))| (key(kind, at, &text), value)).collect())
            }),
        ]
    })
}

/// Values under names, some of which are there already; and ties between tensors.
fn state() -> impl Strategy<Value = State<'static>> {
    let ties = vec((any::<prop::sample::Index>(), "[a-c]{1,2}"), 0..3);
    (vec(("[a-c.]{0,3}", value()), 0..6), ties).prop_map(|(entries, ties)| {
        let mut state = State::new();
        for (name, value) in entries {
            state.insert(name, value).unwrap();
        }
        for (at, name) in ties {
            let tensors = state.tensors().unwrap();
            if tensors.is_empty() {
                continue;
            }
            let existing = at.get(&tensors).name().to_owned();
            drop(tensors);
            // A path with dots in its keys may be another value's first.
            if state.tensor(&existing).is_some() {
                state.alias(name, &existing).unwrap();
            }
        }
        state
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_state_comes_back(state in state()) {
        let directory = TempDir::new().unwrap();
        for name in NAMES {
            for algorithm in Algorithm::ALL {
                round_trip(&directory.path().join(name), &state, algorithm).unwrap();
            }
        }
    }
}

/// What a format can't hold is refused before anything is written; all else comes back.
#[test]
fn every_dtype_comes_back_or_is_refused() {
    let directory = TempDir::new().unwrap();
    let mut refused = Vec::new();
    for name in NAMES {
        let path = directory.path().join(name);
        for dtype in Dtype::ALL {
            let mut state = State::new();
            for (at, shape) in [&[][..], &[0], &[4], &[3, 0, 2], &[2, 3, 4]].into_iter().enumerate() {
                // A scalar of half a byte is none.
                if dtype.tensor_bytes(shape.iter().product()).is_some() {
                    state.insert(format!("t{at}"), view(*dtype, shape, at)).unwrap();
                }
            }
            if let Err(error) = round_trip(&path, &state, Algorithm::default()) {
                assert!(!path.exists(), "{error}");
                refused.push((name, dtype.as_str()));
            } else {
                fs::remove_file(&path).unwrap();
            }
        }
    }
    // PyTorch has no half bytes, and a quantized tensor is none without its quantizer.
    let expected = ["f4", "qi8", "qu8", "qi32", "qu4x2", "qu2x4"].map(|dtype| ("model.pt", dtype));
    assert_eq!(refused, expected);
}

/// States as they are saved: one of names alone, a training's, and one with more than a window of data.
fn states() -> [State<'static>; 3] {
    let mut training = State::new();
    training.insert("w", view(Dtype::F32, &[7, 5], 1)).unwrap();
    training.alias("tied", "w").unwrap();
    training.insert("empty", view(Dtype::F64, &[0], 1)).unwrap();
    let moments = [("m", view(Dtype::F64, &[35], 2)), ("v", view(Dtype::Bf16, &[1025], 3))];
    let moments = moments.into_iter().map(|(name, view)| (name.into(), view.into())).collect();
    training.insert("optimizer", Value::Map(vec![(0.into(), Value::Map(moments))])).unwrap();
    training.insert("epoch", 7).unwrap();
    let mut large = State::new();
    large.insert("first", view(Dtype::U8, &[3000], 4)).unwrap();
    large.insert("second", view(Dtype::U8, &[BLOCK_BYTES + 5000], 5)).unwrap();
    let mut plain = State::new();
    plain.insert("name", "run").unwrap();
    [plain, training, large]
}

/// Returns whether loading finds damage: at once, or when the tensors are looked at.
fn is_found(path: &Path, access: Access) -> Result<bool, ckpt::Error> {
    let state = load(path, &LoadOptions::default().with_access(access))?;
    let tensors = state.tensors()?;
    Ok(tensors.iter().any(|tensor| tensor.bytes().is_err()))
}

/// Holds that a changed file is damage to all that look at it.
#[track_caller]
fn damaged(path: &Path, bytes: &[u8], what: &str) {
    fs::write(path, bytes).unwrap();
    let report = verify(path, &VerifyOptions::default());
    assert_eq!(report.verdict, Verdict::Corrupted, "{} {what}: {report:?}", path.display());
    for access in BOTH {
        match is_found(path, access) {
            Ok(found) => assert!(found, "{} {what} {access:?}: it loads", path.display()),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Corrupted, "{} {what}: {error}", path.display());
            }
        }
    }
}

/// Calls with each of the states as a file, in each format and with each algorithm.
fn each_file(mut call: impl FnMut(&Path, Vec<u8>)) {
    let directory = TempDir::new().unwrap();
    for state in states() {
        for name in NAMES {
            for algorithm in Algorithm::ALL {
                let path = directory.path().join(name);
                save(&path, &state, &options(algorithm)).unwrap();
                assert_eq!(verify(&path, &VerifyOptions::default()).verdict, Verdict::Valid);
                call(&path, fs::read(&path).unwrap());
            }
        }
    }
}

/// Places all over a file, more of them in its first and last kilobytes.
fn places(len: usize) -> Vec<usize> {
    let ends = (0..len.min(2000)).step_by(19).chain((len.saturating_sub(2000)..len).step_by(17));
    let mut places: Vec<_> = ends.chain((0..60).map(|at| at * len / 60 + at % 7)).collect();
    places.retain(|at| *at < len);
    // Where a file is large, each look at it takes longer.
    let step = if len > 1 << 20 { 5 } else { 1 };
    places.into_iter().step_by(step).collect()
}

/// What `ckpt info` shows of a file beside its tensors.
#[test]
fn info_has_the_position_and_the_metadata_of_each_format() {
    let directory = tempfile::tempdir().unwrap();
    for name in NAMES {
        let path = directory.path().join(name);
        let options = SaveOptions::default().with_metadata("run", "7").with_position(Position::Step(1200));
        save(&path, &states()[0], &options).unwrap();
        let metadata = inspect(&path).unwrap().metadata;
        let shown = |key: &str| metadata.get(key).map(String::as_str);
        assert_eq!(
            (shown("run"), shown("ckpt.position")),
            (Some("7"), Some("step:1200")),
            "{name}: {metadata:?}"
        );
        save(&path, &states()[0], &SaveOptions::default()).unwrap();
        let metadata = inspect(&path).unwrap().metadata;
        assert!(!metadata.contains_key("ckpt.position") && !metadata.contains_key("run"), "{name}");
    }
}

#[test]
fn any_changed_byte_is_found() {
    each_file(|path, bytes| {
        for (number, at) in places(bytes.len()).into_iter().enumerate() {
            let mut changed = bytes.clone();
            changed[at] ^= [1, 0x80, 0x20, 0xff, 4][number % 5];
            damaged(path, &changed, &format!("byte {at} of {}", bytes.len()));
        }
    });
}

#[test]
fn any_cut_and_any_byte_more_is_found() {
    each_file(|path, bytes| {
        for len in places(bytes.len()) {
            damaged(path, &bytes[..len], &format!("cut at {len} of {}", bytes.len()));
        }
        for more in [&[0][..], b"x", &[0; 4096], &bytes] {
            damaged(path, &[&bytes, more].concat(), &format!("{} bytes more", more.len()));
        }
    });
}
