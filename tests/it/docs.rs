//! The pages for readers say what the source says.

use std::fmt::Write as _;
use std::path::Path;

use ckpt::record::{
    AGGREGATE_SCHEMA, CONVERT_SCHEMA, COPY_SCHEMA, CheckpointStanding, DIFF_SCHEMA, DifferingKind, Evidence,
    FEATURES_SCHEMA, FormatKind, Goal, INFO_SCHEMA, LIST_SCHEMA, MERGE_SCHEMA, MergeOutcome, PRUNE_SCHEMA,
    PruneAction, REPORT_SCHEMA, SALVAGE_SCHEMA, SCRUB_SCHEMA, SEAL_SCHEMA, ScrubEnd, SealOutcome,
};
use ckpt::{Code, Integrity, Level, Verdict};

fn page() -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/report.md")).unwrap()
}

/// The table of codes stands between two comments, so that a reader sees nothing of the check.
#[test]
fn the_page_lists_every_code_with_its_meaning() {
    let page = page();
    let (_, rest) = page.split_once("<!-- codes -->\n").unwrap();
    let (table, _) = rest.split_once("<!-- /codes -->").unwrap();
    let mut expected = "| code | meaning |\n|---|---|\n".to_owned();
    for code in Code::ALL {
        writeln!(expected, "| `{code}` | {} |", code.meaning()).unwrap();
    }
    assert_eq!(table.trim(), expected.trim(), "docs/report.md must have this table:\n{expected}");
}

#[test]
fn the_page_names_every_word_of_the_schema() {
    let page = page();
    let levels = Level::ALL.map(Level::as_str);
    let verdicts = [Verdict::Valid, Verdict::Incompatible, Verdict::Corrupted, Verdict::Unreadable];
    let integrity = [Integrity::None, Integrity::Partial, Integrity::Full];
    let words = levels
        .into_iter()
        .chain(verdicts.map(Verdict::as_str))
        .chain(integrity.map(Integrity::as_str))
        .chain(SealOutcome::ALL.map(SealOutcome::as_str))
        .chain([ScrubEnd::Done, ScrubEnd::Time, ScrubEnd::Bytes, ScrubEnd::Stopped].map(ScrubEnd::as_str))
        .chain(DifferingKind::ALL.map(DifferingKind::as_str))
        .chain(Evidence::ALL.map(Evidence::as_str))
        .chain(CheckpointStanding::ALL.map(CheckpointStanding::as_str))
        .chain(Goal::ALL.map(Goal::as_str))
        .chain(PruneAction::ALL.map(PruneAction::as_str))
        .chain([AGGREGATE_SCHEMA, FEATURES_SCHEMA])
        .chain(MergeOutcome::ALL.map(MergeOutcome::as_str))
        .chain([MERGE_SCHEMA])
        .chain([CONVERT_SCHEMA, DIFF_SCHEMA, SALVAGE_SCHEMA, LIST_SCHEMA, PRUNE_SCHEMA])
        .chain([REPORT_SCHEMA, INFO_SCHEMA, COPY_SCHEMA, SEAL_SCHEMA, SCRUB_SCHEMA, "ckpt.verify/1"]);
    for word in words {
        assert!(page.contains(&format!("`{word}`")) || page.contains(&format!("\"{word}\"")), "{word}");
    }
    for kind in [FormatKind::Safetensors, FormatKind::TorchZip, FormatKind::Directory, FormatKind::Unknown] {
        assert!(page.contains(&format!("`{kind}`")), "{kind}");
    }
}
