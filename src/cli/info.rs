//! `ckpt info`.

use std::io::{self, BufWriter, Write};

use super::args::InfoArgs;
use super::exit::{Outcome, Stop};
use super::output::json;
use super::talk;
use super::text::{count, size, visible, visible_path};
use crate::record::{Info, TensorInfo};
use crate::validate::inspect;

/// The widest column of names; a longer name moves the rest of its line to the right.
const NAME_WIDTH_MAX: usize = 60;

/// Shows what a checkpoint says of itself.
pub(super) fn run(args: &InfoArgs) -> Result<Outcome, Stop> {
    let info = match inspect(&args.path) {
        Ok(info) => info,
        Err(error) => {
            talk("error", &error.to_string());
            talk("hint", "`ckpt verify` says what is wrong with it, and where");
            return Ok(Outcome::NotValid);
        }
    };
    let mut out = BufWriter::new(io::stdout().lock());
    if args.json {
        json::line(&mut out, &info)?;
    } else {
        facts(&mut out, &info)?;
        table(&mut out, &info.tensors)?;
    }
    out.flush()?;
    Ok(Outcome::Done)
}

/// Writes what holds for the checkpoint as a whole.
fn facts(out: &mut impl Write, info: &Info) -> io::Result<()> {
    let word = |word: &Option<String>| word.as_deref().map_or_else(|| "none".to_owned(), visible);
    writeln!(out, "path      {}", visible_path(&info.path))?;
    writeln!(out, "format    {} ({})", info.format, info.format.describe())?;
    writeln!(out, "version   {}", word(&info.version))?;
    writeln!(out, "status    {}", word(&info.status))?;
    writeln!(out, "marker    {}", if info.marker { "yes" } else { "no" })?;
    writeln!(out, "size      {}", size(info.bytes))?;
    for (number, (key, value)) in info.metadata.iter().enumerate() {
        let title = if number == 0 { "metadata" } else { "" };
        writeln!(out, "{title:8}  {}: {}", visible(key), shortened(value))?;
    }
    let tensors = count(info.tensors.len() as u64, "tensor");
    writeln!(out, "total     {tensors}, {}", size(info.tensor_bytes()))
}

/// The most bytes of a value that are shown: a proof or a structure has thousands.
const VALUE_BYTES_MAX: usize = 100;

/// Returns a value's beginning, and how long it is where that isn't all.
fn shortened(value: &str) -> String {
    match value.split_at_checked(value.floor_char_boundary(VALUE_BYTES_MAX)) {
        Some((start, rest)) if !rest.is_empty() => format!("{}… ({} bytes)", visible(start), value.len()),
        _ => visible(value),
    }
}

/// Writes a line per tensor.
fn table(out: &mut impl Write, tensors: &[TensorInfo]) -> io::Result<()> {
    if tensors.is_empty() {
        return Ok(());
    }
    let rows: Vec<_> =
        tensors.iter().map(|tensor| (visible(&tensor.name), shape(&tensor.shape), tensor)).collect();
    let names =
        rows.iter().map(|(name, ..)| name.chars().count()).max().unwrap_or(0).clamp(4, NAME_WIDTH_MAX);
    let shapes = rows.iter().map(|(_, shape, _)| shape.len()).max().unwrap_or(0).max(5);
    writeln!(out, "\n{:names$}  {:12}  {:shapes$}  {:>12}", "NAME", "DTYPE", "SHAPE", "BYTES")?;
    for (name, shape, tensor) in rows {
        writeln!(out, "{name:names$}  {:12}  {shape:shapes$}  {:>12}", tensor.dtype, tensor.bytes)?;
    }
    Ok(())
}

/// Returns a shape as it is written: `[768, 2]`.
fn shape(lengths: &[u64]) -> String {
    let lengths: Vec<String> = lengths.iter().map(u64::to_string).collect();
    format!("[{}]", lengths.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Dtype;
    use crate::record::FormatKind;

    #[test]
    fn the_table_lines_up_and_shows_nothing_raw() {
        let mut info = Info::new("a\u{1b}.pt".into(), FormatKind::TorchZip);
        info.bytes = 4096;
        let entries = [("byteorder", "little".to_owned()), ("long", "ä".repeat(100)), ("x", "\n".to_owned())];
        info.metadata = entries.map(|(key, value)| (key.to_owned(), value)).into();
        let tensor = |name: &str, shape: &[u64], bytes| TensorInfo {
            name: name.to_owned(),
            dtype: Dtype::Bf16,
            shape: shape.to_vec(),
            bytes,
        };
        info.tensors = vec![tensor("encoder.weight", &[768, 2], 3072), tensor("b", &[], 2)];
        let mut out = Vec::new();
        facts(&mut out, &info).unwrap();
        table(&mut out, &info.tensors).unwrap();
        insta::assert_snapshot!(String::from_utf8(out).unwrap(), @r#"
        path      a\u{1b}.pt
        format    torch-zip (a PyTorch checkpoint)
        version   none
        status    none
        marker    no
        size      4.0 KiB
        metadata  byteorder: little
                  long: ääääääääääääääääääääääääääääääääääääääääääääääääää… (200 bytes)
                  x: \n
        total     2 tensors, 3.0 KiB

        NAME            DTYPE         SHAPE            BYTES
        encoder.weight  bf16          [768, 2]          3072
        b               bf16          []                   2
        "#);
    }
}
