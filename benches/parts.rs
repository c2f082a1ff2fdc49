//! The parts that the speed of a check is made of: `cargo bench --bench parts`.
//!
//! How the whole compares with other programs is `benches/compare/`.

use std::io::Write as _;
use std::ops::Range;
use std::sync::LazyLock;

use ckpt::digest::Crc32;
use ckpt::io::{FileSource, ScanOptions, ScanSource};
use divan::Bencher;
use divan::counter::BytesCount;

/// Larger than any cache, small enough to stay in memory.
const FILE_BYTES: u64 = 256 << 20;

/// A file in the page cache: it was written just now.
static FILE: LazyLock<Option<(tempfile::NamedTempFile, FileSource)>> = LazyLock::new(|| make_file().ok());

fn main() {
    divan::main();
}

fn make_file() -> std::io::Result<(tempfile::NamedTempFile, FileSource)> {
    let mut file = tempfile::NamedTempFile::new()?;
    let chunk: Vec<u8> = (0..1_u32 << 20).map(|i| i.wrapping_mul(0x9E37_79B1).to_le_bytes()[3]).collect();
    for _ in 0..FILE_BYTES >> 20 {
        file.write_all(&chunk)?;
    }
    file.as_file().sync_all()?;
    let source = FileSource::open(file.path())?;
    Ok((file, source))
}

/// The checksum of bytes in memory: in the first cache, the second, and none.
#[divan::bench(args = [16 << 10, 1 << 20, 128 << 20])]
fn crc32_of_memory(bencher: Bencher<'_, '_>, len: usize) {
    let bytes = vec![0x5A; len];
    bencher.counter(BytesCount::new(len)).bench(|| Crc32::of(divan::black_box(&bytes)));
}

/// What joins the checksums of two blocks: of a length with one bit set, and with many.
#[divan::bench(args = [4 << 20, 4_000_001])]
fn crc32_combination(bencher: Bencher<'_, '_>, len: usize) {
    let block = Crc32::of(&vec![0x5A; len]);
    bencher.bench(|| divan::black_box(block).then(divan::black_box(block)));
}

/// A cached file as one range.
#[divan::bench(args = [1, 2, 4])]
fn scan_cached(bencher: Bencher<'_, '_>, threads: usize) {
    let whole = Range { start: 0, end: FILE_BYTES };
    scan(bencher, &[whole], threads);
}

/// A cached file as many ranges, with gaps as between the records of an archive.
#[divan::bench(args = [1 << 10, 64 << 10, 1 << 20])]
fn scan_cached_in_ranges(bencher: Bencher<'_, '_>, len: u64) {
    let starts = (0..FILE_BYTES - len).step_by(usize::try_from(len).unwrap_or(usize::MAX) + 128);
    let ranges: Vec<Range<u64>> = starts.map(|start| start..start + len).collect();
    scan(bencher, &ranges, 2);
}

fn scan(bencher: Bencher<'_, '_>, ranges: &[Range<u64>], threads: usize) {
    let bytes: u64 = ranges.iter().map(|range| range.end - range.start).sum();
    let options = ScanOptions::default().with_threads(threads);
    bencher
        .counter(BytesCount::new(bytes))
        .bench(|| FILE.as_ref().map(|(_, source)| source.checksum(divan::black_box(ranges), &options).ok()));
}
