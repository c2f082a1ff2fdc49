//! The pairs of two directories.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::{MergeOptions, Pair};
use crate::Error;
use crate::save::Format;

/// What the names of outputs end in.
const SUFFIX: &str = "_merged";
/// What stands between the words of a name.
const BETWEEN: [char; 3] = ['_', '-', '.'];

/// The pairs of two directories, and what has no partner.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Pairs {
    /// The pairs, in the order of their names.
    pub pairs: Vec<Pair>,
    /// The files of either directory that have no partner in the other, or more than one.
    pub unpaired: Vec<PathBuf>,
}

/// Finds the pairs of feature files in two directories, by their names.
///
/// Two files belong together whose names are the same up to the last number in them, as a word of its own: words stand between
/// `_`, `-` and `.`. So `output_1_DNABERT_S.pt` and `output_1_ESM.pt` make `output_1_merged.pt`. Names without a number
/// belong together where they are the same but for the extension. Files of other extensions than `.pt`, `.pth`, `.bin`, `.ckpt` and
/// `.safetensors` aren't looked at, nor are directories, nor, where outputs go into a directory of inputs, names that end in
/// `_merged`. An output has the extension of its first input, unless [`MergeOptions::format`] says otherwise.
///
/// ```
/// # let directory = tempfile::tempdir()?;
/// # let at = |name: &str| directory.path().join(name);
/// # std::fs::create_dir(at("dna"))?;
/// # std::fs::create_dir(at("esm"))?;
/// # for name in ["dna/output_1_DNABERT_S.pt", "dna/output_2_DNABERT_S.pt", "esm/output_1_ESM.pt"] {
/// #     std::fs::write(at(name), b"")?;
/// # }
/// use ckpt::features::merge::{MergeOptions, pairs_in};
///
/// let found = pairs_in(&at("dna"), &at("esm"), &at("merged"), &MergeOptions::default())?;
/// assert_eq!(found.pairs[0].out, at("merged/output_1_merged.pt"));
/// assert_eq!(found.unpaired, [at("dna/output_2_DNABERT_S.pt")]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
///
/// A directory can't be read, or both are one.
pub fn pairs_in(a: &Path, b: &Path, out: &Path, options: &MergeOptions) -> Result<Pairs, Error> {
    let is_one = |one: &Path, other: &Path| match (one.canonicalize(), other.canonicalize()) {
        (Ok(one), Ok(other)) => one == other,
        _ => false,
    };
    if is_one(a, b) {
        return Err(Error::usage(
            "both directories are this one: which files belong together is for a list to say",
        )
        .at(a));
    }
    let mut of_a = by_name(a, is_one(a, out))?;
    let mut of_b = by_name(b, is_one(b, out))?;
    let mut found = Pairs::default();
    for (name, ones) in &mut of_a {
        let Some(others) = of_b.get_mut(name) else { continue };
        if let ([one], [other]) = (ones.as_slice(), others.as_slice()) {
            let file = format!("{name}{SUFFIX}.{}", extension(one, options));
            found.pairs.push(Pair::new(one, other, out.join(file)));
            ones.clear();
            others.clear();
        }
    }
    found.unpaired = of_a.into_values().chain(of_b.into_values()).flatten().collect();
    Ok(found)
}

/// Lists the feature files of a directory by what their partners' names have in common with theirs.
fn by_name(directory: &Path, has_outputs: bool) -> Result<BTreeMap<String, Vec<PathBuf>>, Error> {
    let failed = |error| Error::io(directory, "list it", error);
    let mut found: BTreeMap<String, Vec<PathBuf>> = BTreeMap::new();
    for entry in std::fs::read_dir(directory).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let Some(stem) = path.file_stem().and_then(|stem| stem.to_str()) else { continue };
        if Format::of(&path).is_err() || !path.is_file() || (has_outputs && stem.ends_with(SUFFIX)) {
            continue;
        }
        let name = common(stem).to_owned();
        found.entry(name).or_default().push(path);
    }
    for paths in found.values_mut() {
        paths.sort();
    }
    Ok(found)
}

/// Returns the part of a name that partners have in common: up to the last word that is a number, or all of it.
fn common(stem: &str) -> &str {
    let mut end = None;
    let mut start = 0;
    for word in stem.split(BETWEEN) {
        let behind = start + word.len();
        if !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_digit()) {
            end = Some(behind);
        }
        start = behind + 1;
    }
    end.and_then(|end| stem.get(..end)).unwrap_or(stem)
}

/// Returns the extension of the output.
fn extension(input: &Path, options: &MergeOptions) -> String {
    match options.format {
        Some(Format::Safetensors) => "safetensors".to_owned(),
        Some(_) => "pt".to_owned(),
        None => input.extension().map(|own| own.to_string_lossy().into_owned()).unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::common;

    #[test]
    fn names_go_up_to_their_last_number() {
        for (name, part) in [
            ("output_1_DNABERT_S", "output_1"),
            ("output_10_ESM", "output_10"),
            ("test_500bp_output-3.ESM2_t36", "test_500bp_output-3"),
            ("a_1_b_2_c", "a_1_b_2"),
            ("2", "2"),
            ("esm2", "esm2"),
            ("sample", "sample"),
            ("_", "_"),
            ("é_7_ü", "é_7"),
        ] {
            assert_eq!(common(name), part, "{name}");
        }
    }
}
