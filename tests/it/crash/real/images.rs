//! The power goes on a real file system: what its device holds is copied, and the copy mounted.

use std::process::Command;
use std::thread;
use std::time::Duration;

use super::super::random::Random;
use super::kill::{assert_whole, leftovers};
use super::mount::{Kind, Mount, run};
use super::writer::{self, Writer};

/// How often the power goes during the saves on each file system, and how often right after one.
const DURING: usize = 12;
const AFTER: u64 = 4;

/// Lets the power go right after a save returned.
fn after_saves(mount: &Mount) -> u64 {
    let path = mount.path().join(writer::name());
    for generation in 0..AFTER {
        writer::save(&path, generation).unwrap();
        let copy = mount.after_power_loss();
        let path = copy.path().join(writer::name());
        assert_whole(&path, [generation; 2], "right after the save");
        assert_eq!(leftovers(&copy.path()), [""; 0]);
    }
    AFTER
}

/// Lets the power go while a process saves. The process is stopped meanwhile, so that the copy is of one
/// moment.
fn during_saves(mount: &Mount, random: &mut Random) -> usize {
    let path = mount.path().join(writer::name());
    let (mut there, mut next, mut in_midst) = (AFTER - 1, AFTER, 0);
    for cut in 0..DURING {
        let mut writer = Writer::start(&path, next, u64::MAX);
        assert!(writer.wait_for_begin());
        thread::sleep(Duration::from_micros(random.below(60_000)));
        run(Command::new("kill").args(["-STOP", &writer.id().to_string()])).unwrap();
        let copy = mount.after_power_loss();
        let progress = writer.kill();
        let what = format!("cut {cut}, {progress:?}");
        assert_eq!(progress.error, None, "{what}");
        let began = progress.began.expect("it was waited for");
        let allowed = [progress.saved.unwrap_or(there), began];
        let copied = copy.path().join(writer::name());
        assert_whole(&copied, allowed, &what);
        there = assert_whole(&path, allowed, &what);
        next = began + 1;
        in_midst += usize::from(progress.is_in_midst());
        writer::save(&copied, next).unwrap();
        assert_eq!(leftovers(&copy.path()), [""; 0], "{what}: left by a save after the power came back");
    }
    in_midst
}

#[test]
fn a_file_system_whose_power_goes_has_the_old_file_or_the_new() {
    let mut random = Random::new(11);
    for kind in Kind::ALL {
        match Mount::new(&kind) {
            Ok(mount) => {
                let after = after_saves(&mount);
                let in_midst = during_saves(&mount, &mut random);
                println!(
                    "{}: {after} cuts after a save, {DURING} during saves, {in_midst} in the midst of one",
                    kind.name
                );
            }
            Err(reason) => println!("{} left out: {reason}", kind.name),
        }
    }
}
