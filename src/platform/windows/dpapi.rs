//! Data that only this user, at this machine, can read (DPAPI).
#![allow(
    unsafe_code,
    reason = "the system's calls for it take and give pointers to memory"
)]

use std::{io, ptr, slice};

use windows_sys::Win32::Foundation::LocalFree;
use windows_sys::Win32::Security::Cryptography::{
    CRYPT_INTEGER_BLOB, CRYPTPROTECT_UI_FORBIDDEN, CryptProtectData, CryptUnprotectData,
};
use zeroize::{Zeroize, Zeroizing};

/// Sets our data apart from other programs'. Not a secret.
const PURPOSE: &[u8] = b"gatepass token cache 1";

/// Encrypts bytes for this user.
pub fn protect(bytes: &[u8]) -> io::Result<Vec<u8>> {
    // SAFETY: as `call` demands: the function reads the first two and fills the third, or fails.
    let sealed = call(bytes, |data, purpose, out| unsafe {
        CryptProtectData(
            data,
            ptr::null(),
            purpose,
            ptr::null(),
            ptr::null(),
            CRYPTPROTECT_UI_FORBIDDEN,
            out,
        )
    })?;
    Ok(sealed.to_vec())
}

/// Decrypts what [`protect`] gave.
pub fn unprotect(bytes: &[u8]) -> io::Result<Zeroizing<Vec<u8>>> {
    // SAFETY: as above.
    call(bytes, |data, purpose, out| unsafe {
        CryptUnprotectData(
            data,
            ptr::null_mut(),
            purpose,
            ptr::null(),
            ptr::null(),
            CRYPTPROTECT_UI_FORBIDDEN,
            out,
        )
    })
}

/// Calls one of the two; they differ in a parameter that is not used.
fn call(
    bytes: &[u8],
    function: impl FnOnce(
        *const CRYPT_INTEGER_BLOB,
        *const CRYPT_INTEGER_BLOB,
        *mut CRYPT_INTEGER_BLOB,
    ) -> windows_sys::core::BOOL,
) -> io::Result<Zeroizing<Vec<u8>>> {
    let blob = |bytes: &[u8]| -> io::Result<CRYPT_INTEGER_BLOB> {
        Ok(CRYPT_INTEGER_BLOB {
            cbData: u32::try_from(bytes.len()).map_err(|_| io::ErrorKind::InvalidInput)?,
            // Read, never written, whatever the type says.
            pbData: bytes.as_ptr().cast_mut(),
        })
    };
    let (data, purpose) = (blob(bytes)?, blob(PURPOSE)?);
    let mut out = CRYPT_INTEGER_BLOB {
        cbData: 0,
        pbData: ptr::null_mut(),
    };
    if function(&data, &purpose, &mut out) == 0 {
        return Err(io::Error::last_os_error());
    }
    if out.pbData.is_null() {
        return Err(io::ErrorKind::InvalidData.into());
    }
    // SAFETY: the call succeeded, so `out` describes memory that it allocated for us and that nothing else uses.
    let given = unsafe { slice::from_raw_parts_mut(out.pbData, out.cbData as usize) };
    let copy = Zeroizing::new(given.to_vec());
    given.zeroize();
    // SAFETY: allocated by the call with `LocalAlloc`, ours to free, not used any more.
    unsafe { LocalFree(out.pbData.cast()) };
    Ok(copy)
}

#[cfg(test)]
mod tests {
    use super::{protect, unprotect};

    #[test]
    fn what_is_protected_comes_back_and_cannot_be_read_or_changed_in_between() {
        for size in [0, 1, 16, 20_000] {
            let secret = vec![0x41; size];
            let mut sealed = protect(&secret).unwrap();
            assert!(size < 8 || !sealed.windows(8).any(|part| part == &secret[..8]));
            assert_eq!(*unprotect(&sealed).unwrap(), secret);
            let middle = sealed.len() / 2;
            sealed[middle] ^= 1;
            assert!(unprotect(&sealed).is_err());
        }
        assert!(unprotect(b"something else").is_err());
    }
}
