use crate::Error;
use crate::tensor::{NodeId, Tree};

/// Why something can't be written, and where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// The values around it from the root on, itself last.
    places: Vec<NodeId>,
    /// Why.
    pub(crate) why: String,
}

impl Refusal {
    /// Refuses the last of `places`; the others are those around it, from the root on.
    pub(crate) fn at(places: Vec<NodeId>, why: impl Into<String>) -> Self {
        Self { places, why: why.into() }
    }

    /// Refuses a tree as a whole.
    pub(crate) fn whole(why: impl Into<String>) -> Self {
        Self { places: Vec::new(), why: why.into() }
    }

    /// Makes the error, with the keys that lead to the value. A key, or a part of a tensor, has no path of
    /// its own: then it is that of what it belongs to.
    pub(crate) fn error(self, tree: &Tree) -> Error {
        let Some(&last) = self.places.last() else {
            return Error::usage(format!("the state can't be written as a PyTorch checkpoint: {}", self.why));
        };
        let mut nearest: Option<(usize, String)> = None;
        // A walk that ends early was on its way to the value: what it passed is enough.
        let _early = tree.walk(|leaf| {
            let place = self.places.iter().rposition(|place| *place == leaf.id);
            if let Some(place) = place
                && nearest.as_ref().is_none_or(|(other, _)| place > *other)
            {
                nearest = Some((place, leaf.path.escape_debug().to_string()));
            }
        });
        let (place, path) = nearest.unwrap_or_default();
        let kind = tree.node(last).type_name().escape_debug().to_string();
        let inside = if place + 1 == self.places.len() { "" } else { "a value inside of " };
        let name = if path.is_empty() { "the root".to_owned() } else { format!("'{path}'") };
        Error::usage(format!(
            "{inside}{name}, of type {kind}, can't be written as a PyTorch checkpoint: {}",
            self.why
        ))
    }
}
