//! Any bytes, as the pickle in a sound archive: mutation reaches the pickle reader past all checksums.
#![no_main]

use std::io::{Cursor, Write};

use ckpt::format::torch::{ReadOptions, read};
use libfuzzer_sys::fuzz_target;
use zip::write::{SimpleFileOptions, ZipWriter};
use zip::{CompressionMethod, result::ZipResult};

fuzz_target!(|data: &[u8]| {
    let file = archive(data).expect("an archive in memory can be written");
    let _ = read(&file, &ReadOptions::default());
});

/// Returns an archive as `torch.save` lays it out, with one storage of 64 bytes.
fn archive(pickle: &[u8]) -> ZipResult<Vec<u8>> {
    let options = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, bytes) in
        [("data.pkl", pickle), ("byteorder", b"little"), ("data/0", &[0; 64]), ("version", b"3\n")]
    {
        writer.start_file(format!("archive/{name}"), options)?;
        writer.write_all(bytes)?;
    }
    Ok(writer.finish()?.into_inner())
}
