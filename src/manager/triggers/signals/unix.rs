//! Handlers that set a flag, beside those that others have set.

use std::fs;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use signal_hook::SigId;
use signal_hook::consts::{SIGTERM, SIGUSR1, SIGUSR2};
use signal_hook::{flag, low_level};

use super::Signal;

/// What is known of each signal, for the whole process: handlers are the process's.
static HEARD: Mutex<[Heard; 3]> = Mutex::new([Heard { listeners: 0, is_prepared: false }; 3]);

/// Whether nobody listens to a signal any more that only we listened to: it does by default what it always did.
///
/// When the last handler is taken away, the system's own isn't put back: a process that had once listened to SIGTERM
/// would ignore it ever after.
static IS_UNHEARD: [AtomicBool; 3] = [const { AtomicBool::new(false) }; 3];

/// What is known of a signal.
#[derive(Clone, Copy, Debug)]
struct Heard {
    /// How many listen now.
    listeners: usize,
    /// Whether the handler that does by default is in place, or was found not to be needed.
    is_prepared: bool,
}

/// A handler that is in place until this is dropped.
#[derive(Debug)]
pub(super) struct Registration {
    signal: Signal,
    id: SigId,
}

impl Registration {
    /// Has the signal set the flag.
    pub(super) fn of(signal: Signal, sets: Arc<AtomicBool>) -> io::Result<Self> {
        let number = number(signal);
        with(signal, |heard, is_unheard| {
            if !heard.is_prepared {
                if !is_caught(number) {
                    flag::register_conditional_default(number, is_unheard)?;
                }
                heard.is_prepared = true;
            }
            let id = flag::register(number, sets)?;
            is_unheard.store(false, Ordering::SeqCst);
            heard.listeners += 1;
            Ok(Self { signal, id })
        })
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        let done: io::Result<()> = with(self.signal, |heard, is_unheard| {
            heard.listeners = heard.listeners.saturating_sub(1);
            is_unheard.store(heard.listeners == 0, Ordering::SeqCst);
            low_level::unregister(self.id);
            Ok(())
        });
        drop(done);
    }
}

/// Runs `f` with what is known of a signal, alone.
fn with<T>(
    signal: Signal,
    f: impl FnOnce(&mut Heard, &'static AtomicBool) -> io::Result<T>,
) -> io::Result<T> {
    let mut heard = HEARD.lock().unwrap_or_else(PoisonError::into_inner);
    let at = match signal {
        Signal::Terminate => 0,
        Signal::User1 => 1,
        Signal::User2 => 2,
    };
    match (heard.get_mut(at), IS_UNHEARD.get(at)) {
        (Some(heard), Some(is_unheard)) => f(heard, is_unheard),
        _ => Err(io::ErrorKind::Unsupported.into()),
    }
}

fn number(signal: Signal) -> i32 {
    match signal {
        Signal::Terminate => SIGTERM,
        Signal::User1 => SIGUSR1,
        Signal::User2 => SIGUSR2,
    }
}

/// Returns whether the process has caught or ignored a signal before we came; where the system doesn't tell, it is
/// taken to have not.
fn is_caught(number: i32) -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let masks = status.lines().filter_map(|line| {
        let mask = line.strip_prefix("SigCgt:").or_else(|| line.strip_prefix("SigIgn:"))?;
        u64::from_str_radix(mask.trim(), 16).ok()
    });
    let bit = u32::try_from(number - 1).ok().and_then(|bit| 1_u64.checked_shl(bit)).unwrap_or(0);
    masks.fold(0, |all, mask| all | mask) & bit != 0
}
