use std::collections::btree_map::Entry as Slot;
use std::collections::{BTreeMap, HashMap};
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::document::{self, Stop, repeated, unusable};
use crate::format::Flaw;
use crate::format::json::{self, Skip, Word};
use crate::record::{Code, Finding, Level, quoted};

/// What the document is called in a sentence.
const WHAT: &str = "the shard index";

/// The index of a sharded checkpoint.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Index {
    /// The shards' file names, each once, in the index's order. Plain names: every one was checked
    /// to name a file in the index's own directory.
    pub shards: Vec<String>,
    /// The shard of each tensor, as an index into `shards`.
    pub weight_map: BTreeMap<String, usize>,
    /// The size of all tensors in bytes, without a fraction; none where the index has no such number.
    pub total_size: Option<u64>,
    /// What is unusual and changes nothing.
    pub notes: Vec<Finding>,
}

impl Index {
    /// Returns the file name of the shard that holds a tensor.
    pub fn shard_of(&self, tensor: &str) -> Option<&str> {
        self.shards.get(*self.weight_map.get(tensor)?).map(String::as_str)
    }
}

/// Reads a shard index (`*.index.json`).
///
/// # Errors
///
/// The bytes are no JSON (*corrupted*), or the document is no index, has a key twice, or names a
/// shard outside its own directory (*incompatible*, and in the last case unsafe). Never
/// [`Flaw::Io`].
///
/// ```
/// let index = br#"{"metadata": {"total_size": 8}, "weight_map": {"w": "model-00001-of-00001.safetensors"}}"#;
/// let index = ckpt::format::hugging_face::read_index(index)?;
/// assert_eq!(index.shard_of("w"), Some("model-00001-of-00001.safetensors"));
/// # Ok::<(), ckpt::format::Flaw>(())
/// ```
pub fn read_index(bytes: &[u8]) -> Result<Index, Flaw> {
    let text = document::text(bytes, WHAT)?;
    let mut reader = Reader::default();
    if let Err(fault) = json::read(text, IndexSeed(&mut reader)) {
        return Err(reader.stop.explain(WHAT, &fault).into());
    }
    if !reader.has_weight_map {
        return Err(unusable("the shard index has no weight_map").into());
    }
    if reader.index.total_size.is_none() && reader.index.notes.is_empty() {
        reader.note("the shard index has no total_size");
    }
    Ok(reader.index)
}

/// Says why a name can't be taken for that of a file in the index's own directory.
fn outside(name: &str) -> Option<&'static str> {
    let mut chars = name.chars();
    let drive = chars.next().is_some_and(|first| first.is_ascii_alphabetic()) && chars.next() == Some(':');
    if name.is_empty() {
        Some("is empty")
    } else if name == "." || name == ".." {
        Some("is a directory")
    } else if name.contains(['/', '\\']) || drive {
        Some("leads out of the checkpoint's directory, which makes the index unsafe to load")
    } else if name.contains(char::is_control) {
        Some("has a control character")
    } else {
        None
    }
}

/// The state of reading.
#[derive(Default)]
struct Reader {
    index: Index,
    /// The place in `index.shards` of each shard seen so far.
    seen: HashMap<String, usize>,
    has_metadata: bool,
    has_weight_map: bool,
    stop: Stop,
}

impl Reader {
    fn note(&mut self, message: impl Into<String>) {
        self.index.notes.push(Finding::note(Code::HeaderTolerated, Level::Container, message));
    }

    /// Returns the place of a shard, and refuses a name that leads elsewhere.
    fn shard(&mut self, name: &str) -> Result<usize, Box<Finding>> {
        if let Some(&place) = self.seen.get(name) {
            return Ok(place);
        }
        if let Some(reason) = outside(name) {
            return Err(Box::new(unusable(format!("the shard name {} {reason}", quoted(name)))));
        }
        let place = self.index.shards.len();
        self.index.shards.push(name.to_owned());
        self.seen.insert(name.to_owned(), place);
        Ok(place)
    }
}

/// Reads the whole document.
struct IndexSeed<'a>(&'a mut Reader);

impl<'de> DeserializeSeed<'de> for IndexSeed<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for IndexSeed<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map with weight_map")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let reader = self.0;
        while let Some(key) = map.next_key::<Word<'de>>()? {
            let again = match key.0.as_ref() {
                "metadata" => std::mem::replace(&mut reader.has_metadata, true),
                "weight_map" => std::mem::replace(&mut reader.has_weight_map, true),
                _ => {
                    map.next_value_seed(Skip::default())?;
                    continue;
                }
            };
            if again {
                return Err(reader.stop.with(repeated(&key.0)));
            }
            if key.0 == "metadata" {
                map.next_value_seed(MetadataSeed(reader))?;
            } else {
                map.next_value_seed(WeightMapSeed(reader))?;
            }
        }
        Ok(())
    }
}

/// Reads `weight_map`: tensors' names to shards' names.
struct WeightMapSeed<'a>(&'a mut Reader);

impl<'de> DeserializeSeed<'de> for WeightMapSeed<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for WeightMapSeed<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("weight_map to be a map of strings")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let reader = self.0;
        while let Some(tensor) = map.next_key::<String>()? {
            let name = map.next_value::<Word<'de>>()?;
            let place =
                reader.shard(&name.0).map_err(|finding| reader.stop.with(finding.at_tensor(&tensor)))?;
            match reader.index.weight_map.entry(tensor) {
                Slot::Vacant(slot) => drop(slot.insert(place)),
                Slot::Occupied(slot) => {
                    let what = format!("the tensor {} of weight_map", quoted(slot.key()));
                    return Err(reader.stop.with(repeated(&what).at_tensor(slot.key())));
                }
            }
        }
        Ok(())
    }
}

/// Reads `metadata`, of which only `total_size` has a meaning here. Writers differ in it, and no
/// reader insists on it: anything but a map is as good as none.
struct MetadataSeed<'a>(&'a mut Reader);

impl<'de> DeserializeSeed<'de> for MetadataSeed<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for MetadataSeed<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("metadata to be a map or null")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let reader = self.0;
        let mut seen = false;
        while let Some(key) = map.next_key::<Word<'de>>()? {
            if key.0 != "total_size" {
                map.next_value_seed(Skip::default())?;
            } else if std::mem::replace(&mut seen, true) {
                return Err(reader.stop.with(repeated("total_size")));
            } else {
                map.next_value_seed(SizeSeed(reader))?;
            }
        }
        Ok(())
    }
}

/// Reads `total_size`: a whole number; a number with a fraction, as `transformers` wrote where it
/// counted a boolean as an eighth of a byte; or a number in quotes.
struct SizeSeed<'a>(&'a mut Reader);

impl SizeSeed<'_> {
    fn unusual(self, size: Option<u64>, how: &str) {
        self.0.index.total_size = size;
        self.0.note(format!("the shard index gives total_size as {how}"));
    }
}

impl<'de> DeserializeSeed<'de> for SizeSeed<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for SizeSeed<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("total_size to be a number")
    }

    fn visit_u64<E>(self, size: u64) -> Result<(), E> {
        self.0.index.total_size = Some(size);
        Ok(())
    }

    fn visit_i64<E>(self, size: i64) -> Result<(), E> {
        self.unusual(None, &format!("{size}, which is no size"));
        Ok(())
    }

    fn visit_f64<E>(self, size: f64) -> Result<(), E> {
        self.unusual(whole(size), &format!("{size:?}, not a whole number"));
        Ok(())
    }

    fn visit_str<E>(self, text: &str) -> Result<(), E> {
        let size = text.parse().ok().or_else(|| whole(text.parse().ok()?));
        self.unusual(size, &format!("the text {}", quoted(text)));
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        self.unusual(None, "null");
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        self.unusual(None, "a truth value");
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        while list.next_element::<IgnoredAny>()?.is_some() {}
        self.unusual(None, "a list");
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        self.unusual(None, "a map");
        Ok(())
    }
}

/// Drops the fraction of a size; none where it is none.
fn whole(size: f64) -> Option<u64> {
    /// Up to here a float holds every whole number, and a file that large doesn't exist.
    const EXACT: f64 = 9_007_199_254_740_992.0; // 2⁵³
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "held against both bounds")]
    (0.0..=EXACT).contains(&size).then_some(size as u64)
}
