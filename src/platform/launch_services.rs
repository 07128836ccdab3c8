//! Opening an address in the person's browser from within this process, on macOS.
//!
//! `/usr/bin/open` would have the address, and so `state`, among its arguments, which every user of the machine can
//! read. LaunchServices hands it to the browser as an Apple event.
#![allow(unsafe_code, reason = "LaunchServices has no safe call")]

use std::ptr;

use core_foundation::base::TCFType;
use core_foundation::string::CFString;
use core_foundation::url::{CFURL, CFURLCreateWithString, CFURLRef};
use url::Url;

#[link(name = "CoreServices", kind = "framework")]
unsafe extern "C" {
    /// `LSOpen.h`: opens a URL with the default application for its scheme.
    fn LSOpenCFURLRef(address: CFURLRef, opened: *mut CFURLRef) -> i32;
}

/// Opens an address with the default browser.
///
/// # Errors
/// What LaunchServices says, by number.
pub(super) fn open(address: &Url) -> Result<(), String> {
    let text = CFString::new(address.as_str());
    // SAFETY: a string of ours that lives through the call; no base and the default allocator are null.
    let made =
        unsafe { CFURLCreateWithString(ptr::null(), text.as_concrete_TypeRef(), ptr::null()) };
    if made.is_null() {
        return Err("macOS does not take the address".to_owned());
    }
    // SAFETY: created above and not null; from here on it is released with the wrapper.
    let made = unsafe { CFURL::wrap_under_create_rule(made) };
    // SAFETY: a URL that lives through the call; what was opened is not asked for.
    match unsafe { LSOpenCFURLRef(made.as_concrete_TypeRef(), ptr::null_mut()) } {
        0 => Ok(()),
        status => Err(format!(
            "no browser could be started (LaunchServices {status})"
        )),
    }
}
