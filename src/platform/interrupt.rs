//! Ctrl-C during a sign-in: the person has had enough, and nothing may stay behind.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

static HAPPENED: AtomicBool = AtomicBool::new(false);
static WATCHED: AtomicBool = AtomicBool::new(false);

static TOO_LATE: AtomicBool = AtomicBool::new(false);

/// How long the work under way may take to notice. What it does then can be interrupted anywhere.
const NOTICE: Duration = Duration::from_millis(700);

/// How much longer what can no more be taken back has for its end.
const END: Duration = Duration::from_secs(5);

/// What the person who pressed Ctrl-C has stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stopped {
    /// Something that had changed nothing yet.
    InTime,
    /// Something in the middle of a change.
    TooLate,
}

/// From now on something is changed, and the user must not be told that nothing was.
pub fn change_begins() {
    TOO_LATE.store(true, Ordering::SeqCst);
}

/// Whether the person pressed Ctrl-C since it is watched for.
pub fn happened() -> bool {
    HAPPENED.load(Ordering::SeqCst)
}

/// Watches for Ctrl-C from now on. `at_last` ends the process where the sign-in has not noticed in time. Where it cannot be
/// watched, Ctrl-C does what it does everywhere.
pub fn watch(at_last: impl FnOnce(Stopped) + Send + 'static) {
    if WATCHED.swap(true, Ordering::SeqCst) {
        return;
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build();
    let Ok(runtime) = runtime else { return };
    let spawned = thread::Builder::new()
        .name("interrupt".to_owned())
        .spawn(move || {
            if runtime.block_on(tokio::signal::ctrl_c()).is_ok() {
                HAPPENED.store(true, Ordering::SeqCst);
                thread::sleep(NOTICE);
                let mut stopped = Stopped::InTime;
                if TOO_LATE.load(Ordering::SeqCst) {
                    thread::sleep(END);
                    stopped = Stopped::TooLate;
                }
                at_last(stopped);
            }
        });
    if let Err(error) = spawned {
        log::warn!("Ctrl-C is not watched for: {error}");
    }
}
