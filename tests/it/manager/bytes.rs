//! No byte of a checkpoint can change without being noticed.

use std::fs;

use ckpt::manager::{ResumeOptions, Run, resume};

use super::{STATE, run_of};

#[test]
fn every_changed_byte_of_every_file_leads_to_the_one_before() {
    let (_directory, manager) = run_of(&[100, 200]);
    let run = Run::open(manager.run().directory()).unwrap();
    let newest = run.ids().unwrap()[1];
    let mut tried = 0;
    for name in [STATE, "manifest.json", "notes.txt"] {
        let path = run.path(newest).join(name);
        let bytes = fs::read(&path).unwrap();
        // The padding of a header is long, and one byte of it as good as the next.
        let is_padding = |at: usize| at > 0 && at + 1 < bytes.len() && bytes[at - 1..=at + 1] == *b"   ";
        for at in (0..bytes.len()).filter(|at| !is_padding(*at) || at % 97 == 0) {
            let mut changed = bytes.clone();
            changed[at] ^= 1 << (at % 8);
            fs::write(&path, &changed).unwrap();
            let resumed = resume(&run, &ResumeOptions::default());
            let resumed = resumed.unwrap_or_else(|error| panic!("{name}, byte {at}: {error}")).unwrap();
            assert_eq!((resumed.step(), resumed.skipped.len()), (100, 1), "{name}, byte {at}");
            tried += 1;
        }
        fs::write(&path, &bytes).unwrap();
    }
    assert_eq!(resume(&run, &ResumeOptions::default()).unwrap().unwrap().step(), 200);
    println!("{tried} bytes changed");
}
