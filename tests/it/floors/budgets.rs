//! Short functions, short files, and documentation.

use std::collections::BTreeSet;

use syn::spanned::Spanned;
use syn::visit::{self, Visit};

use super::source::{File, Source, is_test, lines};
use super::{FACES, Violation, assert_none};

/// Nine functions of ten are at most this many lines long.
const FUNCTION_LINES: usize = 40;
/// At most [`LONG_PERCENT`] of the functions are longer than this.
const LONG_FUNCTION_LINES: usize = 60;
const LONG_PERCENT: usize = 5;
/// No file is longer than this, its tests left out.
const FILE_LINES: usize = 500;
/// At least this share of the library's lines that aren't blank is documentation.
const DOC_PERCENT: usize = 20;

#[test]
fn functions_are_short() {
    let lengths = function_lengths(&Source::read());
    let count = lengths.len();
    let (median, p90) = (percentile(&lengths, 50), percentile(&lengths, 90));
    let long = lengths.iter().filter(|length| **length > LONG_FUNCTION_LINES).count();
    println!(
        "{count} functions: median {median} lines, 90th percentile {p90}, {long} over {LONG_FUNCTION_LINES}"
    );
    assert!(p90 <= FUNCTION_LINES, "the 90th percentile is {p90} lines, the budget {FUNCTION_LINES}");
    assert!(long * 100 <= count * LONG_PERCENT, "{long} of {count} are over {LONG_FUNCTION_LINES} lines");
}

#[test]
fn files_are_short() {
    let source = Source::read();
    let longest = source.files.iter().max_by_key(|file| code_lines(file).count()).unwrap();
    println!(
        "{} files: the longest is {}, {} lines",
        source.files.len(),
        longest.path,
        code_lines(longest).count()
    );
    assert_none(&long_files(&source));
}

#[test]
fn the_library_is_documented() {
    let source = Source::read();
    let rooms: BTreeSet<_> = source.files.iter().filter_map(|file| file.place.first()).collect();
    let shares: Vec<_> =
        rooms.into_iter().map(|room| share(&source, |file| file.place.first() == Some(room), room)).collect();
    let all = share(&source, is_library, "the library");
    println!(
        "documentation: {}, of it {}",
        all.0,
        shares.iter().map(|share| share.0.as_str()).collect::<Vec<_>>().join(", ")
    );
    assert!(all.1 >= DOC_PERCENT, "documentation is {} % of the lines, the budget {DOC_PERCENT} %", all.1);
}

/// Returns whether a file is the library's: the faces explain themselves to their users.
fn is_library(file: &File) -> bool {
    !file.place.first().is_some_and(|room| FACES.contains(&room.as_str()))
}

/// Returns the share of documentation in the chosen files, as a phrase and in percent.
fn share(source: &Source, choose: impl Fn(&File) -> bool, name: &str) -> (String, usize) {
    let (docs, all) = documentation(source.files.iter().filter(|file| choose(file)));
    let percent = docs * 100 / all.max(1);
    (format!("{name} {percent} % of {all} lines"), percent)
}

/// Returns the lengths of all functions, attributes and documentation left out, in order of length.
fn function_lengths(source: &Source) -> Vec<usize> {
    let mut functions = Functions::default();
    for file in &source.files {
        functions.visit_file(&file.syntax);
    }
    functions.lengths.sort_unstable();
    functions.lengths
}

/// Gathers the lengths of functions in lines, from the signature to the closing brace.
#[derive(Default)]
struct Functions {
    lengths: Vec<usize>,
}

impl Functions {
    fn add(&mut self, attributes: &[syn::Attribute], signature: &syn::Signature, block: &syn::Block) -> bool {
        let counted = !is_test(attributes);
        if counted {
            self.lengths.push(lines(block.span()).1 - lines(signature.span()).0 + 1);
        }
        counted
    }
}

impl<'ast> Visit<'ast> for Functions {
    fn visit_item_mod(&mut self, module: &'ast syn::ItemMod) {
        if !is_test(&module.attrs) {
            visit::visit_item_mod(self, module);
        }
    }

    fn visit_item_fn(&mut self, function: &'ast syn::ItemFn) {
        if self.add(&function.attrs, &function.sig, &function.block) {
            visit::visit_item_fn(self, function);
        }
    }

    fn visit_impl_item_fn(&mut self, function: &'ast syn::ImplItemFn) {
        if self.add(&function.attrs, &function.sig, &function.block) {
            visit::visit_impl_item_fn(self, function);
        }
    }

    fn visit_trait_item_fn(&mut self, function: &'ast syn::TraitItemFn) {
        if let Some(block) = &function.default {
            self.add(&function.attrs, &function.sig, block);
        }
    }
}

/// Returns the value that `percent` of the sorted values don't exceed.
fn percentile(sorted: &[usize], percent: usize) -> usize {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied().unwrap_or(0)
}

/// Returns the lines of a file that aren't part of its tests.
fn code_lines(file: &File) -> impl Iterator<Item = &str> {
    let in_test = |line: usize| file.test_lines.iter().any(|(first, last)| (*first..=*last).contains(&line));
    file.text.lines().enumerate().filter(move |(index, _)| !in_test(index + 1)).map(|(_, line)| line)
}

fn long_files(source: &Source) -> Vec<Violation> {
    let long = |file: &File| {
        let count = code_lines(file).count();
        let what = format!("{count} lines, the budget is {FILE_LINES}");
        (count > FILE_LINES).then(|| Violation { file: file.path.clone(), line: 1, what })
    };
    source.files.iter().filter_map(long).collect()
}

/// Returns how many lines are documentation, and how many aren't blank, tests left out.
fn documentation<'a>(files: impl Iterator<Item = &'a File>) -> (usize, usize) {
    let lines = files.flat_map(code_lines).map(str::trim_start).filter(|line| !line.is_empty());
    lines.fold((0, 0), |(docs, all), line| {
        (docs + usize::from(line.starts_with("///") || line.starts_with("//!")), all + 1)
    })
}

#[test]
fn lengths_are_counted_without_tests() {
    let text =
        "/// Doc.\n#[inline]\nfn a(\n) {\n    b()\n}\n#[cfg(test)]\nmod tests {\n    fn c() {\n    }\n}\n";
    let source = Source::parse(&[("src/record.rs", text)]);
    assert_eq!(function_lengths(&source), [4]);
    assert_eq!(documentation(source.files.iter()), (1, 6));
    assert_eq!(code_lines(&source.files[0]).count(), 6);
}

#[test]
fn a_method_and_a_default_are_counted() {
    let text = "impl A { fn a() {\n} }\ntrait B {\n fn b();\n fn c() {\n\n }\n}";
    assert_eq!(function_lengths(&Source::parse(&[("src/record.rs", text)])), [2, 3]);
}

#[test]
fn percentiles_are_of_the_nearest_rank() {
    let values: Vec<_> = (1..=10).collect();
    assert_eq!((percentile(&values, 50), percentile(&values, 90), percentile(&[], 90)), (5, 9, 0));
}

#[test]
fn a_long_file_is_found() {
    let text = "struct A;\n".repeat(501);
    assert_eq!(long_files(&Source::parse(&[("src/record.rs", &text)])).len(), 1);
    let text = format!("#[cfg(test)]\nmod tests {{\n{text}}}\n");
    assert!(long_files(&Source::parse(&[("src/record.rs", &text)])).is_empty());
}
