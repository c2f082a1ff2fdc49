//! The zoo: what the real frameworks write.

use ckpt::Verdict;

use super::oracle::{self, Entry, Zoo};
use super::read;
use super::verdicts::{Expected, Table, check, expected};
use crate::dump::{self, Leaf};

/// What ckpt says of the files that their framework refuses, and of those it is stricter with.
const VERDICTS: &[Expected] = expected! {
    "objects/*/cyclic.pt" => Incompatible TooComplex: "a container contains itself: readers that recurse never end",

    // Beyond PyTorch: read as data, with a note.
    "objects/*/{bytes_empty,int_huge,needs_frozenset}.pt" => Valid TorchRefuses: "plain data that its list lacks",
    "objects/*/numpy_*.pt" => Valid TorchRefuses: "NumPy's values are data",
    "objects/*/rebuild_wrapper_subclass.pt" => Valid TorchRefuses: "PyTorch needs the class's code, its data is plain",
    "objects/*/rebuild_from_numpy.pt" => Valid TorchRefuses: "NumPy's values are data",
    "objects/legacy/dtype_{bits*,complex32,float4*,float8*,uint16,uint32,uint64}.pt" => Valid TorchRefuses:
        "PyTorch 2.13 writes untyped storages so, and fails to read them",
    "objects/legacy/{storage_alone,storages}.pt" => Valid TorchRefuses: "PyTorch 2.13 writes untyped storages so, and fails to read them",
    "protocols/{protocol_0,protocol_0_legacy}.pt" => Incompatible PickleInvalid: "protocol 0 can't hold storages: torch.save wrote their repr",
    "protocols/protocol_3*_plain.pt" => Valid TorchRefuses: "another pickle protocol",
    "protocols/protocol_{0,1,4,5}*.pt" => Valid TorchRefuses: "another pickle protocol",
    "trainer/*/rng_state.pth" => Valid TorchRefuses: "NumPy's values are data",

    // Needs trust.
    "objects/*/{needs_*,nested_jagged,tensor_subclass,whole_module}.pt" => Incompatible NeedsTrust: "it asks for code",
    "trainer/*/training_args.bin" => Incompatible NeedsTrust: "it asks for code; as part of its directory, intact is enough",

    "broken_save/half.pt" => Corrupted RecordMissing: "torch.save failed half-way",
    "misnamed/*" => Incompatible MisleadingName: "readers go by the name",
    "rezipped/bzip2.pt" => Incompatible UnsupportedMethod: "PyTorch reads stored and deflated records",
    "numpy/*" => Incompatible ForeignFormat: "NumPy's own formats",
    "pickles/*" => Incompatible ForeignFormat: "plain pickles",
    "scripts/*" => Incompatible ForeignFormat: "programs",
};

/// Where the values differ, though both sides read the file.
const VALUES: &[(&str, &str)] = &[
    (
        "big_endian/untyped.pt",
        "PyTorch forgets to swap untyped storages: `swapped_back` shows that ours are right",
    ),
    (
        "objects/*/needs_defaultdict.pt",
        "an unknown class's contents are no values here; the verdict says needs-trust",
    ),
    (
        "objects/*/tensor_subclass.pt",
        "an unknown class's tensor is read as a plain one; the verdict says needs-trust",
    ),
    (
        "objects/*/numpy_structured.pt",
        "records are read as raw items (V20): the bytes are the same, the fields' names are left out",
    ),
    (
        "objects/*/quantized_sub_byte.pt",
        "the file says per_channel_affine; PyTorch makes it …_float_qparams for sub-byte dtypes",
    ),
];

fn zoo(test: &str) -> Option<&'static Zoo> {
    oracle::zoo().map_err(|reason| oracle::skip(test, &reason)).ok()
}

#[test]
fn verdicts_of_the_zoo_are_those_of_the_frameworks() {
    let Some(zoo) = zoo("verdicts of the zoo") else { return };
    let table = Table::new(VERDICTS);
    let mut wrong = Vec::new();
    for entry in zoo.entries() {
        // Directories and JSON are nothing that a framework loads by itself.
        let Some(loads) = entry.loads else { continue };
        let report = ckpt::verify(&zoo.path(entry), &ckpt::VerifyOptions::default());
        wrong.extend(check(&entry.name, &report, loads, &table).err());
        if report.format.as_str() != entry.kind && report.verdict != Verdict::Corrupted {
            wrong.push(format!("{}: {} is taken for {}", entry.name, entry.kind, report.format));
        }
    }
    assert!(wrong.is_empty(), "{} of {} files:\n{}", wrong.len(), zoo.entries().len(), wrong.join("\n"));
    assert!(table.unused().is_empty(), "entries that no file needs: {:#?}", table.unused());
}

#[test]
fn values_of_the_zoo_are_those_of_the_frameworks() {
    let Some(zoo) = zoo("values of the zoo") else { return };
    let mut needed = vec![false; VALUES.len()];
    let mut wrong = Vec::new();
    for entry in zoo.entries() {
        let Some(theirs) = entry.values.as_ref().or(entry.trusted.as_ref()) else { continue };
        let bytes = std::fs::read(zoo.path(entry)).expect("the zoo's files are there");
        let result = read::compare(&bytes, &dump::from_json(theirs));
        let known = VALUES.iter().position(|(files, _)| matches(files, &entry.name));
        match (result, known) {
            (Ok(()), None) => {}
            (Err(_), Some(at)) => needed[at] = true,
            (Ok(()), Some(at)) => wrong.push(format!("{}: agrees, though '{}'", entry.name, VALUES[at].1)),
            (Err(difference), None) => wrong.push(format!("{}: {difference}", entry.name)),
        }
    }
    assert!(wrong.is_empty(), "{} of {} files:\n{}", wrong.len(), zoo.entries().len(), wrong.join("\n"));
    assert!(needed.iter().all(|needed| *needed), "not every entry is needed: {needed:?}");
}

fn matches(pattern: &str, name: &str) -> bool {
    globset::Glob::new(pattern).expect("the table's patterns are globs").compile_matcher().is_match(name)
}

/// The numbers of big-endian untyped storages are those that the same tensors have in a little-endian
/// file, where PyTorch reads them right.
#[test]
fn big_endian_untyped_storages_are_swapped_back() {
    let Some(zoo) = zoo("big-endian files") else { return };
    let entry = |name: &str| zoo.entries().iter().find(|entry| entry.name == name).expect("the zoo has it");
    let big = ours(zoo, entry("big_endian/untyped.pt"));
    let tensors = &big[1..];
    assert!(tensors.len() > 4, "the file has a tensor for each untyped dtype");
    for leaf in tensors {
        let dtype = leaf.path.strip_prefix("torch.").expect("the names are dtypes");
        let little = entry(&format!("objects/zip/dtype_{dtype}.pt"));
        let little = dump::from_json(little.values.as_ref().expect("PyTorch loads it"));
        let flat = little.iter().find(|leaf| leaf.path == "flat").expect("the object has a flat tensor");
        assert_eq!(leaf.value, flat.value, "{dtype}");
    }
}

fn ours(zoo: &Zoo, entry: &Entry) -> Vec<Leaf> {
    let bytes = std::fs::read(zoo.path(entry)).expect("the zoo's files are there");
    read::read(&bytes).expect("a sound file").dump(&bytes).expect("a checkpoint")
}
