//! Where each item goes.

use std::ops::Range;

use super::SeriesItem;
use crate::Error;
use crate::digest::Digest;
use crate::format::torch::{Flavour, TorchEncoding, encode, encode_pickled};
use crate::format::{EncodeOptions, Encoding as _};
use crate::io::write::{Piece, PieceDigest};
use crate::record::{BLOCK_BYTES, Proof};
use crate::save::store::Runs;
use crate::tensor::{Data, Source as _};

/// What places where the file's windows begin anew are multiples of: no file is written in larger blocks than the
/// largest page.
const RESTART_ALIGNMENT: u64 = 64 << 10;

/// What places of items are multiples of: an archive has its small records at multiples of it.
const ITEM_ALIGNMENT: u64 = 64;

/// Items with their places.
///
/// A proof's blocks are cut where windows of its own archive meet. So an item lies in one window of the file, or the
/// windows begin anew with it. What is small shares the last window of what is before it.
pub(super) struct Series<'s> {
    items: Vec<Placed<'s>>,
    restarts: Vec<u64>,
    len: u64,
}

/// An item with its place.
pub(super) struct Placed<'s> {
    start: u64,
    body: Body<'s>,
}

/// What an item is in the file.
enum Body<'s> {
    Archive(Box<TorchEncoding<'s>>),
    Bytes(Data<'s>, Digest),
}

/// What proves an item.
#[derive(Debug)]
pub(super) enum Evidence {
    /// The proof inside.
    Proof(Proof),
    /// The digest of its bytes.
    Digest(Digest),
}

impl Evidence {
    /// Returns its id.
    pub(super) fn id(&self) -> String {
        match self {
            Self::Proof(proof) => proof.id(),
            Self::Digest(digest) => format!("{}:{digest}", digest.algorithm()),
        }
    }
}

impl<'s> Series<'s> {
    /// Finds the place of every item.
    pub(super) fn of(items: &[SeriesItem<'s>], options: &EncodeOptions) -> Result<Self, Error> {
        let mut series = Self { items: Vec::with_capacity(items.len()), restarts: Vec::new(), len: 0 };
        for item in items {
            let body = Body::of(item, options)?;
            let start = series.place(body.len()).ok_or_else(too_large)?;
            series.items.push(Placed { start, body });
        }
        Ok(series)
    }

    /// Finds the place of an item that is `len` bytes long.
    fn place(&mut self, len: u64) -> Option<u64> {
        let mut start = self.len.checked_next_multiple_of(ITEM_ALIGNMENT)?;
        let origin = self.restarts.last().copied().unwrap_or(0);
        let window_end = (start - (start - origin) % BLOCK_BYTES).checked_add(BLOCK_BYTES)?;
        let is_anew = start == origin;
        if !is_anew && start.checked_add(len)? > window_end {
            start = start.checked_next_multiple_of(RESTART_ALIGNMENT)?;
            self.restarts.push(start);
        }
        self.len = start.checked_add(len)?;
        Some(start)
    }

    /// Returns the length of the file.
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// Returns where the windows of the file begin anew.
    pub(super) fn restarts(&self) -> &[u64] {
        &self.restarts
    }

    /// Returns the bytes of each item.
    pub(super) fn ranges(&self) -> impl ExactSizeIterator<Item = Range<u64>> {
        self.items.iter().map(|item| item.start..item.start + item.body.len())
    }

    /// Returns what is written before the heads.
    pub(super) fn pieces(&self) -> Vec<Piece<'_>> {
        let mut all = Vec::new();
        for Placed { start, body } in &self.items {
            all.extend(
                body.pieces().into_iter().map(|piece| Piece { offset: piece.offset + start, ..piece }),
            );
        }
        all
    }

    /// Makes the heads of all items. `digests` are those of the pieces, in the same order.
    pub(super) fn finish(&self, digests: &[PieceDigest]) -> (Runs, Vec<Evidence>) {
        let (mut runs, mut evidence, mut rest) = (Vec::new(), Vec::with_capacity(self.items.len()), digests);
        for Placed { start, body } in &self.items {
            let (own, others) = rest.split_at(body.pieces().len().min(rest.len()));
            rest = others;
            let (parts, found) = body.finish(own);
            runs.extend(parts.into_iter().map(|(offset, bytes)| (offset + start, bytes)));
            evidence.push(found);
        }
        (runs, evidence)
    }
}

impl<'s> Body<'s> {
    fn of(item: &SeriesItem<'s>, options: &EncodeOptions) -> Result<Self, Error> {
        let archive = |encoding| Self::Archive(Box::new(encoding));
        match item {
            SeriesItem::State(state) => encode(state, options, Flavour::Full).map(archive),
            SeriesItem::Pickled(pickled) => encode_pickled(pickled, options).map(archive),
            SeriesItem::Bytes(bytes) => Ok(Self::Bytes(Data::from(*bytes), options.algorithm.digest(bytes))),
        }
    }

    fn len(&self) -> u64 {
        match self {
            Self::Archive(encoding) => encoding.len(),
            Self::Bytes(bytes, _) => bytes.len(),
        }
    }

    fn pieces(&self) -> Vec<Piece<'_>> {
        match self {
            Self::Archive(encoding) => encoding.pieces(),
            Self::Bytes(bytes, _) => vec![Piece { offset: 0, source: bytes, is_data: false }],
        }
    }

    fn finish(&self, digests: &[PieceDigest]) -> (Runs, Evidence) {
        match self {
            Self::Archive(encoding) => {
                let head = encoding.finish(digests);
                (head.parts, Evidence::Proof(head.proof))
            }
            Self::Bytes(_, digest) => (Vec::new(), Evidence::Digest(*digest)),
        }
    }
}

fn too_large() -> Error {
    Error::usage("the items are too large for any file")
}
