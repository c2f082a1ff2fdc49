//! Whether a state was made of what is there now.

use super::migrate::SOURCE;
use super::place::Place;
use super::{PipelineOptions, look};
use crate::Error;
use crate::record::{Fingerprint, PipelineState};

/// What the pipeline is made from now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Origin {
    source: Option<Fingerprint>,
    config: Option<String>,
}

impl Origin {
    /// Takes the fingerprint of the source that the options name. A source that looks as the state knows it isn't read.
    ///
    /// # Errors
    ///
    /// The source isn't there, or can't be read.
    pub(super) fn now(
        place: &Place,
        options: &PipelineOptions,
        state: &PipelineState,
    ) -> Result<Self, Error> {
        let config = options.config.clone();
        let Some(source) = &options.source else { return Ok(Self { source: None, config }) };
        let path = place.named(source)?;
        let there = place.file(&path);
        let looks = look::glance(&there)?;
        if let (Some(known), Some(looks)) = (&state.source, looks)
            && (known.path.as_str(), known.bytes, known.modified)
                == (path.as_str(), looks.bytes, looks.modified)
        {
            return Ok(Self { source: Some(known.clone()), config });
        }
        let Some(record) = look::record(place, &path)? else {
            return Err(Error::nothing(there, "the source of the pipeline isn't there"));
        };
        let source = Fingerprint::new(path, record.bytes, record.modified, record.digest);
        Ok(Self { source: Some(source), config })
    }

    /// Says what differs from what a state was made of, as far as both are known.
    pub(super) fn differs_from(&self, state: &PipelineState) -> Vec<String> {
        let mut differs = Vec::new();
        match (&self.source, &state.source) {
            (Some(now), Some(then)) if now.digest != then.digest || now.bytes != then.bytes => {
                differs.push(format!(
                    "the source {} isn't what the pipeline was begun with: {} bytes of {}, and it was {}{} bytes of {}",
                    now.path,
                    now.bytes,
                    now.digest,
                    if now.path == then.path { String::new() } else { format!("{} with ", then.path) },
                    then.bytes,
                    then.digest
                ));
            }
            (Some(now), None) => {
                let named = state.fields.get(SOURCE).and_then(|source| source.as_str());
                if let Some(named) = named.filter(|named| !is_same_name(named, &now.path)) {
                    differs
                        .push(format!("the source is {}, and the pipeline was begun with {named}", now.path));
                }
            }
            _ => {}
        }
        if let (Some(now), Some(then)) = (&self.config, &state.config)
            && now != then
        {
            differs.push(format!(
                "the configuration has the digest {now}, and the pipeline was begun with {then}"
            ));
        }
        differs
    }

    /// Takes note in a state of what it is made of from now on.
    pub(super) fn put_into(self, state: &mut PipelineState) {
        state.source = self.source.or_else(|| state.source.take());
        state.config = self.config.or_else(|| state.config.take());
    }
}

/// Returns whether two paths may be the same file's: older states name it as the caller did, from wherever that was.
fn is_same_name(one: &str, other: &str) -> bool {
    let name = |path: &str| std::path::Path::new(path).file_name().map(ToOwned::to_owned);
    name(one) == name(other)
}
