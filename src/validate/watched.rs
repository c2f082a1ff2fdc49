use std::io;
use std::ops::Range;

use super::{ProgressSink, VerifyOptions};
use crate::digest::{Algorithm, Crc32, Digest};
use crate::io::{Cancel, ReadAt, ScanOptions, ScanSource};

/// A source that tells of every byte that is really read, by whom and for whatever it is, and that reads no
/// more once the check is cancelled. Who hears of bytes may take its time: that is how a check keeps to a rate.
///
/// The progress of a check is something else: it comes to the size of the file, and counts bytes as done that
/// need no reading.
pub(super) struct Watched<'a> {
    /// What is read.
    source: &'a dyn ScanSource,
    /// Who hears of it, from any of the threads that read.
    reads: Option<&'a ProgressSink>,
    /// What ends it.
    cancel: Option<&'a Cancel>,
}

impl<'a> Watched<'a> {
    /// Watches a source as the options of a check ask for.
    pub(super) fn new(source: &'a dyn ScanSource, options: &'a VerifyOptions) -> Self {
        Self { source, reads: options.reads.as_ref(), cancel: options.cancel.as_ref() }
    }

    /// Tells of bytes that were read.
    fn tell(&self, bytes: u64) {
        if let Some(reads) = self.reads {
            reads.add(bytes);
        }
    }

    /// Runs a scan with options that tell of its reads, beside those who asked to hear of progress.
    fn scan<T>(&self, options: &ScanOptions<'_>, scan: impl FnOnce(&ScanOptions<'_>) -> T) -> T {
        let tell = |bytes| {
            if let Some(progress) = options.progress {
                progress(bytes);
            }
            self.tell(bytes);
        };
        let mut watched = ScanOptions::default().with_threads(options.threads).with_progress(&tell);
        watched.cancel = self.cancel;
        scan(&watched)
    }
}

impl ReadAt for Watched<'_> {
    fn len(&self) -> u64 {
        self.source.len()
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.cancel.map_or(Ok(()), Cancel::check)?;
        self.source.read_exact_at(buffer, offset)?;
        self.tell(buffer.len() as u64);
        Ok(())
    }
}

impl ScanSource for Watched<'_> {
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
        let checked = VerifyOptions { reads: Some(reads), ..VerifyOptions::default() };
        let watched = Watched::new(&bytes, &checked);
        let progress = AtomicU64::new(0);
        let tell = |bytes| {
            progress.fetch_add(bytes, Ordering::Relaxed);
        };
        let options = ScanOptions::default().with_progress(&tell);
        assert_eq!(watched.checksum(&[0..60], &options).unwrap(), [Crc32::of(&bytes[..60])]);
        watched.digests(&[0..30], Algorithm::Crc64Nvme, &options).unwrap();
        watched.read_exact_at(&mut [0; 10], 90).unwrap();
        assert!(watched.read_exact_at(&mut [0; 10], 91).is_err());
        assert_eq!((heard.load(Ordering::Relaxed), progress.into_inner()), (100, 90));
    }

    #[test]
    fn nothing_is_read_once_it_is_cancelled() {
        let cancel = Cancel::default();
        let checked = VerifyOptions::default().with_cancel(cancel.clone());
        let bytes = vec![7; 100];
        let watched = Watched::new(&bytes, &checked);
        watched.read_exact_at(&mut [0; 10], 0).unwrap();
        cancel.cancel();
        let options = ScanOptions::default();
        let errors = [
            watched.read_exact_at(&mut [0; 10], 0).unwrap_err(),
            watched.checksum(&[0..60], &options).unwrap_err(),
            watched.digests(&[0..30], Algorithm::Crc64Nvme, &options).unwrap_err(),
        ];
        assert!(errors.iter().all(crate::io::Cancelled::is_reason_of));
    }
}
