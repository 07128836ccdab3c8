//! Windows: the application log.
//!
//! The source has no message file, so that nothing must be registered by an administrator first: the event viewer
//! shows the line below a remark that the event has no description.
#![expect(
    unsafe_code,
    reason = "the event log is reached through the Windows API"
)]

use std::io;
use std::ptr::{null, null_mut};

use windows_sys::Win32::System::EventLog::{
    DeregisterEventSource, EVENTLOG_INFORMATION_TYPE, EVENTLOG_WARNING_TYPE, RegisterEventSourceW,
    ReportEventW,
};

use super::Weight;

/// The number of gatepass's events. The line says which one it is.
const EVENT: u32 = 1;

pub(super) fn write(weight: Weight, line: &str) -> io::Result<()> {
    let source = wide("gatepass");
    let line = wide(line);
    let kind = match weight {
        Weight::Warning => EVENTLOG_WARNING_TYPE,
        Weight::Notice => EVENTLOG_INFORMATION_TYPE,
    };
    // SAFETY: the name ends with NUL and lives until the call returns; null means this machine.
    let log = unsafe { RegisterEventSourceW(null(), source.as_ptr()) };
    if log.is_null() {
        return Err(io::Error::last_os_error());
    }
    let lines = [line.as_ptr()];
    // SAFETY: the handle is open; there is exactly one string, which ends with NUL and lives until the call returns;
    // no user and no data are given.
    let written = unsafe {
        ReportEventW(
            log,
            kind,
            0,
            EVENT,
            null_mut(),
            1,
            0,
            lines.as_ptr(),
            null(),
        )
    };
    let result = match written {
        0 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    };
    // SAFETY: the handle is open and not used again.
    unsafe { DeregisterEventSource(log) };
    result
}

/// The log is part of the system and always there.
pub(super) fn reachable() -> io::Result<()> {
    Ok(())
}

fn wide(text: &str) -> Vec<u16> {
    text.encode_utf16().chain([0]).collect()
}
