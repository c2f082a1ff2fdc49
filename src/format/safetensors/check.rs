use std::cmp::Ordering;

use super::parse::Entry;
use crate::format::Flaw;
use crate::record::{Code, Finding, Level, TensorInfo, quoted};

/// Checks that no name is there twice.
///
/// The specification forbids it, the reference reader takes the last one, and others take the first:
/// such a file is one model to one program and another model to the next.
pub(super) fn names(entries: &[Entry]) -> Result<(), Flaw> {
    let mut names: Vec<&str> = entries.iter().map(|entry| entry.name.as_str()).collect();
    names.sort_unstable();
    let twice = names.windows(2).find_map(|pair| match pair {
        [first, second] if first == second => Some(*first),
        _ => None,
    });
    let Some(name) = twice else { return Ok(()) };
    let message =
        format!("the tensor {} is there twice: one reader takes the first, another the last", quoted(name));
    Err(Finding::incompatible(Code::Ambiguous, Level::Container, message).at_tensor(name).into())
}

/// Checks that every tensor has the bytes that its dtype and shape ask for, and that the tensors
/// cover the file from `data_start` to its end, each byte once.
pub(super) fn layout(entries: &[Entry], data_start: u64, file_len: u64) -> Result<(), Flaw> {
    for entry in entries {
        size(entry, data_start)?;
    }
    let mut order: Vec<&Entry> = entries.iter().collect();
    order.sort_unstable_by_key(|entry| entry.range);
    let mut covered = 0;
    for entry in order {
        if entry.range.0 != covered {
            return Err(gap(entry, covered, data_start));
        }
        covered = entry.range.1;
    }
    end(covered, data_start, file_len)
}

/// Checks one tensor's range against its dtype and shape.
fn size(entry: &Entry, data_start: u64) -> Result<(), Flaw> {
    let (start, end) = entry.range;
    let Some(bytes) = end.checked_sub(start) else {
        let message = format!("the tensor's data_offsets are reversed: [{start},{end}]");
        return Err(at(Code::DataLayout, message, entry, data_start));
    };
    let Some(dtype) = entry.dtype else { return Ok(()) };
    let wanted = TensorInfo::count(&entry.shape).and_then(|count| dtype.bytes_for(count));
    if wanted == Some(bytes) {
        return Ok(());
    }
    let wanted = wanted.map_or_else(|| "no possible number of".to_owned(), |wanted| wanted.to_string());
    let message = format!("dtype and shape ask for {wanted} bytes, and data_offsets give {bytes}");
    Err(at(Code::TensorSize, message, entry, data_start))
}

/// Says what is wrong with a range that doesn't start where the one before ends.
fn gap(entry: &Entry, covered: u64, data_start: u64) -> Flaw {
    let start = entry.range.0;
    let message = if start > covered {
        format!("{} bytes before the tensor belong to no tensor", start - covered)
    } else {
        format!("the tensor starts {} bytes before the end of another", covered - start)
    };
    at(Code::DataLayout, message, entry, data_start)
}

/// Checks that the file ends where the last tensor ends.
fn end(covered: u64, data_start: u64, file_len: u64) -> Result<(), Flaw> {
    let there = file_len.saturating_sub(data_start);
    let finding = match covered.cmp(&there) {
        Ordering::Equal => return Ok(()),
        Ordering::Greater => {
            let message =
                format!("the tensors take {covered} bytes, and the file has {there} after its header");
            Finding::corrupted(Code::Truncated, Level::Container, message).at_offset(file_len)
        }
        Ordering::Less => {
            let message = format!("{} bytes behind the last tensor belong to no tensor", there - covered);
            Finding::corrupted(Code::DataLayout, Level::Container, message).at_offset(data_start + covered)
        }
    };
    Err(finding.into())
}

fn at(code: Code, message: String, entry: &Entry, data_start: u64) -> Flaw {
    Finding::corrupted(code, Level::Container, message)
        .at_tensor(&entry.name)
        .at_offset(data_start.saturating_add(entry.range.0))
        .into()
}
