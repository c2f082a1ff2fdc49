//! Which rows come together, and what is said of those that don't.

use ckpt::features::merge::{MergeOptions, Pair, Unmatched, merge, merge_all, pairs_in};
use ckpt::record::MergeOutcome;
use ckpt::tensor::{TensorView, Value};
use ckpt::{Code, Dtype, ErrorKind};

use super::{Output, Place, ids, matrix, read, usual, usual_output};

#[test]
fn the_output_has_what_both_have_in_the_first_ones_order() {
    let place = Place::new();
    usual(&place);
    let merged = place.merge(&MergeOptions::default()).unwrap();
    assert_eq!(merged.outcome, MergeOutcome::Merged);
    assert_eq!((merged.rows, merged.width, merged.width_a, merged.width_b), (2, 3, 2, 1));
    assert_eq!((merged.only_in_a, merged.only_in_b), (vec!["y".to_owned()], vec!["w".to_owned()]));
    assert_eq!(read(&place.at("out.pt")), usual_output());
}

#[test]
fn unmatched_ids_are_refused_where_that_is_asked_for() {
    let place = Place::new();
    usual(&place);
    let refuse = MergeOptions::default().with_unmatched(Unmatched::Refuse);
    let error = place.merge(&refuse).unwrap_err();
    assert_eq!((error.kind(), error.finding().unwrap().code), (ErrorKind::Incompatible, Code::KeyUnexpected));
    assert!(error.to_string().contains("'y'"), "{error}");
    assert!(!place.at("out.pt").exists());
    // An output that left ids out isn't what is asked for now.
    place.merge(&MergeOptions::default()).unwrap();
    place.merge(&refuse).unwrap_err();
    // Only the second file has more.
    place.save("a.pt", &[("ids", ids(&["z"])), ("data", matrix(&[&[1.0, 2.0]]))]);
    let error = place.merge(&refuse).unwrap_err();
    assert_eq!(error.path(), Some(&*place.at("b.pt")), "{error}");
    place.save("b.pt", &[("ids", ids(&["z"])), ("data", matrix(&[&[1.0]]))]);
    assert_eq!(place.merge(&refuse).unwrap().rows, 1);
}

#[test]
fn nothing_in_common_is_a_tensor_without_rows() {
    let place = Place::new();
    usual(&place);
    place.save("b.pt", &[("ids", ids(&["q"])), ("data", matrix(&[&[7.0]]))]);
    let merged = place.merge(&MergeOptions::default()).unwrap();
    assert_eq!((merged.rows, merged.width, merged.only_in_a.len()), (0, 3, 3));
    assert_eq!(read(&place.at("out.pt")), Output { ids: vec![], shape: vec![0, 3], data: vec![] });
    // It is found again, as any other.
    assert_eq!(place.merge(&MergeOptions::default()).unwrap().outcome, MergeOutcome::Skipped);
}

#[test]
fn files_without_rows_merge_too() {
    let place = Place::new();
    usual(&place);
    place.save("b.pt", &[("ids", Value::List(vec![])), ("data", Value::List(vec![]))]);
    let merged = place.merge(&MergeOptions::default()).unwrap();
    assert_eq!((merged.rows, merged.width, merged.width_b), (0, 2, 0));
    place.save("a.pt", &[("ids", Value::List(vec![])), ("data", Value::List(vec![]))]);
    let merged = place.merge(&MergeOptions::default()).unwrap();
    assert_eq!((merged.rows, merged.width, merged.dtype), (0, 0, Dtype::F32));
}

#[test]
fn of_an_id_that_is_there_twice_the_last_row_counts_at_the_first_place() {
    let place = Place::new();
    let rows: [&[f32]; 4] = [&[1.0], &[2.0], &[3.0], &[4.0]];
    place.save("a.pt", &[("ids", ids(&["x", "y", "x", "x"])), ("data", matrix(&rows))]);
    place.save("b.pt", &[("ids", ids(&["y", "y", "x", "q"])), ("data", matrix(&rows))]);
    let merged = place.merge(&MergeOptions::default()).unwrap();
    assert_eq!(
        (merged.duplicates_in_a, merged.duplicates_in_b),
        (vec!["x".to_owned()], vec!["y".to_owned()])
    );
    let output = read(&place.at("out.pt"));
    assert_eq!((output.ids, output.data), (vec!["x".into(), "y".into()], vec![4.0, 3.0, 2.0, 2.0]));
}

#[test]
fn rows_of_two_dtypes_are_refused() {
    let place = Place::new();
    usual(&place);
    let half = TensorView::new(Dtype::F16, [1, 2], vec![0; 4]).unwrap();
    place.save("b.pt", &[("ids", ids(&["x"])), ("data", half.into())]);
    let error = place.merge(&MergeOptions::default()).unwrap_err();
    assert_eq!(
        (error.finding().unwrap().code, error.path()),
        (Code::DtypeMismatch, Some(&*place.at("b.pt")))
    );
}

#[test]
fn one_bad_pair_of_many_stops_no_other() {
    let place = Place::new();
    usual(&place);
    std::fs::write(place.at("bad.pt"), b"PK").unwrap();
    let out = |number: usize| place.at(&format!("out-{number}.pt"));
    let mut pairs: Vec<_> =
        (0..7).map(|number| Pair::new(place.at("a.pt"), place.at("b.pt"), out(number))).collect();
    pairs[3].b = place.at("bad.pt");
    pairs[5].out = out(1);
    let heard = std::sync::Mutex::new(Vec::new());
    let options = MergeOptions::default().with_threads(3);
    let results =
        merge_all(&pairs, &options, &|number, result| heard.lock().unwrap().push((number, result.is_ok())));
    let good: Vec<_> = results.iter().map(Result::is_ok).collect();
    assert_eq!(good, [true, true, true, false, true, false, true]);
    assert_eq!(results[3].as_ref().unwrap_err().path(), Some(&*place.at("bad.pt")));
    assert_eq!(results[5].as_ref().unwrap_err().kind(), ErrorKind::Usage);
    let mut heard = heard.into_inner().unwrap();
    heard.sort_unstable();
    assert_eq!(heard, good.into_iter().enumerate().collect::<Vec<_>>());
    for number in [0, 1, 2, 4, 6] {
        assert_eq!(read(&out(number)), usual_output());
    }
    assert!(!out(3).exists());
    assert!(merge_all(&[], &options, &|_, _| {}).is_empty());
}

#[test]
fn directories_are_paired_by_name() {
    let place = Place::new();
    usual(&place);
    let files = [
        ("a/output_1_DNABERT_S.pt", "a.pt"),
        ("a/output_10_DNABERT_S.pt", "a.pt"),
        ("a/output_2_DNABERT_S.pt", "a.pt"),
        ("a/twice_1_x.pt", "a.pt"),
        ("a/notes.txt", "a.pt"),
        ("b/output_1_ESM.pt", "b.pt"),
        ("b/output_10_ESM.pt", "b.pt"),
        ("b/twice_1_x.pt", "b.pt"),
        ("b/twice_1_y.pt", "b.pt"),
    ];
    std::fs::create_dir_all(place.at("a/output_3_x.pt")).unwrap();
    std::fs::create_dir_all(place.at("b")).unwrap();
    for (file, from) in files {
        std::fs::copy(place.at(from), place.at(file)).unwrap();
    }
    let options = MergeOptions::default();
    let found = pairs_in(&place.at("a"), &place.at("b"), &place.at("b"), &options).unwrap();
    let outs: Vec<_> = found.pairs.iter().map(|pair| pair.out.clone()).collect();
    assert_eq!(outs, [place.at("b/output_1_merged.pt"), place.at("b/output_10_merged.pt")]);
    let alone = ["a/output_2_DNABERT_S.pt", "a/twice_1_x.pt", "b/twice_1_x.pt", "b/twice_1_y.pt"];
    assert_eq!(found.unpaired, alone.map(|file| place.at(file)));
    assert!(merge_all(&found.pairs, &options, &|_, _| {}).iter().all(Result::is_ok));
    // Outputs beside inputs are no inputs.
    assert_eq!(pairs_in(&place.at("a"), &place.at("b"), &place.at("b"), &options).unwrap(), found);
    assert!(pairs_in(&place.at("a"), &place.at("a"), &place.at("b"), &options).is_err());
    assert!(pairs_in(&place.at("a"), &place.at("gone"), &place.at("b"), &options).is_err());
}

#[test]
fn larger_tables_come_together_row_by_row() {
    let place = Place::new();
    // More than one window of the writer, and rows that lie across its ends.
    let (count, wide, narrow) = (3_001_u32, 501_u32, 100_u32);
    let element = |row: u32, at: u32| f32::from_bits((row * 1000 + at) % 0x7f00_0000);
    let table = |width: u32, order: &dyn Fn(u32) -> u32| {
        let names: Vec<String> = (0..count).map(|place| format!("id-{}", order(place))).collect();
        let names = Value::List(names.into_iter().map(Value::from).collect());
        let bytes = (0..count)
            .flat_map(|place| (0..width).flat_map(move |at| element(order(place), at).to_le_bytes()));
        let rows =
            TensorView::new(Dtype::F32, [u64::from(count), u64::from(width)], bytes.collect::<Vec<u8>>());
        [("ids", names), ("data", rows.unwrap().into())]
    };
    place.save("a.pt", &table(wide, &|place| place));
    place.save("b.pt", &table(narrow, &|place| (place * 7) % count));
    for eager_bytes in [u64::MAX, 0] {
        let mut options = MergeOptions::default().redo();
        options.table.eager_bytes = Some(eager_bytes);
        let merged = merge(&place.at("a.pt"), &place.at("b.pt"), &place.at("out.pt"), &options).unwrap();
        assert_eq!(merged.rows, u64::from(count));
        let output = read(&place.at("out.pt"));
        let row = |row| (0..wide).chain(0..narrow).map(move |at| element(row, at));
        assert!((0..count).flat_map(row).eq(output.data), "{eager_bytes}");
    }
}
