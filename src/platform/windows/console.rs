//! What a process of gatepass tells Windows about itself when it starts.
#![allow(
    unsafe_code,
    reason = "four calls of the Windows API that take numbers and the process's own handles"
)]

use std::os::windows::io::AsRawHandle;

use windows_sys::Win32::Foundation::{HANDLE_FLAG_INHERIT, SetHandleInformation};
use windows_sys::Win32::Storage::FileSystem::{FILE_TYPE_PIPE, GetFileType};
use windows_sys::Win32::System::Diagnostics::Debug::{
    SEM_FAILCRITICALERRORS, SEM_NOGPFAULTERRORBOX, SetErrorMode,
};
use windows_sys::Win32::System::LibraryLoader::{
    LOAD_LIBRARY_SEARCH_SYSTEM32, SetDefaultDllDirectories,
};

/// Lets no program that we start inherit our standard streams by accident.
pub(super) fn keep_streams() {
    let streams = [
        std::io::stdin().as_raw_handle(),
        std::io::stdout().as_raw_handle(),
        std::io::stderr().as_raw_handle(),
    ];
    for stream in streams {
        if !stream.is_null() {
            // SAFETY: a handle of this process; the call changes a flag of it and no memory. It fails for
            // handles that cannot have the flag, which is no harm.
            unsafe { SetHandleInformation(stream, HANDLE_FLAG_INHERIT, 0) };
        }
    }
}

/// Whether standard output is a pipe.
pub(super) fn stdout_is_pipe() -> bool {
    // SAFETY: a handle of this process, or none, which has no type; the call reads no memory of ours.
    unsafe { GetFileType(std::io::stdout().as_raw_handle()) == FILE_TYPE_PIPE }
}

/// Loads libraries by name from the system's folder only.
pub(super) fn load_system_libraries_only() {
    // SAFETY: takes a number, affects later loads only.
    unsafe { SetDefaultDllDirectories(LOAD_LIBRARY_SEARCH_SYSTEM32) };
}

/// Shows no window when the process crashes, and so no report with its memory is offered.
pub(super) fn crash_silently() {
    // SAFETY: takes a number.
    unsafe { SetErrorMode(SEM_FAILCRITICALERRORS | SEM_NOGPFAULTERRORBOX) };
}
