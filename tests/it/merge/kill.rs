//! Merges are killed at random moments: every output is whole, or not there; and what goes on ends as if nobody had been
//! killed.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use ckpt::tensor::{TensorView, Value};
use ckpt::{Dtype, Integrity, SaveOptions, State, VerifyOptions, save, verify};

use crate::crash::random::Random;

/// How often.
const KILLS: u64 = 40;
/// How many pairs there are.
const PAIRS: usize = 12;

fn write_input(path: &Path, width: u64, first: usize) {
    let count = 400;
    let ids = (first..first + count).map(|number| Value::from(format!("id-{number}"))).collect();
    let bytes = (0..count as u64 * width)
        .flat_map(|at| f32::from_bits(u32::try_from(at).unwrap()).to_le_bytes())
        .collect::<Vec<u8>>();
    let mut state = State::new();
    state.insert("ids", Value::List(ids)).unwrap();
    state.insert("data", TensorView::new(Dtype::F32, [count as u64, width], bytes).unwrap()).unwrap();
    save(path, &state, &SaveOptions::default().without_validation()).unwrap();
}

fn start(directory: &Path) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ckpt"));
    command.env_clear().current_dir(directory).args(["merge", "a", "b", "-o", "out", "--marker"]);
    command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

/// The outputs that are there, by name. Each must prove itself.
fn outputs(directory: &Path) -> BTreeMap<String, Vec<u8>> {
    let Ok(entries) = fs::read_dir(directory) else { return BTreeMap::new() };
    let mut found = BTreeMap::new();
    for entry in entries {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if path.extension().is_some_and(|extension| extension == "pt") {
            let report = verify(&path, &VerifyOptions::default());
            assert!(report.is_valid() && report.integrity == Integrity::Full, "{name}: {report:?}");
            found.insert(name, fs::read(&path).unwrap());
        }
    }
    found
}

#[test]
fn who_is_killed_leaves_whole_outputs_or_none() {
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let directory = directory.path();
    for part in ["a", "b"] {
        fs::create_dir(directory.join(part)).unwrap();
    }
    for number in 0..PAIRS {
        write_input(&directory.join(format!("a/part_{number}_x.pt")), 96, number);
        write_input(&directory.join(format!("b/part_{number}_y.pt")), 320, 2 * number);
    }
    let began = Instant::now();
    assert!(start(directory).wait().unwrap().success());
    let (whole, expected) = (began.elapsed(), outputs(&directory.join("out")));
    assert_eq!(expected.len(), PAIRS);

    let mut random = Random::new(11);
    let mut in_midst = 0;
    for kill in 0..KILLS {
        if outputs(&directory.join("out")).len() == PAIRS {
            fs::remove_dir_all(directory.join("out")).unwrap();
        }
        let mut child = start(directory);
        thread::sleep(Duration::from_micros(random.below(u64::try_from(whole.as_micros()).unwrap())));
        child.kill().unwrap();
        in_midst += u64::from(!child.wait().unwrap().success());
        for (name, bytes) in outputs(&directory.join("out")) {
            assert!(expected[&name] == bytes, "kill {kill}: {name} is another file");
        }
    }
    println!("killed {KILLS} times, {in_midst} of them in the midst of it");
    assert!(in_midst * 4 > KILLS, "too few kills hit a merge: {in_midst}");

    // What goes on ends as if nobody had been killed, and leaves nothing but its outputs and their markers.
    assert!(start(directory).wait().unwrap().success());
    assert!(outputs(&directory.join("out")) == expected);
    let mut names: Vec<_> = expected.keys().flat_map(|name| [name.clone(), format!("{name}.done")]).collect();
    names.sort();
    let entries = fs::read_dir(directory.join("out")).unwrap();
    let mut there: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    there.sort();
    assert_eq!(there, names);
}
