//! A secret that is larger than one entry of its store, kept in several.
//!
//! The Windows Credential Manager takes 2560 bytes per entry; a session with two tokens is larger. So the entry
//! under the secret's own name, the index, names the chunks, their number and a digest of the whole:
//!
//! ```text
//! default        gatepass-pieces 1 a 3 <sha256 of the whole>
//! default#a.0    the first chunk
//! default#a.1
//! default#a.2
//! ```
//!
//! The index is replaced in one step, and only once every chunk of the new set lies there; the two sets, `a` and
//! `b`, take turns. Whatever moment a process ends at, the index names a complete set: the old one or the new one.
//! What such a death leaves behind has a name that the next change finds and removes: a set's chunks are written
//! upwards and removed downwards, so they never have a gap.

use std::fmt::Write;

use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::StoreError;

/// Largest entry of the Windows Credential Manager, in bytes (`CRED_MAX_CREDENTIAL_BLOB_SIZE`).
pub(super) const ENTRY: usize = 5 * 512;

/// Most chunks: more than the largest session record needs.
const MOST: usize = 128;

/// First words of an index. No session record begins so.
const INDEX: &str = "gatepass-pieces 1 ";

/// How often a reader looks again, where a writer removed the chunks that it was reading.
const LOOKS: usize = 5;

/// The store of single entries underneath. Each call is one step, done or not done.
pub(super) trait Entries {
    /// The entry of this name.
    fn get(&self, name: &str) -> Result<Option<Zeroizing<Vec<u8>>>, StoreError>;
    /// Creates or replaces the entry of this name.
    fn set(&self, name: &str, bytes: &[u8]) -> Result<(), StoreError>;
    /// Removes the entry of this name; says whether there was one.
    fn delete(&self, name: &str) -> Result<bool, StoreError>;
}

/// The two sets that take turns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ChunkSet {
    A,
    B,
}

impl ChunkSet {
    const BOTH: [Self; 2] = [Self::A, Self::B];

    fn letter(self) -> &'static str {
        match self {
            Self::A => "a",
            Self::B => "b",
        }
    }

    fn other(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }

    /// The name of a chunk. `#` stands in no profile's name.
    fn chunk(self, name: &str, number: usize) -> String {
        format!("{name}#{}.{number}", self.letter())
    }
}

/// The entry under the secret's own name.
#[derive(Clone, Debug, PartialEq, Eq)]
struct ChunkIndex {
    set: ChunkSet,
    chunks: usize,
    digest: String,
}

impl ChunkIndex {
    fn parse(bytes: &[u8]) -> Option<Self> {
        let text = str::from_utf8(bytes).ok()?.strip_prefix(INDEX)?;
        let mut words = text.split(' ');
        let letter = words.next()?;
        let set = ChunkSet::BOTH
            .into_iter()
            .find(|set| set.letter() == letter)?;
        let chunks = words.next()?.parse().ok().filter(|count| *count <= MOST)?;
        let digest = words.next()?.to_owned();
        words.next().is_none().then_some(Self {
            set,
            chunks,
            digest,
        })
    }

    fn bytes(&self) -> Vec<u8> {
        format!(
            "{INDEX}{} {} {}",
            self.set.letter(),
            self.chunks,
            self.digest
        )
        .into_bytes()
    }
}

/// The secret under this name. One whose chunks do not fit together is given as its index alone, which cannot be
/// taken for a session.
pub(super) fn read(
    entries: &impl Entries,
    name: &str,
) -> Result<Option<Zeroizing<Vec<u8>>>, StoreError> {
    let mut looks = 0;
    loop {
        let Some(bytes) = entries.get(name)? else {
            return Ok(None);
        };
        let Some(index) = ChunkIndex::parse(&bytes) else {
            return Ok(Some(bytes));
        };
        if let Some(whole) = assemble(entries, name, &index)? {
            return Ok(Some(whole));
        }
        // A writer may have put a new set in its place since the index was read.
        looks += 1;
        if looks == LOOKS {
            return Ok(Some(bytes));
        }
    }
}

/// The whole that an index names; `None` if the chunks are not those.
fn assemble(
    entries: &impl Entries,
    name: &str,
    index: &ChunkIndex,
) -> Result<Option<Zeroizing<Vec<u8>>>, StoreError> {
    // At once, so that no half-filled copy is left behind by growing.
    let mut whole = Zeroizing::new(Vec::with_capacity(index.chunks * ENTRY));
    for number in 0..index.chunks {
        match entries.get(&index.set.chunk(name, number))? {
            Some(chunk) if chunk.len() <= ENTRY => whole.extend_from_slice(&chunk),
            _ => return Ok(None),
        }
    }
    Ok((digest(&whole) == index.digest).then_some(whole))
}

/// Creates or replaces the secret under this name.
pub(super) fn write(entries: &impl Entries, name: &str, secret: &[u8]) -> Result<(), StoreError> {
    let now = entries
        .get(name)?
        .and_then(|bytes| ChunkIndex::parse(&bytes))
        .map(|index| index.set);
    // A secret that looks like an index would be taken for one.
    if secret.len() <= ENTRY && !secret.starts_with(INDEX.as_bytes()) {
        entries.set(name, secret)?;
        for set in ChunkSet::BOTH {
            tidy(entries, name, set, 0);
        }
        return Ok(());
    }
    let set = now.map_or(ChunkSet::A, ChunkSet::other);
    let chunks = secret.chunks(ENTRY);
    let count = chunks.len();
    if count > MOST {
        return Err(StoreError::Full);
    }
    for (number, chunk) in chunks.enumerate() {
        entries.set(&set.chunk(name, number), chunk)?;
    }
    let index = ChunkIndex {
        set,
        chunks: count,
        digest: digest(secret),
    };
    entries.set(name, &index.bytes())?;
    tidy(entries, name, set.other(), 0);
    tidy(entries, name, set, count);
    Ok(())
}

/// Removes the secret; says whether there was one, or a part of one.
///
/// The index goes last: while any chunk is there, a process that asks again is not told that all is gone.
pub(super) fn remove(entries: &impl Entries, name: &str) -> Result<bool, StoreError> {
    let mut there = false;
    for set in ChunkSet::BOTH {
        there |= clear(entries, name, set, 0)?;
    }
    Ok(entries.delete(name)? || there)
}

/// Removes what an earlier secret left behind. The new one is complete, so a failure here is not one of the
/// write: the next change tries again.
fn tidy(entries: &impl Entries, name: &str, set: ChunkSet, from: usize) {
    if clear(entries, name, set, from).is_err() {
        log::warn!(
            "chunks of an earlier session could not be removed; the next change tries again"
        );
    }
}

/// Removes a set's chunks from this one on, the last one first.
fn clear(
    entries: &impl Entries,
    name: &str,
    set: ChunkSet,
    from: usize,
) -> Result<bool, StoreError> {
    let mut end = from;
    while end < MOST && entries.get(&set.chunk(name, end))?.is_some() {
        end += 1;
    }
    for number in (from..end).rev() {
        entries.delete(&set.chunk(name, number))?;
    }
    Ok(end > from)
}

fn digest(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(64);
    for byte in Sha256::digest(bytes) {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    /// A store with the limit of the real one, which dies at a chosen step.
    #[derive(Default)]
    struct Fake {
        entries: RefCell<BTreeMap<String, Vec<u8>>>,
        /// Changes that still succeed; `None`: all of them.
        left: Cell<Option<usize>>,
        /// Whether the change at which the process dies has happened all the same.
        last_one_happens: Cell<bool>,
    }

    impl Fake {
        fn change(
            &self,
            work: impl FnOnce(&mut BTreeMap<String, Vec<u8>>),
        ) -> Result<(), StoreError> {
            match self.left.get() {
                Some(0) => {
                    if self.last_one_happens.take() {
                        work(&mut self.entries.borrow_mut());
                    }
                    Err(StoreError::Silent)
                }
                left => {
                    self.left.set(left.map(|left| left - 1));
                    work(&mut self.entries.borrow_mut());
                    Ok(())
                }
            }
        }

        fn dies_after(&self, changes: usize, and_one_more: bool) {
            self.left.set(Some(changes));
            self.last_one_happens.set(and_one_more);
        }

        fn lives(&self) {
            self.left.set(None);
            self.last_one_happens.set(false);
        }

        fn names(&self) -> Vec<String> {
            self.entries.borrow().keys().cloned().collect()
        }

        fn read(&self) -> Option<Vec<u8>> {
            read(self, "p").unwrap().map(|bytes| bytes.to_vec())
        }
    }

    impl Entries for Fake {
        fn get(&self, name: &str) -> Result<Option<Zeroizing<Vec<u8>>>, StoreError> {
            Ok(self.entries.borrow().get(name).cloned().map(Zeroizing::new))
        }

        fn set(&self, name: &str, bytes: &[u8]) -> Result<(), StoreError> {
            assert!(bytes.len() <= ENTRY, "the real store refuses this");
            self.change(|entries| drop(entries.insert(name.to_owned(), bytes.to_vec())))
        }

        fn delete(&self, name: &str) -> Result<bool, StoreError> {
            let there = self.entries.borrow().contains_key(name);
            self.change(|entries| drop(entries.remove(name)))
                .map(|()| there)
        }
    }

    /// A secret of this size, different from those with another mark.
    fn secret(size: usize, mark: u8) -> Vec<u8> {
        (0..size).map(|i| (i % 251) as u8 ^ mark).collect()
    }

    #[test]
    fn secrets_of_every_size_come_back_in_as_few_entries_as_they_need() {
        for (size, entries) in [
            (0, 1),
            (1, 1),
            (ENTRY - 1, 1),
            (ENTRY, 1),
            (ENTRY + 1, 3),
            (2 * ENTRY, 3),
            (2 * ENTRY + 1, 4),
            (64 * 1024, 27),
            (ENTRY * MOST, MOST + 1),
        ] {
            let store = Fake::default();
            write(&store, "p", &secret(size, 1)).unwrap();
            assert_eq!(store.read().unwrap(), secret(size, 1), "{size} bytes");
            assert_eq!(store.names().len(), entries, "{size} bytes");
            assert!(remove(&store, "p").unwrap(), "{size} bytes");
            assert_eq!(store.names(), [""; 0], "{size} bytes");
            assert!(!remove(&store, "p").unwrap(), "{size} bytes");
        }
        let store = Fake::default();
        let too_large = write(&store, "p", &secret(ENTRY * MOST + 1, 1));
        assert_eq!(too_large, Err(StoreError::Full));
        assert_eq!(store.names(), [""; 0]);
    }

    #[test]
    fn a_secret_that_reads_like_an_index_is_a_secret() {
        let store = Fake::default();
        let odd = format!("{INDEX}a 1 00");
        write(&store, "p", odd.as_bytes()).unwrap();
        assert_eq!(store.read().unwrap(), odd.as_bytes());
    }

    #[test]
    fn pieces_that_do_not_fit_together_are_no_secret() {
        for damage in [
            (|store: &Fake| drop(store.entries.borrow_mut().remove("p#a.1"))) as fn(&Fake),
            |store| {
                drop(
                    store
                        .entries
                        .borrow_mut()
                        .insert("p#a.0".to_owned(), secret(ENTRY, 7)),
                )
            },
            |store| {
                drop(
                    store
                        .entries
                        .borrow_mut()
                        .insert("p#a.1".to_owned(), Vec::new()),
                )
            },
        ] {
            let store = Fake::default();
            write(&store, "p", &secret(2 * ENTRY, 1)).unwrap();
            damage(&store);
            assert!(store.read().unwrap().starts_with(INDEX.as_bytes()));
            // And it can be signed out of, or written over.
            write(&store, "p", &secret(3 * ENTRY, 2)).unwrap();
            assert_eq!(store.read().unwrap(), secret(3 * ENTRY, 2));
            assert!(remove(&store, "p").unwrap());
            assert_eq!(store.names(), [""; 0]);
        }
    }

    /// A reader whose writer is faster: the set it reads is replaced between two of its steps.
    struct Overtaken<'a>(&'a Fake, Cell<usize>);

    impl Entries for Overtaken<'_> {
        fn get(&self, name: &str) -> Result<Option<Zeroizing<Vec<u8>>>, StoreError> {
            self.1.set(self.1.get() + 1);
            if self.1.get() == 2 {
                write(self.0, "p", &secret(2 * ENTRY, 9))?;
            }
            self.0.get(name)
        }
        fn set(&self, name: &str, bytes: &[u8]) -> Result<(), StoreError> {
            self.0.set(name, bytes)
        }
        fn delete(&self, name: &str) -> Result<bool, StoreError> {
            self.0.delete(name)
        }
    }

    #[test]
    fn a_reader_that_was_overtaken_reads_the_new_secret() {
        let store = Fake::default();
        write(&store, "p", &secret(3 * ENTRY, 1)).unwrap();
        let seen = read(&Overtaken(&store, Cell::new(0)), "p")
            .unwrap()
            .unwrap();
        assert_eq!(*seen, secret(2 * ENTRY, 9));
    }

    proptest! {
        #[test]
        fn a_death_between_any_two_steps_leaves_the_old_secret_or_the_new_one(
            changes in proptest::collection::vec(
                (0..5 * ENTRY, proptest::option::of((0..14_usize, any::<bool>()))), 1..8),
        ) {
            let store = Fake::default();
            let mut stored: Option<Vec<u8>> = None;
            for (mark, (size, death)) in changes.into_iter().enumerate() {
                let new = secret(size, mark as u8);
                if let Some((after, and_one_more)) = death {
                    store.dies_after(after, and_one_more);
                }
                let written = write(&store, "p", &new);
                store.lives();
                let found = store.read();
                if written.is_ok() {
                    prop_assert_eq!(found.as_ref(), Some(&new));
                } else {
                    prop_assert!(found == stored || found.as_ref() == Some(&new));
                }
                stored = found;
                // No step ever leaves a chunk that the next change would not find.
                for set in ChunkSet::BOTH {
                    let indexes: Vec<usize> = (0..MOST).filter(|index| {
                        store.entries.borrow().contains_key(&set.chunk("p", *index))
                    }).collect();
                    prop_assert_eq!(&indexes, &(0..indexes.len()).collect::<Vec<_>>());
                }
            }
            // A change that is let finish leaves nothing else behind.
            write(&store, "p", &secret(ENTRY + 1, 77)).unwrap();
            prop_assert_eq!(store.names().len(), 3);
            write(&store, "p", b"small").unwrap();
            prop_assert_eq!(store.names(), ["p"]);
        }

        #[test]
        fn a_sign_out_that_was_cut_off_can_be_repeated(size in 0..5 * ENTRY, after in 0..8_usize, and_one_more: bool) {
            let store = Fake::default();
            write(&store, "p", &secret(size, 1)).unwrap();
            store.dies_after(after, and_one_more);
            let cut_off = remove(&store, "p").is_err();
            store.lives();
            // Either the whole is still there, or nothing that could be taken for it.
            if let Some(found) = store.read() {
                prop_assert!(cut_off && (found == secret(size, 1) || found.starts_with(INDEX.as_bytes())));
            }
            remove(&store, "p").unwrap();
            prop_assert_eq!(store.names(), [""; 0]);
        }
    }
}
