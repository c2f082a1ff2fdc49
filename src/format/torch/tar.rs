//! Recognising tar archives, among them those of PyTorch 0.1.

/// The names of the members of PyTorch 0.1's archives.
const TORCH_MEMBERS: [&[u8]; 4] = [b"sys_info", b"pickle", b"tensors", b"storages"];
/// The size of a header and of a block: POSIX.1-1988 "ustar" and the older form alike.
const HEADER_BYTES: usize = 512;
/// Where the header's checksum stands; it counts as spaces in itself.
const CHECKSUM: std::ops::Range<usize> = 148..156;

/// Returns whether a file that begins with these bytes is a tar archive: its first header has the
/// checksum that the format demands, so the old form without `ustar` is told as well.
pub(crate) fn is_tar(head: &[u8]) -> bool {
    let Some(header) = head.get(..HEADER_BYTES) else { return false };
    let stored = header.get(CHECKSUM).unwrap_or_default();
    let digits: Vec<u8> = stored.iter().copied().filter(u8::is_ascii_digit).collect();
    let stored = std::str::from_utf8(&digits).ok().and_then(|digits| u64::from_str_radix(digits, 8).ok());
    let sum: u64 = header
        .iter()
        .enumerate()
        .map(|(at, byte)| if CHECKSUM.contains(&at) { u64::from(b' ') } else { u64::from(*byte) })
        .sum();
    header.first().is_some_and(|byte| *byte != 0) && stored == Some(sum)
}

/// Returns whether a tar archive's first member is one of PyTorch 0.1's.
pub(crate) fn is_torch_tar(head: &[u8]) -> bool {
    let name = head.get(..100).unwrap_or_default();
    let name = name.split(|byte| *byte == 0).next().unwrap_or_default();
    TORCH_MEMBERS.contains(&name.strip_prefix(b"./").unwrap_or(name))
}
