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

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    fn own() -> i32 {
        rustix::process::getpriority_process(None).unwrap()
    }

    #[test]
    fn a_thread_gives_way_and_takes_its_own_along_but_no_others() {
        let before = own();
        let (lowered, child) = std::thread::spawn(|| {
            lower(3);
            (own(), std::thread::spawn(own).join().unwrap())
        })
        .join()
        .unwrap();
        assert_eq!((lowered, child, own()), (before + 3, before + 3, before));
    }
}
