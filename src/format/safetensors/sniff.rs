use super::header::{LENGTH_BYTES, MAX_HEADER_BYTES, MIN_HEADER_BYTES};

/// What the header of every file that holds a tensor or metadata has in it.
const TELLING: [&[u8]; 3] = [b"\"dtype\"", b"\"data_offsets\"", b"\"__metadata__\""];

/// Returns whether a file of `len` bytes that starts with `prefix` is meant as safetensors, whole or
/// damaged. A prefix of some hundred bytes tells best; nine are the least.
///
/// This must be asked before anything looks for a pickle: the length of a valid header can spell
/// pickle opcodes (a header of 0x2E93 bytes begins with `STACK_GLOBAL`, `STOP`), whereas no pickle
/// has a `{` after eight bytes that make a plausible length: there, a pickle's own lengths and text
/// fill the high bytes, which makes the number too big.
///
/// A damaged length or a damaged first character is forgiven where the text names the header's own
/// fields, so that the file is called a damaged safetensors rather than an unknown one.
pub fn looks_like(prefix: &[u8], len: u64) -> bool {
    let Some((length, text)) = prefix.split_first_chunk::<8>() else { return false };
    let length = u64::from_le_bytes(*length);
    let opens = opens_object(text);
    let telling = TELLING.iter().any(|word| text.windows(word.len()).any(|window| window == *word));
    if telling && (opens || text.starts_with(b"\"")) {
        return true;
    }
    let fits = length <= len.saturating_sub(LENGTH_BYTES);
    let plausible = (MIN_HEADER_BYTES..=MAX_HEADER_BYTES).contains(&length);
    plausible && if fits { opens || telling } else { opens && goes_on(text) }
}

/// Returns whether the first character but whitespace is `{`.
fn opens_object(text: &[u8]) -> bool {
    text.trim_ascii_start().first() == Some(&b'{')
}

/// Returns whether what follows the `{` can follow it in JSON, as far as the text goes.
fn goes_on(text: &[u8]) -> bool {
    let behind = text.trim_ascii_start().get(1..).unwrap_or_default().trim_ascii_start();
    matches!(behind.first(), None | Some(b'"' | b'}'))
}
