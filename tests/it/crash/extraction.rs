//! What a crash leaves of an extraction: the shards that were durable, no damaged one, and every id done or to do.

use std::sync::Arc;

use ckpt::features::extraction::{Extraction, ExtractionOptions, Todo, Worker, todo};
use ckpt::manager::background::Retry;
use ckpt::record::{InputFingerprint, ModelConfig};
use ckpt::save::SaveOptions;
use ckpt::tensor::TensorView;
use ckpt::{Dtype, Error, ErrorKind};

use super::disk::{FakeDisk, Way};
use super::fault::{Done, EIO, Fault};
use super::image::Image;
use super::journal::{Effect, Method};
use super::managed::{all_cuts, images, lay_out};
use super::power::Cut;

/// How many rows a shard has.
const ROWS: usize = 3;

fn ids() -> Vec<String> {
    (0..2 * ROWS).map(|id| id.to_string()).collect()
}

fn open(disk: &FakeDisk) -> Result<Extraction, Error> {
    // With one thread, calls come in the same order in every run.
    let options = ExtractionOptions::default()
        .with_rows(ROWS as u64)
        .with_save(SaveOptions::default().with_threads(1))
        .with_retry(Retry::NEVER);
    let (disk, worker) = (Arc::new(disk.clone()), Worker::new(0, 1)?);
    let input = InputFingerprint::of_ids(ids());
    let model = ModelConfig::of("a model")?;
    Extraction::open_on(disk, FakeDisk::DIRECTORY.as_ref(), worker, input, &model, options)
}

/// Extracts ids, a shard at a time; calls `then` after each.
fn extract(disk: &FakeDisk, ids: &[String], mut then: impl FnMut()) -> Result<(), Error> {
    let mut writer = open(disk)?.writer()?;
    for ids in ids.chunks(ROWS) {
        let rows: Vec<u8> = ids.iter().flat_map(|id| id.as_bytes().repeat(200)).collect();
        writer.push(ids, &TensorView::new(Dtype::U8, [ids.len() as u64, 200], rows)?)?;
        writer.flush()?;
        then();
    }
    writer.finish().map(drop)
}

/// Returns what is to do of an image; all of it where nothing was begun.
fn look(image: &Image) -> Todo {
    let directory = lay_out(image);
    match todo(directory.path(), &ids()) {
        Err(error) if error.kind() == ErrorKind::Nothing => {
            let mut all = Todo::default();
            all.ids = ids();
            all
        }
        todo => todo.unwrap_or_else(|error| panic!("{error}: {:?}", image.names())),
    }
}

/// Returns what an image breaks of the law: so many ids are done at least, none twice, and no shard is damaged.
fn broken(image: &Image, least: usize) -> Option<String> {
    let todo = look(image);
    let is_law = todo.done >= least as u64
        && todo.set_aside.is_empty()
        && todo.rows == todo.done
        && todo.done + todo.ids.len() as u64 == ids().len() as u64;
    (!is_law).then(|| format!("{todo:?}: {:?}", image.names()))
}

#[test]
fn what_was_durable_survives_every_cut() {
    for way in [Way::Buffered, Way::Direct(4096)] {
        let disk = FakeDisk::new(Image::default(), way);
        let mut durable = Vec::new();
        extract(&disk, &ids(), || durable.push(disk.journal().calls.len())).unwrap();
        let journal = disk.journal();
        let calls_of = |cut: &Cut| match *cut {
            Cut::After(calls) | Cut::Midst(calls) => calls,
        };
        for cut in all_cuts(&journal) {
            let shards = durable.iter().filter(|calls| **calls <= calls_of(&cut)).count();
            for image in images(&journal, &[cut]) {
                assert_eq!(broken(&image, shards * ROWS), None, "{cut:?}");
            }
        }
        assert_eq!(look(&disk.live()).done, ids().len() as u64);
        assert_eq!(disk.open_files(), 0);
    }
}

/// A shard's file, its marker and the directory must each be synced, and the cuts show it.
#[test]
fn without_the_syncs_the_law_is_broken() {
    let disk = FakeDisk::new(Image::default(), Way::Buffered);
    extract(&disk, &ids(), || {}).unwrap();
    let mut journal = disk.journal();
    journal.calls.retain(|call| !matches!(call.effect, Effect::Synced(_) | Effect::SyncedDirectory(_)));
    let end = [Cut::After(journal.calls.len())];
    assert!(images(&journal, &end).iter().any(|image| broken(image, ids().len()).is_some()));
}

/// Every call fails once: somebody is told, or nothing is lost; and the next worker does the rest.
#[test]
fn after_every_fault_the_next_worker_does_the_rest() {
    let fine = FakeDisk::new(Image::default(), Way::Buffered);
    extract(&fine, &ids(), || {}).unwrap();
    let mut told = 0;
    for (number, call) in fine.journal().calls.iter().enumerate() {
        for done in [Done::Nothing, Done::All] {
            if done == Done::All && !matches!(call.method, Method::Rename | Method::SyncDirectory) {
                continue;
            }
            let what = format!("{:?} {:?}, {done:?}", call.method, call.name);
            let fault = Fault { call: number, error: EIO, done };
            let disk = FakeDisk::new(Image::default(), Way::Buffered).failing(fault);
            let first = extract(&disk, &ids(), || {});
            told += usize::from(first.is_err());
            let left = look(&disk.live());
            assert_eq!(broken(&disk.live(), 0), None, "{what}");
            assert!(first.is_err() || left.ids.is_empty(), "{what}: nobody was told");
            extract(&disk, &left.ids, || {}).unwrap_or_else(|error| panic!("{what}: {error}"));
            assert_eq!(
                (look(&disk.live()).ids.len(), broken(&disk.live(), ids().len())),
                (0, None),
                "{what}"
            );
            let names = disk.live().names();
            assert!(!names.iter().any(|name| name.contains(".ckpt-")), "{what}: {names:?}");
        }
    }
    assert!(told > 20, "{told}");
}
