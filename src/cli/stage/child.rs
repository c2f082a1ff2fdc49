//! The command of a stage, as a process of its own.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io;
use std::process::{Child, Command, ExitStatus};

/// How the command ended.
#[derive(Debug)]
pub(super) enum Ended {
    /// With exit code 0.
    Well,
    /// Otherwise.
    Badly(ExitStatus),
    /// With exit code 0, after a signal of this number had asked for its end: nobody knows whether it was done.
    Asked(i32),
    /// It was never run.
    NotBegun(io::Error),
}

impl Ended {
    /// Returns the exit code that says so, as shells have it.
    pub(super) fn code(&self) -> u8 {
        match self {
            Self::Well => 0,
            Self::NotBegun(error) if error.kind() == io::ErrorKind::NotFound => 127,
            Self::NotBegun(_) => 126,
            Self::Asked(signal) => u8::try_from(128 + signal).unwrap_or(1),
            Self::Badly(status) => {
                let code = status.code().or_else(|| signal(*status).map(|signal| 128 + signal));
                // 0 would be success, which it wasn't.
                code.and_then(|code| u8::try_from(code).ok()).filter(|code| *code != 0).unwrap_or(1)
            }
        }
    }
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Well => f.write_str("the command ended well"),
            Self::NotBegun(error) if error.kind() == io::ErrorKind::NotFound => {
                f.write_str("there is no such command")
            }
            Self::NotBegun(error) => write!(f, "the command can't be run: {error}"),
            Self::Asked(signal) => write!(f, "the command ended because signal {signal} asked it to"),
            Self::Badly(status) => match (status.code(), signal(*status)) {
                (Some(code), _) => write!(f, "the command ended with exit code {code}"),
                (None, Some(signal)) => write!(f, "the command was ended by signal {signal}"),
                (None, None) => write!(f, "the command ended badly: {status}"),
            },
        }
    }
}

/// Runs a command that has this process's input, output and environment, and waits for its end.
pub(super) fn run(program: &OsStr, words: &[OsString]) -> Ended {
    let ears = signals::Ears::open();
    let ended = Command::new(program).args(words).spawn().and_then(|child| wait(child, &ears));
    match ended {
        Ok((status, None)) if status.success() => Ended::Well,
        Ok((status, Some(signal))) if status.success() => Ended::Asked(signal),
        Ok((status, _)) => Ended::Badly(status),
        Err(error) => Ended::NotBegun(error),
    }
}

#[cfg(unix)]
fn signal(status: ExitStatus) -> Option<i32> {
    std::os::unix::process::ExitStatusExt::signal(&status)
}

#[cfg(not(unix))]
fn signal(_status: ExitStatus) -> Option<i32> {
    None
}

/// Waits for the command, and hands it the signals that come meanwhile. Returns the number of the last of them, too.
#[cfg(unix)]
fn wait(mut child: Child, ears: &signals::Ears) -> io::Result<(ExitStatus, Option<i32>)> {
    use std::time::Duration;
    let mut asked = None;
    // Looking again and again leaves no moment in which a signal would go to another process: the number of the command
    // stays its own until it was waited for. A short command is found ended soon, a long one costs nothing.
    let mut pause = Duration::from_millis(1);
    loop {
        let ended = child.try_wait()?;
        let heard = ears.heard();
        asked = heard.map(|(number, _)| number).or(asked);
        if let Some(status) = ended {
            return Ok((status, asked));
        }
        // What a terminal sends, the command has as well.
        if let Some((_, signal)) = heard.filter(|(_, signal)| !signals::is_from_terminal(*signal)) {
            // It may have ended just now.
            let sent = rustix::process::kill_process(rustix::process::Pid::from_child(&child), signal);
            drop(sent.map_err(io::Error::from));
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(20));
    }
}

/// Waits for the command.
#[cfg(not(unix))]
fn wait(mut child: Child, _ears: &signals::Ears) -> io::Result<(ExitStatus, Option<i32>)> {
    Ok((child.wait()?, None))
}

/// The signals that end a job.
#[cfg(unix)]
mod signals {
    use std::io::{IsTerminal as _, stdin};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

    use rustix::process::Signal;
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
    use signal_hook::flag;

    /// What is heard.
    const HEARD: [(i32, Signal); 3] = [(SIGINT, Signal::INT), (SIGTERM, Signal::TERM), (SIGHUP, Signal::HUP)];

    /// Hears signals, as long as it lives. Afterwards they end this process again.
    #[derive(Debug)]
    pub(super) struct Ears {
        /// The place in the list of the signal that came last, from 1.
        heard: Arc<AtomicUsize>,
        is_over: Arc<AtomicBool>,
    }

    impl Ears {
        /// Begins to hear. A signal that can't be heard ends this process, as it would have; one that is ignored, as that
        /// of a terminal that was closed is under `nohup`, stays so for the command as well.
        pub(super) fn open() -> Self {
            let ears = Self { heard: Arc::default(), is_over: Arc::default() };
            let ignored = ignored();
            for (number, (signal, _)) in HEARD.iter().enumerate() {
                if ignored >> (signal - 1) & 1 == 0 {
                    let ends = flag::register_conditional_default(*signal, Arc::clone(&ears.is_over));
                    let hears =
                        ends.and_then(|_| flag::register_usize(*signal, Arc::clone(&ears.heard), number + 1));
                    drop(hears);
                }
            }
            ears
        }

        /// Returns the signal that came last, with its number.
        pub(super) fn heard(&self) -> Option<(i32, Signal)> {
            let number = self.heard.swap(0, Ordering::Relaxed).checked_sub(1)?;
            HEARD.get(number).copied()
        }
    }

    impl Drop for Ears {
        fn drop(&mut self) {
            self.is_over.store(true, Ordering::Relaxed);
        }
    }

    /// Returns whether a signal was sent by a terminal, to all of the job.
    pub(super) fn is_from_terminal(signal: Signal) -> bool {
        signal == Signal::INT && stdin().is_terminal()
    }

    /// Returns the signals that this process was told to ignore, a bit each; none where the system doesn't say.
    fn ignored() -> u64 {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
        mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
    }
}

/// The signals that end a job: none that are known here.
#[cfg(not(unix))]
mod signals {
    /// Hears nothing.
    #[derive(Debug)]
    pub(super) struct Ears;

    impl Ears {
        pub(super) fn open() -> Self {
            Self
        }
    }
}
