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
    insta::assert_snapshot!(place.verify(&["runs"]).shown(), @r#"
    exit 0
    --- stdout
    VERDICT  PASSED     FORMAT                   SIZE  TENSORS  INTEGRITY  PATH
    valid    load       torch-distributed     6.7 KiB        2  partial    runs/alone
    valid    load       torch-distributed    14.1 KiB        3  partial    runs/apart
    valid    load       torch-distributed    10.3 KiB        3  partial    runs/ranks

    3 checkpoints, 31.2 KiB, in 0 ms: 3 valid
    --- stderr
    "#);
    fs::remove_file(place.at("runs/ranks/__1_0.distcp")).unwrap();
    fs::rename(place.at("runs/alone/.metadata"), place.at("runs/alone/.metadata.tmp")).unwrap();
    insta::assert_snapshot!(place.verify(&["runs"]).shown(), @r#"
    exit 1
    --- stdout
    corrupted  runs/alone
      torch-distributed, 6.7 KiB; checked to size, passed nothing
      artifact-missing: there is no .metadata, and '.metadata.tmp' is: the save ended before it was finished
      hint: copy or download the missing file again, or resume from an earlier checkpoint

    corrupted  runs/ranks
      torch-distributed, 4.5 KiB; checked to load, passed nothing
      artifact-missing: the shard '__1_0.distcp' is missing (file __1_0.distcp)
      hint: copy or download the missing file again, or resume from an earlier checkpoint

    VERDICT  PASSED     FORMAT                   SIZE  TENSORS  INTEGRITY  PATH
    valid    load       torch-distributed    14.1 KiB        3  partial    runs/apart

    3 checkpoints, 25.3 KiB, in 0 ms: 2 corrupted, 1 valid
    --- stderr
    "#);
}

#[test]
fn the_tensors_are_listed_by_their_whole_shape() {
    insta::assert_snapshot!(place().run(&["info", "runs/ranks"]).shown(), @r#"
    exit 0
    --- stdout
    path      runs/ranks
    format    torch-distributed (a torch.distributed checkpoint)
    version   none
    status    none
    marker    no
    size      10.3 KiB
    metadata  dcp.save: 00000000-0000-4000-8000-000000000000
              dcp.shards: 2
              dcp.values: 1
              dcp.version: 1.0.0
    total     3 tensors, 136 B

    NAME     DTYPE         SHAPE          BYTES
    rows     f32           [3, 5]            60
    columns  f32           [3, 5]            60
    same     i64           [2]               16
    --- stderr
    "#);
}
