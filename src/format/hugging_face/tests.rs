use super::*;
use crate::Dtype;
use crate::format::Flaw;
use crate::record::{Code, Finding, Level, TensorInfo, Verdict};

const INDEX: &str = r#"{"metadata":{"total_size":24},"weight_map":{"a":"model-1.safetensors","b":"model-2.safetensors","c":"model-1.safetensors"}}"#;

fn found<T: std::fmt::Debug>(result: Result<T, Flaw>) -> Finding {
    match result {
        Err(Flaw::Found(finding)) => *finding,
        other => panic!("{other:?}"),
    }
}

fn refuses(text: &str, code: Code, verdict: Verdict, word: &str) -> Finding {
    let finding = found(read_index(text.as_bytes()));
    assert_eq!((finding.code, finding.verdict), (code, verdict), "{finding:?}");
    assert!(finding.message.contains(word), "{finding:?}");
    finding
}

#[test]
fn an_index_is_read() {
    let index = read_index(INDEX.as_bytes()).unwrap();
    assert_eq!(index.shards, ["model-1.safetensors", "model-2.safetensors"]);
    assert_eq!(index.shard_of("c"), Some("model-1.safetensors"));
    assert_eq!(index.shard_of("d"), None);
    assert_eq!(index.total_size, Some(24));
    assert!(index.notes.is_empty());
}

#[test]
fn writers_differ_in_the_total_size() {
    for (metadata, size) in [
        (r#""metadata":{"total_size":24.125},"#, Some(24)),
        (r#""metadata":{"total_size":"24"},"#, Some(24)),
        (r#""metadata":{"total_size":"24.0"},"#, Some(24)),
        (r#""metadata":{"total_size":"24GB"},"#, None),
        (r#""metadata":{"total_size":-1},"#, None),
        (r#""metadata":{"total_size":1e300},"#, None),
        (r#""metadata":{"total_size":null},"#, None),
        (r#""metadata":{"total_size":true},"#, None),
        (r#""metadata":{"total_size":[1]},"#, None),
        (r#""metadata":{"total_size":{"a":1}},"#, None),
        (r#""metadata":{},"#, None),
        (r#""metadata":null,"#, None),
        ("", None),
    ] {
        let index =
            read_index(INDEX.replace(r#""metadata":{"total_size":24},"#, metadata).as_bytes()).unwrap();
        assert_eq!(index.total_size, size, "{metadata}");
        assert_eq!(index.notes.len(), 1, "{metadata}");
        assert!(!index.notes[0].is_failure());
    }
}

#[test]
fn other_metadata_is_skipped() {
    let index = INDEX.replace("{\"total_size\"", r#"{"total_parameters":6,"x":[{"y":1}],"total_size""#);
    assert_eq!(read_index(index.as_bytes()).unwrap().total_size, Some(24));
}

#[test]
fn what_is_no_json_is_corrupted() {
    let malformed = |text: &str, word: &str| {
        refuses(text, Code::IndexMalformed, Verdict::Corrupted, word).at.offset.unwrap()
    };
    assert_eq!(malformed("", "EOF"), 0);
    assert_eq!(malformed("<html>", "expected value"), 0);
    malformed(&format!("{INDEX}x"), "trailing");
    let finding = found(read_index(b"{\"\xff\":1}"));
    assert_eq!((finding.verdict, finding.at.offset), (Verdict::Corrupted, Some(2)));
    for end in 0..INDEX.len() {
        malformed(&INDEX[..end], "EOF");
    }
}

#[test]
fn another_document_is_incompatible() {
    for text in [
        "[]",
        "{}",
        r#"{"metadata":{}}"#,
        r#"{"weight_map":[]}"#,
        r#"{"weight_map":{"a":1}}"#,
        r#"{"metadata":3,"weight_map":{}}"#,
    ] {
        refuses(text, Code::IndexMalformed, Verdict::Incompatible, "");
    }
    let deep = format!(r#"{{"x":{}1{},"weight_map":{{}}}}"#, "[".repeat(200), "]".repeat(200));
    refuses(&deep, Code::TooComplex, Verdict::Incompatible, "nested");
}

#[test]
fn an_index_beyond_the_limit_is_incompatible() {
    let bytes = vec![b' '; usize::try_from(MAX_DOCUMENT_BYTES).unwrap() + 1];
    assert_eq!(found(read_index(&bytes)).code, Code::TooComplex);
}

#[test]
fn what_is_there_twice_is_ambiguous() {
    for text in [
        INDEX.replace("\"c\"", "\"a\""),
        INDEX.replace("\"c\"", "\"\\u0061\""),
        INDEX.replacen('{', r#"{"weight_map":{},"#, 1),
        INDEX.replacen('{', r#"{"metadata":{},"#, 1),
        INDEX.replace(":24", ":24,\"total_size\":24"),
    ] {
        refuses(&text, Code::Ambiguous, Verdict::Incompatible, "twice");
    }
}

#[test]
fn a_shard_outside_the_directory_is_refused() {
    for name in
        ["../model-1.safetensors", "/etc/passwd", "a/b", r"a\\b", "C:x", "..", ".", "", r"a\u0000b", r"a\nb"]
    {
        let text = INDEX.replacen("model-1.safetensors", name, 1);
        let finding = refuses(&text, Code::IndexMalformed, Verdict::Incompatible, "shard name");
        assert_eq!(finding.at.tensor.as_deref(), Some("a"));
    }
    assert!(read_index(INDEX.replace("model-1", "..model 1").as_bytes()).is_ok());
}

fn tensor(name: &str, dtype: Dtype, count: u64) -> TensorInfo {
    TensorInfo { name: name.to_owned(), dtype, shape: vec![count], bytes: dtype.bytes_for(count).unwrap() }
}

fn shards(extension: &str) -> Vec<(String, Vec<TensorInfo>)> {
    vec![
        (format!("model-1.{extension}"), vec![tensor("a", Dtype::F32, 2), tensor("c", Dtype::F32, 2)]),
        (format!("model-2.{extension}"), vec![tensor("b", Dtype::F64, 1)]),
    ]
}

fn check(index: &str, shards: &[(String, Vec<TensorInfo>)]) -> Vec<Finding> {
    check_shards(&read_index(index.as_bytes()).unwrap(), shards)
}

fn only(findings: Vec<Finding>) -> Finding {
    let [finding] = <[Finding; 1]>::try_from(findings).unwrap();
    finding
}

#[test]
fn shards_that_fit_their_index_are_fine() {
    assert_eq!(check(INDEX, &shards("safetensors")), []);
    assert_eq!(check(&INDEX.replace(r#""total_size":24"#, ""), &shards("safetensors")), []);
}

#[test]
fn a_missing_shard_is_corrupted() {
    let finding = only(check(INDEX, &shards("safetensors")[..1]));
    assert_eq!((finding.code, finding.verdict), (Code::ArtifactMissing, Verdict::Corrupted));
    assert_eq!(finding.level, Level::Size);
    assert_eq!(finding.at.file.unwrap().to_str(), Some("model-2.safetensors"));
}

#[test]
fn a_tensor_missing_from_its_shard_is_corrupted() {
    let mut shards = shards("safetensors");
    shards[0].1.pop();
    let finding = only(check(INDEX, &shards));
    assert_eq!((finding.code, finding.verdict), (Code::IndexDisagrees, Verdict::Corrupted));
    assert_eq!(finding.at.tensor.as_deref(), Some("c"));
}

#[test]
fn a_tensor_too_many_is_incompatible() {
    let mut shards = shards("safetensors");
    shards[1].1.push(tensor("d", Dtype::U8, 1));
    shards[1].1.push(tensor("a", Dtype::U8, 1));
    let findings = check(INDEX, &shards);
    assert!(findings.iter().all(|finding| finding.verdict == Verdict::Incompatible));
    assert!(findings[0].message.contains("lacks"), "{findings:?}");
    assert!(findings[1].message.contains("puts into 'model-1.safetensors'"), "{findings:?}");
}

#[test]
fn many_disagreements_are_summed_up() {
    let mut shards = shards("safetensors");
    shards[1].1.extend((0..100).map(|n| tensor(&format!("x{n}"), Dtype::U8, 1)));
    let findings = check(INDEX, &shards);
    assert_eq!(findings.len(), 21);
    assert!(findings[20].message.starts_with("80 more"), "{:?}", findings[20]);
}

#[test]
fn another_total_size_is_incompatible() {
    for size in ["16", "23", "25"] {
        let finding = only(check(&INDEX.replace("24", size), &shards("safetensors")));
        assert_eq!((finding.code, finding.verdict), (Code::IndexDisagrees, Verdict::Incompatible));
        assert!(finding.message.contains(size));
    }
}

#[test]
fn tied_tensors_of_a_pickled_shard_count_once() {
    let index = INDEX.replace("safetensors", "bin");
    assert_eq!(check(&index, &shards("bin")), []);
    let tied = only(check(&index.replace("24", "16"), &shards("bin")));
    assert_eq!((tied.code, tied.verdict), (Code::IndexDisagrees, Verdict::Valid));
    let less = only(check(&index.replace("24", "15"), &shards("bin")));
    assert_eq!(less.verdict, Verdict::Incompatible);
}

#[test]
fn booleans_may_count_an_eighth() {
    let index = INDEX.replace("24", "17.125");
    let mut shards = shards("safetensors");
    shards[1].1 = vec![tensor("b", Dtype::Bool, 9)];
    assert_eq!(check(&index, &shards), []);
}

#[test]
fn a_trainer_state_is_read() {
    let state = r#"{"epoch": 1.5, "note": "NaN \" Infinity", "log_history": [{"loss": NaN, "a": [-Infinity,Infinity]}], "global_step": 500}"#;
    assert_eq!(read_trainer_state(state.as_bytes()).unwrap().global_step, 500);
    for (text, verdict) in [
        ("", Verdict::Corrupted),
        (&state[..state.len() - 1], Verdict::Corrupted),
        (r#"{"loss": NaNa, "global_step": 1}"#, Verdict::Corrupted),
        (r#"{"loss": 1NaN, "global_step": 1}"#, Verdict::Corrupted),
        (r#"{NaN: 1, "global_step": 1}"#, Verdict::Corrupted),
        ("[]", Verdict::Incompatible),
        ("{}", Verdict::Incompatible),
        (r#"{"global_step": "500"}"#, Verdict::Incompatible),
        (r#"{"global_step": -1}"#, Verdict::Incompatible),
        (r#"{"global_step": 1.5}"#, Verdict::Incompatible),
        (r#"{"global_step": NaN, "global_step": 5}"#, Verdict::Incompatible),
    ] {
        assert_eq!(found(read_trainer_state(text.as_bytes())).verdict, verdict, "{text}");
    }
}

#[test]
fn offsets_outlive_the_replaced_words() {
    let finding = found(read_trainer_state(br#"{"a": NaN, "b": -Infinity, "c": x}"#));
    assert_eq!(finding.at.offset, Some(32));
}

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|&name| name.to_owned()).collect()
}

const WHOLE: [&str; 7] = [
    "config.json",
    "model.safetensors",
    "optimizer.pt",
    "scheduler.pt",
    "rng_state.pth",
    "trainer_state.json",
    "training_args.bin",
];

fn without(missing: &[&str]) -> Vec<Finding> {
    let left: Vec<&str> = WHOLE.into_iter().filter(|name| !missing.contains(name)).collect();
    trainer_artifacts(&names(&left)).findings
}

#[test]
fn a_whole_trainer_checkpoint_lacks_nothing() {
    let checkpoint = trainer_artifacts(&names(&WHOLE));
    assert!(checkpoint.findings.is_empty(), "{:?}", checkpoint.findings);
    let roles: Vec<Role> = checkpoint.artifacts.iter().map(|artifact| artifact.role).collect();
    let expected =
        [Role::Weights, Role::Optimizer, Role::Scheduler, Role::Rng, Role::TrainerState, Role::TrainingArgs];
    assert_eq!(roles, expected);
    let required: Vec<&str> = checkpoint
        .artifacts
        .iter()
        .filter_map(|artifact| artifact.required.then_some(artifact.name.as_str()))
        .collect();
    assert_eq!(required, ["model.safetensors", "trainer_state.json"]);
    assert!(checkpoint.artifacts[5].role.needs_trust());
}

#[test]
fn what_a_trainer_checkpoint_lacks_is_named() {
    for missing in ["model.safetensors", "optimizer.pt", "scheduler.pt", "trainer_state.json"] {
        let finding = only(without(&[missing]));
        assert_eq!((finding.code, finding.verdict), (Code::ArtifactMissing, Verdict::Corrupted));
        assert!(finding.message.contains(missing), "{finding:?}");
    }
    assert_eq!(only(without(&["optimizer.pt", "scheduler.pt"])).verdict, Verdict::Corrupted);
    assert_eq!(only(without(&["rng_state.pth"])).verdict, Verdict::Valid);
    assert_eq!(only(without(&["optimizer.pt", "scheduler.pt", "rng_state.pth"])).verdict, Verdict::Valid);
}

#[test]
fn other_forms_of_weights_are_known() {
    for (name, role) in [
        ("pytorch_model.bin", Role::Weights),
        ("model.safetensors.index.json", Role::WeightsIndex),
        ("pytorch_model.bin.index.json", Role::WeightsIndex),
        ("adapter_model.safetensors", Role::Adapter),
        ("global_step500", Role::Engine),
        ("pytorch_model_fsdp_0", Role::Engine),
    ] {
        let checkpoint = trainer_artifacts(&names(&[
            name,
            "optimizer.pt",
            "scheduler.pt",
            "rng_state.pth",
            "trainer_state.json",
        ]));
        assert_eq!(checkpoint.artifacts[0].role, role);
        assert!(checkpoint.findings.iter().all(|finding| !finding.is_failure()), "{:?}", checkpoint.findings);
    }
    assert_eq!(Role::of("model-00001-of-00002.safetensors"), Role::WeightsShard);
    assert_eq!(Role::of("pytorch_model-00001-of-00002.bin"), Role::WeightsShard);
    assert_eq!(Role::of("model-a-of-b.safetensors"), Role::Other);
    let shards = trainer_artifacts(&names(&["model-00001-of-00002.safetensors", "trainer_state.json"]));
    assert!(shards.findings[0].message.contains("index"));
}

#[test]
fn a_gap_in_the_random_states_is_found() {
    let with = |ranks: &[u64]| {
        let mut all = names(&["model.safetensors", "optimizer.pt", "scheduler.pt", "trainer_state.json"]);
        all.extend(ranks.iter().map(|rank| format!("rng_state_{rank}.pth")));
        trainer_artifacts(&all).findings
    };
    assert!(with(&[0, 1, 2, 10, 9, 8, 7, 6, 5, 4, 3]).is_empty());
    assert!(with(&[8, 9]).is_empty());
    assert!(only(with(&[0, 1, 3])).message.contains("rng_state_2.pth"));
    assert!(with(&[u64::MAX, u64::MAX - 1]).is_empty());
}

#[test]
fn a_trainer_directory_is_recognised() {
    assert!(is_trainer_directory(&names(&WHOLE)));
    assert!(is_trainer_directory(&names(&["optimizer.pt", "training_args.bin"])));
    assert!(!is_trainer_directory(&names(&["model.safetensors", "training_args.bin"])));
    assert!(!is_trainer_directory(&names(&["optimizer.pt"])));
    assert_eq!(checkpoint_step("checkpoint-500"), Some(500));
    for name in ["checkpoint-", "checkpoint-x", "checkpoint-+5", "my-checkpoint-5"] {
        assert_eq!(checkpoint_step(name), None);
    }
}
