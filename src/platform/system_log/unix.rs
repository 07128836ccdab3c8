//! macOS (and other Unix systems): syslog(3), which on macOS writes to the unified log.
#![expect(unsafe_code, reason = "syslog(3) is a function of the C library")]

use std::ffi::CString;
use std::io;

use super::Weight;

pub(super) fn write(weight: Weight, line: &str) -> io::Result<()> {
    let line = CString::new(line)?;
    let severity = match weight {
        Weight::Warning => libc::LOG_WARNING,
        Weight::Notice => libc::LOG_NOTICE,
    };
    // SAFETY: both strings end with NUL and live until the calls return, except the tag, which the library may keep
    // and which is static. The format takes exactly the one string that is given, so that nothing in the line is a
    // format.
    unsafe {
        libc::openlog(c"gatepass".as_ptr(), libc::LOG_PID, libc::LOG_AUTHPRIV);
        libc::syslog(severity, c"%s".as_ptr(), line.as_ptr());
        libc::closelog();
    }
    Ok(())
}

/// The log is part of the system and always there.
pub(super) fn reachable() -> io::Result<()> {
    Ok(())
}
