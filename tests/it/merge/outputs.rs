//! An output that is there: left as it is where it is good, and of these inputs; made anew otherwise.

use std::fs;

use ckpt::features::merge::{MergeOptions, merge};
use ckpt::record::{Level, MergeOutcome, Merged};
use ckpt::{ErrorKind, Integrity, VerifyOptions, verify};

use super::{Place, ids, matrix, read, usual, usual_output};

fn outcome(place: &Place, options: &MergeOptions) -> MergeOutcome {
    place.merge(options).unwrap().outcome
}

/// What is said of a pair, but for what became of it this time.
fn facts(mut merged: Merged) -> Merged {
    (merged.outcome, merged.elapsed_ms) = (MergeOutcome::Merged, 0);
    merged
}

#[test]
fn what_is_finished_is_skipped_and_says_the_same() {
    let place = Place::new();
    usual(&place);
    let options = MergeOptions::default();
    let first = place.merge(&options).unwrap();
    let bytes = fs::read(place.at("out.pt")).unwrap();
    let again = place.merge(&options).unwrap();
    assert_eq!(again.outcome, MergeOutcome::Skipped);
    assert_eq!(facts(again), facts(first.clone()));
    assert_eq!(outcome(&place, &options.clone().with_verify(Level::Container)), MergeOutcome::Skipped);
    let redone = place.merge(&options.redo()).unwrap();
    assert_eq!(redone.outcome, MergeOutcome::Merged);
    assert_eq!(facts(redone), facts(first));
    assert_eq!(fs::read(place.at("out.pt")).unwrap(), bytes, "equal inputs give equal bytes");
    let report = verify(&place.at("out.pt"), &VerifyOptions::default());
    assert!(report.is_valid() && report.integrity == Integrity::Full);
}

#[test]
fn what_is_damaged_is_made_anew() {
    let place = Place::new();
    usual(&place);
    let options = MergeOptions::default();
    outcome(&place, &options);
    let good = fs::read(place.at("out.pt")).unwrap();
    // Every tenth byte flipped, and every tenth length.
    for at in (0..good.len()).step_by(10) {
        let mut bytes = good.clone();
        bytes[at] ^= 4;
        fs::write(place.at("out.pt"), &bytes).unwrap();
        assert_eq!(outcome(&place, &options), MergeOutcome::Merged, "byte {at}");
        fs::write(place.at("out.pt"), &good[..at]).unwrap();
        assert_eq!(outcome(&place, &options), MergeOutcome::Merged, "length {at}");
        assert_eq!(fs::read(place.at("out.pt")).unwrap(), good);
    }
}

#[test]
fn what_was_made_of_other_inputs_is_made_anew() {
    let place = Place::new();
    usual(&place);
    let options = MergeOptions::default();
    outcome(&place, &options);
    // The same contents in another file are the same input.
    fs::copy(place.at("a.pt"), place.at("copy.pt")).unwrap();
    fs::rename(place.at("copy.pt"), place.at("a.pt")).unwrap();
    assert_eq!(outcome(&place, &options), MergeOutcome::Skipped);
    place.save("b.pt", &[("ids", ids(&["x"])), ("data", matrix(&[&[7.5]]))]);
    assert_eq!(outcome(&place, &options), MergeOutcome::Merged);
    assert_eq!(read(&place.at("out.pt")).data, [1.0, 2.0, 7.5]);
    assert_eq!(outcome(&place, &options), MergeOutcome::Skipped);
    // A foreign file is told by its bytes, where it has no checksums.
    let file = |value: f32| {
        let header = br#"{"__metadata__":{"ids":"[\"x\"]"},"data":{"dtype":"F32","shape":[1,1],"data_offsets":[0,4]}}"#;
        [&(header.len() as u64).to_le_bytes()[..], header, &value.to_le_bytes()].concat()
    };
    let foreign = place.at("b.safetensors");
    let merge = || merge(&place.at("a.pt"), &foreign, &place.at("out.pt"), &options).unwrap().outcome;
    fs::write(&foreign, file(1.0)).unwrap();
    assert_eq!((merge(), merge()), (MergeOutcome::Merged, MergeOutcome::Skipped));
    fs::write(&foreign, file(2.0)).unwrap();
    assert_eq!((merge(), merge()), (MergeOutcome::Merged, MergeOutcome::Skipped));
}

#[test]
fn what_was_made_otherwise_than_asked_for_is_made_anew() {
    let place = Place::new();
    usual(&place);
    let options = MergeOptions::default();
    outcome(&place, &options);
    // Without a marker where one is wanted; with other keys.
    assert_eq!(outcome(&place, &options.clone().with_marker()), MergeOutcome::Merged);
    assert!(place.at("out.pt.done").exists());
    assert_eq!(outcome(&place, &options.clone().with_marker()), MergeOutcome::Skipped);
    let named = options.clone().with_ids_key("ids").with_data_key("data");
    assert_eq!(outcome(&place, &named), MergeOutcome::Merged);
    assert_eq!(outcome(&place, &named), MergeOutcome::Skipped);
    assert_eq!(read(&place.at("out.pt")), usual_output());
    // A file that a merge didn't make is replaced too, and its marker is kept true.
    fs::copy(place.at("b.pt"), place.at("out.pt")).unwrap();
    assert_eq!(outcome(&place, &options), MergeOutcome::Merged);
    let mut check = VerifyOptions::default();
    check.require_marker = true;
    assert!(verify(&place.at("out.pt"), &check).is_valid());
}

#[test]
fn an_input_is_no_output() {
    let place = Place::new();
    usual(&place);
    let before = fs::read(place.at("b.pt")).unwrap();
    let error = merge(&place.at("a.pt"), &place.at("b.pt"), &place.at("b.pt"), &MergeOptions::default());
    assert_eq!(error.unwrap_err().kind(), ErrorKind::Usage);
    assert_eq!(fs::read(place.at("b.pt")).unwrap(), before);
    let error = merge(&place.at("a.pt"), &place.at("b.pt"), &place.at("out.npz"), &MergeOptions::default());
    assert_eq!(error.unwrap_err().kind(), ErrorKind::Usage);
}
