use proptest::prelude::*;
use safetensors::tensor::TensorView;

use super::*;
use crate::Dtype;
use crate::format::Flaw;
use crate::record::{Code, Finding, Verdict};

/// Makes a file of a header and `data` zero bytes.
fn file(header: &[u8], data: usize) -> Vec<u8> {
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend_from_slice(header);
    bytes.resize(bytes.len() + data, 0);
    bytes
}

fn read(header: &str, data: usize) -> Result<Header, Flaw> {
    read_header(&file(header.as_bytes(), data))
}

fn refused(bytes: &[u8]) -> Finding {
    match read_header(&bytes.to_vec()) {
        Err(Flaw::Found(finding)) => *finding,
        other => panic!("{other:?}"),
    }
}

/// Asserts that the file is refused with this code and verdict, and that the message tells `word`.
fn refuses(header: &str, data: usize, code: Code, verdict: Verdict, word: &str) -> Finding {
    let finding = refused(&file(header.as_bytes(), data));
    assert_eq!((finding.code, finding.verdict), (code, verdict), "{finding:?}");
    assert!(finding.message.contains(word), "{finding:?}");
    finding
}

const OK: &str = r#"{"t":{"dtype":"F32","shape":[2,2],"data_offsets":[0,16]}}"#;

#[test]
fn a_plain_file_is_read() {
    let header = read(r#"{"b":{"dtype":"I8","shape":[4],"data_offsets":[8,12]},"__metadata__":{"format":"pt"},"a":{"dtype":"F64","shape":[],"data_offsets":[0,8]}}"#, 12).unwrap();
    let names: Vec<_> = header.tensors.iter().map(|tensor| tensor.info.name.as_str()).collect();
    assert_eq!(names, ["b", "a"]);
    assert_eq!(header.metadata["format"], "pt");
    assert_eq!(header.tensors[0].start, header.data_start + 8);
    assert_eq!(header.tensors[0].end, header.data_start + 12);
    assert_eq!(header.tensors[1].info.dtype, Dtype::F64);
    assert_eq!(header.tensors[1].info.bytes, 8);
    assert!(header.notes.is_empty());
}

#[test]
fn an_empty_file_of_tensors_is_read() {
    assert!(read("{}", 0).unwrap().tensors.is_empty());
    assert!(read("{}      ", 0).unwrap().tensors.is_empty());
}

#[test]
fn what_readers_tolerate_is_tolerated() {
    for header in [
        format!("{OK}\t\r\n  "),
        OK.replace("\"t\"", "\"\""),
        OK.replace("\"t\"", r#""../../x""#),
        OK.replace("\"t\"", r#""a\u0000b""#),
        OK.replacen('{', r#"{"__metadata__":null,"#, 1),
        OK.replace("\"dtype\"", r#""more":{"x":[[[1]]]},"dtype""#),
        OK.replace("[2,2]", "[2,0]").replace("16", "0"),
        OK.replace("\"dtype\"", r#""d\u0074ype""#),
    ] {
        let data = if header.contains("[0,0]") { 0 } else { 16 };
        let header = read(&header, data).unwrap_or_else(|flaw| panic!("{header}: {flaw}"));
        assert_eq!(header.tensors.len(), 1);
        assert!(header.notes.is_empty());
    }
}

#[test]
fn leading_whitespace_is_noted() {
    let header = read(&format!(" \n{OK}"), 16).unwrap();
    assert_eq!(header.notes[0].code, Code::HeaderTolerated);
    assert!(!header.notes[0].is_failure());
}

#[test]
fn every_dtype_is_read() {
    for dtype in Dtype::ALL {
        let Some(name) = dtype.safetensors_name() else { continue };
        let bytes = dtype.bytes_for(6).unwrap();
        let header = format!(r#"{{"t":{{"dtype":"{name}","shape":[6],"data_offsets":[0,{bytes}]}}}}"#);
        let header = read(&header, usize::try_from(bytes).unwrap()).unwrap();
        assert_eq!(header.tensors[0].info.dtype, *dtype);
    }
}

#[test]
fn a_file_within_its_length_field_is_truncated() {
    for len in 0..8 {
        assert_eq!(refused(&vec![0; len]).code, Code::Truncated);
    }
}

#[test]
fn a_header_too_short_to_be_one() {
    for length in 0..2_u64 {
        let finding = refused(&length.to_le_bytes());
        assert_eq!((finding.code, finding.verdict), (Code::HeaderLength, Verdict::Corrupted));
    }
}

#[test]
fn a_length_beyond_the_file() {
    let mut bytes = file(OK.as_bytes(), 16);
    bytes[0] = 200;
    assert_eq!(refused(&bytes).code, Code::Truncated);
    bytes[7] = 1;
    assert_eq!(refused(&bytes).code, Code::HeaderLength);
    let bytes = [&50_u64.to_le_bytes()[..], b"<html>"].concat();
    assert_eq!(refused(&bytes).code, Code::HeaderLength);
}

#[test]
fn a_header_beyond_the_limit_is_too_complex() {
    struct Vast;
    impl crate::io::ReadAt for Vast {
        fn len(&self) -> u64 {
            1 << 40
        }
        fn read_exact_at(&self, buffer: &mut [u8], _: u64) -> std::io::Result<()> {
            buffer.copy_from_slice(&(MAX_HEADER_BYTES + 1).to_le_bytes()[..buffer.len()]);
            Ok(())
        }
    }
    let Err(Flaw::Found(finding)) = read_header(&Vast) else { panic!("accepted") };
    assert_eq!((finding.code, finding.verdict), (Code::TooComplex, Verdict::Incompatible));
}

#[test]
fn an_io_error_stays_one() {
    struct Broken;
    impl crate::io::ReadAt for Broken {
        fn len(&self) -> u64 {
            100
        }
        fn read_exact_at(&self, _: &mut [u8], _: u64) -> std::io::Result<()> {
            Err(std::io::Error::other("broken"))
        }
    }
    assert!(matches!(read_header(&Broken), Err(Flaw::Io(_))));
}

#[test]
fn what_is_no_json_is_corrupted() {
    for (header, word) in [
        (r#"{"t":{"dtype":"F32","shape":[2,2],"data_offsets":[0,16]}"#, "EOF"),
        (r#"{"t":{"dtype":"F32","shape":[02,2],"data_offsets":[0,16]}}"#, "number"),
        (r#"{"t":{"dtype":"F32","shape":[2,2],"data_offsets":[0,16]}}/*x*/"#, "trailing"),
        ("{'t':1}", "key must be a string"),
        ("{\"t\nx\":{\"dtype\":\"F32\",\"shape\":[4],\"data_offsets\":[0,16]}}", "control character"),
        (r#"{"t":{"dtype":"F32","shape":[2,2],"data_offsets":[0,16]}}{}"#, "trailing"),
        (r#"{"\ud800":{"dtype":"F32","shape":[2,2],"data_offsets":[0,16]}}"#, "hex escape"),
    ] {
        refuses(header, 16, Code::HeaderMalformed, Verdict::Corrupted, word);
    }
}

#[test]
fn a_syntax_error_has_its_offset() {
    let finding = refuses("{\n\"t\" 1}", 0, Code::HeaderMalformed, Verdict::Corrupted, "expected `:`");
    assert_eq!(finding.at.offset, Some(8 + 6));
}

#[test]
fn text_that_is_no_utf8_is_corrupted() {
    let finding = refused(&file(b"{\"\xff\":1}", 0));
    assert_eq!((finding.code, finding.verdict), (Code::HeaderMalformed, Verdict::Corrupted));
    assert_eq!(finding.at.offset, Some(10));
}

#[test]
fn nul_padding_is_named() {
    let message = "padded with 3 NUL bytes";
    refuses(&format!("{OK}\0\0\0"), 16, Code::HeaderMalformed, Verdict::Corrupted, message);
}

#[test]
fn another_form_is_incompatible() {
    for (header, word) in [
        (r#"{"t":["F32",[2,2],[0,16]]}"#, "sequence"),
        (r#"{"t":{"dtype":{"F32":null},"shape":[2,2],"data_offsets":[0,16]}}"#, "map"),
        (r#"{"t":{"dtype":7,"shape":[2,2],"data_offsets":[0,16]}}"#, "integer"),
        (r#"{"t":{"dtype":"F32","shape":["2",2],"data_offsets":[0,16]}}"#, "string"),
        (r#"{"t":{"dtype":"F32","shape":4,"data_offsets":[0,16]}}"#, "shape"),
        (r#"{"t":{"dtype":"F32","shape":[4],"data_offsets":{"0":16}}}"#, "data_offsets"),
        (r#"{"__metadata__":{"a":1}}"#, "integer"),
        (r#"{"__metadata__":[]}"#, "__metadata__"),
        ("[]", "sequence"),
        ("null", "null"),
    ] {
        refuses(header, 16, Code::HeaderMalformed, Verdict::Incompatible, word);
    }
}

#[test]
fn nesting_beyond_the_limit_is_incompatible() {
    let nested = |depth: usize| {
        let value = format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        OK.replace("\"dtype\"", &format!("\"x\":{value},\"dtype\""))
    };
    let limit = crate::format::json::MAX_NESTING;
    assert!(read(&nested(limit), 16).is_ok());
    refuses(&nested(limit + 1), 16, Code::TooComplex, Verdict::Incompatible, "nested");
    refuses(&nested(1_000_000), 16, Code::TooComplex, Verdict::Incompatible, "nested");
}

#[test]
fn damage_outranks_another_form() {
    refuses(r#"{"t":["F32"],"u":{"#, 0, Code::HeaderMalformed, Verdict::Corrupted, "EOF");
}

#[test]
fn a_missing_or_impossible_value_is_corrupted() {
    for (from, to, word) in [
        (r#""dtype":"F32","#, "", "no dtype"),
        (r#""shape":[2,2],"#, "", "no shape"),
        (r#","data_offsets":[0,16]"#, "", "no data_offsets"),
        ("[0,16]", "[16]", "fewer than two"),
        ("[0,16]", "[0,16,16]", "more than two"),
        ("[0,16]", "[-16,0]", "-16"),
        ("[0,16]", "[0,16.0]", "16"),
        ("[0,16]", "[0,18446744073709551616]", "2^64"),
        ("[2,2]", "[2.2]", "2.2"),
        ("[2,2]", "[-2,-2]", "-2"),
    ] {
        let finding = refuses(&OK.replace(from, to), 16, Code::HeaderMalformed, Verdict::Corrupted, word);
        assert_eq!(finding.at.tensor.as_deref(), Some("t"));
    }
}

#[test]
fn what_is_there_twice_is_ambiguous() {
    let tensor = r#"{"dtype":"F32","shape":[4],"data_offsets":[0,16]}"#;
    for header in [
        format!(r#"{{"t":{tensor},"t":{{"dtype":"F32","shape":[2,2],"data_offsets":[0,16]}}}}"#),
        format!(r#"{{"t":{tensor},"\u0074":{tensor}}}"#),
        format!(r#"{{"t":{tensor},"u":{tensor},"t":{{"dtype":"F32","shape":[0],"data_offsets":[16,16]}}}}"#),
        format!(r#"{{"__metadata__":{{}},"t":{tensor},"__metadata__":{{}}}}"#),
        format!(r#"{{"__metadata__":null,"t":{tensor},"__metadata__":null}}"#),
        format!(r#"{{"__metadata__":{{"a":"1","\u0061":"1"}},"t":{tensor}}}"#),
        OK.replace("\"shape\"", "\"dtype\":\"F32\",\"shape\""),
        OK.replace("\"shape\"", "\"sh\\u0061pe\":[4],\"shape\""),
        OK.replace("\"shape\"", "\"data_offsets\":[0,16],\"shape\""),
    ] {
        refuses(&header, 16, Code::Ambiguous, Verdict::Incompatible, "twice");
    }
}

#[test]
fn an_unknown_dtype_is_incompatible() {
    for dtype in ["F6_E2M3", "F6_E3M2", "C128", "I4", "f32", "E8M0", "Q4_0", "", "F32 "] {
        let finding =
            refuses(&OK.replace("F32", dtype), 16, Code::DtypeUnknown, Verdict::Incompatible, "no framework");
        assert_eq!(finding.at.tensor.as_deref(), Some("t"));
    }
}

#[test]
fn damage_outranks_an_unknown_dtype() {
    refuses(&OK.replace("F32", "Q4"), 15, Code::Truncated, Verdict::Corrupted, "16 bytes");
}

#[test]
fn a_length_beyond_i64_is_incompatible() {
    for length in ["9223372036854775808", "18446744073709551615", "99999999999999999999"] {
        let header = OK.replace("[2,2]", &format!("[0,{length},4]")).replace("16]", "0]");
        refuses(&header, 0, Code::TooComplex, Verdict::Incompatible, "2^63");
    }
}

#[test]
fn a_rank_beyond_the_limit_is_incompatible() {
    let shape = |rank: usize| format!("[{}1]", "1,".repeat(rank - 1));
    let header = OK.replace("[2,2]", &shape(MAX_RANK)).replace("16]", "4]");
    assert_eq!(read(&header, 4).unwrap().tensors[0].info.shape.len(), MAX_RANK);
    let header = OK.replace("[2,2]", &shape(MAX_RANK + 1)).replace("16]", "4]");
    refuses(&header, 4, Code::TooComplex, Verdict::Incompatible, "dimensions");
}

#[test]
fn zero_times_huge_is_zero_and_huge_times_huge_overflows_first() {
    let shaped = |shape| OK.replace("[2,2]", shape).replace("16]", "0]");
    let zero = read(&shaped("[0,1099511627776,1099511627776]"), 0).unwrap();
    assert_eq!(zero.tensors[0].info.bytes, 0);
    let header = shaped("[1099511627776,1099511627776,0]");
    refuses(&header, 0, Code::TensorSize, Verdict::Corrupted, "no possible number of bytes");
}

#[test]
fn a_range_that_does_not_fit_the_tensor() {
    for (from, to) in [
        ("[2,2]", "[2,3]"),
        ("F32", "F16"),
        ("[2,2]", "[4294967296,4294967296]"),
        ("[2,2]", "[9223372036854775807,2]"),
        ("[2,2]", "[0]"),
    ] {
        refuses(&OK.replace(from, to), 16, Code::TensorSize, Verdict::Corrupted, "16");
    }
    let odd = r#"{"t":{"dtype":"F4","shape":[3],"data_offsets":[0,2]}}"#;
    refuses(odd, 2, Code::TensorSize, Verdict::Corrupted, "no possible number");
}

fn two(first: &str, second: &str) -> String {
    format!(
        r#"{{"a":{{"dtype":"U8","shape":[4],"data_offsets":{first}}},"b":{{"dtype":"U8","shape":[4],"data_offsets":{second}}}}}"#
    )
}

#[test]
fn the_data_is_covered_once() {
    assert!(read(&two("[4,8]", "[0,4]"), 8).is_ok());
    for (header, data, word) in [
        (two("[0,4]", "[6,10]"), 10, "belong to no tensor"),
        (two("[1,5]", "[5,9]"), 9, "belong to no tensor"),
        (two("[0,4]", "[2,6]"), 6, "before the end of another"),
        (two("[0,4]", "[0,4]"), 4, "before the end of another"),
        (two("[0,4]", "[4,8]"), 9, "1 bytes behind"),
        (two("[0,4]", "[8,4]"), 8, "reversed"),
    ] {
        refuses(&header, data, Code::DataLayout, Verdict::Corrupted, word);
    }
    let inside = two("[0,4]", "[2,2]").replacen("[4]", "[0]", 2).replacen("[0]", "[4]", 1);
    refuses(&inside, 4, Code::DataLayout, Verdict::Corrupted, "another");
    refuses("{}", 1, Code::DataLayout, Verdict::Corrupted, "behind");
    refuses(&two("[0,4]", "[4,8]"), 7, Code::Truncated, Verdict::Corrupted, "8 bytes");
}

#[test]
fn every_truncation_is_found() {
    let mut whole = file(OK.as_bytes(), 16);
    assert!(read_header(&whole).is_ok());
    while whole.pop().is_some() {
        assert_eq!(refused(&whole).verdict, Verdict::Corrupted, "{} bytes", whole.len());
    }
}

#[test]
fn a_hundred_thousand_tensors_are_read() {
    let tensors: Vec<String> = (0..100_000)
        .map(|n| format!(r#""layer.{n}":{{"dtype":"U8","shape":[1],"data_offsets":[{n},{}]}}"#, n + 1))
        .collect();
    let header = read(&format!("{{{}}}", tensors.join(",")), 100_000).unwrap();
    assert_eq!(header.tensors.len(), 100_000);
    assert_eq!(header.tensors[99_999].info.name, "layer.99999");
}

#[test]
fn safetensors_are_recognised() {
    let whole = file(OK.as_bytes(), 16);
    let len = whole.len() as u64;
    assert!(looks_like(&whole, len));
    assert!(looks_like(&whole[..9], len));
    assert!(looks_like(&file(b"{}", 0), 10));
    assert!(looks_like(&file(b" \n{}", 0), 12));
    for end in 9..whole.len() {
        assert!(looks_like(&whole[..end], end as u64), "cut to {end}");
    }
    let mut polyglot = OK.as_bytes().to_vec();
    polyglot.resize(0x2e93, b' ');
    assert!(looks_like(&file(&polyglot, 16)[..512], 0x2e93 + 24));
}

#[test]
fn a_damaged_start_is_still_recognised() {
    let whole = file(OK.as_bytes(), 16);
    for at in 0..10 {
        for bit in 0..8 {
            let mut bytes = whole.clone();
            bytes[at] ^= 1 << bit;
            assert!(looks_like(&bytes, bytes.len() as u64), "byte {at} bit {bit}");
        }
    }
}

#[test]
fn other_contents_are_not_safetensors() {
    for bytes in [
        &b""[..],
        b"\x02\0\0\0\0\0\0\0",
        b"\x80\x02}q\0.........",
        b"\x80\x04\x95\x10\0\0\0\0\0\0\0}\x94\x8c\x01a",
        b"PK\x03\x04............{",
        b"{\"dtype\": \"F32\"}..............",
        b"<html>\n\n{}",
        b"\x93NUMPY\x01\0{'descr': '<f4'",
        b"GGUF\x03\0\0\0{\"a\"",
        b"version https://git-lfs.github.com",
        &[0; 64],
    ] {
        assert!(!looks_like(bytes, bytes.len() as u64), "{bytes:?}");
    }
}

/// A tensor for the other implementation to write.
fn tensor() -> impl Strategy<Value = (String, safetensors::Dtype, Vec<usize>)> {
    use safetensors::Dtype as D;
    let dtypes = [D::BOOL, D::U8, D::I16, D::U16, D::BF16, D::F32, D::C64, D::I64, D::U64, D::F8_E8M0];
    (any::<String>(), prop::sample::select(dtypes.to_vec()), prop::collection::vec(0_usize..4, 0..4))
}

proptest! {
    #[test]
    fn what_the_reference_writes_is_read_the_same(
        tensors in prop::collection::vec(tensor(), 0..12),
        metadata in prop::collection::hash_map(any::<String>(), any::<String>(), 0..4),
    ) {
        let data = vec![0; 4 * 4 * 4 * 8];
        let views: std::collections::BTreeMap<String, TensorView<'_>> = tensors
            .into_iter()
            .filter(|(name, ..)| name != "__metadata__")
            .map(|(name, dtype, shape)| {
                let bytes = shape.iter().product::<usize>() * dtype.bitsize() / 8;
                (name, TensorView::new(dtype, shape, &data[..bytes]).unwrap())
            })
            .collect();
        // Given an empty map and no tensors, safetensors 0.8.0 writes a header that is no JSON.
        let given = (!metadata.is_empty()).then(|| metadata.clone());
        let file = safetensors::serialize(&views, given).unwrap();
        let header = read_header(&file).unwrap();
        prop_assert_eq!(header.metadata, metadata.into_iter().collect());
        prop_assert_eq!(header.tensors.len(), views.len());
        for tensor in &header.tensors {
            let view = &views[&tensor.info.name];
            let dtype = format!("{:?}", view.dtype());
            prop_assert_eq!(tensor.info.dtype.safetensors_name(), Some(dtype.as_str()));
            let shape: Vec<u64> = view.shape().iter().map(|&length| length as u64).collect();
            prop_assert_eq!(&tensor.info.shape, &shape);
            prop_assert_eq!(tensor.end - tensor.start, view.data().len() as u64);
            prop_assert_eq!(tensor.info.bytes, view.data().len() as u64);
        }
    }

    #[test]
    fn no_bytes_make_it_panic_or_accept_more_than_the_reference(
        mut header in prop::collection::vec(any::<u8>(), 0..64),
        flips in prop::collection::vec((0_usize..100, any::<u8>()), 0..4),
        random in any::<bool>(),
    ) {
        if !random {
            header = two("[0,4]", "[4,8]").into_bytes();
        }
        let mut bytes = file(&header, 8);
        for (at, value) in flips {
            let at = at % bytes.len();
            bytes[at] = value;
        }
        if read_header(&bytes).is_ok() {
            prop_assert!(safetensors::SafeTensors::deserialize(&bytes).is_ok());
        }
    }
}
