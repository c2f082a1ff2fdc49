//! How much the saver's thread takes from others.

/// Makes the calling thread, and those that it will start, give way to others by as much as `niceness` says.
///
/// Where there is a core to spare it changes nothing; where there is none, the training goes first. A system
/// that refuses, or has no priorities of threads, leaves it as it is.
#[cfg(target_os = "linux")]
pub(super) fn lower(niceness: u8) {
    // For Linux, the calling process is the calling thread.
    let before = rustix::process::getpriority_process(None).unwrap_or(0);
    rustix::process::setpriority_process(None, before.saturating_add(niceness.into())).unwrap_or_default();
}

/// Does nothing: elsewhere, this would be the priority of the whole process.
#[cfg(not(target_os = "linux"))]
pub(super) fn lower(_niceness: u8) {}

#[cfg(test)]
mod tests {
    #[cfg(target_os = "linux")]
    #[test]
    fn a_thread_gives_way_and_takes_its_own_along_but_no_others() {
        use std::thread::spawn;

        let own = || rustix::process::getpriority_process(None).unwrap();
        let before = own();
        let lowered = spawn(move || {
            super::lower(3);
            (own(), spawn(own).join().unwrap())
        });
        assert_eq!((lowered.join().unwrap(), own()), ((before + 3, before + 3), before));
    }
}
