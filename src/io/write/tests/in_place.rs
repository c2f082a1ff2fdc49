//! What lies in a staging area as in the file is written from there.

use super::*;
use crate::Dtype;
use crate::io::Staging;
use crate::tensor::{State, StorageId, TensorView};

/// A file in memory that notes where the bytes came from.
#[derive(Debug)]
struct Watching {
    file: FakeFile,
    addresses: Mutex<Vec<usize>>,
}

impl Watching {
    fn new(alignment: Option<usize>) -> Self {
        Self { file: FakeFile::new(alignment), addresses: Mutex::default() }
    }

    /// Counts the writes from inside of a region.
    fn writes_out_of(&self, region: &[u8]) -> usize {
        let addresses = self.addresses.lock().unwrap();
        addresses.iter().filter(|address| region.as_ptr_range().contains(&(**address as *const u8))).count()
    }
}

impl DiskFile for Watching {
    fn allocate(&self, len: u64) -> std::io::Result<()> {
        self.file.allocate(len)
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> std::io::Result<()> {
        self.addresses.lock().unwrap().push(bytes.as_ptr().addr());
        self.file.write_all_at(bytes, offset)
    }

    fn alignment(&self) -> Option<usize> {
        self.file.alignment
    }

    fn set_len(&self, len: u64) -> std::io::Result<()> {
        self.file.set_len(len)
    }

    fn set_permissions(&self, like: &Stat) -> std::io::Result<()> {
        self.file.set_permissions(like)
    }

    fn sync(&self) -> std::io::Result<()> {
        self.file.sync()
    }

    fn close(self: Box<Self>) -> std::io::Result<()> {
        Ok(())
    }
}

/// Storages of these lengths, at these places in the file.
struct Placed {
    bytes: Vec<Vec<u8>>,
    places: Vec<(StorageId, u64)>,
}

impl Placed {
    fn new(gaps_and_lengths: &[(usize, usize)]) -> Self {
        let (mut bytes, mut places, mut at) = (Vec::new(), Vec::new(), 0);
        for (number, (gap, len)) in (0..).zip(gaps_and_lengths) {
            at += gap;
            places.push((StorageId(number), at as u64));
            bytes.push(content(u64::from(number), *len));
            at += len;
        }
        Self { bytes, places }
    }

    fn state(&self) -> State<'_> {
        let mut state = State::new();
        for (number, bytes) in self.bytes.iter().enumerate() {
            let view = TensorView::new(Dtype::U8, [bytes.len() as u64], bytes.as_slice()).unwrap();
            state.insert(number.to_string(), view).unwrap();
        }
        state
    }

    /// Writes a state to these places.
    fn write(&self, state: &State<'_>, file: &Watching, threads: usize) -> Vec<PieceDigest> {
        let piece = |(id, offset): &(StorageId, u64)| Piece {
            offset: *offset,
            source: state.data(*id).unwrap(),
            is_data: true,
        };
        let pieces: Vec<_> = self.places.iter().map(piece).collect();
        let options = WriteOptions { threads, crc32: true, ..WriteOptions::default() };
        write_pieces(file, &pieces, &options).unwrap()
    }

    /// Holds what is written from a staged state against what is written from the original; returns how many
    /// writes came out of the area, of how many.
    fn compare(
        &self,
        places: &[(StorageId, u64)],
        alignment: Option<usize>,
        threads: usize,
    ) -> (usize, usize) {
        let staging = Staging::new(2);
        let dirty = vec![0xAA; self.bytes.iter().map(Vec::len).sum::<usize>() + 100_000];
        let before = Self { bytes: vec![dirty], places: Vec::new() };
        drop(staging.stage(&before.state(), &[]).unwrap());
        let original = self.state();
        let staged = staging.stage(&original, places).unwrap();
        let (copied, in_place) = (Watching::new(alignment), Watching::new(alignment));
        assert_eq!(self.write(&original, &copied, threads), self.write(&staged, &in_place, threads));
        assert_eq!(copied.file.content(), in_place.file.content());
        let (area, _) = staged.data(StorageId(0)).unwrap().region().unwrap();
        (in_place.writes_out_of(area), in_place.addresses.lock().unwrap().len())
    }
}

#[test]
fn neighbours_in_the_file_are_written_from_the_area() {
    let placed = Placed::new(&[(4096, 9 << 20), (0, 100), (0, 7000), (100, 5 << 20), (0, 1)]);
    for alignment in [None, Some(512), Some(4096)] {
        for threads in [1, 8] {
            let (inside, all) = placed.compare(&placed.places, alignment, threads);
            assert_eq!(inside, all, "{alignment:?}, {threads} threads");
        }
    }
}

#[test]
fn what_lies_elsewhere_is_copied() {
    let placed = Placed::new(&[(4096, 6 << 20), (300, 100), (0, 6 << 20)]);
    // Nothing is known of the places: the area has no byte where the file has it, modulo a page.
    assert_eq!(placed.compare(&[], Some(4096), 8).0, 1);
    // The last one is a page further away than in the file: its first window is put together.
    let wrong = [placed.places[0], placed.places[1], (StorageId(2), placed.places[2].1 + 4096)];
    let (inside, all) = placed.compare(&wrong, Some(4096), 1);
    assert!(0 < inside && inside <= all, "{inside} of {all}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(30))]

    /// From an area or not: the same bytes, whatever was there before.
    #[test]
    fn the_bytes_are_the_same(
        spans in prop::collection::vec((0..9000_usize, 1..3_usize << 20), 1..8),
        small in prop::collection::vec((0..100_usize, 1..5000_usize), 0..100),
        known in 0..100_usize,
        alignment in prop::sample::select(vec![None, Some(512), Some(4096)]),
        threads in 1..9_usize,
    ) {
        let placed = Placed::new(&[spans, small].concat());
        let known = known.min(placed.places.len());
        placed.compare(&placed.places[..known], alignment, threads);
    }
}
