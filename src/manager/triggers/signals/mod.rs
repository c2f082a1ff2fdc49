//! Signals: each sets a flag, and the next question sees it.

#[cfg(not(unix))]
mod portable;
#[cfg(unix)]
mod unix;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

#[cfg(not(unix))]
use portable::Registration;
#[cfg(unix)]
use unix::Registration;

use crate::Error;

/// A signal that can be listened to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Signal {
    /// SIGTERM: batch systems and spot machines send it before they kill.
    Terminate,
    /// SIGUSR1. NCCL, and some launchers, have uses of their own for it.
    User1,
    /// SIGUSR2.
    User2,
}

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Answer {
    /// A save, after which the work goes on.
    Save,
    /// A last save, after which it stops.
    SaveAndStop,
}

impl Signal {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Terminate, Self::User1, Self::User2];

    /// Returns the system's name of it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Terminate => "SIGTERM",
            Self::User1 => "SIGUSR1",
            Self::User2 => "SIGUSR2",
        }
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Listens until it is dropped.
#[derive(Debug)]
pub(super) struct Listener {
    flags: Vec<(Signal, Answer, Arc<AtomicBool>)>,
    _registrations: Vec<Registration>,
}

impl Listener {
    /// Begins to listen.
    pub(super) fn open(signals: &[(Signal, Answer)]) -> Result<Self, Error> {
        let (mut flags, mut registrations) = (Vec::new(), Vec::new());
        for (signal, answer) in signals {
            let flag = Arc::new(AtomicBool::new(false));
            let registration = Registration::of(*signal, Arc::clone(&flag));
            let path = std::path::Path::new(signal.as_str());
            registrations.push(registration.map_err(|error| Error::io(path, "listen to the signal", error))?);
            flags.push((*signal, *answer, flag));
        }
        Ok(Self { flags, _registrations: registrations })
    }

    /// Returns a signal that came and asks for the end.
    pub(super) fn stop(&self) -> Option<Signal> {
        let mut stops = self.flags.iter().filter(|(_, answer, _)| *answer == Answer::SaveAndStop);
        stops.find(|(.., flag)| flag.load(Ordering::SeqCst)).map(|(signal, ..)| *signal)
    }

    /// Returns a signal that came and asks for a save, and forgets it.
    pub(super) fn take_save(&self) -> Option<Signal> {
        let mut saves = self.flags.iter().filter(|(_, answer, _)| *answer == Answer::Save);
        saves.find(|(.., flag)| flag.swap(false, Ordering::SeqCst)).map(|(signal, ..)| *signal)
    }

    /// Sets the flag as the signal would.
    #[cfg(test)]
    pub(super) fn hear(&self, signal: Signal) {
        for (_, _, flag) in self.flags.iter().filter(|(listened, ..)| *listened == signal) {
            flag.store(true, Ordering::SeqCst);
        }
    }
}
