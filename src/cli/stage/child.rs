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
    let status = Command::new(program).args(words).spawn().and_then(|child| wait(child, &ears));
    match status {
        Ok(status) if status.success() => Ended::Well,
        Ok(status) => Ended::Badly(status),
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

/// Waits for the command, and hands it the signals that come meanwhile.
#[cfg(unix)]
fn wait(mut child: Child, ears: &signals::Ears) -> io::Result<ExitStatus> {
    use std::time::Duration;
    // Looking again and again leaves no moment in which a signal would go to another process: the number of the command
    // stays its own until it was waited for. A short command is found ended soon, a long one costs nothing.
    let mut pause = Duration::from_millis(1);
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        if let Some(signal) = ears.heard() {
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
fn wait(mut child: Child, _ears: &signals::Ears) -> io::Result<ExitStatus> {
    child.wait()
}

/// The signals that end a job.
#[cfg(unix)]
mod signals {
    use std::io::{IsTerminal as _, stdin};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use rustix::process::Signal;
    use signal_hook::SigId;
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

    /// Hears signals, as long as it lives.
    #[derive(Debug)]
    pub(super) struct Ears {
        heard: Arc<AtomicUsize>,
        handlers: Vec<SigId>,
    }

    /// What is heard: the numbers are this program's own.
    const HEARD: [(i32, Signal); 3] = [(SIGINT, Signal::INT), (SIGTERM, Signal::TERM), (SIGHUP, Signal::HUP)];

    impl Ears {
        /// Begins to hear. A signal that can't be heard ends this process, as it would have.
        pub(super) fn open() -> Self {
            let heard = Arc::new(AtomicUsize::new(0));
            let register = |(number, (signal, _)): (usize, &(i32, Signal))| {
                signal_hook::flag::register_usize(*signal, Arc::clone(&heard), number + 1).ok()
            };
            let handlers = HEARD.iter().enumerate().filter_map(register).collect();
            Self { heard, handlers }
        }

        /// Returns the signal that came last and is to be handed on. What a terminal sends, the command has as well.
        pub(super) fn heard(&self) -> Option<Signal> {
            let number = self.heard.swap(0, Ordering::Relaxed).checked_sub(1)?;
            let (_, signal) = HEARD.get(number)?;
            (*signal != Signal::INT || !stdin().is_terminal()).then_some(*signal)
        }
    }

    impl Drop for Ears {
        fn drop(&mut self) {
            for handler in self.handlers.drain(..) {
                signal_hook::low_level::unregister(handler);
            }
        }
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
