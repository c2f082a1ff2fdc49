//! Which storages are as they were written.
//!
//! First each storage gets its test, without a look at its bytes; then all bytes that have a checksum are read
//! in one pass, as a verification reads them. A disk that can't read some of them ends that pass: the storages
//! are then read one by one, and only those that can't be read are lost.

use std::io;
use std::ops::Range;

use super::SalvageOptions;
use super::remains::Remains;
use crate::digest::{Crc32, Digest};
use crate::format::Flaw;
use crate::format::zip::{Entry, inflate_checksum};
use crate::io::{FileSource, ReadAt, ScanOptions, ScanSource};
use crate::record::{Evidence, block_ranges};
use crate::save::load::{Place, Record};

/// What a storage is worth.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is as it was written.
    Intact,
    /// It may be; the text says why it isn't known.
    Unproven(String),
    /// It isn't; the text says why.
    Lost(String),
}

/// What a storage's bytes are held against.
enum Test {
    /// The outcome is known without a look at the bytes.
    Known(Verdict),
    /// The digests of its blocks.
    Blocks(Vec<(Range<u64>, Digest)>),
    /// The CRC-32 of its record.
    Sum(Range<u64>, u32),
    /// That of a record which is deflated.
    Deflated(Box<Entry>),
}

/// What the bytes of a range came out at.
#[derive(Clone, Copy, PartialEq)]
enum Sum {
    Digest(Digest),
    Crc32(u32),
}

/// Judges every storage. All bytes that have a checksum are read once.
pub(super) fn judge(remains: &Remains, source: &FileSource, options: &SalvageOptions) -> Vec<Verdict> {
    let judge = Judge { remains, source, options };
    let places = remains.structure.places.iter().zip(&remains.lost);
    let tests: Vec<Test> = places.map(|(place, lost)| judge.test(place, lost.as_ref())).collect();
    let sums = judge.sums(&tests);
    let verdict = |(test, sums): (Test, Option<Vec<Sum>>)| match test {
        Test::Known(verdict) => verdict,
        Test::Blocks(blocks) => judge.blocks(&blocks, sums),
        Test::Sum(range, expected) => judge.sum(&range, expected, sums.as_deref()),
        Test::Deflated(entry) => judge.deflated(&entry),
    };
    tests.into_iter().zip(sums).map(verdict).collect()
}

/// What was read of a file, and the file.
struct Judge<'r> {
    remains: &'r Remains,
    source: &'r FileSource,
    options: &'r SalvageOptions,
}

impl Judge<'_> {
    /// Finds what a storage can be held against.
    fn test(&self, place: &Place, lost: Option<&String>) -> Test {
        let known = Test::Known;
        if let Some(why) = lost {
            return known(Verdict::Lost(why.clone()));
        }
        let (range, record) = match place {
            // A meta tensor has no bytes.
            Place::Nowhere => return known(self.named()),
            Place::Deflated(entry) => return Test::Deflated(entry.clone()),
            Place::At(range, record) => (range, record),
        };
        if range.end > self.source.len() {
            let missing = range.end - self.source.len();
            return known(Verdict::Lost(format!("the file ends {missing} bytes before its data does")));
        }
        match (self.remains.evidence, record) {
            (Evidence::Proof | Evidence::DamagedProof, _) => {
                let blocks = block_ranges(std::slice::from_ref(range), self.remains.window);
                let digest = |range: Range<u64>| match self.remains.blocks.get(&range.start) {
                    Some((block, digest)) if *block == range => Some((range, *digest)),
                    _ => None,
                };
                match blocks.into_iter().map(digest).collect() {
                    Some(blocks) => Test::Blocks(blocks),
                    None => known(Verdict::Unproven("its proof has no digest for it".to_owned())),
                }
            }
            (_, Record { crc32: Some(crc32), .. }) => Test::Sum(range.clone(), *crc32),
            _ => known(Verdict::Unproven("the file has no checksum for it".to_owned())),
        }
    }

    /// Computes what the storages are held against, in one pass; where that fails, storage by storage, so that
    /// one that can't be read doesn't stand for all. `None` for those that can't be.
    fn sums(&self, tests: &[Test]) -> Vec<Option<Vec<Sum>>> {
        let all: Vec<&Test> = tests.iter().collect();
        match self.scan(&all) {
            Ok(sums) => sums.into_iter().map(Some).collect(),
            Err(_) => tests.iter().map(|test| self.scan(&[test]).ok()?.pop()).collect(),
        }
    }

    /// Computes the sums of some tests, in their order.
    fn scan(&self, tests: &[&Test]) -> io::Result<Vec<Vec<Sum>>> {
        let progress = |bytes| {
            if let Some(progress) = &self.options.progress {
                progress.add(bytes);
            }
        };
        let options = ScanOptions::default().with_threads(self.options.threads).with_progress(&progress);
        let (mut blocks, mut ranges, mut algorithm) = (Vec::new(), Vec::new(), None);
        for test in tests {
            match test {
                Test::Blocks(own) => {
                    algorithm = algorithm.or(own.first().map(|(_, digest)| digest.algorithm()));
                    blocks.extend(own.iter().map(|(range, _)| range.clone()));
                }
                Test::Sum(range, _) => ranges.push(range.clone()),
                Test::Known(_) | Test::Deflated(_) => {}
            }
        }
        let digests = match algorithm {
            Some(algorithm) => self.source.digests(&blocks, algorithm, &options)?,
            None => Vec::new(),
        };
        let sums = if ranges.is_empty() { Vec::new() } else { self.source.checksum(&ranges, &options)? };
        let (mut digests, mut sums) = (digests.into_iter(), sums.into_iter());
        let take = |test: &&Test| match test {
            Test::Blocks(own) => digests.by_ref().take(own.len()).map(Sum::Digest).collect(),
            Test::Sum(..) => sums.next().iter().map(|sum: &Crc32| Sum::Crc32(sum.value())).collect(),
            Test::Known(_) | Test::Deflated(_) => Vec::new(),
        };
        Ok(tests.iter().map(take).collect())
    }

    /// Holds digests against those of the proof: the first that differs is told.
    fn blocks(&self, blocks: &[(Range<u64>, Digest)], sums: Option<Vec<Sum>>) -> Verdict {
        let Some(sums) = sums else { return unreadable() };
        let differs =
            |((_, expected), found): &(&(Range<u64>, Digest), &Sum)| Sum::Digest(*expected) != **found;
        match blocks.iter().zip(&sums).find(differs) {
            Some(((range, _), _)) => Verdict::Lost(format!(
                "its {} bytes from offset {} on haven't the digest that the proof names for them",
                range.end - range.start,
                range.start
            )),
            None if sums.len() == blocks.len() => self.named(),
            None => unreadable(),
        }
    }

    /// Holds a record's CRC-32 against the stored one.
    fn sum(&self, range: &Range<u64>, expected: u32, sums: Option<&[Sum]>) -> Verdict {
        match sums {
            Some([Sum::Crc32(found)]) if *found == expected => self.named(),
            Some([Sum::Crc32(found)]) => Verdict::Lost(format!(
                "its {} bytes from offset {} on have the checksum {found:08x}, and {expected:08x} was stored for them",
                range.end - range.start,
                range.start
            )),
            _ => unreadable(),
        }
    }

    /// Decompresses a record, without keeping it, and holds it against its CRC-32.
    fn deflated(&self, entry: &Entry) -> Verdict {
        match (inflate_checksum(self.source, entry), entry.crc32) {
            (Ok(_), None) => Verdict::Unproven("the file has no checksum for it".to_owned()),
            (Ok(found), Some(expected)) if found.value() == expected => self.named(),
            (Ok(found), Some(expected)) => Verdict::Lost(format!(
                "its record decompresses to the checksum {:08x}, and {expected:08x} was stored for it",
                found.value()
            )),
            (Err(Flaw::Found(finding)), _) => Verdict::Lost(finding.message.clone()),
            (Err(Flaw::Io(_)), _) => unreadable(),
        }
    }

    /// The verdict on bytes that are as they were written: their name and shape have to be as well.
    fn named(&self) -> Verdict {
        if self.remains.is_vouched {
            return Verdict::Intact;
        }
        Verdict::Unproven(
            "its bytes are as they were written, and nothing proves its name and shape".to_owned(),
        )
    }
}

/// The verdict where the device gives an error.
fn unreadable() -> Verdict {
    Verdict::Lost("its bytes can't be read from the device".to_owned())
}
