#![expect(clippy::disallowed_methods, reason = "tests make files of their own")]

use super::*;

/// A directory with these files; a path ending in `/` is a directory, one with `=` has that content.
fn tree(files: &[&str]) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    for file in files {
        let (name, content) = file.split_once('=').unwrap_or((file, "x"));
        let path = directory.path().join(name);
        if name.ends_with('/') {
            fs::create_dir_all(path).unwrap();
        } else {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
    }
    directory
}

fn relative(directory: &tempfile::TempDir, found: &Discovery) -> Vec<String> {
    let name = |candidate: &Candidate| {
        candidate.path.strip_prefix(directory).unwrap_or(&candidate.path).to_str().unwrap().to_owned()
    };
    found.candidates.iter().map(name).collect()
}

fn both(directory: &tempfile::TempDir) -> [Vec<String>; 2] {
    [Look::Contents, Look::Names].map(|look| relative(directory, &discover([directory], look)))
}

#[test]
fn a_walk_is_in_path_order_and_goes_by_names_and_contents() {
    let legacy = "run/legacy=\u{2}\0\0\0\0\0\0\0{}";
    let directory = tree(&["run/b.pt", "run/a/z.pt", "run/a.pt", "run/notes.txt", legacy, "run.pt"]);
    let [contents, names] = both(&directory);
    assert_eq!(contents, ["run/a/z.pt", "run/a.pt", "run/b.pt", "run/legacy", "run.pt"]);
    assert_eq!(names, ["run/a/z.pt", "run/a.pt", "run/b.pt", "run.pt"]);
    let mut sorted: Vec<_> = contents.iter().map(PathBuf::from).collect();
    sorted.sort();
    assert!(sorted.iter().map(|path| path.to_str().unwrap()).eq(&contents), "path order is that of `Path`");
}

#[test]
fn markers_seals_hidden_and_temporary_files_are_no_candidates() {
    let directory =
        tree(&["a.pt", "a.pt.done", "a.pt.seal", ".b.pt", ".git/c.pt", "d.pt.tmp", "failed_checkpoints.txt"]);
    for found in both(&directory) {
        assert_eq!(found, ["a.pt"]);
    }
}

#[test]
fn an_index_stands_for_its_shards() {
    let index = r#"m.safetensors.index.json={"weight_map":{"a":"m-1.safetensors","b":"sub/m-2.safetensors","c":"../x.pt"}}"#;
    let directory = tree(&[index, "m-1.safetensors=12345", "sub/m-2.safetensors", "sub/m-3.safetensors"]);
    for found in both(&directory) {
        assert_eq!(found, ["m.safetensors.index.json", "sub/m-3.safetensors"]);
    }
    let found = discover([&directory], Look::Contents);
    let length = index.split_once('=').unwrap().1.len() as u64;
    assert_eq!(found.candidates[0].bytes, length + 5 + 1);
}

#[test]
fn a_malformed_index_stays_a_candidate_and_claims_nothing() {
    let directory =
        tree(&["m.bin.index.json={\"weight_map\"", "m-1.bin", "search.index.json={}", "x.index.json=["]);
    for found in both(&directory) {
        assert_eq!(found, ["m-1.bin", "m.bin.index.json"]);
    }
}

#[test]
fn a_trainer_directory_is_one_checkpoint() {
    let directory = tree(&[
        "out/trainer_state.json",
        "out/checkpoint-5/trainer_state.json",
        "out/checkpoint-5/model.safetensors=12345",
        "out/checkpoint-5/optimizer.pt",
        "out/checkpoint-5/value_head.pt",
        "out/checkpoint-5/global_step5/states.pt",
        "out/checkpoint-5/pytorch_model_fsdp.bin",
        "out/checkpoint-6/model.safetensors",
        "out/checkpoint-6/training_args.bin",
        "out/checkpoint-6/rng_state_0.pth",
        "out/checkpoint-7/notes.txt",
    ]);
    for found in both(&directory) {
        let expected = [
            "out/checkpoint-5",
            "out/checkpoint-5/global_step5/states.pt",
            "out/checkpoint-5/pytorch_model_fsdp.bin",
            "out/checkpoint-5/value_head.pt",
            "out/checkpoint-6",
        ];
        assert_eq!(found, expected);
    }
    assert_eq!(discover([&directory], Look::Contents).candidates[0].bytes, 5 + 1 + 1);
}

#[test]
fn a_distributed_checkpoint_and_a_hub_cache_are_known() {
    let directory =
        tree(&["dcp/.metadata", "dcp/__0_0.distcp", "hub/blobs/a.pt", "hub/snapshots/1/b.pt", "blobs/c.pt"]);
    for found in both(&directory) {
        assert_eq!(found, ["blobs/c.pt", "dcp", "hub/snapshots/1/b.pt"]);
    }
}

#[test]
fn named_files_are_always_candidates_and_none_is_listed_twice() {
    let directory = tree(&["notes.txt", "a.pt", "b.pt"]);
    let at = |name: &str| directory.path().join(name);
    let found =
        discover([at("b.pt"), at("notes.txt"), directory.path().to_owned(), at("gone.pt")], Look::Contents);
    assert_eq!(relative(&directory, &found), ["a.pt", "b.pt", "gone.pt", "notes.txt"]);
    assert!(found.problems.is_empty());
}

#[test]
fn a_named_directory_can_be_the_problem() {
    let directory = tree(&["empty/", "full/a.pt"]);
    let at = |name: &str| directory.path().join(name);
    let found = discover([at("empty"), at("full"), at("gone")], Look::Contents);
    let kinds: Vec<_> = found.problems.iter().map(Error::kind).collect();
    assert_eq!(kinds, [crate::ErrorKind::Nothing, crate::ErrorKind::Io]);
    assert_eq!(found.candidates.len(), 1);
}

#[test]
fn the_fast_path_knows_which_files_stand_alone() {
    let directory = tree(&["a.pt", "b.pt", "b.pt.done", "c.pt", "c.pt.seal"]);
    let found = discover([&directory], Look::Names);
    let alone: Vec<_> = found.candidates.iter().map(|candidate| candidate.is_alone).collect();
    assert_eq!(alone, [true, false, false]);
}

#[cfg(unix)]
mod unix {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn links_to_files_are_followed_and_loops_are_not() {
        let directory = tree(&["real/a.pt=1234", "links/"]);
        let at = |name: &str| directory.path().join(name);
        symlink(at("real/a.pt"), at("links/b.pt")).unwrap();
        symlink(at("links"), at("links/loop")).unwrap();
        symlink(at("links"), at("links/loop.pt")).unwrap();
        symlink(at("gone"), at("links/broken.pt")).unwrap();
        let found = discover([&at("links")], Look::Contents);
        assert_eq!(relative(&directory, &found), ["links/b.pt", "links/broken.pt"].map(|name| name));
        assert_eq!(found.candidates[0].bytes, 4);
        assert_eq!(relative(&directory, &discover([&at("links/loop")], Look::Names)).len(), 2);
    }

    #[test]
    fn an_unreadable_subdirectory_stops_nothing() {
        use std::os::unix::fs::PermissionsExt as _;

        let directory = tree(&["a/x.pt", "b/y.pt"]);
        let locked = directory.path().join("a");
        fs::set_permissions(&locked, fs::Permissions::from_mode(0o000)).unwrap();
        let is_refused = fs::read_dir(&locked).is_err();
        let found = discover([&directory], Look::Contents);
        fs::set_permissions(&locked, fs::Permissions::from_mode(0o755)).unwrap();
        if !is_refused {
            eprintln!("not shown here: this user may read every directory");
            return;
        }
        assert_eq!(relative(&directory, &found), ["a", "b/y.pt"]);
        assert_eq!(found.candidates[0].problem.as_ref().unwrap().code, Code::IoError);
    }
}
