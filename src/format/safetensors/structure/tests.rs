use super::*;
use crate::format::Flaw;
use crate::format::safetensors::{Header, read_header};
use crate::record::{Code, Finding, Verdict};
use crate::tensor::Node;

/// A file of one tensor, `w`, of two floats, with a structure.
fn header(structure: &str) -> Header {
    let metadata = serde_json::json!({ "ckpt.structure": structure });
    let header = serde_json::json!({
        "__metadata__": metadata,
        "w": { "dtype": "F32", "shape": [2], "data_offsets": [0, 8] },
    });
    let text = header.to_string();
    let mut file = (text.len() as u64).to_le_bytes().to_vec();
    file.extend_from_slice(text.as_bytes());
    file.extend_from_slice(&[0; 8]);
    read_header(&file).unwrap()
}

fn finding(structure: &str) -> Finding {
    match read(&header(structure)) {
        Err(Flaw::Found(finding)) => *finding,
        other => panic!("{structure}: {other:?}"),
    }
}

/// A structure with the storage of `w`, and these values.
fn with(nodes: &str) -> String {
    format!(r#"{{"version":1,"storages":[{{"tensor":"w"}}],"nodes":[{nodes}]}}"#)
}

#[test]
fn a_structure_says_what_the_header_does_not() {
    let nodes = r#""k",{"tensor":{"storage":0,"requires_grad":true}},{"ordered_dict":{"entries":[[0,1]]}}"#;
    let contents = read(&header(&with(nodes))).unwrap();
    let id = contents.tree.get(contents.tree.root(), "k").unwrap();
    let Node::Tensor(tensor) = contents.tree.node(id) else { panic!("no tensor") };
    assert_eq!((tensor.shape.as_slice(), tensor.requires_grad), ([2].as_slice(), true));
}

#[test]
fn contradictions_are_damage() {
    let tensor = r#"{"tensor":{"storage":0}}"#;
    for (nodes, code) in [
        (String::new(), Code::HeaderMalformed),
        (r#"{"list":[0]}"#.into(), Code::HeaderMalformed), // itself
        (r#"{"list":[1]},null"#.into(), Code::HeaderMalformed),
        (r#"{"list":[4294967295]}"#.into(), Code::HeaderMalformed),
        (r#"{"storage":1}"#.into(), Code::HeaderMalformed),
        (format!("{tensor},{tensor}"), Code::HeaderMalformed), // the shape is there once
        (r#"{"tensor":{"storage":1,"dtype":"f32","shape":[]}}"#.into(), Code::TensorOutOfBounds),
        (r#"{"tensor":{"storage":0,"shape":[3]}}"#.into(), Code::TensorOutOfBounds),
        (r#"{"tensor":{"storage":0,"offset":1}}"#.into(), Code::TensorOutOfBounds),
        (r#"{"tensor":{"storage":0,"strides":[18446744073709551615]}}"#.into(), Code::TensorOutOfBounds),
        (r#"{"tensor":{"storage":0,"strides":[1,1]}}"#.into(), Code::TensorOutOfBounds),
        (r#"{"tensor":{"storage":0,"conjugated":true}}"#.into(), Code::TensorOutOfBounds),
        (r#"{"tensor":{"dtype":"f32","shape":[9223372036854775807,2]}}"#.into(), Code::TensorOutOfBounds),
        (r#"{"tensor":{}}"#.into(), Code::HeaderMalformed),
        (r#"null,{"tensor":{"storage":0,"converted":0}}"#.into(), Code::HeaderMalformed),
        (r#"null,{"tensor":{"dtype":"f32","shape":[],"nested":[0,0,0,0]}}"#.into(), Code::HeaderMalformed),
        (
            r#"null,{"tensor":{"dtype":"f32","shape":[],"sparse":{"layout":"x","parts":[["odd",0]]}}}"#
                .into(),
            Code::HeaderMalformed,
        ),
        (r#"null,{"array":{"dtype":"<f8","shape":[],"bytes":0}}"#.into(), Code::HeaderMalformed),
        (r#"{"integer":"AQ=="}"#.into(), Code::HeaderMalformed),
        (r#"1,true,{"dict":{"entries":[[0,0],[1,0]]}}"#.into(), Code::Ambiguous),
        (r#""a","a",{"dict":{"entries":[[0,0],[1,0]]}}"#.into(), Code::Ambiguous),
        (r#"{"list":[]},{"dict":{"entries":[[0,0]]}}"#.into(), Code::HeaderMalformed),
    ] {
        let finding = finding(&with(&nodes));
        assert_eq!(
            (finding.verdict, finding.code),
            (Verdict::Corrupted, code),
            "{nodes}: {}",
            finding.message
        );
    }
}

#[test]
fn storages_are_held_to_the_header() {
    for (storages, words) in [
        ("", "doesn't say where the tensor 'w' belongs"),
        (r#"{"tensor":"x"}"#, "the tensor 'x' isn't there"),
        (r#"{"tensor":"w"},{"tensor":"w"}"#, "or is two storages"),
        (r#"{"tensor":"w","bytes":9}"#, "another length"),
        (r#"{"tensor":"w"},{"part_of":[1,0],"bytes":1}"#, "isn't before it"),
        (r#"{"tensor":"w"},{"part_of":[0,1],"bytes":8}"#, "reaches outside"),
        (r#"{"tensor":"w"},{"part_of":[0,18446744073709551615],"bytes":8}"#, "reaches outside"),
        (r#"{"bytes":8},{"tensor":"w","part_of":[0,0]}"#, "a part of another"),
        ("{}", "no length"),
    ] {
        let finding = finding(&format!(r#"{{"version":1,"storages":[{storages}],"nodes":[null]}}"#));
        assert_eq!(finding.verdict, Verdict::Corrupted);
        assert!(finding.message.contains(words), "{storages}: {}", finding.message);
    }
}

#[test]
fn what_is_no_structure_is_named() {
    use Code::{HeaderMalformed, TooComplex, VersionTooNew};
    use Verdict::{Corrupted, Incompatible};
    let deep: Vec<_> = (0..2_000).map(|at| format!(r#",{{"list":[{at}]}}"#)).collect();
    let wide: Vec<_> = (0..40).map(|at| format!(r#",{{"list":[{at},{at}]}}"#)).collect();
    for (text, verdict, code) in [
        ("", Corrupted, HeaderMalformed),
        ("{\"version\":1,\"storages\":[", Corrupted, HeaderMalformed),
        ("[]", Incompatible, HeaderMalformed),
        ("{}", Incompatible, HeaderMalformed),
        (r#"{"version":2,"anything":[]}"#, Incompatible, VersionTooNew),
        (r#"{"version":1,"nodes":[],"storages":[]}"#, Incompatible, HeaderMalformed),
        (r#"{"version":1,"storages":[],"nodes":[],"more":1}"#, Incompatible, HeaderMalformed),
        (&with(r#"{"later":1}"#), Incompatible, HeaderMalformed),
        (&with(r#"{"tensor":{"storage":0,"later":1}}"#), Incompatible, HeaderMalformed),
        (&with(r#"{"dtype":"f31"}"#), Incompatible, HeaderMalformed),
        (&with(r#"{"float":"1.5"}"#), Incompatible, HeaderMalformed),
        (&with(r#"{"bytes":"?"}"#), Incompatible, HeaderMalformed),
        (&with("1.5"), Incompatible, HeaderMalformed),
        (&with("9223372036854775808"), Incompatible, HeaderMalformed),
        (&with(&format!("null{}", deep.concat())), Incompatible, TooComplex),
        (&with(&format!("null{}", wide.concat())), Incompatible, TooComplex),
    ] {
        let finding = finding(text);
        assert_eq!((finding.verdict, finding.code), (verdict, code), "{text:.80}: {}", finding.message);
    }
}

/// A long key in many maps: each would hash it.
#[test]
fn long_keys_cost() {
    let maps = r#",{"dict":{"entries":[[0,0]]}}"#.repeat(20_000);
    let finding = finding(&with(&format!("\"{}\"{maps}", "k".repeat(1_000_000))));
    assert_eq!(finding.code, Code::TooComplex);
}

#[test]
fn a_structure_cut_or_changed_anywhere_is_no_panic() {
    let whole = with(r#""k",{"tensor":{"storage":0}},{"dict":{"entries":[[0,1]]}}"#);
    for at in 0..whole.len() {
        assert!(read(&header(&whole[..at])).is_err());
        for byte in *b"09\"]}x" {
            let mut changed = whole.clone().into_bytes();
            changed[at] = byte;
            drop(read(&header(&String::from_utf8(changed).unwrap())));
        }
    }
}

#[test]
fn a_foreign_file_is_a_flat_dict_in_the_order_of_its_data() {
    let text = br#"{"b":{"dtype":"U8","shape":[1],"data_offsets":[1,2]},"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}"#;
    let mut file = (text.len() as u64).to_le_bytes().to_vec();
    file.extend_from_slice(text);
    file.extend_from_slice(&[0; 2]);
    let contents = read(&read_header(&file).unwrap()).unwrap();
    let keys: Vec<_> = contents.tree.storages().iter().map(|storage| storage.key.as_str()).collect();
    assert_eq!(keys, ["a", "b"]);
    let start = file.len() as u64 - 2;
    assert_eq!(contents.ranges, [Some(start..start + 1), Some(start + 1..start + 2)]);
}
