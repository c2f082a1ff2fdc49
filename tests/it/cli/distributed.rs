//! Distributed checkpoints on the command line.

use std::fs;
use std::path::Path;

use super::Place;

/// A place with the directories of `tests/data/dcp`, the metadata written last.
fn place() -> Place {
    let place = Place::with(&[]);
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/dcp");
    for name in ["alone", "ranks", "apart"] {
        let entries = fs::read_dir(data.join(name)).unwrap();
        let mut files: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        files.sort_by_key(|file| (file.ends_with(".metadata"), file.clone()));
        for file in files {
            let bytes = fs::read(data.join(name).join(&file)).unwrap();
            place.write(format!("runs/{name}/{file}"), &bytes);
        }
    }
    place
}

#[test]
fn directories_are_found_and_checked() {
    let place = place();
    insta::assert_snapshot!(place.verify(&["runs"]).shown(), @"");
    fs::remove_file(place.at("runs/ranks/__1_0.distcp")).unwrap();
    fs::rename(place.at("runs/alone/.metadata"), place.at("runs/alone/.metadata.tmp")).unwrap();
    insta::assert_snapshot!(place.verify(&["runs"]).shown(), @"");
}

#[test]
fn the_tensors_are_listed_by_their_whole_shape() {
    insta::assert_snapshot!(place().run(&["info", "runs/ranks"]).shown(), @"");
}
