//! A clock that cannot be set: time since the machine started, sleep included.

/// Milliseconds since the machine started, counted through sleep. 0 where the system does not tell.
#[cfg(unix)]
pub fn millis() -> u64 {
    use rustix::time::{ClockId, clock_gettime};
    // Linux's monotonic clock stands still while the machine sleeps; macOS's does not.
    #[cfg(target_os = "linux")]
    let clock = ClockId::Boottime;
    #[cfg(not(target_os = "linux"))]
    let clock = ClockId::Monotonic;
    let time = clock_gettime(clock);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let millis = u64::try_from(time.tv_nsec / 1_000_000).unwrap_or(0);
    seconds.saturating_mul(1000).saturating_add(millis)
}

#[cfg(windows)]
pub use super::windows::uptime_millis as millis;

#[cfg(test)]
mod tests {
    #[test]
    fn it_only_grows() {
        let before = super::millis();
        assert!(before > 0);
        std::thread::sleep(std::time::Duration::from_millis(5));
        assert!(super::millis() > before);
    }
}
