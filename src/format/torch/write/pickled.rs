//! An archive around a pickle that somebody else made.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use super::{TorchEncoding, plan};
use crate::Error;
use crate::digest::Crc32;
use crate::format::torch::archive::TorchArchive;
use crate::format::torch::{ReadOptions, pickle};
use crate::format::zip::{Entry, Method};
use crate::format::{EncodeOptions, read_vec};
use crate::record::FormatKind;
use crate::tensor::{Data, Node, Source, State, Storage, StorageId, TreeBuilder};

/// Values as Python's own pickler wrote them, with the storages that they refer to.
///
/// What no [`State`] can hold, such as objects of somebody's classes, can be saved so: as bytes, which nothing here
/// executes. The storages are written as those of a state are.
#[derive(Clone, Debug)]
pub struct Pickled<'a> {
    pickle: Vec<u8>,
    /// Holds nothing but the storages.
    state: State<'a>,
}

impl<'a> Pickled<'a> {
    /// Takes a pickle as `torch.save` makes it: its persistent ids name the storages by their places in the list, as
    /// texts (`0`, `1`, …).
    ///
    /// # Errors
    ///
    /// There are too many storages.
    pub fn new(pickle: Vec<u8>, storages: Vec<Data<'a>>) -> Result<Self, Error> {
        let mut tree = TreeBuilder::default();
        for data in &storages {
            tree.storage(Storage {
                key: String::new(),
                dtype: None,
                bytes: data.len(),
                device: "cpu".to_owned(),
                part_of: None,
            })?;
        }
        let root = tree.node(Node::None)?;
        Ok(Self { pickle, state: State::from_parts(tree.finish(root)?, storages) })
    }

    /// Takes up what `torch.save` wrote, so that it can be written anew, with a proof. `None` where the bytes are
    /// something else, or damaged: nothing is taken up then.
    pub fn of_archive(bytes: Vec<u8>) -> Option<Pickled<'static>> {
        let archive =
            TorchArchive::open(&bytes).ok().filter(|archive| archive.kind == FormatKind::TorchZip)?;
        let mut records = HashMap::new();
        for entry in &archive.archive.entries {
            let (_, name) = entry.name.split_once('/')?;
            records.insert(name.to_owned(), whole(&bytes, entry)?);
        }
        let content = |name: &str| read_vec(&bytes, records.get(name)?.clone()).ok();
        if content("byteorder").is_some_and(|order| order != b"little") {
            return None;
        }
        let pickle = content("data.pkl")?;
        let ranges: Vec<_> =
            (0..).map_while(|key: u32| records.get(&format!("data/{key}"))).cloned().collect();
        // A storage that the count missed would be lost.
        if records.keys().filter(|name| name.starts_with("data/")).count() != ranges.len() {
            return None;
        }
        let bytes: Arc<dyn Source> = Arc::new(bytes);
        let storages = ranges.into_iter().map(|range| Data::part(Arc::clone(&bytes), range));
        Pickled::new(pickle, storages.collect::<Result<_, _>>().ok()?).ok()
    }

    /// Returns the pickle.
    pub fn pickle(&self) -> &[u8] {
        &self.pickle
    }

    /// Returns a state that holds the storages, and no values.
    pub fn storages(&self) -> &State<'a> {
        &self.state
    }

    /// Returns the names (`module.name`) in the pickle that only who trusts it may load.
    pub fn names_to_trust(&self) -> Vec<String> {
        match pickle::read(&self.pickle, &ReadOptions::default()) {
            Ok(pickle) => pickle.unknown_globals,
            Err(fault) => fault.unknown_globals,
        }
    }

    /// Returns whether a safe reader takes the pickle: PyTorch's own, and this crate's.
    pub fn is_safe(&self) -> bool {
        let pickle = pickle::read(&self.pickle, &ReadOptions::default());
        pickle.is_ok_and(|pickle| pickle.unknown_globals.is_empty() && pickle.beyond_torch.is_none())
    }
}

/// Returns where a record's bytes are, if they are there as they are and have their checksum.
fn whole(archive: &[u8], entry: &Entry) -> Option<Range<u64>> {
    let (start, end) = (usize::try_from(entry.data.start).ok()?, usize::try_from(entry.data.end).ok()?);
    let bytes = archive.get(start..end)?;
    let is_whole = entry.crc32.is_none_or(|crc32| crc32 == Crc32::of(bytes).value());
    (is_whole && entry.method == Method::Stored).then(|| entry.data.clone())
}

/// Makes a file of a pickle and its storages, as [`encode`](super::encode) makes one of a state.
///
/// # Errors
///
/// A storage's bytes aren't there, or a metadata key is the project's own.
pub fn encode_pickled<'s>(
    pickled: &'s Pickled<'_>,
    options: &EncodeOptions,
) -> Result<TorchEncoding<'s>, Error> {
    options.check()?;
    let count = u32::try_from(pickled.state.tree().storages().len()).unwrap_or(u32::MAX);
    let storages: Vec<_> = (0..count).map(StorageId).collect();
    plan::plan(&pickled.state, options, &pickled.pickle, &storages)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::format::Encoding as _;

    /// `{'w': <class of somebody>}`, and the same of a plain number.
    const CLASS: &[u8] = b"\x80\x02}q\0X\x01\0\0\0wcsomebody\nClass\ns.";
    const PLAIN: &[u8] = b"\x80\x02}q\0X\x01\0\0\0wK\x01s.";

    #[test]
    fn what_must_be_trusted_is_named_and_not_executed() {
        let class = Pickled::new(CLASS.to_vec(), Vec::new()).unwrap();
        assert_eq!((class.names_to_trust(), class.is_safe()), (vec!["somebody.Class".to_owned()], false));
        let plain = Pickled::new(PLAIN.to_vec(), Vec::new()).unwrap();
        assert_eq!((plain.names_to_trust().len(), plain.is_safe()), (0, true));
        assert!(!Pickled::new(b"no pickle".to_vec(), Vec::new()).unwrap().is_safe());
    }

    #[test]
    fn storages_keep_their_places() {
        let storages =
            vec![Data::new(Arc::new(vec![1_u8; 5])), Data::from(Vec::new()), Data::from(vec![2_u8])];
        let pickled = Pickled::new(PLAIN.to_vec(), storages).unwrap();
        let encoding = encode_pickled(&pickled, &EncodeOptions::default()).unwrap();
        assert_eq!(encoding.places().iter().map(|(id, _)| id.0).collect::<Vec<_>>(), [0, 2]);
    }
}
