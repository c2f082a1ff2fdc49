//! Damaged and hostile inputs: refused with their path, or read as what they are; never a panic, never an output of them.

use std::fs;
use std::io::Cursor;
use std::path::Path;

use ckpt::features::merge::{MergeOptions, merge};
use ckpt::features::table::{Table, TableOptions};
use ckpt::tensor::Value;
use ckpt::{ErrorKind, Verdict};

use super::{Place, floats, ids, mapped, matrix, read, usual, usual_output, vector};

#[test]
fn a_damaged_input_is_named_and_leaves_the_output_as_it_was() {
    let place = Place::new();
    usual(&place);
    place.merge(&MergeOptions::default()).unwrap();
    let good = fs::read(place.at("b.pt")).unwrap();
    // In the rows, whose bytes only the checksums know.
    let at = good.windows(4).position(|bytes| bytes == 8_f32.to_le_bytes()).unwrap();
    let mut bytes = good;
    bytes[at] ^= 1;
    fs::write(place.at("b.pt"), &bytes).unwrap();
    for eager_bytes in [u64::MAX, 0] {
        let mut options = MergeOptions::default().redo();
        options.table.eager_bytes = Some(eager_bytes);
        let error = place.merge(&options).unwrap_err();
        assert_eq!((error.kind(), error.path()), (ErrorKind::Corrupted, Some(&*place.at("b.pt"))), "{error}");
        assert_eq!(error.finding().unwrap().verdict, Verdict::Corrupted);
        assert_eq!(read(&place.at("out.pt")), usual_output());
    }
    fs::remove_file(place.at("b.pt")).unwrap();
    let error = place.merge(&MergeOptions::default()).unwrap_err();
    assert_eq!((error.kind(), error.path()), (ErrorKind::Io, Some(&*place.at("b.pt"))));
}

/// Packs an archive anew, its records deflated and without its proof; one byte of the rows is another where that is wanted.
fn deflated(bytes: &[u8], is_damaged: bool) -> Vec<u8> {
    let mut archive = zip::ZipArchive::new(Cursor::new(bytes)).unwrap();
    let mut packed = zip::ZipWriter::new(Cursor::new(Vec::new()));
    let options =
        zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Deflated);
    for number in 0..archive.len() {
        let mut entry = archive.by_index(number).unwrap();
        let name = entry.name().unwrap().into_owned();
        if !name.contains("/ckpt/") {
            packed.start_file(name, options).unwrap();
            std::io::copy(&mut entry, &mut packed).unwrap();
        }
    }
    let mut bytes = packed.finish().unwrap().into_inner();
    let mut archive = zip::ZipArchive::new(Cursor::new(&bytes)).unwrap();
    let rows = (0..archive.len()).find_map(|number| {
        let entry = archive.by_index_raw(number).unwrap();
        entry
            .name()
            .unwrap()
            .ends_with("/data/0")
            .then(|| entry.data_start().unwrap() + entry.compressed_size() / 2)
    });
    if is_damaged {
        bytes[usize::try_from(rows.unwrap()).unwrap()] ^= 1;
    }
    bytes
}

#[test]
fn a_deflated_input_is_checked_however_it_is_read() {
    let place = Place::new();
    usual(&place);
    let good = fs::read(place.at("b.pt")).unwrap();
    for eager_bytes in [u64::MAX, 0] {
        let mut options = MergeOptions::default().redo();
        options.table.eager_bytes = Some(eager_bytes);
        fs::write(place.at("b.pt"), deflated(&good, false)).unwrap();
        place.merge(&options).unwrap();
        assert_eq!(read(&place.at("out.pt")), usual_output());
        fs::write(place.at("b.pt"), deflated(&good, true)).unwrap();
        let error = place.merge(&options).unwrap_err();
        assert_eq!((error.kind(), error.path()), (ErrorKind::Corrupted, Some(&*place.at("b.pt"))), "{error}");
    }
}

/// Opens a file in both ways, and reads all of it that it has.
fn survives(path: &Path) -> [Result<usize, ckpt::Error>; 2] {
    [u64::MAX, 0].map(|eager_bytes| {
        let table = Table::open(path, &TableOptions::default().with_eager_bytes(eager_bytes))?;
        let mut row = vec![0; table.row_bytes()];
        (0..table.len()).try_for_each(|place| table.read_row(place, &mut row))?;
        assert_eq!(table.ids().count(), table.len());
        Ok(table.len())
    })
}

#[test]
fn cut_and_flipped_files_are_refused_without_a_panic() {
    let place = Place::new();
    let rows: [&[f32]; 2] = [&[1.0, 2.0, 3.0], &[4.0, 5.0, 6.0]];
    let each =
        |make: &dyn Fn(&[f32]) -> Value<'static>| Value::List(rows.iter().map(|row| make(row)).collect());
    let tables = [
        ("ids", matrix(&rows)),
        ("proteins", each(&|row| vector(row))),
        ("nucleotide", each(&|row| mapped("x", floats(row)))),
        ("ids", each(&|row| floats(row))),
    ];
    let path = place.at("a.pt");
    for (key, data) in tables {
        place.save("a.pt", &[(key, ids(&["x", "y"])), ("data", data)]);
        let good = fs::read(&path).unwrap();
        for at in (0..good.len()).step_by(3) {
            fs::write(&path, &good[..at]).unwrap();
            assert!(survives(&path).iter().all(Result::is_err), "length {at}");
            let mut bytes = good.clone();
            bytes[at] ^= 1 << (at % 8);
            fs::write(&path, &bytes).unwrap();
            // Every byte of such a file is proven.
            let errors = survives(&path).map(|result| result.expect_err(&format!("byte {at}")));
            assert!(errors.iter().all(|error| error.path() == Some(&*path)), "byte {at}: {errors:?}");
        }
    }
}

/// A pickle in an archive whose checksums are right, whatever it says.
fn archive(path: &Path, pickle: &[u8]) {
    use std::io::Write as _;
    let mut writer = zip::ZipWriter::new(fs::File::create(path).unwrap());
    let options = zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    for (name, bytes) in
        [("archive/data.pkl", pickle), ("archive/version", b"3\n"), ("archive/data/0", &[7; 64])]
    {
        writer.start_file(name, options).unwrap();
        writer.write_all(bytes).unwrap();
    }
    writer.finish().unwrap();
}

/// `{"ids": IDS, "data": DATA}`.
fn pickled(ids: &[u8], data: &[u8]) -> Vec<u8> {
    [b"\x80\x02}(X\x03\0\0\0ids", ids, b"X\x04\0\0\0data", data, b"u."].concat()
}

/// A float32 tensor in the storage, with this offset, shape and strides (each as opcodes).
fn tensor(offset: &str, shape: &str, strides: &str) -> Vec<u8> {
    let text = format!(
        "ctorch._utils\n_rebuild_tensor_v2\n((X\x07\0\0\0storagectorch\nFloatStorage\nX\x01\0\0\x000X\x03\0\0\0cpuK\x10tQ\
         {offset}{shape}{strides}\u{1f}ccollections\nOrderedDict\n)RtR"
    );
    // `NEWFALSE` is no character of its own in UTF-8.
    text.into_bytes().into_iter().map(|byte| if byte == 0x1f { 0x89 } else { byte }).collect()
}

#[test]
fn what_a_pickle_claims_is_held_against_what_is_there() {
    let place = Place::new();
    let path = place.at("a.pt");
    let two = b"](X\x01\0\0\0xX\x01\0\0\0ye";
    let mut opened = 0;
    for (offset, shape, strides) in [
        ("K\0", "(K\x02K\x04t", "(K\x04K\x01t"),
        ("K\x08", "(K\x02K\x04t", "(K\x04K\x01t"),
        ("K\x09", "(K\x02K\x04t", "(K\x04K\x01t"),
        ("K\0", "(K\x02K\x04t", "(K\x01K\x04t"),
        ("K\0", "(K\x02K\x04t", "(K\0K\0t"),
        ("K\0", "(K\x02J\0\0\0\x40t", "(K\0K\0t"),
        ("K\0", "(K\x02J\0\0\0\x40t", "(J\0\0\0\x40K\x01t"),
        ("K\0", "(K\x02K\0t", "(K\x04K\x01t"),
        ("J\0\0\0\x7f", "(K\x02K\x04t", "(K\x04K\x01t"),
        ("K\0", "(K\x02K\x04t", "(J\0\0\0\x7fK\x01t"),
    ] {
        archive(&path, &pickled(two, &tensor(offset, shape, strides)));
        let results = survives(&path);
        opened += results.iter().filter(|result| result.is_ok()).count();
        let out = place.at("out.pt");
        // Whatever opens merges with itself, or is refused.
        if let Err(error) = merge(&path, &path, &out, &MergeOptions::default()) {
            assert!(!out.exists() || error.kind() != ErrorKind::Io, "{error}");
        }
        drop(fs::remove_file(out));
    }
    assert!(opened >= 6, "{opened}");
}

#[test]
fn pickles_of_chance_end_in_an_error_or_a_table() {
    let place = Place::new();
    let path = place.at("a.pt");
    let float = |value: f64| [b"G", &value.to_be_bytes()[..]].concat();
    let row = |values: &[f64]| {
        let values: Vec<u8> = values.iter().flat_map(|value| float(*value)).collect();
        [b"](", values.as_slice(), b"e"].concat()
    };
    let rows = [b"](", row(&[1.0, 2.0]).as_slice(), &row(&[3.0, 4.0]), b"e"].concat();
    let good = pickled(b"](X\x01\0\0\0xX\x01\0\0\0ye", &rows);
    archive(&path, &good);
    assert!(survives(&path).iter().all(|result| matches!(result, Ok(2))));
    for at in 0..good.len() {
        for change in [0x01, 0x08, 0x20, 0x80, 0xff] {
            let mut bytes = good.clone();
            bytes[at] ^= change;
            archive(&path, &bytes);
            let [eager, streamed] = survives(&path).map(Result::ok);
            assert_eq!(eager, streamed, "byte {at}, {change}");
        }
    }
}
