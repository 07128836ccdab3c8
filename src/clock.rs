//! The wall clock.

use std::time::{SystemTime, UNIX_EPOCH};

/// Now, in whole seconds since 1970. A clock before 1970 counts as 1970.
pub fn now() -> u64 {
    now_millis() / 1000
}

/// Now, in milliseconds since 1970.
pub fn now_millis() -> u64 {
    #[cfg(test)]
    if let Some(millis) = fake::now_millis() {
        return millis;
    }
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |time| {
            u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
        })
}

/// Milliseconds since the machine started, sleep included: unlike the wall clock, it is never set.
pub fn uptime_millis() -> u64 {
    #[cfg(test)]
    if let Some(millis) = fake::uptime_millis() {
        return millis;
    }
    crate::platform::uptime::millis()
}

/// Whether a moment (in milliseconds since 1970) lies between another one and now. A moment in the future was
/// noted before the clock was set back, and says nothing.
pub fn has_been_since(moment_ms: u64, since_ms: u64) -> bool {
    (since_ms..=now_millis()).contains(&moment_ms)
}

/// A clock that a test moves, for its own thread.
#[cfg(test)]
pub(crate) mod fake {
    use std::cell::Cell;

    thread_local! {
        static NOW: Cell<Option<u64>> = const { Cell::new(None) };
        static UPTIME: Cell<Option<u64>> = const { Cell::new(None) };
    }

    pub(super) fn now_millis() -> Option<u64> {
        NOW.get()
    }

    pub(super) fn uptime_millis() -> Option<u64> {
        UPTIME.get()
    }

    /// Sets this thread's clock, or gives it back to the system.
    pub(crate) fn set(millis: Option<u64>) {
        NOW.set(millis);
    }

    /// Sets this thread's time since the start of the machine, or gives it back to the system.
    pub(crate) fn set_uptime(millis: Option<u64>) {
        UPTIME.set(millis);
    }
}
