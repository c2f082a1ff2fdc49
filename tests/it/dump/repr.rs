//! How Python prints values that are keys.

use ckpt::tensor::{Node, NodeId, Tree};

/// The path's component for a map's key.
pub(super) fn key(tree: &Tree, id: NodeId) -> String {
    match tree.node(id) {
        Node::Text(text) => text.to_string(),
        Node::SurrogateText(bytes) => without_surrogates(bytes),
        Node::Device(_) | Node::Dtype(_) | Node::Layout(_) | Node::QScheme(_) => named(tree.node(id)),
        Node::None
        | Node::Bool(_)
        | Node::Int(_)
        | Node::BigInt(_)
        | Node::Float(_)
        | Node::Complex(..)
        | Node::Bytes(_)
        | Node::Tuple(_)
        | Node::Size(_) => repr(tree, id),
        other => {
            let name = other.type_name();
            format!("<{}>", name.rsplit('.').next().unwrap_or(name))
        }
    }
}

/// Python's `str` of a value with a name.
pub(super) fn named(node: &Node) -> String {
    match node {
        Node::Device(name) => name.to_string(),
        Node::Dtype(dtype) => format!("torch.{}", dtype.torch_name()),
        Node::Layout(name) | Node::QScheme(name) => format!("torch.{name}"),
        other => panic!("a value of type {} has no name", other.type_name()),
    }
}

/// Python's `repr` of a value.
pub(super) fn repr(tree: &Tree, id: NodeId) -> String {
    match tree.node(id) {
        Node::None => "None".to_owned(),
        Node::Bool(value) => if *value { "True" } else { "False" }.to_owned(),
        Node::Int(value) => value.to_string(),
        Node::BigInt(bytes) => big_int(bytes),
        Node::Float(value) => float(*value),
        Node::Complex(re, im) => complex(*re, *im),
        Node::Text(text) => quoted(text),
        Node::Bytes(bytes) => format!("b{}", quoted_bytes(bytes)),
        Node::Tuple(items) => {
            let items: Vec<_> = items.iter().map(|&item| repr(tree, item)).collect();
            if items.len() == 1 { format!("({},)", items[0]) } else { format!("({})", items.join(", ")) }
        }
        Node::Size(lengths) => format!("torch.Size({lengths:?})"),
        Node::Device(_) => format!("device(type='{}')", named(tree.node(id))),
        Node::Dtype(_) | Node::Layout(_) | Node::QScheme(_) => named(tree.node(id)),
        other => panic!("the dump can't print a value of type {} in a key", other.type_name()),
    }
}

fn quoted(text: &str) -> String {
    let quote = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
    let mut out = String::from(quote);
    for character in text.chars() {
        match character {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            other if other == quote => out.extend(['\\', quote]),
            other if other.is_control() => out += &hex(u32::from(other)),
            other => out.push(other),
        }
    }
    out.push(quote);
    out
}

fn hex(character: u32) -> String {
    format!("\\x{character:02x}")
}

fn quoted_bytes(bytes: &[u8]) -> String {
    let quote = if bytes.contains(&b'\'') && !bytes.contains(&b'"') { b'"' } else { b'\'' };
    let mut out = String::from(char::from(quote));
    for &byte in bytes {
        match byte {
            b'\\' => out.push_str("\\\\"),
            b'\n' => out.push_str("\\n"),
            b'\r' => out.push_str("\\r"),
            b'\t' => out.push_str("\\t"),
            other if other == quote => out.extend(['\\', char::from(quote)]),
            b' '..=b'~' => out.push(char::from(byte)),
            other => out += &hex(other.into()),
        }
    }
    out.push(char::from(quote));
    out
}

/// A float as Python prints it: the shortest digits that give it back, with an exponent below 1e-4
/// and from 1e16 on.
fn float(value: f64) -> String {
    if !value.is_finite() {
        return if value.is_nan() {
            "nan"
        } else if value > 0.0 {
            "inf"
        } else {
            "-inf"
        }
        .to_owned();
    }
    let scientific = format!("{value:e}");
    let (digits, exponent) = scientific.split_once('e').expect("the format has an exponent");
    let exponent: i32 = exponent.parse().expect("the exponent is a number");
    if (-4..16).contains(&exponent) {
        let plain = format!("{value}");
        return if plain.contains('.') { plain } else { format!("{plain}.0") };
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{digits}e{sign}{:02}", exponent.abs())
}

fn complex(re: f64, im: f64) -> String {
    let short = |value: f64| float(value).trim_end_matches(".0").to_owned();
    if re == 0.0 && re.is_sign_positive() {
        return format!("{}j", short(im));
    }
    let sign = if im.is_sign_negative() { "" } else { "+" };
    format!("({}{sign}{}j)", short(re), short(im))
}

/// An integer of any size in decimal, from two's complement, little-endian.
pub(super) fn big_int(bytes: &[u8]) -> String {
    let negative = bytes.last().is_some_and(|byte| byte & 0x80 != 0);
    let mut magnitude = bytes.to_vec();
    if negative {
        let mut carry = true;
        for byte in &mut magnitude {
            (*byte, carry) = (!*byte).overflowing_add(carry.into());
        }
    }
    // Long division by 10⁹, the highest byte first; each remainder is nine digits.
    let mut groups = Vec::new();
    while magnitude.iter().any(|byte| *byte != 0) {
        let mut rest = 0_u64;
        for byte in magnitude.iter_mut().rev() {
            let value = rest << 8 | u64::from(*byte);
            *byte = u8::try_from(value / 1_000_000_000).expect("the rest is below the divisor");
            rest = value % 1_000_000_000;
        }
        groups.push(rest);
    }
    let Some(first) = groups.pop() else { return "0".to_owned() };
    let rest: Vec<_> = groups.iter().rev().map(|group| format!("{group:09}")).collect();
    format!("{}{first}{}", if negative { "-" } else { "" }, rest.concat())
}

/// Generalised UTF-8 with each lone surrogate replaced by U+FFFD.
pub(super) fn without_surrogates(bytes: &[u8]) -> String {
    let mut clean = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some((&first, after)) = rest.split_first() {
        if let [0xed, 0xa0..=0xbf, _, after @ ..] = rest {
            clean.extend_from_slice("\u{fffd}".as_bytes());
            rest = after;
        } else {
            clean.push(first);
            rest = after;
        }
    }
    String::from_utf8(clean).expect("the reader hands out generalised UTF-8")
}

#[test]
fn prints_as_python_does() {
    let floats =
        [(0.1, "0.1"), (1e16, "1e+16"), (1e-5, "1e-05"), (1e15, "1000000000000000.0"), (-0.0, "-0.0")];
    for (value, text) in floats {
        assert_eq!(float(value), text);
    }
    assert_eq!(complex(0.0, 2.0), "2j");
    assert_eq!(complex(1.5, -2.0), "(1.5-2j)");
    assert_eq!(quoted("it's"), "\"it's\"");
    assert_eq!(quoted_bytes(b"k\0"), "'k\\x00'");
    assert_eq!(big_int(&[0, 0, 0, 0, 0, 0, 0, 0, 1]), "18446744073709551616");
    assert_eq!(big_int(&[0, 0, 0, 0, 0, 0, 0, 0, 0xff]), "-18446744073709551616");
    assert_eq!(without_surrogates(b"a\xed\xa0\x80!"), "a\u{fffd}!");
}
