//! What a macOS package installs: a list of folders and files, and its form as a cpio archive ("odc", the only one
//! that the installer reads).
//!
//! The list stands for itself: owners, modes and dates do not depend on the machine that builds.

use std::collections::BTreeMap;

/// The group that may change `/Applications` on every Mac.
const ADMIN: u32 = 80;

/// A folder or a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// Its type and permissions, as `stat` gives them.
    pub(super) mode: u32,
    /// Its group; its owner is always root.
    pub(super) group: u32,
    /// A file's content.
    pub(super) content: Vec<u8>,
}

impl Entry {
    /// Whether it is a folder.
    pub(super) fn is_folder(&self) -> bool {
        self.mode & 0o170_000 == 0o040_000
    }
}

/// Everything below the system's root, sorted by path (`./usr/local/bin/gatepass`).
#[derive(Clone, Debug, Default)]
pub(super) struct Payload {
    /// The folders and files.
    pub(super) entries: BTreeMap<String, Entry>,
    /// The date of all of them, in seconds since 1970.
    pub(super) date: u32,
}

impl Payload {
    /// An empty one.
    pub(super) fn new(date: u32) -> Self {
        let mut payload = Self {
            entries: BTreeMap::new(),
            date,
        };
        payload.folder(".");
        payload
    }

    /// Adds a file, and the folders that it lies in; everybody may read it, root alone may write.
    pub(super) fn file(&mut self, path: &str, executable: bool, content: Vec<u8>) {
        let path = format!("./{path}");
        let mut at = path.as_str();
        while let Some((parent, _)) = at.rsplit_once('/') {
            self.folder(parent);
            at = parent;
        }
        let mode = if executable { 0o100_755 } else { 0o100_644 };
        self.entries.insert(
            path,
            Entry {
                mode,
                group: 0,
                content,
            },
        );
    }

    fn folder(&mut self, path: &str) {
        // As the system itself has it.
        let (mode, group) = match path {
            "./Applications" => (0o040_775, ADMIN),
            _ => (0o040_755, 0),
        };
        self.entries.insert(
            path.to_owned(),
            Entry {
                mode,
                group,
                content: Vec::new(),
            },
        );
    }

    /// The sizes of all files, in KiB, rounded up.
    pub(super) fn kilobytes(&self) -> usize {
        let bytes: usize = self.entries.values().map(|one| one.content.len()).sum();
        bytes.div_ceil(1024)
    }

    /// The archive.
    pub(super) fn cpio(&self) -> Vec<u8> {
        let mut archive = Vec::new();
        for (number, (path, entry)) in (1..).zip(&self.entries) {
            member(&mut archive, number, path, entry, self.date);
        }
        let end = Entry {
            mode: 0,
            group: 0,
            content: Vec::new(),
        };
        member(&mut archive, 0, "TRAILER!!!", &end, 0);
        archive
    }
}

/// One member: a header of octal numbers, the path with a zero byte, the content.
fn member(archive: &mut Vec<u8>, number: u32, path: &str, entry: &Entry, date: u32) {
    let links = if entry.is_folder() { 2 } else { 1 };
    let (device, owner, special) = (0, 0, 0);
    let header = format!(
        "070707{device:06o}{number:06o}{:06o}{owner:06o}{:06o}{links:06o}{special:06o}{date:011o}{:06o}{:011o}{path}\0",
        entry.mode,
        entry.group,
        path.len() + 1,
        entry.content.len(),
    );
    archive.extend_from_slice(header.as_bytes());
    archive.extend_from_slice(&entry.content);
}

#[cfg(test)]
pub(super) mod tests {
    use super::Payload;
    use crate::package::pkg::tests::listed;

    /// A small payload.
    pub(crate) fn sample() -> Payload {
        let mut payload = Payload::new(1_700_000_000);
        payload.file("usr/local/bin/gatepass", true, b"hi".to_vec());
        let app = "Applications/A b.app/Contents/Info.plist";
        payload.file(app, false, vec![7; 3000]);
        payload
    }

    #[test]
    fn another_reader_finds_every_member() {
        let lines = listed(&sample().cpio());
        assert_eq!(
            lines,
            [
                "drwxr-xr-x 2 0 0 0 Nov 14 2023 .",
                "drwxrwxr-x 2 0 80 0 Nov 14 2023 ./Applications",
                "drwxr-xr-x 2 0 0 0 Nov 14 2023 ./Applications/A b.app",
                "drwxr-xr-x 2 0 0 0 Nov 14 2023 ./Applications/A b.app/Contents",
                "-rw-r--r-- 1 0 0 3000 Nov 14 2023 ./Applications/A b.app/Contents/Info.plist",
                "drwxr-xr-x 2 0 0 0 Nov 14 2023 ./usr",
                "drwxr-xr-x 2 0 0 0 Nov 14 2023 ./usr/local",
                "drwxr-xr-x 2 0 0 0 Nov 14 2023 ./usr/local/bin",
                "-rwxr-xr-x 1 0 0 2 Nov 14 2023 ./usr/local/bin/gatepass",
            ]
        );
    }
}
