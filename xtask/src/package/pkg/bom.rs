//! A bill of materials in Apple's form: what the macOS installer takes note of, and what `pkgutil --files` says.
//!
//! Apple has not described the format. It is a store of numbered blocks with named entry points; what is written here
//! is what `mkbom` of the bomutils writes, which no distribution packages, and what the reader `apple-bom` understands.

use std::collections::{BTreeMap, VecDeque};

use super::payload::{Entry, Payload};

/// The store's head, most of which is unused.
const HEAD: usize = 512;
/// Paths that one leaf of the tree takes. A package of ours has far fewer.
const LEAF: usize = 256;
/// Both processors; for everything, as Apple's own tools write it.
const ARCHITECTURE: u16 = 3;

/// The bill for a payload.
pub(super) fn of(payload: &Payload) -> Result<Vec<u8>, String> {
    let count = payload.entries.len();
    if count > LEAF {
        return Err(format!("{count} paths are more than one leaf takes"));
    }
    let mut store = Store::default();
    let mut info = Vec::new();
    for number in [1, number(count + 1)?, 1, 0, 0, 0, 0] {
        put(&mut info, number);
    }
    store.named("BomInfo", info);
    let paths = leaf(&mut store, payload)?;
    let paths = store.add(paths);
    store.named("Paths", tree(paths, 4096, number(count)?));
    let nothing = [0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let empty = |store: &mut Store, size| {
        let leaf = store.add(nothing.to_vec());
        tree(leaf, size, 0)
    };
    let links = empty(&mut store, 4096);
    store.named("HLIndex", links);
    let index = empty(&mut store, 128);
    let mut versions = Vec::new();
    for number in [1, store.add(index), 0] {
        put(&mut versions, number);
    }
    versions.push(0);
    store.named("VIndex", versions);
    let large = empty(&mut store, 4096);
    store.named("Size64", large);
    store.finish()
}

/// The list of paths: for each a block with its properties, one with its number, and one with its parent and name.
fn leaf(store: &mut Store, payload: &Payload) -> Result<Vec<u8>, String> {
    let mut children: BTreeMap<&str, Vec<(&str, &str, &Entry)>> = BTreeMap::new();
    for (path, entry) in &payload.entries {
        let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
        children
            .entry(parent)
            .or_default()
            .push((path, name, entry));
    }
    let mut leaf = Vec::new();
    leaf.extend_from_slice(&1_u16.to_be_bytes());
    leaf.extend_from_slice(&small(payload.entries.len())?.to_be_bytes());
    put(&mut leaf, 0);
    put(&mut leaf, 0);
    // Level by level: parents come before their children.
    let mut folders = VecDeque::from([("", 0)]);
    let mut id = 0;
    while let Some((folder, parent)) = folders.pop_front() {
        for (path, name, entry) in children.remove(folder).unwrap_or_default() {
            id += 1;
            let properties = store.add(properties(entry, payload.date)?);
            let mut numbered = Vec::new();
            put(&mut numbered, id);
            put(&mut numbered, properties);
            put(&mut leaf, store.add(numbered));
            let mut named = Vec::new();
            put(&mut named, parent);
            named.extend_from_slice(name.as_bytes());
            named.push(0);
            put(&mut leaf, store.add(named));
            folders.push_back((path, id));
        }
    }
    Ok(leaf)
}

/// Type, mode, owner, group, date, size and checksum.
fn properties(entry: &Entry, date: u32) -> Result<Vec<u8>, String> {
    let (kind, sum) = if entry.is_folder() {
        (2, 0)
    } else {
        (1, checksum(&entry.content))
    };
    let mut block = vec![kind, 1];
    block.extend_from_slice(&ARCHITECTURE.to_be_bytes());
    block.extend_from_slice(&small(entry.mode as usize)?.to_be_bytes());
    for number in [0, entry.group, date, number(entry.content.len())?] {
        put(&mut block, number);
    }
    block.push(1);
    put(&mut block, sum);
    // The length of a link's target; there are no links.
    put(&mut block, 0);
    Ok(block)
}

fn tree(child: u32, size: u32, paths: u32) -> Vec<u8> {
    let mut tree = b"tree".to_vec();
    for number in [1, child, size, paths] {
        put(&mut tree, number);
    }
    tree.push(0);
    tree
}

/// The checksum of POSIX's `cksum`.
fn checksum(content: &[u8]) -> u32 {
    let length = content.len().to_le_bytes();
    let used = length.len() - length.iter().rev().take_while(|byte| **byte == 0).count();
    let sum = content.iter().chain(&length[..used]).fold(0, |sum, byte| {
        (0..8).fold(sum ^ (u32::from(*byte) << 24), |sum: u32, _| {
            (sum << 1) ^ if sum >> 31 == 1 { 0x04c1_1db7 } else { 0 }
        })
    });
    !sum
}

fn put(bytes: &mut Vec<u8>, number: u32) {
    bytes.extend_from_slice(&number.to_be_bytes());
}

fn number(size: usize) -> Result<u32, String> {
    u32::try_from(size).map_err(|_| "too large for a bill of materials".to_owned())
}

fn small(size: usize) -> Result<u16, String> {
    u16::try_from(size).map_err(|_| "too large for a bill of materials".to_owned())
}

/// Blocks, and the names of some.
#[derive(Default)]
struct Store {
    blocks: Vec<Vec<u8>>,
    names: Vec<(&'static str, u32)>,
}

impl Store {
    /// Adds a block and gives its number; they count from 1.
    fn add(&mut self, block: Vec<u8>) -> u32 {
        self.blocks.push(block);
        u32::try_from(self.blocks.len()).unwrap_or(u32::MAX)
    }

    fn named(&mut self, name: &'static str, block: Vec<u8>) {
        let place = self.add(block);
        self.names.push((name, place));
    }

    /// Head, names, blocks, and the table of where they are, with an empty list of gaps.
    fn finish(self) -> Result<Vec<u8>, String> {
        let mut names = Vec::new();
        put(&mut names, number(self.names.len())?);
        for (name, place) in &self.names {
            put(&mut names, *place);
            names.push(u8::try_from(name.len()).map_err(|e| e.to_string())?);
            names.extend_from_slice(name.as_bytes());
        }
        let mut table = Vec::new();
        put(&mut table, number(self.blocks.len() + 1)?);
        put(&mut table, 0);
        put(&mut table, 0);
        let mut content = Vec::new();
        for block in &self.blocks {
            put(&mut table, number(HEAD + names.len() + content.len())?);
            put(&mut table, number(block.len())?);
            content.extend_from_slice(block);
        }
        table.extend_from_slice(&[0; 20]);
        let mut file = b"BOMStore".to_vec();
        for number in [
            1,
            number(self.blocks.len())?,
            number(HEAD + names.len() + content.len())?,
            number(table.len())?,
            number(HEAD)?,
            number(names.len())?,
        ] {
            put(&mut file, number);
        }
        file.resize(HEAD, 0);
        for part in [names, content, table] {
            file.extend_from_slice(&part);
        }
        Ok(file)
    }
}

#[cfg(test)]
mod tests {
    use super::super::payload::tests::sample;
    use super::{checksum, of};
    use apple_bom::ParsedBom;

    #[test]
    fn checksums_are_those_of_cksum() {
        for (content, sum) in [
            (&b""[..], 4_294_967_295),
            (b"hi", 2_352_138_605),
            (&[0; 300], 351_385_237),
        ] {
            assert_eq!(checksum(content), sum);
        }
    }

    #[test]
    fn another_reader_finds_every_path_with_its_properties() {
        let payload = sample();
        let bytes = of(&payload).expect("a bill");
        let bom = ParsedBom::parse(&bytes).expect("readable");
        let paths = bom.paths().expect("paths");
        assert_eq!(paths.len(), payload.entries.len());
        for path in paths {
            let entry = &payload.entries[path.path()];
            assert_eq!(u32::from(path.file_mode()), entry.mode, "{path:?}");
            assert_eq!((path.user_id(), path.group_id()), (0, entry.group));
            assert_eq!(path.size(), entry.content.len());
            assert_eq!(path.modified_time().timestamp(), 1_700_000_000);
            if !entry.is_folder() {
                assert_eq!(path.crc32(), Some(checksum(&entry.content)));
            }
        }
    }
}
