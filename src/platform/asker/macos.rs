//! macOS: libproc. Other users' processes are not shown, so that there is no asker behind `sudo`.
#![expect(unsafe_code, reason = "libproc is a part of the C library")]

use std::ffi::CStr;
use std::mem::MaybeUninit;
use std::os::raw::{c_int, c_void};

use super::{Process, ProcessTable};

/// The kernel's list of processes.
pub(super) struct Processes;

/// Longest path of a program, in bytes.
const PATH: usize = libc::PROC_PIDPATHINFO_MAXSIZE as usize;

impl Processes {
    pub(super) fn open() -> Option<Self> {
        Some(Self)
    }
}

impl ProcessTable for Processes {
    fn own_parent(&self) -> Option<u32> {
        Some(std::os::unix::process::parent_id())
    }

    fn process(&self, id: u32) -> Option<Process> {
        let id = c_int::try_from(id).ok()?;
        let size = c_int::try_from(size_of::<libc::proc_bsdinfo>()).ok()?;
        let mut info = MaybeUninit::<libc::proc_bsdinfo>::zeroed();
        // SAFETY: the buffer is as long as is said and lives until the call returns.
        let filled = unsafe {
            libc::proc_pidinfo(
                id,
                libc::PROC_PIDTBSDINFO,
                0,
                info.as_mut_ptr().cast::<c_void>(),
                size,
            )
        };
        if filled != size {
            return None;
        }
        // SAFETY: numbers and arrays of numbers, for which zeros are as good as what the call has written.
        let info = unsafe { info.assume_init() };
        let name: Vec<u8> = info
            .pbi_comm
            .iter()
            .map(|character| character.cast_unsigned())
            .take_while(|byte| *byte != 0)
            .collect();
        Some(Process {
            parent: info.pbi_ppid,
            started: info
                .pbi_start_tvsec
                .saturating_mul(1_000_000)
                .saturating_add(info.pbi_start_tvusec),
            name: String::from_utf8_lossy(&name).into_owned(),
        })
    }

    fn program(&self, id: u32) -> Option<String> {
        let id = c_int::try_from(id).ok()?;
        let mut path = [0_u8; PATH + 1];
        // SAFETY: the buffer is one byte longer than is said, so that what is in it ends with NUL, and lives until the
        // call returns.
        let length = unsafe {
            libc::proc_pidpath(
                id,
                path.as_mut_ptr().cast::<c_void>(),
                u32::try_from(PATH).ok()?,
            )
        };
        if length <= 0 {
            return None;
        }
        let path = CStr::from_bytes_until_nul(&path).ok()?.to_str().ok()?;
        path.rsplit('/').next().map(str::to_owned)
    }

    /// There are none.
    fn namespace(&self) -> Option<u64> {
        Some(0)
    }
}
