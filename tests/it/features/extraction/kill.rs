//! Ranks as processes of their own, killed at random moments.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use ckpt::features::extraction::manifest;
use ckpt::io::commit::is_temporary;

use super::{aggregated, assert_all, extract, ids, open, options, push_all};

/// How often a worker is hit while it is at work.
const HITS: usize = 40;

/// How many ids there are: enough that no run finishes before it is killed a few times.
const IDS: usize = 400;

/// The environment variables that say where a worker works, and as which rank.
const DIRECTORY: &str = "CKPT_TEST_EXTRACTION";
const RANK: &str = "CKPT_TEST_RANK";
const WORLD: &str = "CKPT_TEST_WORLD";

/// A generator that needs no more than to be the same each time.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

/// A running worker.
struct Running {
    child: Child,
    lines: BufReader<std::process::ChildStdout>,
}

impl Running {
    fn start(directory: &Path, rank: u32, world: u32) -> Self {
        let test = "features::extraction::kill::works_until_it_is_killed";
        let mut command = Command::new(std::env::current_exe().unwrap());
        command
            .args([test, "--exact", "--ignored", "--nocapture"])
            .env(DIRECTORY, directory)
            .env(RANK, rank.to_string())
            .env(WORLD, world.to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        Self { child, lines }
    }

    /// Waits until it writes.
    fn wait_for_begin(&mut self) {
        let mut line = String::new();
        while !line.contains("begins") {
            line.clear();
            assert_ne!(self.lines.read_line(&mut line).unwrap(), 0, "the worker doesn't begin");
        }
    }

    /// Waits for its end, and returns whether it came to it.
    fn end(mut self) -> bool {
        let mut rest = String::new();
        self.lines.read_to_string(&mut rest).unwrap();
        self.child.wait().unwrap();
        rest.contains("finished")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Starts so many ranks at once, and kills one after the other within the time that the whole work takes. Returns how
/// many were hit before their end.
fn kill_all(directory: &Path, world: u32, work: Duration, random: &mut Random) -> usize {
    let longest = u64::try_from(work.as_micros()).unwrap() / u64::from(world);
    let mut running: Vec<_> = (0..world).map(|rank| Running::start(directory, rank, world)).collect();
    running.iter_mut().for_each(Running::wait_for_begin);
    let mut hit = 0;
    for mut worker in running {
        thread::sleep(Duration::from_micros(random.below(longest)));
        worker.child.kill().unwrap();
        hit += usize::from(!worker.end());
    }
    hit
}

#[test]
fn killed_ranks_lose_nothing_that_was_saved() {
    let whole = tempfile::tempdir().unwrap();
    let ids = ids(IDS);
    let began = Instant::now();
    extract(whole.path(), (0, 1), &ids, options());
    let work = began.elapsed();
    let expected = aggregated(whole.path(), &ids);
    let (mut random, mut kills, mut hits, mut ends) = (Random(0x5eed_0000_0000_0007), 0, 0, 0);
    while hits < HITS {
        let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        open(directory.path(), (0, 1), &ids, options());
        loop {
            let world = 1 + u32::try_from(random.below(4)).unwrap();
            hits += kill_all(directory.path(), world, work, &mut random);
            kills += world as usize;
            let left = assert_all(directory.path(), &ids);
            assert!(left.set_aside.is_empty(), "{:?}", left.set_aside);
            if left.ids.is_empty() || hits >= HITS {
                break;
            }
        }
        // As many ranks as there are now do the rest.
        let world = 1 + u32::try_from(random.below(4)).unwrap();
        let running: Vec<_> = (0..world).map(|rank| Running::start(directory.path(), rank, world)).collect();
        for worker in running {
            assert!(worker.end(), "a worker that nobody kills comes to its end");
        }
        assert_eq!(assert_all(directory.path(), &ids).ids.len(), 0);
        assert_eq!(aggregated(directory.path(), &ids), expected);
        assert_clean(directory.path(), world);
        let manifest = manifest(directory.path()).unwrap();
        assert!(manifest.is_finished(), "{manifest:?}");
        ends += 1;
    }
    println!("killed {kills} times, {hits} of them before the end; {ends} extractions came to theirs");
}

/// Asserts that the ranks of the last run have nothing left over of earlier ones.
fn assert_clean(directory: &Path, world: u32) {
    let ranks = (0..world).map(|rank| directory.join(format!("shard_{rank}")));
    for path in ranks.chain([directory.to_owned()]) {
        for entry in std::fs::read_dir(&path).unwrap() {
            let name = entry.unwrap().file_name();
            assert!(!is_temporary(&name), "{}: {}", path.display(), name.display());
        }
    }
}

/// The worker itself.
#[test]
#[ignore = "it is the process that the test beside it starts and kills"]
fn works_until_it_is_killed() {
    let variable = |name| std::env::var(name).expect("the test beside it sets it");
    let directory = PathBuf::from(variable(DIRECTORY));
    let (rank, world) = (variable(RANK).parse().unwrap(), variable(WORLD).parse().unwrap());
    let ids = ids(IDS);
    let extraction = open(&directory, (rank, world), &ids, options());
    let todo = extraction.todo(&ids).unwrap().for_rank(extraction.worker());
    let mut output = std::io::stdout();
    writeln!(output, "begins").unwrap();
    let mut writer = extraction.writer().unwrap();
    push_all(&mut writer, &todo);
    writer.finish().unwrap();
    writeln!(output, "finished").unwrap();
}
