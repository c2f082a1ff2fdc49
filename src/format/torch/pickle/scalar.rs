//! Numbers and strings as the text opcodes of protocol 0 write them.

use super::fault::{Step, invalid, too_complex};
use crate::tensor::Node;

/// Longer numbers are refused, as Python refuses them: converting takes time by the square.
const MAX_DIGITS: usize = 4_300;

/// Parses a decimal integer of any length, with or without Python 2's `L`.
pub(super) fn decimal(text: &str) -> Step<Node> {
    let text = text.trim_ascii();
    let text = text.strip_suffix(['L', 'l']).unwrap_or(text);
    if let Ok(value) = text.parse::<i64>() {
        return Ok(Node::Int(value));
    }
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if digits.len() > MAX_DIGITS {
        return too_complex(format!("a number has more than {MAX_DIGITS} digits"));
    }
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return invalid("a decimal number is malformed");
    }
    let mut limbs: Vec<u32> = Vec::new();
    let first = digits.len() % DIGITS_PER_STEP;
    let (head, tail) = digits.split_at_checked(first).unwrap_or((digits, ""));
    for step in std::iter::once(head)
        .chain(tail.as_bytes().chunks(DIGITS_PER_STEP).filter_map(|step| std::str::from_utf8(step).ok()))
    {
        multiply_add(&mut limbs, step.parse().unwrap_or(0));
    }
    let mut bytes: Vec<u8> = limbs.into_iter().flat_map(u32::to_le_bytes).collect();
    bytes.push(0);
    if negative {
        negate(&mut bytes);
    }
    Ok(Node::integer(&bytes))
}

/// So many digits fit a limb: they are taken in at once.
const DIGITS_PER_STEP: usize = 9;

/// Multiplies a little-endian number by 10⁹ and adds to it.
fn multiply_add(limbs: &mut Vec<u32>, add: u32) {
    let mut carry = u64::from(add);
    for limb in limbs.iter_mut() {
        let product = u64::from(*limb) * 1_000_000_000 + carry;
        let [a, b, c, d, high @ ..] = product.to_le_bytes();
        *limb = u32::from_le_bytes([a, b, c, d]);
        carry = u32::from_le_bytes(high).into();
    }
    if let Ok(carry @ 1..) = u32::try_from(carry) {
        limbs.push(carry);
    }
}

/// Negates a number in two's complement: the bits turned over, plus one.
fn negate(number: &mut [u8]) {
    let mut carry = true;
    for byte in number {
        let (value, overflow) = (!*byte).overflowing_add(carry.into());
        *byte = value;
        carry = overflow;
    }
}

/// Parses the argument of `INT`: protocol 0 writes truth values as `00` and `01`.
pub(super) fn int_or_bool(text: &str) -> Step<Node> {
    match text {
        "00" => Ok(Node::Bool(false)),
        "01" => Ok(Node::Bool(true)),
        _ => decimal(text),
    }
}

/// Parses the argument of `FLOAT`, a Python `repr`.
pub(super) fn float(text: &str) -> Step<Node> {
    match text.trim_ascii().parse() {
        Ok(value) => Ok(Node::Float(value)),
        Err(_) => invalid("a float is malformed"),
    }
}

/// Decodes the argument of `UNICODE`: Python's `raw-unicode-escape`.
pub(super) fn raw_unicode_escape(line: &[u8]) -> Step<Node> {
    let mut bytes = Vec::with_capacity(line.len());
    let mut rest = line;
    while let [first, tail @ ..] = rest {
        let digits = match (first, tail.first()) {
            (b'\\', Some(b'u')) => 4,
            (b'\\', Some(b'U')) => 8,
            _ => 0,
        };
        if digits == 0 {
            push_code_point(&mut bytes, u32::from(*first));
            rest = tail;
            continue;
        }
        let (escape, behind) = tail.split_at_checked(1 + digits).unwrap_or((tail, &[]));
        let code = hex(escape.get(1..).unwrap_or_default(), digits);
        let Some(code) = code.filter(|code| *code <= 0x10_ffff) else {
            return invalid("an escape in a string is malformed");
        };
        push_code_point(&mut bytes, code);
        rest = behind;
    }
    Ok(text(bytes))
}

/// Reads exactly `count` hexadecimal digits.
fn hex(digits: &[u8], count: usize) -> Option<u32> {
    let digits = std::str::from_utf8(digits).ok().filter(|digits| digits.len() == count)?;
    u32::from_str_radix(digits, 16).ok()
}

/// Appends a code point as generalised UTF-8: a surrogate takes three bytes.
fn push_code_point(bytes: &mut Vec<u8>, code: u32) {
    if let Some(character) = char::from_u32(code) {
        let mut buffer = [0; 4];
        bytes.extend_from_slice(character.encode_utf8(&mut buffer).as_bytes());
    } else {
        let [low, middle, ..] = code.to_le_bytes();
        let wide = u16::from_le_bytes([low, middle]);
        let bits = |shift: u16, mask: u16| u8::try_from(wide >> shift & mask).unwrap_or_default();
        bytes.extend_from_slice(&[0xe0 | bits(12, 0x0f), 0x80 | bits(6, 0x3f), 0x80 | bits(0, 0x3f)]);
    }
}

/// Makes a string of bytes that are UTF-8, or generalised UTF-8 with lone surrogates.
fn text(bytes: Vec<u8>) -> Node {
    match String::from_utf8(bytes) {
        Ok(text) => Node::Text(text.into()),
        Err(error) => Node::SurrogateText(error.into_bytes().into()),
    }
}

/// Decodes a string of the binary opcodes: UTF-8, in which Python also lets lone surrogates pass.
pub(super) fn utf8(bytes: &[u8]) -> Step<Node> {
    if let Ok(text) = std::str::from_utf8(bytes) {
        return Ok(Node::Text(text.into()));
    }
    // With its surrogates blanked out, the rest must be UTF-8.
    let mut rest = bytes.to_vec();
    let mut at = 0;
    while let Some(window) = rest.get_mut(at..at + 3) {
        if let [0xed, 0xa0..=0xbf, 0x80..=0xbf] = window {
            window.fill(b'?');
            at += 3;
        } else {
            at += 1;
        }
    }
    match String::from_utf8(rest) {
        Ok(_) => Ok(Node::SurrogateText(bytes.into())),
        Err(_) => invalid("a string is no UTF-8"),
    }
}

/// Decodes the argument of `STRING`: a quoted Python 2 string with its escapes.
pub(super) fn quoted(line: &[u8]) -> Step<Vec<u8>> {
    let ([b'\'', inner @ .., b'\''] | [b'"', inner @ .., b'"']) = line.trim_ascii_end() else {
        return invalid("a string lacks its quotes");
    };
    let mut bytes = Vec::with_capacity(inner.len());
    let mut rest = inner.iter();
    while let Some(&byte) = rest.next() {
        if byte != b'\\' {
            bytes.push(byte);
            continue;
        }
        match rest.next() {
            Some(b'n') => bytes.push(b'\n'),
            Some(b't') => bytes.push(b'\t'),
            Some(b'r') => bytes.push(b'\r'),
            Some(b'x') => {
                let digits = [rest.next().copied().unwrap_or(0), rest.next().copied().unwrap_or(0)];
                let value = hex(&digits, 2).and_then(|value| u8::try_from(value).ok());
                let Some(value) = value else { return invalid("an escape in a string is malformed") };
                bytes.push(value);
            }
            Some(&other @ (b'\\' | b'\'' | b'"')) => bytes.push(other),
            _ => return invalid("an escape in a string is malformed"),
        }
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_of_every_width() {
        assert_eq!(Node::integer(&[]), Node::Int(0));
        assert_eq!(Node::integer(&[0xff]), Node::Int(-1));
        assert_eq!(Node::integer(&[0xff, 0x00]), Node::Int(255));
        assert_eq!(Node::integer(&[0x00, 0xff]), Node::Int(-256));
        assert_eq!(Node::integer(&[0x80, 0xff, 0xff]), Node::Int(-128));
        assert_eq!(Node::integer(&[0, 0, 0, 0, 0, 0, 0, 0x80]), Node::Int(i64::MIN));
        assert_eq!(
            Node::integer(&[0, 0, 0, 0, 0, 0, 0, 0x80, 0]),
            Node::BigInt([0, 0, 0, 0, 0, 0, 0, 0x80, 0].into())
        );
        assert_eq!(Node::integer(&[7, 0, 0, 0, 0, 0, 0, 0, 0, 0]), Node::Int(7));
    }

    #[test]
    fn decimals_agree_with_binary() {
        assert_eq!(decimal("-256L").unwrap(), Node::Int(-256));
        assert_eq!(decimal("9223372036854775808").unwrap(), Node::integer(&[0, 0, 0, 0, 0, 0, 0, 0x80, 0]));
        assert_eq!(
            decimal("-9223372036854775809").unwrap(),
            Node::integer(&[0xff, 255, 255, 255, 255, 255, 255, 0x7f, 0xff])
        );
        assert!(decimal("12a").is_err());
        assert!(decimal("-").is_err());
        assert!(decimal(&"9".repeat(5_000)).is_err());
    }

    #[test]
    fn strings_of_protocol_0() {
        assert_eq!(raw_unicode_escape(b"a\\u00e9\xe9").unwrap(), Node::Text("a\u{e9}\u{e9}".into()));
        assert_eq!(raw_unicode_escape(b"\\ud800").unwrap(), Node::SurrogateText([0xed, 0xa0, 0x80].into()));
        assert!(raw_unicode_escape(b"\\u12").is_err());
        assert_eq!(quoted(b"'a\\x41\\n\\''").unwrap(), b"aA\n'");
        assert!(quoted(b"'a").is_err());
        assert!(utf8(b"\xff").is_err());
        assert_eq!(utf8(b"\xed\xa0\x80x").unwrap(), Node::SurrogateText([0xed, 0xa0, 0x80, b'x'].into()));
    }
}
