//! Directories that take a name, or another's, or lose theirs: whole or not at all, whenever the power goes.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::{Path, PathBuf};

use ckpt::io::commit::{
    Disk, Durability, Locked, SharedDirectory, StagedDirectory, clean_shared, clean_staged, is_temporary,
    write_small,
};

use super::disk::{FakeDisk, Way};
use super::image::Image;
use super::journal::{Effect, Journal};
use super::power::{Cut, PowerLoss};
use super::survival::{survivals, whole_changes};

/// The lock of a directory that many processes fill.
const LOCK: &str = ".lock";

/// How a directory comes to its name, or loses it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Manner {
    /// The staged directory takes it.
    Whole,
    /// A directory within the staged one does.
    Part,
    /// The staged directory takes a name in a directory below.
    Below,
    /// It is removed.
    Removal,
    /// One that many processes fill takes it, where nothing has it.
    Shared,
}

impl Manner {
    fn name(self) -> &'static str {
        if self == Self::Below { "below/7" } else { "step" }
    }
}

fn parent() -> &'static Path {
    Path::new(FakeDisk::DIRECTORY)
}

/// Returns the files of a checkpoint, by their paths in its directory.
fn files(text: &str) -> BTreeMap<String, Vec<u8>> {
    ["first", "inside/second", "third"]
        .map(|name| (name.to_owned(), format!("{text} {name}").into_bytes()))
        .into()
}

/// Fills a directory, each file durable.
fn fill(disk: &FakeDisk, directory: &Path, text: &str) {
    disk.create_directory(&directory.join("inside")).unwrap();
    for (name, bytes) in files(text) {
        write_small(disk, &directory.join(name), &bytes, Durability::Full).unwrap();
    }
}

/// Gives a directory its name, or removes it.
fn act(disk: &FakeDisk, manner: Manner, text: &str) -> Result<PathBuf, ckpt::Error> {
    if manner == Manner::Shared {
        let shared = SharedDirectory::create(disk, parent())?;
        fill(disk, shared.path(), text);
        return shared.commit(manner.name(), Durability::Full);
    }
    let staged = StagedDirectory::create(disk, parent())?;
    match manner {
        Manner::Part => {
            let part = staged.path().join(manner.name());
            disk.create_directory(&part).unwrap();
            fill(disk, &part, text);
            staged.replace_by_part(manner.name(), Durability::Full)
        }
        Manner::Removal => staged.remove(manner.name()).map(|_| FakeDisk::path(manner.name())),
        _ => {
            fill(disk, staged.path(), text);
            staged.replace(manner.name(), Durability::Full)
        }
    }
}

/// Returns what is there before: the old directory, where there is to be one.
fn start(manner: Manner, has_old: bool) -> Image {
    let disk = FakeDisk::new(Image::default().with("below/", Vec::new()), Way::Buffered);
    if has_old {
        act(&disk, if manner == Manner::Removal { Manner::Whole } else { manner }, "old").unwrap();
    }
    assert_eq!(disk.open_files(), 0);
    disk.live()
}

/// Returns what has a name: a checkpoint by the text in its files, or what is odd about it. A lock is no part of it.
fn found(image: &Image, name: &str) -> Option<Result<&'static str, String>> {
    image.get(format!("{name}/"))?;
    let inside = format!("{name}/");
    let mut there = BTreeMap::new();
    for (path, bytes) in image.files() {
        if let Some(path) = path.to_str().unwrap().strip_prefix(&inside).filter(|path| !path.ends_with('/'))
            && !path.is_empty()
            && path != LOCK
        {
            there.insert(path.to_owned(), bytes.to_vec());
        }
    }
    let whole = ["old", "new", "newest"].into_iter().find(|text| files(text) == there);
    Some(whole.ok_or_else(|| format!("{:?} isn't whole", there.keys())))
}

/// What may be left: of the name, where the power went before the call returned, and after.
#[derive(Debug)]
struct Law {
    manner: Manner,
    has_old: bool,
    swaps: bool,
}

impl Law {
    fn judge(&self, image: &Image, returned: bool) -> Result<(), String> {
        let name = self.manner.name();
        let there = found(image, name).transpose()?;
        let before = if self.has_old { Some("old") } else { None };
        let after = if self.manner == Manner::Removal { None } else { Some("new") };
        if there == after || (!returned && there == before) {
            return Ok(());
        }
        // Where no two names can change places, the old one stands aside for a moment.
        let aside = Path::new(name).with_file_name(format!(".{}.before", name.rsplit('/').next().unwrap()));
        if !returned
            && !self.swaps
            && there.is_none()
            && found(image, aside.to_str().unwrap()) == Some(Ok("old"))
        {
            return Ok(());
        }
        Err(format!("{there:?} has the name"))
    }
}

fn all_cuts(journal: &Journal) -> Vec<Cut> {
    let calls = journal.calls.len();
    (0..=calls).map(Cut::After).chain((0..calls).map(Cut::Midst)).collect()
}

/// Returns all images that a loss of power at these moments may leave, each once. Where no two names can change places,
/// names are changed one after the other, each as a whole, but in no order: a rename in part would lose what it renames.
fn images(journal: &Journal, cuts: &[Cut], law: &Law) -> Vec<Image> {
    let (mut seen, mut images) = (HashSet::new(), Vec::new());
    for (number, cut) in cuts.iter().enumerate() {
        let loss = PowerLoss::at(journal, *cut);
        for survival in survivals(&loss, 6, number as u64).into_iter().chain(whole_changes(&loss)) {
            if !law.swaps && loss.splits(&survival.names) {
                continue;
            }
            let image = loss.image(&loss.key(&survival));
            let shape: Vec<_> = image.files().map(|(path, bytes)| (path.clone(), bytes.clone())).collect();
            if seen.insert(shape) {
                images.push(image);
            }
        }
    }
    images
}

/// Finds an image that breaks the law.
fn broken(journal: &Journal, law: &Law) -> Option<String> {
    let find = |cuts: &[Cut], returned: bool| {
        images(journal, cuts, law).iter().find_map(|image| {
            let problem = law.judge(image, returned).err()?;
            Some(format!("{problem}, returned: {returned}, left: {:?}", image.names()))
        })
    };
    find(&all_cuts(journal), false).or_else(|| find(&[Cut::After(journal.calls.len())], true))
}

fn disk(start: Image, swaps: bool) -> FakeDisk {
    let disk = FakeDisk::new(start, Way::Buffered);
    if swaps { disk } else { disk.without_swaps() }
}

/// All that may happen: with an old directory and without, where names can change places and where they can't.
fn all() -> Vec<Law> {
    let mut all = Vec::new();
    for manner in [Manner::Whole, Manner::Part, Manner::Below] {
        for (has_old, swaps) in [(false, true), (true, true), (true, false)] {
            all.push(Law { manner, has_old, swaps });
        }
    }
    all.push(Law { manner: Manner::Removal, has_old: true, swaps: true });
    all.push(Law { manner: Manner::Shared, has_old: false, swaps: true });
    all
}

fn run(law: &Law) -> Journal {
    let disk = disk(start(law.manner, law.has_old), law.swaps);
    act(&disk, law.manner, "new").unwrap();
    assert_eq!(disk.open_files(), 0);
    disk.journal()
}

#[test]
fn directories_survive_every_cut() {
    for law in all() {
        let journal = run(&law);
        assert_eq!(broken(&journal, &law), None, "{law:?}");
        let cuts = all_cuts(&journal);
        println!("{law:?}: {} images of {} moments", images(&journal, &cuts, &law).len(), cuts.len());
    }
}

/// What a crash left is removed by the next writer, and the name is taken as ever.
#[test]
fn after_every_cut_the_next_one_takes_the_name() {
    let mut leftovers = 0;
    for law in all() {
        let journal = run(&law);
        let manner = if law.manner == Manner::Removal { Manner::Whole } else { law.manner };
        for image in images(&journal, &all_cuts(&journal), &law) {
            let what = format!("{:?}, {:?}", law.manner, image.names());
            let disk = disk(image, law.swaps);
            let is_shared = manner == Manner::Shared;
            let before = disk.live();
            leftovers += usize::from(is_left(&before).next().is_some());
            if is_shared {
                clean_shared(&disk, parent());
                // One whose lock isn't there may be about to get it: only its age tells.
                let locked = |name: &String| before.get(format!("{name}{LOCK}")).is_some();
                assert!(!is_left(&disk.live()).any(|name| locked(&name)), "{what}");
                if found(&before, manner.name()).is_some() {
                    assert!(
                        act(&disk, manner, "newest").is_err(),
                        "{what}: no checkpoint is written into again"
                    );
                    assert_eq!(found(&disk.live(), manner.name()), Some(Ok("new")), "{what}");
                    continue;
                }
            }
            act(&disk, manner, "newest").unwrap_or_else(|error| panic!("{what}: {error}"));
            assert_eq!(found(&disk.live(), manner.name()), Some(Ok("newest")), "{what}");
            if !is_shared {
                let Ok(Locked::Ours(lock)) = disk.lock(&FakeDisk::path("lock"), "this one") else {
                    panic!("{what}")
                };
                clean_staged(&disk, parent(), &*lock);
                assert_eq!(is_left(&disk.live()).next(), None, "{what}");
                assert!(!disk.live().names().iter().any(|name| name.contains(".before")), "{what}");
            }
        }
    }
    assert!(leftovers > 0);
}

/// Returns the directories under temporary names.
fn is_left(image: &Image) -> impl Iterator<Item = String> {
    let names = image.names().into_iter();
    names.filter(|name| name.strip_suffix('/').is_some_and(|plain| is_temporary(plain.as_ref())))
}

/// Each thing that is synced must be, and the cuts show it.
#[test]
fn one_that_leaves_out_a_sync_breaks_the_law() {
    let target = |effect: &Effect| match effect {
        Effect::Synced(file) => Some((false, *file)),
        Effect::SyncedDirectory(directory) => Some((true, *directory)),
        _ => None,
    };
    for law in all() {
        let journal = run(&law);
        let targets: BTreeSet<_> = journal.calls.iter().filter_map(|call| target(&call.effect)).collect();
        let count = if law.manner == Manner::Removal { 1 } else { 6 };
        assert_eq!(targets.len(), count, "three files, their two directories, and the one that has the name");
        for one in targets {
            let mut without = journal.clone();
            without.calls.retain(|call| target(&call.effect) != Some(one));
            assert!(broken(&without, &law).is_some(), "{:?}: nothing is lost without {one:?}", law.manner);
        }
    }
}

/// Two renames in place of one step, without a sync between them: what a file system in no order makes of them.
#[test]
fn names_that_are_changed_one_after_the_other_must_be_synced_one_by_one() {
    let law = Law { manner: Manner::Whole, has_old: true, swaps: false };
    let mut journal = run(&law);
    let syncs = journal.calls.iter().enumerate().filter_map(|(number, call)| {
        matches!(call.effect, Effect::SyncedDirectory(super::names::ROOT)).then_some(number)
    });
    let syncs: Vec<_> = syncs.collect();
    assert_eq!(broken(&journal, &law), None);
    // The last one is that of the whole; those before it are between the renames.
    for sync in &syncs[..syncs.len() - 1] {
        journal.calls[*sync].effect = Effect::None;
    }
    assert!(broken(&journal, &law).is_some());
}
