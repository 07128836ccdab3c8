//! The time since Windows started.
#![allow(unsafe_code, reason = "one call of the system without a safe wrapper")]

use windows_sys::Win32::System::SystemInformation::GetTickCount64;

/// Milliseconds since the machine started, sleep included.
pub fn uptime_millis() -> u64 {
    // SAFETY: takes nothing and only returns a number.
    unsafe { GetTickCount64() }
}
