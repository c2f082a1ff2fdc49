use serde::de;

use crate::format::Flaw;
use crate::format::json::Fault;
use crate::record::{Code, Finding, Level};

/// The largest index or state file that is read. An index says less of a tensor than a safetensors
/// header does, and that has the same limit; the largest real ones have some megabytes.
pub const MAX_DOCUMENT_BYTES: u64 = 100_000_000;

/// Takes the bytes of a JSON document for text. `what` names the document in a sentence.
pub(super) fn text<'a>(bytes: &'a [u8], what: &str) -> Result<&'a str, Flaw> {
    if bytes.len() as u64 > MAX_DOCUMENT_BYTES {
        let message = format!("{what} has {} bytes; this reader stops at {MAX_DOCUMENT_BYTES}", bytes.len());
        return Err(Finding::incompatible(Code::TooComplex, Level::Container, message).into());
    }
    std::str::from_utf8(bytes).map_err(|error| {
        let at = error.valid_up_to();
        malformed(format!("{what} is no UTF-8: byte {at} starts no character")).at_offset(at as u64).into()
    })
}

/// Says that the bytes are no document of any kind.
fn malformed(message: String) -> Finding {
    Finding::corrupted(Code::IndexMalformed, Level::Container, message)
}

/// Says that the document is sound and of no use.
pub(super) fn unusable(message: impl Into<String>) -> Finding {
    Finding::incompatible(Code::IndexMalformed, Level::Container, message)
}

/// Says that two readers could read the document differently.
pub(super) fn repeated(what: &str) -> Finding {
    let message = format!("{what} is there twice: one reader takes the first, another the last");
    Finding::incompatible(Code::Ambiguous, Level::Container, message)
}

/// The finding for which reading stopped, where that was not the JSON parser's decision.
#[derive(Default)]
pub(super) struct Stop(Option<Finding>);

impl Stop {
    /// Stops the reading with a finding.
    pub(super) fn with<E: de::Error>(&mut self, finding: Finding) -> E {
        let error = E::custom(&finding.message);
        self.0 = Some(finding);
        error
    }

    /// Turns the parser's fault into the finding behind it.
    pub(super) fn explain(self, what: &str, fault: &Fault) -> Finding {
        let finding = if fault.malformed {
            malformed(format!("{what} is no JSON: {}", fault.message))
        } else if fault.too_deep {
            let message = format!("{what} is too complex: {}", fault.message);
            Finding::incompatible(Code::TooComplex, Level::Container, message)
        } else {
            self.0.unwrap_or_else(|| unusable(format!("{what} has another form: {}", fault.message)))
        };
        finding.at_offset(fault.offset)
    }
}
