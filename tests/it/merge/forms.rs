//! Whatever form an input has, its rows are the same.

use ckpt::features::merge::{MergeOptions, merge};
use ckpt::features::table::{Table, TableOptions};
use ckpt::tensor::{TensorView, Value};
use ckpt::{Dtype, ErrorKind};

use super::{Place, float32, floats, ids, mapped, matrix, read, vector};

const ROWS: [&[f32]; 3] = [&[0.5, -1.0, 3.25], &[1e-3, 1e30, -0.0], &[7.0, 8.0, f32::MIN_POSITIVE]];
const IDS: [&str; 3] = ["x", "y", "z"];

fn each(make: impl Fn(usize, &[f32]) -> Value<'static>) -> Value<'static> {
    Value::List(ROWS.iter().enumerate().map(|(number, row)| make(number, row)).collect())
}

/// The forms of one table, by name.
fn forms() -> Vec<(&'static str, Vec<(&'static str, Value<'static>)>)> {
    vec![
        ("tensor", vec![("ids", ids(&IDS)), ("data", matrix(&ROWS))]),
        ("tensors", vec![("proteins", ids(&IDS)), ("data", each(|_, row| vector(row)))]),
        ("lists", vec![("nucleotide", ids(&IDS)), ("data", each(|_, row| floats(row)))]),
        (
            "maps of lists",
            vec![("nucleotide", ids(&IDS)), ("data", each(|n, row| mapped(IDS[n], floats(row))))],
        ),
        ("maps of tensors", vec![("ids", ids(&IDS)), ("data", each(|n, row| mapped(IDS[n], vector(row))))]),
        ("other names", vec![("seen", 3.into()), ("names", ids(&IDS)), ("embeddings", matrix(&ROWS))]),
        ("a tuple", vec![("ids", Value::Tuple(IDS.map(Value::from).to_vec())), ("data", matrix(&ROWS))]),
    ]
}

fn rows_of(table: &Table) -> Vec<Vec<u8>> {
    let row = |place| {
        let mut row = vec![0; table.row_bytes()];
        table.read_row(place, &mut row).unwrap();
        row
    };
    (0..table.len()).map(row).collect()
}

#[test]
fn every_form_has_the_same_rows() {
    let place = Place::new();
    let expected: Vec<Vec<u8>> = ROWS.iter().map(|row| float32(row)).collect();
    for (name, form) in forms() {
        for file in ["a.pt", "a.safetensors"] {
            let path = place.save(file, &form);
            // In memory, and read piece by piece.
            for eager_bytes in [u64::MAX, 0] {
                let what = format!("{name}, {file}, {eager_bytes}");
                let options = TableOptions::default().with_eager_bytes(eager_bytes);
                let table = Table::open(&path, &options).unwrap_or_else(|error| panic!("{what}: {error}"));
                assert_eq!((table.width(), table.dtype()), (3, Some(Dtype::F32)), "{what}");
                assert_eq!(table.ids().collect::<Vec<_>>(), IDS, "{what}");
                assert_eq!(rows_of(&table), expected, "{what}");
                table.check_unchanged().unwrap();
            }
        }
    }
}

#[test]
fn every_form_merges_with_every_other() {
    let place = Place::new();
    for (name, form) in forms() {
        let a = place.save("a.pt", &form);
        for (other, form) in forms() {
            let b = place.save("b.safetensors", &form);
            let out = place.at("out.safetensors");
            let merged = merge(&a, &b, &out, &MergeOptions::default().redo()).unwrap();
            assert_eq!((merged.rows, merged.width_a, merged.width_b), (3, 3, 3), "{name}, {other}");
            let expected: Vec<f32> = ROWS.iter().flat_map(|row| [*row, *row].concat()).collect();
            assert_eq!(read(&out).data, expected, "{name}, {other}");
        }
    }
}

#[test]
fn a_plain_safetensors_file_has_its_ids_in_its_metadata() {
    let place = Place::new();
    let file = |metadata: &str| {
        let header = format!(
            r#"{{"__metadata__":{metadata},"data":{{"dtype":"F32","shape":[2,1],"data_offsets":[0,8]}}}}"#
        );
        [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &float32(&[1.0, 2.0])].concat()
    };
    let path = place.at("a.safetensors");
    std::fs::write(&path, file(r#"{"ids":"[\"x\",\"y\"]","note":"[]"}"#)).unwrap();
    let table = Table::open(&path, &TableOptions::default()).unwrap();
    assert_eq!(table.ids().collect::<Vec<_>>(), ["x", "y"]);
    for (metadata, kind) in [
        (r#"{"ids":"[1,2]"}"#, ErrorKind::Incompatible),
        (r#"{"ids":"[\"x\"]"}"#, ErrorKind::Incompatible),
        (r#"{"ids":"no"}"#, ErrorKind::Incompatible),
        (r#"{"note":"[\"x\",\"y\"]"}"#, ErrorKind::Incompatible),
        (r#"{"ids":"[\"x\",\"y\"]","proteins":"[\"x\",\"y\"]"}"#, ErrorKind::Usage),
    ] {
        std::fs::write(&path, file(metadata)).unwrap();
        let error = Table::open(&path, &TableOptions::default()).unwrap_err();
        assert_eq!((error.kind(), error.path()), (kind, Some(&*path)), "{metadata}: {error}");
    }
    std::fs::write(&path, file(r#"{"note":"[\"x\",\"y\"]"}"#)).unwrap();
    let table = Table::open(&path, &TableOptions::default().with_ids_key("note")).unwrap();
    assert_eq!(table.id(1), Some("y"));
}

#[test]
fn what_could_be_two_things_has_to_be_named() {
    let place = Place::new();
    let two_ids = vec![("ids", ids(&IDS)), ("proteins", ids(&["a", "b", "c"])), ("data", matrix(&ROWS))];
    let two_data = vec![("ids", ids(&IDS)), ("mean", matrix(&ROWS)), ("last", matrix(&ROWS))];
    let row =
        |_: usize, row: &[f32]| Value::Map(vec![("mean".into(), floats(row)), ("last".into(), vector(row))]);
    let two_values = vec![("ids", ids(&IDS)), ("data", each(row))];
    for (table, option, named) in [
        (two_ids, "--ids-key", TableOptions::default().with_ids_key("proteins")),
        (two_data, "--data-key", TableOptions::default().with_data_key("last")),
        (two_values, "--value-key", TableOptions::default().with_value_key("last")),
    ] {
        let path = place.save("a.pt", &table);
        let error = Table::open(&path, &TableOptions::default()).unwrap_err();
        assert_eq!((error.kind(), error.path()), (ErrorKind::Usage, Some(&*path)));
        assert!(error.to_string().contains(option), "{error}");
        assert_eq!(Table::open(&path, &named).unwrap().len(), 3, "{option}");
    }
}

#[test]
fn a_key_that_is_named_and_not_there_is_refused() {
    let place = Place::new();
    let path = place.save("a.pt", &[("ids", ids(&IDS)), ("data", matrix(&ROWS))]);
    for options in
        [TableOptions::default().with_ids_key("proteins"), TableOptions::default().with_data_key("rows")]
    {
        let error = Table::open(&path, &options).unwrap_err();
        assert_eq!(error.finding().unwrap().code, ckpt::Code::KeyMissing, "{error}");
    }
    // Of several, each file must have one.
    let options = TableOptions::default().with_ids_key("proteins").with_ids_key("ids");
    assert_eq!(Table::open(&path, &options).unwrap().len(), 3);
}

#[test]
fn what_is_no_table_is_refused_with_the_reason() {
    let place = Place::new();
    let two = |first, second| Value::List(vec![first, second]);
    let wide = TensorView::new(Dtype::F64, [1], vec![0; 8]).unwrap();
    for (what, table, said) in [
        ("fewer rows", vec![("ids", ids(&IDS)), ("data", matrix(&ROWS[..2]))], "3 ids, and 2 rows"),
        ("no rows", vec![("ids", ids(&IDS)), ("step", 3.into())], "the rows"),
        ("no ids", vec![("data", matrix(&ROWS))], "the ids"),
        (
            "numbers for ids",
            vec![("ids", two(1.into(), 2.into())), ("data", matrix(&ROWS[..2]))],
            "id 0 is no text",
        ),
        ("a text for ids", vec![("ids", "xy".into()), ("data", matrix(&ROWS[..2]))], "the ids are no list"),
        ("one dimension", vec![("ids", ids(&IDS)), ("data", vector(ROWS[0]))], "[3]"),
        (
            "lengths",
            vec![("ids", ids(&IDS[..2])), ("data", two(floats(&[1.0]), floats(&[1.0, 2.0])))],
            "2 elements",
        ),
        ("dtypes", vec![("ids", ids(&IDS[..2])), ("data", two(vector(&[1.0]), wide.into()))], "f64"),
        ("matrices", vec![("ids", ids(&IDS[..1])), ("data", Value::List(vec![matrix(&ROWS)]))], "[3, 3]"),
        (
            "integers",
            vec![("ids", ids(&IDS[..1])), ("data", Value::List(vec![two(1.into(), 2.into())]))],
            "list",
        ),
        ("texts", vec![("ids", ids(&IDS[..1])), ("data", ids(&["x"]))], "str"),
        (
            "a map's gap",
            vec![("ids", ids(&IDS[..2])), ("data", two(mapped("x", floats(&[1.0])), Value::Map(vec![])))],
            "mean_representation",
        ),
    ] {
        let path = place.save("a.pt", &table);
        let error = Table::open(&path, &TableOptions::default()).unwrap_err();
        assert_eq!((error.kind(), error.path()), (ErrorKind::Incompatible, Some(&*path)), "{what}: {error}");
        assert!(error.to_string().contains(said), "{what}: {error}");
    }
}
