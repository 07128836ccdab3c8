//! Tells Windows where a program's load configuration is, which GNU's linker does not.
//!
//! `build.rs` puts the structure into the program; what is missing is its address in the head ("PE Format", data
//! directories). Microsoft's linker and LLD write that themselves, and nothing is changed then.

use std::fs;
use std::path::Path;

/// The section that `build.rs` makes, and the bytes in it.
const SECTION: &[u8; 8] = b".ldcfg\0\0";
const SIZE: u32 = 112;

/// Where the head says what ("PE Format", counted from the signature `PE\0\0`; programs of 64 bits).
const OFFSET_OF_PE: usize = 0x3c;
const SECTIONS: usize = 6;
const SIZE_OF_OPTIONAL: usize = 20;
const OPTIONAL: usize = 24;
const CHECKSUM: usize = OPTIONAL + 64;
const DIRECTORY: usize = OPTIONAL + 112 + 10 * 8;

/// Completes the program in its place.
pub(crate) fn complete(program: &Path) -> Result<(), String> {
    let failed = |why: String| format!("{}: {why}", program.display());
    let mut bytes = fs::read(program).map_err(|e| failed(e.to_string()))?;
    if in_bytes(&mut bytes).ok_or_else(|| failed("no load configuration in it".to_owned()))? {
        fs::write(program, bytes).map_err(|e| failed(e.to_string()))?;
    }
    Ok(())
}

/// Whether something was missing. `None` where this is not such a program.
fn in_bytes(bytes: &mut [u8]) -> Option<bool> {
    let pe = usize::try_from(word(bytes, OFFSET_OF_PE)?).ok()?;
    if bytes.get(pe..pe + 4)? != b"PE\0\0" || half(bytes, pe + OPTIONAL)? != 0x20b {
        return None;
    }
    let heads = pe + OPTIONAL + usize::from(half(bytes, pe + SIZE_OF_OPTIONAL)?);
    let head = (0..usize::from(half(bytes, pe + SECTIONS)?))
        .map(|index| heads + index * 40)
        .find(|head| bytes.get(*head..head + 8) == Some(SECTION))?;
    let address = word(bytes, head + 12)?;
    if word(bytes, pe + DIRECTORY)? == address {
        return Some(false);
    }
    put(bytes, pe + DIRECTORY, address)?;
    put(bytes, pe + DIRECTORY + 4, SIZE)?;
    put(bytes, pe + CHECKSUM, 0)?;
    let sum = checksum(bytes);
    put(bytes, pe + CHECKSUM, sum)?;
    Some(true)
}

/// What `CheckSumMappedFile` gives: the sum of all halves, folded into one, and the length.
fn checksum(bytes: &[u8]) -> u32 {
    let sum = bytes.chunks(2).fold(0_u32, |sum, pair| {
        let half = u32::from(pair[0]) | u32::from(pair.get(1).copied().unwrap_or(0)) << 8;
        let sum = sum + half;
        (sum & 0xffff) + (sum >> 16)
    });
    sum.wrapping_add(u32::try_from(bytes.len()).unwrap_or(0))
}

fn half(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn put(bytes: &mut [u8], at: usize, word: u32) -> Option<()> {
    bytes
        .get_mut(at..at + 4)?
        .copy_from_slice(&word.to_le_bytes());
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The heads of a program with one section.
    fn program(section: &[u8; 8]) -> Vec<u8> {
        let mut bytes = vec![0; 1024];
        put(&mut bytes, OFFSET_OF_PE, 0x80).unwrap();
        bytes[0x80..0x84].copy_from_slice(b"PE\0\0");
        bytes[0x80 + SECTIONS] = 1;
        bytes[0x80 + SIZE_OF_OPTIONAL] = 240;
        bytes[0x80 + OPTIONAL..][..2].copy_from_slice(&[0x0b, 0x02]);
        let head = 0x80 + OPTIONAL + 240;
        bytes[head..head + 8].copy_from_slice(section);
        put(&mut bytes, head + 12, 0x5000).unwrap();
        bytes
    }

    #[test]
    fn a_program_is_completed_once_and_anything_else_is_refused() {
        let mut whole = program(SECTION);
        assert_eq!(in_bytes(&mut whole), Some(true));
        assert_eq!(word(&whole, 0x80 + DIRECTORY), Some(0x5000));
        assert_eq!(word(&whole, 0x80 + DIRECTORY + 4), Some(SIZE));
        let sum = word(&whole, 0x80 + CHECKSUM).unwrap();
        put(&mut whole, 0x80 + CHECKSUM, 0).unwrap();
        assert_eq!(sum, checksum(&whole));
        assert_eq!(in_bytes(&mut whole), Some(false));
        assert_eq!(in_bytes(&mut program(b".other\0\0")), None);
        assert_eq!(in_bytes(&mut []), None);
        assert_eq!(in_bytes(&mut whole[..0x90]), None);
    }
}
