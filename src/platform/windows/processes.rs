//! The list of processes.
#![allow(
    unsafe_code,
    reason = "a snapshot of the processes and their times have no safe calls"
)]

use std::cell::OnceCell;
use std::os::windows::io::{AsRawHandle, FromRawHandle, OwnedHandle};

use windows_sys::Win32::Foundation::{FILETIME, INVALID_HANDLE_VALUE};
use windows_sys::Win32::System::Diagnostics::ToolHelp::{
    CreateToolhelp32Snapshot, PROCESSENTRY32W, Process32FirstW, Process32NextW, TH32CS_SNAPPROCESS,
};
use windows_sys::Win32::System::Threading::{
    GetProcessTimes, OpenProcess, PROCESS_QUERY_LIMITED_INFORMATION,
};

use crate::platform::asker::{Process, ProcessTable};

/// The processes that ran at one moment.
pub(in crate::platform) struct Processes {
    all: Vec<ProcessEntry>,
    own_start: OnceCell<Option<u64>>,
}

struct ProcessEntry {
    id: u32,
    parent: u32,
    name: String,
}

impl Processes {
    /// Takes the snapshot.
    pub(in crate::platform) fn open() -> Option<Self> {
        // SAFETY: takes numbers.
        let snapshot = unsafe { CreateToolhelp32Snapshot(TH32CS_SNAPPROCESS, 0) };
        if snapshot == INVALID_HANDLE_VALUE {
            return None;
        }
        // SAFETY: a valid handle that the call has just given us and that has no other owner.
        let snapshot = unsafe { OwnedHandle::from_raw_handle(snapshot) };
        let mut entry = PROCESSENTRY32W {
            dwSize: u32::try_from(size_of::<PROCESSENTRY32W>()).ok()?,
            ..PROCESSENTRY32W::default()
        };
        let mut all = Vec::new();
        // SAFETY: the handle is open, and the entry says how long it is and outlives the call.
        let mut more = unsafe { Process32FirstW(snapshot.as_raw_handle(), &raw mut entry) };
        while more != 0 {
            let name = entry.szExeFile.split(|unit| *unit == 0).next();
            all.push(ProcessEntry {
                id: entry.th32ProcessID,
                parent: entry.th32ParentProcessID,
                name: String::from_utf16_lossy(name.unwrap_or_default()),
            });
            // SAFETY: as above.
            more = unsafe { Process32NextW(snapshot.as_raw_handle(), &raw mut entry) };
        }
        Some(Self {
            all,
            own_start: OnceCell::new(),
        })
    }

    fn entry(&self, id: u32) -> Option<&ProcessEntry> {
        self.all.iter().find(|entry| entry.id == id)
    }
}

impl ProcessTable for Processes {
    fn own_parent(&self) -> Option<u32> {
        self.entry(std::process::id()).map(|entry| entry.parent)
    }

    /// A parent may have ended long ago and its id been given to another process: one that is younger than we are is
    /// no ancestor.
    fn process(&self, id: u32) -> Option<Process> {
        let entry = self.entry(id)?;
        let started = started(id)?;
        let own = self
            .own_start
            .get_or_init(|| self::started(std::process::id()));
        if own.is_none_or(|own| started > own) {
            return None;
        }
        Some(Process {
            parent: entry.parent,
            started,
            name: entry.name.clone(),
        })
    }

    /// A process is called by its program here.
    fn program(&self, _: u32) -> Option<String> {
        None
    }

    /// There are none.
    fn namespace(&self) -> Option<u64> {
        Some(0)
    }
}

/// When a process started, in units of 100 nanoseconds since 1601.
fn started(id: u32) -> Option<u64> {
    // SAFETY: takes numbers.
    let process = unsafe { OpenProcess(PROCESS_QUERY_LIMITED_INFORMATION, 0, id) };
    if process.is_null() {
        return None;
    }
    // SAFETY: a valid handle that the call has just given us and that has no other owner.
    let process = unsafe { OwnedHandle::from_raw_handle(process) };
    let [mut created, mut ended, mut in_kernel, mut in_program] = [FILETIME::default(); 4];
    // SAFETY: the handle is open and may be asked this; four places for a time each outlive the call.
    let done = unsafe {
        GetProcessTimes(
            process.as_raw_handle(),
            &raw mut created,
            &raw mut ended,
            &raw mut in_kernel,
            &raw mut in_program,
        )
    };
    (done != 0)
        .then_some(u64::from(created.dwHighDateTime) << 32 | u64::from(created.dwLowDateTime))
}
