//! A save over what may be there already.

use super::disk::{FakeDisk, Way};
use super::image::{Bytes, Image};
use super::journal::Journal;
use super::judge::{Law, Whole};
use super::saving::{self, Format, Manner, Size, Vouched};

/// What is there before the save.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Old {
    /// Nothing.
    Nothing,
    /// A file that was saved without a marker.
    Plain,
    /// One that was saved with a marker.
    Marked,
    /// One with an empty marker, which somebody else made.
    EmptyMarker,
    /// One with a marker in which somebody else wrote something.
    WordMarker,
    /// A file without a proof, with an empty marker.
    Foreign,
}

/// A save, and what was there before.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scenario {
    pub(super) old: Old,
    pub(super) manner: Manner,
    pub(super) size: Size,
    pub(super) way: Way,
}

/// What a save left on the disk, in every call.
#[derive(Clone, Debug)]
pub(super) struct Saved {
    pub(super) law: Law,
    pub(super) journal: Journal,
}

/// The generation of the state that is there before.
const OLD: u64 = 1;
/// The generation of the state that is saved.
const NEW: u64 = 2;
/// The generation of the state that is saved after a crash.
const NEXT: u64 = 3;

impl Scenario {
    /// Returns the file's name.
    pub(super) fn name(&self) -> &'static str {
        saving::name(self.manner.format)
    }

    /// Returns what is there before the save.
    pub(super) fn start(&self) -> (Image, Option<Whole>) {
        let marker = format!("{}.done", self.name());
        match self.old {
            Old::Nothing => (Image::default(), None),
            Old::Foreign => {
                let bytes = foreign(self.manner.format);
                let vouched = Vouched { bytes: bytes.len() as u64, id: None };
                let image = Image::default().with(self.name(), Bytes::clone(&bytes)).with(marker, Vec::new());
                (image, Some(Whole { bytes, vouched }))
            }
            old => {
                let (image, whole) = self.saved_before(old == Old::Marked);
                let image = match old {
                    Old::EmptyMarker => image.with(marker, Vec::new()),
                    Old::WordMarker => image.with(marker, b"finished\n".to_vec()),
                    _ => image,
                };
                (image, Some(whole))
            }
        }
    }

    fn saved_before(&self, marker: bool) -> (Image, Whole) {
        let disk = FakeDisk::new(Image::default(), self.way);
        let manner = Manner { marker, ..self.manner };
        let vouched = saving::save_on(&disk, &FakeDisk::path(self.name()), OLD, self.size, &manner).unwrap();
        let image = disk.live();
        let bytes = Bytes::clone(image.get(self.name()).unwrap());
        (image, Whole { bytes, vouched })
    }

    /// Saves the new state.
    pub(super) fn save(&self, disk: &FakeDisk) -> Result<Vouched, ckpt::Error> {
        self.save_generation(disk, NEW)
    }

    fn save_generation(&self, disk: &FakeDisk, generation: u64) -> Result<Vouched, ckpt::Error> {
        saving::save_on(disk, &FakeDisk::path(self.name()), generation, self.size, &self.manner)
    }

    /// Saves without any fault.
    pub(super) fn run(&self) -> Saved {
        let (start, old) = self.start();
        self.run_over(start, old, NEW, Vec::new())
    }

    /// Saves a third state over what a crash left of a save by this law.
    pub(super) fn run_again(&self, law: &Law, left: Image) -> Saved {
        let whole =
            |bytes: &Bytes| if *bytes == law.new.bytes { Some(law.new.clone()) } else { law.old.clone() };
        let old = left.get(&law.name).and_then(whole);
        // The marker may still speak of both.
        let earlier = law.old.iter().chain([&law.new]).map(|whole| whole.vouched.clone()).collect();
        self.run_over(left, old, NEXT, earlier)
    }

    /// Saves over what is there, without any fault. Nothing else may be left than the file and its marker.
    fn run_over(&self, start: Image, old: Option<Whole>, generation: u64, earlier: Vec<Vouched>) -> Saved {
        let marker = format!("{}.done", self.name());
        let old_marker = start.get(&marker).cloned();
        let disk = FakeDisk::new(start, self.way);
        let vouched =
            self.save_generation(&disk, generation).unwrap_or_else(|error| panic!("{self:?}: {error}"));
        let live = disk.live();
        let bytes = Bytes::clone(live.get(self.name()).unwrap());
        assert_eq!(vouched.bytes, bytes.len() as u64);
        let expected = [self.name().to_owned(), marker];
        let expected = &expected[..if old_marker.is_some() || self.manner.marker { 2 } else { 1 }];
        assert_eq!(live.names(), expected, "{self:?}");
        assert_eq!(disk.open_files(), 0, "{self:?}");
        let new = Whole { bytes, vouched };
        let law = Law { name: self.name().into(), old, new, earlier, old_marker, marker: self.manner.marker };
        Saved { law, journal: disk.journal() }
    }
}

/// A checkpoint that another program wrote.
fn foreign(format: Format) -> Bytes {
    let name = if format == Format::Safetensors { "small.safetensors" } else { "small.pt" };
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name);
    Bytes::new(std::fs::read(path).unwrap())
}

/// Returns the scenarios for one format: everything that may be there before, with and without a marker asked
/// for, with and without validation, through the cache and around it.
pub(super) fn all(format: Format) -> Vec<Scenario> {
    let olds = [Old::Nothing, Old::Plain, Old::Marked, Old::EmptyMarker, Old::WordMarker, Old::Foreign];
    let mut scenarios = Vec::new();
    for old in olds {
        for marker in [false, true] {
            for validate in [false, true] {
                let manner = Manner { marker, validate, ..Manner::new(format) };
                let way = if validate { Way::Direct(4096) } else { Way::Buffered };
                scenarios.push(Scenario { old, manner, size: Size::Small, way });
            }
        }
    }
    let manner = Manner { marker: true, ..Manner::new(format) };
    scenarios.push(Scenario { old: Old::Marked, manner, size: Size::Small, way: Way::Pretended(4096) });
    scenarios
}
