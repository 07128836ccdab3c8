//! Starting the worker: no console window, not in its caller's job where it may leave it, and with three handles
//! of ours and none of our caller's.
//!
//! The standard library's way hands every inheritable handle of this process on. A host that waits for the end of
//! our standard output would then wait for the worker's end as well.
#![allow(
    unsafe_code,
    reason = "the standard library cannot limit the handles that a process inherits"
)]

use std::ffi::{OsStr, OsString};
use std::fs::{File, OpenOptions};
use std::os::windows::ffi::OsStrExt;
use std::os::windows::io::{AsRawHandle, FromRawHandle, OwnedHandle, RawHandle};
use std::path::Path;
use std::{io, mem, ptr};

use windows_sys::Win32::Foundation::{
    ERROR_ACCESS_DENIED, HANDLE, HANDLE_FLAG_INHERIT, SetHandleInformation,
};
use windows_sys::Win32::System::Threading::{
    CREATE_BREAKAWAY_FROM_JOB, CREATE_NEW_PROCESS_GROUP, CREATE_NO_WINDOW,
    CREATE_UNICODE_ENVIRONMENT, CreateProcessW, DeleteProcThreadAttributeList,
    EXTENDED_STARTUPINFO_PRESENT, InitializeProcThreadAttributeList, LPPROC_THREAD_ATTRIBUTE_LIST,
    PROC_THREAD_ATTRIBUTE_HANDLE_LIST, PROCESS_INFORMATION, STARTF_USESTDHANDLES, STARTUPINFOEXW,
    UpdateProcThreadAttribute,
};

use crate::platform::detached::{Detached, command_line};

/// Runs this program with these arguments.
pub fn start_detached(arguments: &[OsString], with_log: bool) -> io::Result<Detached> {
    let program = std::env::current_exe()?;
    let nothing = File::open("NUL")?;
    let (output, its_output) = io::pipe()?;
    let (log, its_log): (Option<Box<dyn io::Read + Send>>, Box<dyn AsRawHandle>) = if with_log {
        let (log, its_log) = io::pipe()?;
        (Some(Box::new(log)), Box::new(its_log))
    } else {
        let nowhere = OpenOptions::new().write(true).open("NUL")?;
        (None, Box::new(nowhere))
    };
    let handles = [
        nothing.as_raw_handle(),
        its_output.as_raw_handle(),
        its_log.as_raw_handle(),
    ];
    let process = Start {
        program: &program,
        line: command_line(program.as_os_str(), arguments),
        handles,
    };
    match process.create(CREATE_BREAKAWAY_FROM_JOB) {
        Err(error) if error.raw_os_error() == Some(ERROR_ACCESS_DENIED.cast_signed()) => {
            log::warn!(
                "the caller's job lets no process go: if it ends early, work in the background ends with it"
            );
            process.create(0)?;
        }
        other => other?,
    }
    // Our copies of its ends are closed here, so that its end is the end of its pipes.
    Ok(Detached {
        output: Box::new(output),
        log,
        wait: Box::new(|| ()),
    })
}

/// A process to be.
struct Start<'a> {
    program: &'a Path,
    line: OsString,
    handles: [RawHandle; 3],
}

impl Start<'_> {
    fn create(&self, extra: u32) -> io::Result<()> {
        let program = wide(self.program.as_os_str());
        let mut line = wide(&self.line);
        // Not the caller's folder: the worker would keep it busy.
        let folder = wide(
            self.program
                .ancestors()
                .last()
                .unwrap_or(self.program)
                .as_os_str(),
        );
        let handles: [HANDLE; 3] = self.handles;
        for handle in handles {
            // SAFETY: an open handle of ours; changes a flag of it.
            if unsafe { SetHandleInformation(handle, HANDLE_FLAG_INHERIT, HANDLE_FLAG_INHERIT) }
                == 0
            {
                return Err(io::Error::last_os_error());
            }
        }
        let attributes = Attributes::only(&handles)?;
        let mut startup = STARTUPINFOEXW::default();
        startup.StartupInfo.cb = u32::try_from(size_of::<STARTUPINFOEXW>()).unwrap_or(0);
        startup.StartupInfo.dwFlags = STARTF_USESTDHANDLES;
        startup.StartupInfo.hStdInput = handles[0];
        startup.StartupInfo.hStdOutput = handles[1];
        startup.StartupInfo.hStdError = handles[2];
        startup.lpAttributeList = attributes.list();
        let mut process = PROCESS_INFORMATION::default();
        // SAFETY: both texts end with a zero, the line may be changed by the call; the structure says its own size
        // and lives, as its attribute list does, until the call is over; the last one is filled by a success.
        let done = unsafe {
            CreateProcessW(
                program.as_ptr(),
                line.as_mut_ptr(),
                ptr::null(),
                ptr::null(),
                1,
                CREATE_NO_WINDOW
                    | CREATE_NEW_PROCESS_GROUP
                    | CREATE_UNICODE_ENVIRONMENT
                    | EXTENDED_STARTUPINFO_PRESENT
                    | extra,
                ptr::null(),
                folder.as_ptr(),
                // The whole structure, of which the type names the beginning.
                ptr::from_ref(&startup).cast(),
                &mut process,
            )
        };
        if done == 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: two handles that a success gave us, and that nothing else closes.
        unsafe {
            drop(OwnedHandle::from_raw_handle(process.hProcess));
            drop(OwnedHandle::from_raw_handle(process.hThread));
        }
        Ok(())
    }
}

/// The list of handles that a process may inherit.
struct Attributes(Vec<usize>);

impl Attributes {
    fn only(handles: &[HANDLE; 3]) -> io::Result<Self> {
        let mut size = 0;
        // SAFETY: asks for the size only, and fails on purpose.
        unsafe { InitializeProcThreadAttributeList(ptr::null_mut(), 1, 0, &mut size) };
        // Numbers, so that the memory is aligned as the list needs it.
        let mut list = Self(vec![0; size.div_ceil(size_of::<usize>())]);
        // SAFETY: memory of the size that was asked for, which `list` owns from here to its end.
        if unsafe { InitializeProcThreadAttributeList(list.list_mut(), 1, 0, &mut size) } == 0 {
            // There is no list to be deleted.
            mem::take(&mut list.0);
            return Err(io::Error::last_os_error());
        }
        // SAFETY: an initialised list; the handles outlive it, as the caller keeps both.
        let done = unsafe {
            UpdateProcThreadAttribute(
                list.list_mut(),
                0,
                PROC_THREAD_ATTRIBUTE_HANDLE_LIST as usize,
                handles.as_ptr().cast(),
                size_of_val(handles),
                ptr::null_mut(),
                ptr::null(),
            )
        };
        if done == 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(list)
    }

    fn list(&self) -> LPPROC_THREAD_ATTRIBUTE_LIST {
        self.0.as_ptr().cast_mut().cast()
    }

    fn list_mut(&mut self) -> LPPROC_THREAD_ATTRIBUTE_LIST {
        self.0.as_mut_ptr().cast()
    }
}

impl Drop for Attributes {
    fn drop(&mut self) {
        if !self.0.is_empty() {
            // SAFETY: an initialised list that is not used any more.
            unsafe { DeleteProcThreadAttributeList(self.list_mut()) };
        }
    }
}

/// A text as Windows wants it, with a zero at the end.
fn wide(text: &OsStr) -> Vec<u16> {
    text.encode_wide().chain([0]).collect()
}
