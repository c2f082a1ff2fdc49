//! Files that somebody made to hang, exhaust or deceive those who load them.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use ckpt::digest::{Algorithm, Digest};
use ckpt::format::safetensors::PROOF_OPENING;
use ckpt::record::Proof;
use ckpt::save::{SealOptions, Target, seal};
use ckpt::{
    Access, Dtype, LoadOptions, SaveOptions, State, Verdict, VerifyOptions, load, load_into, save, verify,
};
use tempfile::TempDir;

/// A safetensors file of one tensor `w` of 8 bytes, with this structure.
fn with_structure(structure: &str) -> Vec<u8> {
    let structure = serde_json::Value::from(structure);
    file(&format!(
        r#"{{"__metadata__":{{"ckpt.structure":{structure}}},"w":{{"dtype":"U8","shape":[8],"data_offsets":[0,8]}}}}"#
    ))
}

fn file(header: &str) -> Vec<u8> {
    [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &[7; 8]].concat()
}

/// Loads, in all ways, and looks at every tensor. Returns whether it loaded.
fn survives(path: &Path) -> bool {
    let mut bytes = [0; 8];
    let target = Target { name: "w", dtype: Dtype::U8, shape: &[8], bytes: &mut bytes };
    drop(load_into(path, &mut [target], &LoadOptions::default()));
    let look = |state: State<'static>| {
        state.tensors().unwrap().iter().filter(|tensor| tensor.bytes().is_ok()).count()
    };
    let eager = load(path, &LoadOptions::default().with_access(Access::Eager)).map(look);
    let mapped = load(path, &LoadOptions::default().with_access(Access::Mapped)).map(look);
    let provided = load(path, &crate::provided::options()).map(look);
    let report = verify(path, &VerifyOptions::default());
    assert_eq!(report.verdict == Verdict::Valid, eager.is_ok(), "{report:?}");
    assert_eq!((eager.is_ok(), eager.is_ok()), (mapped.is_ok(), provided.is_ok()));
    eager.is_ok()
}

/// Repeats a text with commas between, with the number of each in it.
fn many(count: u64, text: impl Fn(u64) -> String) -> String {
    let mut out = String::new();
    for at in 0..count {
        let comma = if at > 0 { "," } else { "" };
        write!(out, "{comma}{}", text(at)).unwrap();
    }
    out
}

#[test]
fn structures_that_refer_wrongly_are_refused() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("model.safetensors");
    for (storages, nodes) in [
        (r#"{"tensor":"w"}"#, r#"{"list":[0]}"#),
        (r#"{"tensor":"w"}"#, r#"{"list":[4294967295]}"#),
        (r#"{"tensor":"w"},{"tensor":"w"}"#, "null"),
        (r#"{"tensor":"x"}"#, "null"),
        (r#"{"part_of":[0,0],"bytes":8}"#, "null"),
        (r#"{"tensor":"w"},{"part_of":[0,18446744073709551615],"bytes":8}"#, "null"),
        (r#"{"tensor":"w"},{"part_of":[0,1],"bytes":8}"#, "null"),
        (r#"{"tensor":"w"}"#, r#"{"tensor":{"storage":1,"shape":[8],"dtype":"u8"}}"#),
        (r#"{"tensor":"w"}"#, r#"{"tensor":{"storage":0,"shape":[9],"dtype":"u8"}}"#),
        (r#"{"tensor":"w"}"#, r#"{"tensor":{"storage":0,"shape":[4294967296,4294967296],"dtype":"f64"}}"#),
        (r#"{"tensor":"w"}"#, r#"{"tensor":{"storage":0,"shape":[8],"strides":[],"dtype":"u8"}}"#),
        (
            r#"{"tensor":"w"}"#,
            r#"{"tensor":{"storage":0,"offset":18446744073709551615,"dtype":"u8","shape":[8]}}"#,
        ),
        (
            r#"{"tensor":"w"}"#,
            r#"{"tensor":{"sparse":{"layout":"sparse_coo","parts":[["values",0]]},"dtype":"u8","shape":[8]}}"#,
        ),
        (r#"{"tensor":"w"}"#, r#"{"storage":7}"#),
        (r#"{"tensor":"w"}"#, ""),
        (r#"{"bytes":18446744073709551615}"#, r#"{"storage":0}"#),
    ] {
        let structure = format!(r#"{{"version":1,"storages":[{storages}],"nodes":[{nodes}]}}"#);
        fs::write(&path, with_structure(&structure)).unwrap();
        assert!(!survives(&path), "{structure}");
    }
}

/// Each is some megabytes, and must cost no more than a small multiple of that.
#[test]
fn structures_that_promise_much_cost_little() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("model.safetensors");
    let count = 100_000;
    let expanded = r#"{"tensor":{"storage":0,"shape":[1099511627776],"strides":[0],"dtype":"u8"}}"#;
    for (what, loads, storages, nodes) in [
        (
            "nested",
            false,
            String::new(),
            "null,".to_owned() + &many(count, |at| format!(r#"{{"list":[{at}]}}"#)),
        ),
        // Each list holds the one before twice: 2^40 leaves.
        (
            "doubled",
            false,
            String::new(),
            "null,".to_owned() + &many(40, |at| format!(r#"{{"list":[{at},{at}]}}"#)),
        ),
        // A part of a part of a part.
        (
            "parts",
            true,
            many(count, |at| match at {
                0 => r#"{"tensor":"w"}"#.to_owned(),
                at => format!(r#"{{"part_of":[{},0],"bytes":8}}"#, at - 1),
            }),
            many(count, |at| format!(r#"{{"tensor":{{"storage":{at},"shape":[8],"dtype":"u8"}}}}"#))
                + ",{\"list\":["
                + &many(count, |at| at.to_string())
                + "]}",
        ),
        ("expanded", true, r#"{"tensor":"w"}"#.to_owned(), expanded.to_owned()),
        (
            "expanded often",
            true,
            r#"{"tensor":"w"}"#.to_owned(),
            many(count, |_| expanded.to_owned()) + ",{\"list\":[" + &many(count, |at| at.to_string()) + "]}",
        ),
        // One list that a hundred thousand lists hold, each of which the root holds.
        (
            "shared",
            false,
            String::new(),
            format!("{{\"list\":[]}},{{\"list\":[{}]}},", many(1000, |_| "0".to_owned()))
                + &many(count, |_| r#"{"list":[1]}"#.to_owned())
                + ",{\"list\":["
                + &many(count, |at| (at + 2).to_string())
                + "]}",
        ),
        (
            "keys",
            true,
            String::new(),
            many(count, |at| format!("\"key{at}\""))
                + ",{\"dict\":{\"entries\":["
                + &many(count, |at| format!("[{at},{at}]"))
                + "]}}",
        ),
        (
            "tuples as keys",
            true,
            String::new(),
            "null,".to_owned()
                + &many(90, |at| format!(r#"{{"tuple":[{at},{at}]}}"#))
                + r#",{"dict":{"entries":[[90,0]]}}"#,
        ),
    ] {
        // A structure that leaves the file's tensor out would be refused at its end.
        let storages = if storages.is_empty() { r#"{"tensor":"w"}"#.to_owned() } else { storages };
        let structure = format!(r#"{{"version":1,"storages":[{storages}],"nodes":[{nodes}]}}"#);
        fs::write(&path, with_structure(&structure)).unwrap();
        assert_eq!(survives(&path), loads, "{what}");
    }
}

/// Markers and seals of megabytes say nothing, and take no long time to do so.
#[test]
fn long_companions_are_read_or_refused() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("model.safetensors");
    fs::write(&path, file(r#"{"w":{"dtype":"U8","shape":[8],"data_offsets":[0,8]}}"#)).unwrap();
    let beside = |suffix: &str| directory.path().join(format!("model.safetensors{suffix}"));
    for text in [
        "[".repeat(8 << 20),
        "{\"bytes\":".repeat(1 << 20),
        format!("{{\"bytes\":83,\"proof\":\"{}\"}}", "x".repeat(16 << 20)),
        format!("{{\"bytes\":83,\"or\":{}", "{\"or\":".repeat(1 << 20)),
        format!(
            "{{\"bytes\":83,\"algorithm\":\"crc64-nvme\",\"block_bytes\":1,\"root\":\"\",\"blocks\":\"{}\"}}",
            "0".repeat(16 << 20)
        ),
        "\0".repeat(16 << 20),
    ] {
        for suffix in [".done", ".seal"] {
            fs::write(beside(suffix), &text).unwrap();
            let report = verify(&path, &VerifyOptions::default());
            assert!(format!("{report:?}").len() < 10_000);
            fs::remove_file(beside(suffix)).unwrap();
        }
    }
    seal(&path, &SealOptions::default()).unwrap();
    assert_eq!(verify(&path, &VerifyOptions::default()).verdict, Verdict::Valid);
}

/// A proof may have windows of any length, and none makes anybody list what isn't there.
#[test]
fn proofs_with_absurd_windows_are_no_trap() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("model.safetensors");
    let algorithm = Algorithm::Blake3;
    for (block_bytes, blocks, is_sound) in [
        (1, vec![algorithm.digest(&[7]); 8], true),
        (u64::MAX, vec![algorithm.digest(&[7; 8])], true),
        (1, vec![algorithm.digest(&[7]); 7], false),
        (u64::MAX, vec![algorithm.digest(&[7]); 8], false),
        (1 << 20, Vec::new(), false),
    ] {
        let root = Digest::from_hex(algorithm, &"0".repeat(64)).unwrap();
        let mut proof = Proof { root, block_bytes, writer: "w".into(), position: None, blocks };
        let text = |proof: &Proof| {
            let info = r#""w":{"dtype":"U8","shape":[8],"data_offsets":[0,8]}"#;
            file(&format!("{PROOF_OPENING}{}\"}},{info}}}", proof.encode()))
        };
        let bytes = text(&proof);
        proof.root = algorithm.digest(&bytes[..bytes.len() - 8]);
        fs::write(&path, text(&proof)).unwrap();
        assert_eq!(survives(&path), is_sound, "{block_bytes}");
        let mut damaged = text(&proof);
        *damaged.last_mut().unwrap() ^= 1;
        fs::write(&path, damaged).unwrap();
        let report = verify(&path, &VerifyOptions::default());
        assert_eq!(report.verdict, Verdict::Corrupted, "{report:?}");
        assert!(load(&path, &LoadOptions::default().with_access(Access::Eager)).is_err());
    }
}

/// A key that holds itself twice, ninety times over, has 2⁹⁰ leaves: whoever looks at it looks at few of them.
#[test]
fn a_key_of_astronomic_size_is_compared_and_saved_or_refused() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("model.safetensors");
    let tuples = many(90, |at| format!(r#"{{"tuple":[{at},{at}]}}"#));
    let nodes = format!(r#"null,{tuples},{{"tensor":{{"storage":0}}}},{{"dict":{{"entries":[[90,91]]}}}}"#);
    let structure = format!(r#"{{"version":1,"storages":[{{"tensor":"w"}}],"nodes":[{nodes}]}}"#);
    fs::write(&path, with_structure(&structure)).unwrap();
    assert!(survives(&path));
    let state = load(&path, &LoadOptions::default()).unwrap();
    assert_eq!(state.same_as(&state).unwrap(), None);
    assert!(format!("{:?}", verify(&path, &VerifyOptions::default())).len() < 10_000);
    for name in ["again.safetensors", "again.pt"] {
        let again = directory.path().join(name);
        match save(&again, &state, &SaveOptions::default()) {
            Ok(_) => {
                let loaded = load(&again, &LoadOptions::default()).unwrap();
                assert_eq!(state.same_as(&loaded).unwrap(), None);
            }
            Err(error) => assert!(!again.exists(), "{error}"),
        }
    }
}
