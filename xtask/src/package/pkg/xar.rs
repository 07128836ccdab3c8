//! The outermost form of a macOS package: a xar archive, a table of contents in XML before the files themselves.
//!
//! The program `xar` writes the builder's clock, inode numbers and names of users into the table, so the few lines of
//! table that a package needs are written here.

use std::fmt::Write as _;

use sha1::{Digest, Sha1};

/// The length of the header, and what stands for SHA-1 in it, which all versions of macOS verify.
const HEADER: u16 = 28;
const SHA1: u32 = 1;
/// How long such a checksum is.
const SUM: usize = 20;

/// A file in the archive, or a folder of files.
pub(super) enum Member {
    /// Name and content.
    File(&'static str, Vec<u8>),
    /// Name and members.
    Folder(String, Vec<Member>),
}

/// The archive; `date` as RFC 3339 in UTC.
pub(super) fn of(members: &[Member], date: &str) -> Result<Vec<u8>, String> {
    // The files begin behind the checksum of the table.
    let mut heap = vec![0; SUM];
    let mut files = String::new();
    let mut number = 0;
    for member in members {
        describe(member, date, &mut number, &mut files, &mut heap);
    }
    let created = date.trim_end_matches('Z');
    let table = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<xar><toc><creation-time>{created}</creation-time>\
         <checksum style=\"sha1\"><offset>0</offset><size>{SUM}</size></checksum>\n{files}</toc></xar>\n"
    );
    let packed = miniz_oxide::deflate::compress_to_vec_zlib(table.as_bytes(), 9);
    heap[..SUM].copy_from_slice(&Sha1::digest(&packed));
    let size = |length: usize| u64::try_from(length).map_err(|e| e.to_string());
    let mut archive = b"xar!".to_vec();
    archive.extend_from_slice(&HEADER.to_be_bytes());
    archive.extend_from_slice(&1_u16.to_be_bytes());
    archive.extend_from_slice(&size(packed.len())?.to_be_bytes());
    archive.extend_from_slice(&size(table.len())?.to_be_bytes());
    archive.extend_from_slice(&SHA1.to_be_bytes());
    archive.extend_from_slice(&packed);
    archive.extend_from_slice(&heap);
    Ok(archive)
}

/// Writes a member's entry in the table, and its content to the heap as it is: what is large in it is compressed
/// already.
fn describe(member: &Member, date: &str, number: &mut u32, files: &mut String, heap: &mut Vec<u8>) {
    *number += 1;
    let _ = write!(files, "<file id=\"{number}\">");
    let (name, kind, mode) = match member {
        Member::File(name, content) => {
            let (offset, length) = (heap.len(), content.len());
            let sum: String = Sha1::digest(content)
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect();
            let _ = write!(
                files,
                "<data><length>{length}</length><offset>{offset}</offset><size>{length}</size>\
                 <encoding style=\"application/octet-stream\"/>\
                 <archived-checksum style=\"sha1\">{sum}</archived-checksum>\
                 <extracted-checksum style=\"sha1\">{sum}</extracted-checksum></data>"
            );
            heap.extend_from_slice(content);
            (*name, "file", "0644")
        }
        Member::Folder(name, _) => (name.as_str(), "directory", "0755"),
    };
    let _ = writeln!(
        files,
        "<mtime>{date}</mtime><mode>{mode}</mode><uid>0</uid><gid>0</gid><user>root</user><group>wheel</group>\
         <type>{kind}</type><name>{name}</name>"
    );
    // Readers want to know a folder's name before they come to what is in it.
    if let Member::Folder(_, members) = member {
        for member in members {
            describe(member, date, number, files, heap);
        }
    }
    files.push_str("</file>\n");
}

#[cfg(test)]
mod tests {
    use super::{Member, of};
    use crate::package::pkg::tests::unpacked;
    use std::fs;

    #[test]
    fn another_reader_finds_the_files() {
        let folder = vec![Member::File("Payload", vec![9; 100_000])];
        let members = [
            Member::File("Distribution", b"<x/>".to_vec()),
            Member::Folder("a.pkg".to_owned(), folder),
        ];
        let archive = of(&members, "2026-01-02T03:04:05Z").expect("an archive");
        let place = unpacked(&archive);
        let read = |file: &str| fs::read(place.path().join(file)).expect("unpacked");
        assert_eq!(read("Distribution"), b"<x/>");
        assert_eq!(read("a.pkg/Payload"), [9; 100_000]);
    }
}
