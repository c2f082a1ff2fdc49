#![expect(clippy::cast_possible_truncation, reason = "what is tested fits memory")]

use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

use proptest::prelude::*;

use super::*;
use crate::Error;
use crate::digest::{Algorithm, Crc32};
use crate::io::commit::{DiskFile, Stat};
use crate::record::{BLOCK_BYTES, block_ranges};
use crate::tensor::Source;

mod in_place;

/// A file in memory, which holds writes to their alignment, and never lets one byte be written twice
/// before the head.
#[derive(Debug, Default)]
struct FakeFile {
    bytes: Mutex<Vec<u8>>,
    /// What was written, in any order.
    writes: Mutex<Vec<Range<u64>>>,
    alignment: Option<usize>,
    /// The number of the write that fails, from 1; 0 for none.
    fails: usize,
    calls: AtomicUsize,
}

impl FakeFile {
    /// What stands where nothing was written.
    const HOLE: u8 = 0xEE;

    fn new(alignment: Option<usize>) -> Self {
        Self { alignment, ..Self::default() }
    }

    fn content(&self) -> Vec<u8> {
        self.bytes.lock().unwrap().clone()
    }

    fn writes(&self) -> Vec<Range<u64>> {
        let mut writes = self.writes.lock().unwrap().clone();
        writes.sort_by_key(|write| write.start);
        writes
    }
}

impl DiskFile for FakeFile {
    fn allocate(&self, _: u64) -> std::io::Result<()> {
        Ok(())
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> std::io::Result<()> {
        if self.calls.fetch_add(1, Relaxed) + 1 == self.fails {
            return Err(std::io::ErrorKind::StorageFull.into());
        }
        let start = usize::try_from(offset).unwrap();
        let end = start + bytes.len();
        if let Some(alignment) = self.alignment {
            for place in [start, end, bytes.as_ptr() as usize] {
                assert_eq!(place % alignment, 0, "{} bytes at {offset}", bytes.len());
            }
        }
        self.writes.lock().unwrap().push(offset..end as u64);
        let mut content = self.bytes.lock().unwrap();
        let len = content.len().max(end);
        content.resize(len, Self::HOLE);
        content[start..end].copy_from_slice(bytes);
        Ok(())
    }

    fn alignment(&self) -> Option<usize> {
        self.alignment
    }

    fn set_len(&self, _: u64) -> std::io::Result<()> {
        Ok(())
    }

    fn set_permissions(&self, _: &Stat) -> std::io::Result<()> {
        Ok(())
    }

    fn sync(&self) -> std::io::Result<()> {
        Ok(())
    }

    fn close(self: Box<Self>) -> std::io::Result<()> {
        Ok(())
    }
}

/// Bytes that are handed out by reading alone, and only so far.
struct Reader {
    bytes: Vec<u8>,
    good: u64,
}

impl Source for Reader {
    fn len(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<(), Error> {
        if offset + buffer.len() as u64 > self.good {
            return Err(Error::usage("the source is broken"));
        }
        self.bytes.read_at(buffer, offset)
    }
}

/// A source that promises more than it has in memory.
struct Liar(Vec<u8>);

impl Source for Liar {
    fn len(&self) -> u64 {
        self.0.len() as u64 + 1
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<(), Error> {
        self.0.read_at(buffer, offset)
    }

    fn bytes(&self) -> Result<Option<&[u8]>, Error> {
        Ok(Some(&self.0))
    }
}

/// A piece with its bytes.
#[derive(Clone)]
struct Owned {
    offset: u64,
    bytes: Vec<u8>,
    is_data: bool,
    in_memory: bool,
}

impl std::fmt::Debug for Owned {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} at {}", self.bytes.len(), self.offset)
    }
}

/// Makes bytes that repeat nowhere near.
fn content(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed;
    let next = |_| {
        state = state.wrapping_mul(0xD134_2543_DE82_EF95).wrapping_add(1);
        state.to_le_bytes()[7]
    };
    (0..len).map(next).collect()
}

fn sources(owned: &[Owned]) -> Vec<Box<dyn Source + '_>> {
    let source = |piece: &Owned| -> Box<dyn Source> {
        let bytes = piece.bytes.clone();
        if piece.in_memory { Box::new(bytes) } else { Box::new(Reader { bytes, good: u64::MAX }) }
    };
    owned.iter().map(source).collect()
}

fn pieces<'a>(owned: &[Owned], sources: &'a [Box<dyn Source + 'a>]) -> Vec<Piece<'a>> {
    let sources = sources.iter().map(AsRef::as_ref);
    let piece = |(owned, source): (&Owned, _)| Piece { offset: owned.offset, source, is_data: owned.is_data };
    owned.iter().zip(sources).map(piece).collect()
}

/// What the digests must be, computed one after the other.
fn naive(owned: &[Owned], options: &WriteOptions<'_>) -> Vec<PieceDigest> {
    let one = |piece: &Owned| {
        if !piece.is_data {
            return PieceDigest::default();
        }
        let range = piece.offset..piece.offset + piece.bytes.len() as u64;
        let block = |block: Range<u64>| {
            let part = (block.start - piece.offset) as usize..(block.end - piece.offset) as usize;
            options.algorithm.digest(&piece.bytes[part])
        };
        PieceDigest {
            blocks: block_ranges(&[range], BLOCK_BYTES).into_iter().map(block).collect(),
            crc32: options.crc32.then(|| Crc32::of(&piece.bytes)),
        }
    };
    owned.iter().map(one).collect()
}

/// Few large pieces or many tiny ones, with gaps in which the head's pieces lie.
fn states() -> impl Strategy<Value = (Vec<Owned>, Vec<Owned>)> {
    let large = prop::collection::vec((0..300_000_usize, 0..9_usize << 20), 0..4);
    let small = prop::collection::vec((0..9000_usize, 0..5000_usize), 0..300);
    let far = (0..3_usize << 22, prop::collection::vec((0..100_usize, 0..100_usize), 1..50));
    let spans = (large, small, far, 0..20_000_usize).prop_map(|(large, small, (gap, rest), first)| {
        [vec![(first, 0)], large, small, vec![(gap, 1)], rest].concat()
    });
    (spans, any::<u64>()).prop_map(|(spans, seed)| {
        let (mut data, mut head, mut at) = (Vec::new(), Vec::new(), 0);
        for (number, (gap, len)) in (1..).zip(spans) {
            let random = content(seed ^ number, 8);
            let filled = gap * usize::from(random[0]) / 255;
            let place = |offset: usize, len, is_data| Owned {
                offset: offset as u64,
                bytes: content(seed.wrapping_add(number), len),
                is_data,
                in_memory: random[1] & 1 == 0,
            };
            head.push(place(at + (gap - filled) / 2, filled, false));
            data.push(place(at + gap, len, random[2] & 15 != 0));
            at += gap + len;
        }
        (data, head)
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..Default::default() })]

    #[test]
    fn all_bytes_come_to_their_places(
        (data, head) in states(),
        threads in prop::sample::select(vec![0_usize, 1, 2, 3, 8, 40]),
        alignment in prop::sample::select(vec![None, Some(512), Some(4096)]),
        algorithm in prop::sample::select(Algorithm::ALL.to_vec()),
        crc32 in any::<bool>(),
    ) {
        let file = FakeFile::new(alignment);
        let (data_sources, head_sources) = (sources(&data), sources(&head));
        let (data_pieces, head_pieces) = (pieces(&data, &data_sources), pieces(&head, &head_sources));
        let told = AtomicU64::new(0);
        let progress = |bytes| { told.fetch_add(bytes, Relaxed); };
        let options = WriteOptions { threads, algorithm, crc32, progress: Some(&progress), ..WriteOptions::default() };
        let digests = write_pieces(&file, &data_pieces, &options).unwrap();
        prop_assert_eq!(digests, naive(&data, &options));
        prop_assert_eq!(told.load(Relaxed), data.iter().map(|piece| piece.bytes.len() as u64).sum::<u64>());
        let before = file.content();
        check(&before, &data, &[]);
        let writes = file.writes();
        prop_assert!(writes.windows(2).all(|pair| pair[0].end <= pair[1].start), "a byte was written twice");

        write_head(&file, &data_pieces, &head_pieces).unwrap();
        check(&file.content(), &data, &head);
    }
}

/// Checks that the pieces are there, and nothing but zeros or holes between them.
fn check(content: &[u8], data: &[Owned], head: &[Owned]) {
    let mut all: Vec<_> = data.iter().chain(head).filter(|piece| !piece.bytes.is_empty()).collect();
    all.sort_by_key(|piece| piece.offset);
    let mut at = 0;
    let is_gap = |bytes: &[u8]| bytes.iter().all(|byte| [0, FakeFile::HOLE].contains(byte));
    for piece in all {
        let start = piece.offset as usize;
        assert!(is_gap(&content[at..start]), "the gap at {at}");
        at = start + piece.bytes.len();
        assert!(content[start..at] == piece.bytes, "the piece at {start}");
    }
    assert!(is_gap(&content[at..]), "the end at {at}");
}

fn data(offset: u64, len: usize) -> Owned {
    Owned { offset, bytes: content(offset + 1, len), is_data: true, in_memory: true }
}

fn write(file: &FakeFile, owned: &[Owned], threads: usize) -> Result<Vec<PieceDigest>, WriteError> {
    let sources = sources(owned);
    write_pieces(file, &pieces(owned, &sources), &WriteOptions { threads, ..WriteOptions::default() })
}

#[test]
fn nothing_is_nothing() {
    let file = FakeFile::new(Some(4096));
    assert_eq!(write(&file, &[], 4).unwrap(), []);
    assert_eq!(
        write(&file, &[data(5, 0), data(5, 0)], 4).unwrap(),
        [PieceDigest::default(), PieceDigest::default()]
    );
    write_head(&file, &[], &[]).unwrap();
    assert_eq!(file.writes(), []);
}

#[test]
fn an_empty_tensor_has_the_checksum_of_nothing() {
    let options = WriteOptions { crc32: true, ..WriteOptions::default() };
    let empty = Vec::new();
    let piece = |is_data| Piece { offset: 7, source: &empty, is_data };
    let digests = write_pieces(&FakeFile::default(), &[piece(true), piece(false)], &options).unwrap();
    assert_eq!(digests[0].crc32, Some(Crc32::default()));
    assert_eq!(digests[1], PieceDigest::default());
}

#[test]
fn many_small_pieces_are_few_writes() {
    let owned: Vec<_> = (0..2500).map(|i| data(4096 + i * 4200, 4096)).collect();
    for alignment in [Some(4096), None] {
        let file = FakeFile::new(alignment);
        write(&file, &owned, 2).unwrap();
        assert_eq!(file.writes().len(), 3);
        let gaps: Vec<_> =
            owned.iter().map(|piece| Owned { is_data: false, ..data(piece.offset - 64, 64) }).collect();
        let (sources, head_sources) = (sources(&owned), sources(&gaps));
        write_head(&file, &pieces(&owned, &sources), &pieces(&gaps, &head_sources)).unwrap();
        check(&file.content(), &owned, &gaps);
        // Around the cache, a write takes along what lies between; through it, nothing but the head is written.
        assert_eq!(file.writes().len(), if alignment.is_some() { 6 } else { 3 + gaps.len() });
    }
}

#[test]
fn a_wide_gap_is_not_written() {
    let file = FakeFile::new(Some(4096));
    write(&file, &[data(10, 10), data(1 << 20, 10), data(5 * BLOCK_BYTES, 1)], 1).unwrap();
    let end = 5 * BLOCK_BYTES;
    assert_eq!(file.writes(), [0..4096, 1 << 20..(1 << 20) + 4096, end..end + 4096]);
}

/// A head in front of large data: its block is put together anew, and nothing else is touched.
#[test]
fn a_head_takes_along_the_data_in_its_blocks_alone() {
    let owned = [data(5000, 2 * BLOCK_BYTES as usize)];
    let head = [Owned { is_data: false, ..data(0, 5000) }];
    let (sources, head_sources) = (sources(&owned), sources(&head));
    for (alignment, written) in [(Some(4096), 0..8192), (Some(512), 0..5120), (None, 0..5000)] {
        let file = FakeFile::new(alignment);
        write_head(&file, &pieces(&owned, &sources), &pieces(&head, &head_sources)).unwrap();
        assert_eq!(file.writes(), std::slice::from_ref(&written));
        let expected = [&head[0].bytes[..], &owned[0].bytes[..]].concat();
        assert_eq!(file.content(), expected[..written.end as usize]);
    }
}

#[test]
fn an_alignment_that_windows_cannot_keep_counts_as_none() {
    for alignment in [0, 3, 1 << 30] {
        let file = FakeFile { alignment: Some(alignment), ..FakeFile::default() };
        let granule = layout::Granule::of(&file);
        assert!(!granule.is_direct(), "{alignment}");
    }
}

#[test]
fn a_failed_write_stops_all_threads() {
    let owned: Vec<_> = (0..40).map(|i| data(i * BLOCK_BYTES, 1)).collect();
    let large = [data(0, 64 << 20)];
    for threads in [1, 2, 8] {
        for fails in [1, 3, 16] {
            for owned in [&owned[..], &large] {
                let file = FakeFile { fails, ..FakeFile::new(Some(4096)) };
                let error = write(&file, owned, threads).unwrap_err();
                assert!(
                    matches!(&error, WriteError::Disk(error) if error.kind() == std::io::ErrorKind::StorageFull)
                );
                assert!(file.calls.load(Relaxed) <= fails + threads);
            }
        }
    }
}

#[test]
fn a_failed_write_of_the_head_is_returned() {
    let head: Vec<_> = (0..3).map(|i| data(i * BLOCK_BYTES, 9)).collect();
    let sources = sources(&head);
    for fails in 1..=3 {
        let file = FakeFile { fails, ..FakeFile::default() };
        assert!(matches!(write_head(&file, &[], &pieces(&head, &sources)), Err(WriteError::Disk(_))));
        assert_eq!(file.calls.load(Relaxed), fails);
    }
}

#[test]
fn a_broken_source_stops_all_threads() {
    let bytes = content(1, 64 << 20);
    let reader = Reader { bytes, good: 10 << 20 };
    let liar = Liar(content(2, 64 << 20));
    let sources: [(&dyn Source, &str); 2] = [
        (&reader, "the source is broken"),
        (&liar, "Piece(data, 67108865 bytes at 100) has only 67108864 bytes in memory"),
    ];
    for (source, text) in sources {
        for threads in [1, 8] {
            let file = FakeFile::new(Some(4096));
            let piece = Piece { offset: 100, source, is_data: true };
            let options = WriteOptions { threads, ..WriteOptions::default() };
            let error = write_pieces(&file, &[piece], &options).unwrap_err();
            assert!(matches!(error, WriteError::Source(_)));
            assert_eq!(error.to_string(), text);
        }
    }
}

#[test]
fn pieces_that_overlap_are_refused_before_anything_is_written() {
    let file = FakeFile::default();
    let error = write(&file, &[data(0, 2), data(1, 1)], 1).unwrap_err();
    assert_eq!(
        error.to_string(),
        "Piece(data, 1 bytes at 1) overlaps what ends at 2, or ends where no file does"
    );
    let (owned, head) = ([data(0, 2)], [data(1, 9)]);
    let (sources, head_sources) = (sources(&owned), sources(&head));
    assert!(write_head(&file, &pieces(&owned, &sources), &pieces(&head, &head_sources)).is_err());
    assert_eq!(file.writes(), []);
}

/// What a file system that only pretended does: direct at first, then through the page cache.
#[test]
fn a_file_may_turn_to_the_page_cache_on_the_way() {
    #[derive(Debug)]
    struct Pretender(FakeFile);
    impl DiskFile for Pretender {
        fn allocate(&self, len: u64) -> std::io::Result<()> {
            self.0.allocate(len)
        }
        fn write_all_at(&self, bytes: &[u8], offset: u64) -> std::io::Result<()> {
            self.0.write_all_at(bytes, offset)
        }
        fn alignment(&self) -> Option<usize> {
            (self.0.calls.load(Relaxed) == 0).then_some(4096)
        }
        fn set_len(&self, len: u64) -> std::io::Result<()> {
            self.0.set_len(len)
        }
        fn set_permissions(&self, like: &Stat) -> std::io::Result<()> {
            self.0.set_permissions(like)
        }
        fn sync(&self) -> std::io::Result<()> {
            self.0.sync()
        }
        fn close(self: Box<Self>) -> std::io::Result<()> {
            Ok(())
        }
    }
    let (owned, head) = ([data(5000, 9 << 20)], [Owned { is_data: false, ..data(0, 5000) }]);
    let (sources, head_sources) = (sources(&owned), sources(&head));
    let file = Pretender(FakeFile::default());
    write_pieces(&file, &pieces(&owned, &sources), &WriteOptions::default()).unwrap();
    write_head(&file, &pieces(&owned, &sources), &pieces(&head, &head_sources)).unwrap();
    check(&file.0.content(), &owned, &head);
}
