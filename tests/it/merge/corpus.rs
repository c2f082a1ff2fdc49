//! Real files of a pipeline that merges: what it merged is what we merge, bit for bit.

use std::fs;
use std::path::{Path, PathBuf};

use ckpt::features::merge::{MergeOptions, merge, pairs_in};
use ckpt::record::Merged;
use ckpt::{LoadOptions, State, load};

use super::Place;
use crate::agreement::oracle;

/// The five sets: the directories of the two inputs, and of what was merged of them.
const SETS: [[&str; 3]; 5] = [
    ["reference_vanilla_output", "reference_vanilla_output", "reference_vanilla_output"],
    ["test_fixed_500bp_nucleotide", "test_fixed_500bp_protein", "test_fixed_500bp_merged"],
    [
        "test_fixed_500bp_refactored/test_fixed_500bp_nucleotide",
        "test_fixed_500bp_refactored/test_fixed_500bp_protein",
        "test_fixed_500bp_refactored/test_fixed_500bp_merged",
    ],
    ["test_with_orfs_nucleotide", "test_with_orfs_protein", "test_with_orfs_merged"],
    [
        "test_with_orfs_refactored/test_with_orfs_nucleotide",
        "test_with_orfs_refactored/test_with_orfs_protein",
        "test_with_orfs_refactored/test_with_orfs_merged",
    ],
];

fn data() -> Result<PathBuf, String> {
    let path = oracle::corpus()?.join("broadinstitute+virnucpro-broad/tests/data");
    if path.exists() { Ok(path) } else { Err(format!("no {}", path.display())) }
}

fn state(path: &Path) -> State<'static> {
    load(path, &LoadOptions::default()).unwrap()
}

fn merged(data: &Path, [a, b, _]: [&str; 3], out: &Path, options: &MergeOptions) -> Merged {
    let a = data.join(a).join("output_1_DNABERT_S.pt");
    let b = data.join(b).join("output_1_ESM.pt");
    merge(&a, &b, out, options).unwrap()
}

#[test]
fn real_files_merge_to_the_bits_that_were_merged_of_them() {
    let data = match data() {
        Ok(data) => data,
        Err(reason) => return oracle::skip("merges of the corpus", &reason),
    };
    let place = Place::new();
    for set in SETS {
        for (out, eager_bytes) in [("out.pt", u64::MAX), ("out.safetensors", u64::MAX), ("out.pt", 0)] {
            let mut options = MergeOptions::default().redo();
            options.table.eager_bytes = Some(eager_bytes);
            let out = place.at(out);
            let merged = merged(&data, set, &out, &options);
            assert_eq!((merged.rows, merged.width_a, merged.width_b), (4, 768, 2560), "{set:?}");
            assert_eq!((merged.unmatched(), merged.duplicates()), (0, 0), "{set:?}");
            let difference = state(&out).same_as(&state(&data.join(set[2]).join("output_1_merged.pt")));
            assert!(difference.as_ref().unwrap().is_none(), "{set:?}: {difference:?}");
        }
    }
}

#[test]
fn directories_of_real_files_pair_up() {
    let data = match data() {
        Ok(data) => data,
        Err(reason) => return oracle::skip("pairs of the corpus", &reason),
    };
    let out = Path::new("merged");
    for [a, b, _] in SETS.into_iter().skip(1) {
        let found = pairs_in(&data.join(a), &data.join(b), out, &MergeOptions::default()).unwrap();
        assert!(found.unpaired.is_empty());
        let [pair] = found.pairs.as_slice() else { panic!("{found:?}") };
        assert_eq!(pair.out, out.join("output_1_merged.pt"));
    }
}

#[test]
fn pytorch_reads_what_real_files_merge_to() {
    let (files, python) = match data().and_then(|files| Ok((files, oracle::python()?))) {
        Ok(found) => found,
        Err(reason) => return oracle::skip("PyTorch on merges of the corpus", &reason),
    };
    let place = Place::new();
    let written: Vec<_> = (0..SETS.len()).map(|number| place.at(&format!("{number}.pt"))).collect();
    for (set, out) in SETS.into_iter().zip(&written) {
        merged(&files, set, out, &MergeOptions::default());
    }
    let theirs: Vec<_> = SETS.iter().map(|set| files.join(set[2]).join("output_1_merged.pt")).collect();
    let answers = oracle::ask(&python, &[written.clone(), theirs.clone()].concat());
    for (ours, theirs) in written.iter().zip(&theirs) {
        let (ours, theirs) = (&answers[ours], &answers[theirs]);
        assert!(ours.values.is_some(), "{ours:?}");
        // PyTorch says the same of both, down to the digest of the elements.
        assert_eq!(ours.values, theirs.values);
    }
    assert!(fs::read_dir(place.0.path()).unwrap().count() == SETS.len());
}
