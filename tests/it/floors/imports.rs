//! Every import goes downwards.

use std::collections::{BTreeMap, BTreeSet};

use super::source::{File, Mention, Place, Source, Target};
use super::{FLOORS, NEIGHBOURS, Violation, assert_none, floor, found};

#[test]
fn imports_go_downwards() {
    assert_none(&upward(&Source::read()));
}

#[test]
fn every_room_has_a_floor() {
    assert_none(&unknown_rooms(&Source::read()));
}

#[test]
fn no_modules_need_each_other() {
    assert_none(&cycles(&Source::read()));
}

#[test]
fn the_architecture_has_the_same_floors() {
    let page = include_str!("../../../ARCHITECTURE.md");
    for (number, rooms) in FLOORS.iter().enumerate() {
        let row = page.lines().find(|line| line.starts_with(&format!("| {number} "))).unwrap();
        let cells: Vec<_> = row.split('|').map(str::trim).collect();
        let listed: Vec<_> = cells[2].split(", ").map(|room| room.trim_matches('`')).collect();
        assert_eq!(listed, *rooms, "{row}");
    }
}

/// Finds what is imported from the same or a higher floor, other than from one's own room.
fn upward(source: &Source) -> Vec<Violation> {
    let mut violations = Vec::new();
    for file in &source.files {
        for mention in &file.mentions {
            let problem = match &mention.target {
                // The root declares the rooms and re-exports from them.
                _ if mention.from.is_empty() && !matches!(mention.target, Target::Root) => None,
                Target::Root => Some("takes the crate root as a whole, past the floors".to_owned()),
                Target::Inside(place) => problem(source, mention, place),
                Target::Outside(_) => None,
            };
            violations.extend(problem.map(|what| violation(file, mention, what)));
        }
    }
    violations
}

fn violation(file: &File, mention: &Mention, what: String) -> Violation {
    Violation { file: file.path.clone(), line: mention.line, what }
}

/// Says what is wrong with mentioning `place`, if anything is.
fn problem(source: &Source, mention: &Mention, place: &Place) -> Option<String> {
    let target = source.resolve(place);
    let (own, room) = (mention.from.first()?, target.first()?);
    let Some(target_floor) = floor(room) else {
        return Some(format!("`{}` is in no room", place.join("::")));
    };
    let own_floor = floor(own)?;
    let is_granted = own == room || NEIGHBOURS.contains(&(own, room));
    (!is_granted && own_floor <= target_floor).then(|| {
        format!("`{own}` (floor {own_floor}) imports `{}` (floor {target_floor})", target.join("::"))
    })
}

/// Finds top-level modules that the table lacks.
fn unknown_rooms(source: &Source) -> Vec<Violation> {
    let mut rooms: BTreeSet<_> = source.modules.iter().filter_map(|place| place.first()).collect();
    rooms.extend(source.files.iter().filter_map(|file| file.place.first()));
    rooms
        .into_iter()
        .filter(|room| floor(room).is_none())
        .map(|room| Violation { file: "src/lib.rs".into(), line: 1, what: format!("`{room}` has no floor") })
        .collect()
}

/// Finds modules with files of their own, side by side in one folder, that need each other.
///
/// Between rooms the floors forbid it already; this holds inside a room too: `format::torch` and
/// `format::safetensors`, say. A module and its own parent may know each other.
fn cycles(source: &Source) -> Vec<Violation> {
    let mut needs: BTreeMap<Place, BTreeSet<Place>> = BTreeMap::new();
    for mention in source.files.iter().flat_map(|file| &file.mentions) {
        let Target::Inside(place) = &mention.target else { continue };
        let target = source.resolve(place);
        let common = mention.from.iter().zip(&target).take_while(|(a, b)| a == b).count();
        let (from, to) = (mention.from.get(..=common), target.get(..=common));
        if let (Some(from), Some(to)) = (from, to)
            && has_folder(source, from)
            && has_folder(source, to)
        {
            needs.entry(from.to_vec()).or_default().insert(to.to_vec());
        }
    }
    let in_cycle = needs.keys().filter(|place| reaches(&needs, place, place));
    let what = |place: &Place| format!("`{}` needs itself through its neighbours", place.join("::"));
    in_cycle.map(|place| Violation { file: place.join("/"), line: 1, what: what(place) }).collect()
}

/// Returns whether a module has modules of its own, that is: a folder.
fn has_folder(source: &Source, place: &[String]) -> bool {
    source.modules.iter().any(|module| module.len() > place.len() && module.starts_with(place))
}

/// Returns whether `to` is needed, directly or not, by what `from` needs.
fn reaches(needs: &BTreeMap<Place, BTreeSet<Place>>, from: &Place, to: &Place) -> bool {
    let mut open: Vec<_> = needs.get(from).into_iter().flatten().collect();
    let mut seen = BTreeSet::new();
    while let Some(place) = open.pop() {
        if place == to {
            return true;
        }
        if seen.insert(place) {
            open.extend(needs.get(place).into_iter().flatten());
        }
    }
    false
}

/// A package whose `record` has the given text, below `validate`.
fn with_record(text: &str) -> Vec<String> {
    let root = "pub mod record; pub mod validate; pub use validate::verify; pub use record::Verdict;";
    let validate = "use crate::Verdict; pub fn verify() -> Verdict { crate::record::Verdict }";
    let files = [("src/lib.rs", root), ("src/record/mod.rs", text), ("src/validate.rs", validate)];
    found(upward, &files)
}

#[test]
fn what_goes_downwards_passes() {
    assert!(
        with_record("mod code; pub use code::Code; pub struct Verdict; use self::code::Other;").is_empty()
    );
    assert!(with_record("use std::fmt; pub(crate) fn f() { other::validate::verify() }").is_empty());
    assert!(with_record("#[cfg(test)] mod tests { use crate::validate::verify; }").is_empty());
    assert!(with_record("#[test] fn f() { crate::verify(); }").is_empty());
    assert!(with_record("//! crate::validate::verify\n/// [`crate::verify`]\nstruct A;").is_empty());
}

#[test]
fn what_goes_upwards_is_found() {
    let up = ["`record` (floor 0) imports `validate::verify` (floor 3)"];
    for text in [
        "use crate::validate::verify;",
        "use crate::verify;",
        "use crate::{record::Code, validate::{verify as v}};",
        "use super::validate::verify;",
        "fn f() { crate::validate::verify() }",
        "fn f() { super::verify() }",
        "fn f() { println!(\"{}\", crate::verify()) }",
        "macro_rules! m { () => { $crate::validate::verify() } }",
        "#[serde(with = \"crate::validate::verify\")] struct A;",
        "mod inner { fn f() { super::super::validate::verify() } }",
        "#[cfg(not(test))] use crate::verify;",
        "impl A { fn f() { crate::verify(); } }",
    ] {
        assert_eq!(with_record(text), up, "{text}");
    }
}

#[test]
fn the_root_under_another_name_is_found() {
    for text in
        ["use crate as root;", "use super::*;", "use crate::{self as root};", "extern crate self as me;"]
    {
        assert_eq!(with_record(text), ["takes the crate root as a whole, past the floors"], "{text}");
    }
}

#[test]
fn a_name_of_no_room_is_found() {
    assert_eq!(with_record("use crate::Loose;"), ["`Loose` is in no room"]);
}

#[test]
fn neighbours_on_one_floor_are_found() {
    let files = [("src/lib.rs", "mod io; mod tensor;"), ("src/tensor.rs", "use crate::io::ReadAt;")];
    assert_eq!(found(upward, &files), ["`tensor` (floor 1) imports `io::ReadAt` (floor 1)"]);
}

#[test]
fn a_granted_neighbour_passes_one_way() {
    let root = ("src/lib.rs", "mod record; mod dtype;");
    assert!(found(upward, &[root, ("src/record.rs", "use crate::dtype::Dtype;")]).is_empty());
    let back = found(upward, &[root, ("src/dtype.rs", "use crate::record::Code;")]);
    assert_eq!(back, ["`dtype` (floor 0) imports `record::Code` (floor 0)"]);
}

#[test]
fn the_command_may_import_everything() {
    let files = [("src/lib.rs", "pub mod cli;"), ("src/main.rs", "fn main() { ckpt::cli::main() }")];
    assert!(found(upward, &files).is_empty());
}

#[test]
fn a_forgotten_room_is_found() {
    let files = [("src/lib.rs", "mod attic; mod record;"), ("src/attic.rs", "")];
    assert_eq!(found(unknown_rooms, &files), ["`attic` has no floor"]);
}

#[test]
fn a_cycle_is_found() {
    let file = |uses: &'static str| {
        [
            ("src/lib.rs", "mod format;"),
            ("src/format/mod.rs", "mod torch; mod zip; pub use torch::Tensor;"),
            ("src/format/torch/mod.rs", "mod a; use crate::format::zip::b::Archive; pub struct Tensor;"),
            ("src/format/zip/mod.rs", "pub mod b;"),
            ("src/format/zip/b.rs", uses),
        ]
    };
    assert!(found(cycles, &file("use super::super::Flaw;")).is_empty());
    let both = [
        "`format::torch` needs itself through its neighbours",
        "`format::zip` needs itself through its neighbours",
    ];
    assert_eq!(found(cycles, &file("use super::super::Tensor;")), both);
}
