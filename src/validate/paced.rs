use std::io;
use std::ops::Range;

use super::ProgressSink;
use crate::digest::{Algorithm, Crc32, Digest};
use crate::io::{ReadAt, ScanOptions, ScanSource};

/// A source that tells of every byte that is really read, by whom and for whatever it is. Who hears of it may
/// take its time: that is how a check keeps to a rate.
///
/// The progress of a check is something else: it comes to the size of the file, and counts bytes as done that
/// need no reading.
pub(super) struct Paced<'a> {
    /// What is read.
    pub(super) source: &'a dyn ScanSource,
    /// Who hears of it, from any of the threads that read.
    pub(super) reads: &'a ProgressSink,
}

impl Paced<'_> {
    /// Runs a scan with options that tell of its reads, beside those who asked to hear of progress.
    fn scan<T>(&self, options: &ScanOptions<'_>, scan: impl FnOnce(&ScanOptions<'_>) -> T) -> T {
        let tell = |bytes| {
            if let Some(progress) = options.progress {
                progress(bytes);
            }
            self.reads.add(bytes);
        };
        scan(&ScanOptions::default().with_threads(options.threads).with_progress(&tell))
    }
}

impl ReadAt for Paced<'_> {
    fn len(&self) -> u64 {
        self.source.len()
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.source.read_exact_at(buffer, offset)?;
        self.reads.add(buffer.len() as u64);
        Ok(())
    }
}

impl ScanSource for Paced<'_> {
    fn checksum(&self, ranges: &[Range<u64>], options: &ScanOptions<'_>) -> io::Result<Vec<Crc32>> {
        self.scan(options, |options| self.source.checksum(ranges, options))
    }

    fn digests(
        &self,
        blocks: &[Range<u64>],
        algorithm: Algorithm,
        options: &ScanOptions<'_>,
    ) -> io::Result<Vec<Digest>> {
        self.scan(options, |options| self.source.digests(blocks, algorithm, options))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    #[test]
    fn every_read_is_told_of_once() {
        let heard = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&heard);
        let reads = ProgressSink::new(move |bytes| {
            counter.fetch_add(bytes, Ordering::Relaxed);
        });
        let bytes = vec![7; 100];
        let paced = Paced { source: &bytes, reads: &reads };
        let progress = AtomicU64::new(0);
        let tell = |bytes| {
            progress.fetch_add(bytes, Ordering::Relaxed);
        };
        let options = ScanOptions::default().with_progress(&tell);
        assert_eq!(paced.checksum(&[0..60], &options).unwrap(), [Crc32::of(&bytes[..60])]);
        paced.digests(&[0..30], Algorithm::Crc64Nvme, &options).unwrap();
        paced.read_exact_at(&mut [0; 10], 90).unwrap();
        assert!(paced.read_exact_at(&mut [0; 10], 91).is_err());
        assert_eq!((heard.load(Ordering::Relaxed), progress.into_inner()), (100, 90));
    }
}
