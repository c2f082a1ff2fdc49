//! Saving what lies on a device: first whether it is right, then how long it takes. One table at the end.
//!
//! `benches/gpu/README.md` says how to build it for the PyTorch of another machine, and how to run it there.

#![expect(clippy::print_stdout, reason = "the table goes there")]
#![expect(clippy::disallowed_methods, reason = "it removes the files that it wrote")]

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;

use tch::{Cuda, Device};

mod checks;
mod disk;
mod model;
mod timings;

const USAGE: &str = "gpu [--device cuda:0|cpu] [--gib 4] [--rounds 5] [--dir FOLDER]";

/// What is asked for.
struct Options {
    device: Device,
    /// The size of the large state.
    bytes: u64,
    rounds: usize,
    /// Where files are written, and removed again.
    directory: PathBuf,
}

impl Options {
    fn read() -> Result<Self, Box<dyn Error>> {
        let directory = std::env::temp_dir();
        let mut options = Self { device: Device::cuda_if_available(), bytes: 4 << 30, rounds: 5, directory };
        let mut arguments = std::env::args().skip(1);
        while let Some(name) = arguments.next() {
            let value = arguments.next().ok_or(USAGE)?;
            match name.as_str() {
                "--device" if value == "cpu" => options.device = Device::Cpu,
                "--device" => {
                    let index = value.strip_prefix("cuda:").ok_or(USAGE)?;
                    options.device = Device::Cuda(index.parse()?);
                }
                "--gib" => options.bytes = gib(&value)?,
                "--rounds" => options.rounds = value.parse::<usize>()?.max(1),
                "--dir" => options.directory = value.into(),
                _ => return Err(USAGE.into()),
            }
        }
        Ok(options)
    }
}

/// Reads a number of GiB, of which a hundredth is the least.
fn gib(text: &str) -> Result<u64, Box<dyn Error>> {
    let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
    let hundredths: u64 = format!("{part:0<2}").get(..2).ok_or(USAGE)?.parse()?;
    Ok(((whole.parse::<u64>()? << 30) + ((hundredths << 30) / 100)).max(1 << 24))
}

fn run() -> Result<bool, Box<dyn Error>> {
    let options = Options::read()?;
    if matches!(options.device, Device::Cuda(_)) && !Cuda::is_available() {
        return Err("libtorch has no CUDA device here".into());
    }
    let gib = options.bytes >> 20;
    println!(
        "device {:?}, {gib} MiB, {} rounds, in {}\n",
        options.device,
        options.rounds,
        options.directory.display()
    );
    let right = checks::run(&options);
    println!();
    timings::run(&options)?;
    Ok(right)
}

fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            println!("gpu: {error}");
            ExitCode::from(2)
        }
    }
}
