//! What was true before Rust's runtime started.
//!
//! The runtime opens `/dev/null` in place of a closed standard stream, after which a token written to a
//! closed standard output would vanish with a success. So the state of descriptor 1 is read before `main`.
#![allow(
    unsafe_code,
    reason = "a function in the init array is the only code that runs before the runtime's own start"
)]

use std::sync::atomic::{AtomicBool, Ordering};

static CLOSED: AtomicBool = AtomicBool::new(false);

/// Whether the caller closed standard output before it started us.
pub fn stdout_was_closed() -> bool {
    CLOSED.load(Ordering::Relaxed)
}

extern "C" fn note_standard_output() {
    if rustix::io::fcntl_getfd(rustix::stdio::stdout()).is_err() {
        CLOSED.store(true, Ordering::Relaxed);
    }
}

// SAFETY: the section holds pointers to functions of this signature (System V ABI, "Initialization and
// Termination Functions"); `note_standard_output` makes one system call, allocates nothing and cannot unwind.
#[used]
#[cfg_attr(target_os = "linux", unsafe(link_section = ".init_array"))]
#[cfg_attr(target_os = "macos", unsafe(link_section = "__DATA,__mod_init_func"))]
static AT_START: extern "C" fn() = note_standard_output;
