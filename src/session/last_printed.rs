//! Which token each recurring call was given last, and when.
//!
//! A host that keeps its token, and asks again just after it was given one, shows that the gateway has refused it (401):
//! whatever the token's life says, one refresh is due. Each of several hosts at work has a note of its own.

use std::fs::File;
use std::io;

use super::record::IssuedToken;
use super::state::{StateFiles, Warning};
use crate::caller::RecurringCall;
use crate::clock;
use crate::platform::files::{read_at, write_at};

/// Least time between two refreshes because of a refusal, in milliseconds.
const PAUSE_MS: u64 = 120_000;

/// Age at which a note gives way to another call's, in milliseconds.
const OLD_MS: u64 = 60 * 60 * 1000;

/// For how long `status` and `doctor` say that a refresh has not helped, in milliseconds.
const TOLD_FOR_MS: u64 = 60 * 60 * 1000;

/// What the file begins with.
const MAGIC: [u8; 8] = *b"printed1";

/// Length of the file's head and of each note, in bytes.
const LENGTH: usize = 32;

/// Calls that share a group of places, which is all that is read of the file for one of them.
const GROUP: usize = 16;

/// Most notes of calls.
const NOTES: usize = 32 * GROUP;

/// Longest file, in bytes.
const SIZE: usize = LENGTH * (NOTES + 1);

/// When refreshes were tried because of a refusal. Overwritten in place and not atomically: a write that is cut short
/// costs one refresh at most.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Head {
    /// When the last one was tried, in milliseconds since 1970.
    refreshed_at_ms: u64,
    /// When a token that came after it was refused as well.
    in_vain_at_ms: u64,
}

impl Head {
    /// A head of another format says nothing.
    fn from_bytes(bytes: &[u8]) -> Self {
        let mut words = bytes.chunks_exact(8);
        if words.next() != Some(&MAGIC) {
            return Self::default();
        }
        let mut next = || words.next().map_or(0, number);
        Self {
            refreshed_at_ms: next(),
            in_vain_at_ms: next(),
        }
    }

    fn to_bytes(self) -> [u8; LENGTH] {
        let mut bytes = [0; LENGTH];
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8..16].copy_from_slice(&self.refreshed_at_ms.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.in_vain_at_ms.to_le_bytes());
        bytes
    }
}

/// What one call was given last. Nothing of the token, and of the call a digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Note {
    call: [u8; 16],
    /// When the token had been obtained, which tells one token from another, in milliseconds since 1970.
    token_obtained_ms: u64,
    at_ms: u64,
}

impl Note {
    /// `None` where nothing was noted yet.
    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let at_ms = number(bytes.get(24..)?);
        (at_ms > 0).then_some(Self {
            call: bytes.get(..16)?.try_into().ok()?,
            token_obtained_ms: number(bytes.get(16..24)?),
            at_ms,
        })
    }

    fn to_bytes(self) -> [u8; LENGTH] {
        let mut bytes = [0; LENGTH];
        bytes[..16].copy_from_slice(&self.call);
        bytes[16..24].copy_from_slice(&self.token_obtained_ms.to_le_bytes());
        bytes[24..].copy_from_slice(&self.at_ms.to_le_bytes());
        bytes
    }
}

fn number(bytes: &[u8]) -> u64 {
    bytes
        .first_chunk()
        .map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

/// What a caller shows of its token by asking for it again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GatewayRefusal {
    /// Nothing.
    None,
    /// The gateway has refused it: a refresh is due. That it is tried has been noted, so that no other call does.
    RefreshDue,
    /// The gateway has refused it, and another call has begun a refresh for that reason at this moment, in
    /// milliseconds since 1970.
    RefreshBegun(u64),
    /// The gateway has refused it although it is new: another one would not help.
    InVain,
}

/// The notes, for one call.
#[derive(Debug)]
pub struct LastPrinted {
    file: File,
    call: RecurringCall,
    /// When the caller asked, in milliseconds since 1970.
    asked_at_ms: u64,
    /// What this call was given last.
    last: Option<Note>,
    /// Where the next note of this call belongs.
    place: usize,
}

impl LastPrinted {
    /// Reads the notes. `None` where they cannot be read: a refresh that is due is not seen then.
    ///
    /// `asked_at_ms` is when the caller asked, in milliseconds since 1970.
    pub fn open(files: &StateFiles, call: RecurringCall, asked_at_ms: u64) -> Option<Self> {
        let file = files.dir().in_place(&files.name(NAME)).ok()?;
        let (group, own) = own_place(call.id);
        // What is missing of a shorter file counts as zeros, which say nothing.
        let mut notes = [0; LENGTH * GROUP];
        let _ = read_at(&file, offset(group), &mut notes).ok()?;
        let (place, last) = find(&notes, own, call.id, clock::now_millis());
        Some(Self {
            file,
            call,
            asked_at_ms,
            last,
            place: group + place,
        })
    }

    /// Whether the caller's asking means that the gateway has refused this token, and what follows.
    pub fn refusal(&self, token: &IssuedToken) -> GatewayRefusal {
        let now = clock::now_millis();
        let within = u64::try_from(self.call.within.as_millis()).unwrap_or(u64::MAX);
        let asks_again = self.call.means_refusal
            && self.last.is_some_and(|last| {
                // Who asked before the token was there has not seen it: two calls of one host at once.
                last.at_ms < self.asked_at_ms
                    && is_within(last.at_ms, within, now)
                    && last.token_obtained_ms == token.obtained_at_ms
            });
        if !asks_again {
            return GatewayRefusal::None;
        }
        let mut head = [0; LENGTH];
        if read_at(&self.file, 0, &mut head).is_err() {
            return GatewayRefusal::None;
        }
        let mut head = Head::from_bytes(&head);
        let begun = head.refreshed_at_ms;
        if is_within(begun, PAUSE_MS, now) {
            if token.obtained_at_ms < begun {
                return GatewayRefusal::RefreshBegun(begun);
            }
            head.in_vain_at_ms = now;
            // What cannot be noted is not told.
            let _ = self.write_head(head);
            return GatewayRefusal::InVain;
        }
        head.refreshed_at_ms = now;
        // What cannot be noted would be tried again and again.
        match self.write_head(head) {
            Ok(()) => GatewayRefusal::RefreshDue,
            Err(_) => GatewayRefusal::None,
        }
    }

    /// Notes that the caller is given this token now. A note that cannot be written costs a refresh that was due.
    pub fn note(self, token: &IssuedToken) {
        let note = Note {
            call: self.call.id,
            token_obtained_ms: token.obtained_at_ms,
            at_ms: clock::now_millis(),
        };
        let _ = write_at(&self.file, offset(self.place), &note.to_bytes());
    }

    fn write_head(&self, head: Head) -> io::Result<()> {
        write_at(&self.file, 0, &head.to_bytes())
    }
}

/// Where a place begins in the file, in bytes.
fn offset(place: usize) -> u64 {
    (LENGTH * (1 + place)) as u64
}

/// The first place of the group that a call belongs to, and its own place in there.
fn own_place(call: [u8; 16]) -> (usize, usize) {
    let place = usize::from(u16::from_le_bytes([call[0], call[1]])) % NOTES;
    (place - place % GROUP, place % GROUP)
}

/// The file's name, after the profile's.
const NAME: &str = "handed";

/// Whether a moment is in the past, and less than so long ago. One in the future was noted before a clock was set
/// back.
fn is_within(moment_ms: u64, time_ms: u64, now_ms: u64) -> bool {
    now_ms
        .checked_sub(moment_ms)
        .is_some_and(|age| age < time_ms)
}

/// The note of this call in its group, and where its next one belongs there: in its own place, else in a free one,
/// else in the oldest one's. Nothing is locked; each call begins at a place of its own, so that calls at the same
/// moment hardly ever take the same one.
fn find(notes: &[u8], begin: usize, call: [u8; 16], now_ms: u64) -> (usize, Option<Note>) {
    let note = |place: usize| Note::from_bytes(notes.get(place * LENGTH..)?.get(..LENGTH)?);
    let (mut free, mut oldest) = (None, (u64::MAX, begin));
    for place in (begin..GROUP).chain(0..begin) {
        match note(place) {
            Some(own) if own.call == call => return (place, Some(own)),
            Some(other) if is_within(other.at_ms, OLD_MS, now_ms) => {
                oldest = oldest.min((other.at_ms, place));
            }
            _ => free = free.or(Some(place)),
        }
    }
    (free.unwrap_or(oldest.1), None)
}

/// What people should know: that the gateway has refused a token although it had just been renewed for that reason.
pub fn refused_in_vain(files: &StateFiles) -> Option<Warning> {
    let bytes = files
        .dir()
        .read(&files.name(NAME), SIZE as u64)
        .ok()
        .flatten()?;
    let at_ms = Head::from_bytes(bytes.get(..LENGTH)?).in_vain_at_ms;
    is_within(at_ms, TOLD_FOR_MS, clock::now_millis()).then(|| Warning {
        at: at_ms / 1000,
        text: "the gateway refuses fresh tokens: a host asked again at once for one that had just been renewed"
            .to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use sha2::{Digest, Sha256};

    use super::*;
    use crate::secret::Secret;
    use crate::session::record::tests::sample;

    const START: u64 = 1_700_000_000_000;
    const SECOND: u64 = 1000;

    /// Notes of a profile, and a clock.
    struct Desk {
        _base: tempfile::TempDir,
        files: StateFiles,
    }

    impl Desk {
        fn new() -> Self {
            let base = tempfile::tempdir().unwrap();
            let files = StateFiles::at(base.path(), "k").unwrap();
            Self { _base: base, files }
        }

        /// A call asks at this moment, with this token there for it, and is given that one.
        fn ask(&self, call: RecurringCall, at_ms: u64, token: &IssuedToken) -> GatewayRefusal {
            clock::fake::set(Some(at_ms));
            let last = LastPrinted::open(&self.files, call, at_ms).unwrap();
            let refusal = last.refusal(token);
            if refusal != GatewayRefusal::RefreshDue {
                last.note(token);
            }
            refusal
        }

        fn given(&self, call: RecurringCall, at_ms: u64, token: &IssuedToken) {
            clock::fake::set(Some(at_ms));
            LastPrinted::open(&self.files, call, at_ms)
                .unwrap()
                .note(token);
        }
    }

    fn call(number: u16) -> RecurringCall {
        // Spread, as digests are.
        let mut id = [0; 16];
        id.copy_from_slice(&Sha256::digest(number.to_le_bytes())[..16]);
        RecurringCall {
            id,
            means_refusal: true,
            within: Duration::from_secs(60),
        }
    }

    fn token(value: &str, obtained_at_ms: u64) -> IssuedToken {
        IssuedToken {
            value: Secret::new(value),
            obtained_at_ms,
            ..sample().token.unwrap()
        }
    }

    #[test]
    fn the_same_token_asked_for_again_was_refused() {
        let old = token("a", START - 1000 * SECOND);
        // What was given first, what there is the second time, after how many milliseconds, what follows.
        let cases = [
            (&old, 1, GatewayRefusal::RefreshDue),
            (&old, 1200, GatewayRefusal::RefreshDue),
            (&old, 59_999, GatewayRefusal::RefreshDue),
            (&old, 60_000, GatewayRefusal::None),
            (&old, 0, GatewayRefusal::None),
            (&token("b", START - 1), 1200, GatewayRefusal::None),
        ];
        for (second, after, expected) in cases {
            let desk = Desk::new();
            assert_eq!(desk.ask(call(1), START, &old), GatewayRefusal::None);
            let refusal = desk.ask(call(1), START + after, second);
            assert_eq!(refusal, expected, "{after} ms");
        }
        // The clock was set back.
        let desk = Desk::new();
        desk.given(call(1), START, &old);
        assert_eq!(desk.ask(call(1), START - 5000, &old), GatewayRefusal::None);
    }

    #[test]
    fn a_call_that_asked_before_the_token_was_there_has_not_seen_it() {
        let desk = Desk::new();
        let token = token("a", START - SECOND);
        clock::fake::set(Some(START + 20));
        let first = LastPrinted::open(&desk.files, call(1), START).unwrap();
        first.note(&token);
        let second = LastPrinted::open(&desk.files, call(1), START + 10).unwrap();
        assert_eq!(second.refusal(&token), GatewayRefusal::None);
    }

    #[test]
    fn other_calls_and_those_that_mean_nothing_conclude_nothing() {
        let desk = Desk::new();
        let token = token("a", START - SECOND);
        desk.given(call(1), START, &token);
        assert_eq!(
            desk.ask(call(2), START + 1200, &token),
            GatewayRefusal::None
        );
        let background = RecurringCall {
            means_refusal: false,
            ..call(1)
        };
        assert_eq!(
            desk.ask(background, START + 1200, &token),
            GatewayRefusal::None
        );
        assert_eq!(
            desk.ask(call(1), START + 2400, &token),
            GatewayRefusal::RefreshDue
        );
    }

    #[test]
    fn a_gateway_that_refuses_everything_costs_one_refresh_in_two_minutes() {
        let desk = Desk::new();
        let mut refreshes = Vec::new();
        let mut current = token("0", START - 1000 * SECOND);
        // Claude Code's eight attempts, one after the other, for ten minutes; each call gets what there is.
        let mut at = START;
        let pauses = [1200, 1200, 2500, 5000, 10_000, 16_000, 32_000];
        for pause in pauses.into_iter().cycle() {
            if at > START + 600 * SECOND {
                break;
            }
            if desk.ask(call(1), at, &current) == GatewayRefusal::RefreshDue {
                refreshes.push(at);
                current = token(&at.to_string(), at + 100);
                desk.given(call(1), at + 150, &current);
            }
            at += pause;
        }
        assert!((4..=6).contains(&refreshes.len()), "{refreshes:?}");
        for pair in refreshes.windows(2) {
            assert!(pair[1] - pair[0] >= PAUSE_MS, "{refreshes:?}");
        }
        let told = refused_in_vain(&desk.files).unwrap();
        assert!(told.text.contains("refuses fresh tokens"));
        clock::fake::set(Some(at + TOLD_FOR_MS));
        assert_eq!(refused_in_vain(&desk.files), None, "an hour later");
    }

    #[test]
    fn a_refresh_that_helped_is_not_called_in_vain() {
        let desk = Desk::new();
        desk.given(call(1), START, &token("a", START - SECOND));
        let refusal = desk.ask(call(1), START + 1200, &token("a", START - SECOND));
        assert_eq!(refusal, GatewayRefusal::RefreshDue);
        let next = token("b", START + 1500);
        desk.given(call(1), START + 1500, &next);
        // Another host still has the old one, and is given the new one when it asks.
        desk.given(call(2), START + 1300, &token("a", START - SECOND));
        assert_eq!(desk.ask(call(2), START + 2000, &next), GatewayRefusal::None);
        assert_eq!(refused_in_vain(&desk.files), None);
        // Much later the gateway refuses this one.
        let later = START + 1000 * SECOND;
        desk.given(call(1), later, &next);
        assert_eq!(
            desk.ask(call(1), later + 1200, &next),
            GatewayRefusal::RefreshDue
        );
        assert_eq!(refused_in_vain(&desk.files), None);
    }

    #[test]
    fn who_meets_a_refresh_that_was_begun_is_told_since_when() {
        let desk = Desk::new();
        let old = token("a", START - SECOND);
        for number in 1..=3 {
            desk.given(call(number), START, &old);
        }
        let begun = START + 1200;
        assert_eq!(desk.ask(call(1), begun, &old), GatewayRefusal::RefreshDue);
        assert_eq!(
            desk.ask(call(2), begun + 10, &old),
            GatewayRefusal::RefreshBegun(begun)
        );
        let next = token("b", begun + 100);
        assert_eq!(desk.ask(call(3), begun + 200, &next), GatewayRefusal::None);
    }

    #[test]
    fn hosts_between_one_another_each_keep_their_note() {
        let desk = Desk::new();
        let old = token("a", START - SECOND);
        for number in 0..200 {
            desk.given(call(number), START + u64::from(number), &old);
        }
        for number in 0..200 {
            let at = START + 1000 + u64::from(number);
            let refusal = desk.ask(call(number), at, &old);
            let expected = if number == 0 {
                GatewayRefusal::RefreshDue
            } else {
                GatewayRefusal::RefreshBegun(START + 1000)
            };
            assert_eq!(refusal, expected, "{number}");
        }
        let length = std::fs::metadata(desk.files.dir().path().join("k.handed"));
        assert!(length.unwrap().len() <= SIZE as u64);
    }

    #[test]
    fn the_oldest_gives_way_once_all_places_of_a_group_are_taken() {
        let note = |place: usize| Note {
            call: [u8::try_from(place).unwrap(); 16],
            token_obtained_ms: 0,
            at_ms: START + 1000 - place as u64,
        };
        let mut notes: Vec<u8> = (0..GROUP)
            .flat_map(|place| note(place).to_bytes())
            .collect();
        let stranger = [255; 16];
        let begin = 5;
        let find = |notes: &[u8], call, now| find(notes, begin, call, now);
        assert_eq!(find(&notes, stranger, START + 2000), (GROUP - 1, None));
        assert_eq!(find(&notes, note(3).call, START + 2000), (3, Some(note(3))));
        notes[7 * LENGTH..8 * LENGTH].fill(0);
        assert_eq!(find(&notes, stranger, START + 2000), (7, None));
        // Old ones are as good as free, each from the call's own place on.
        let later = START + OLD_MS + 2000;
        assert_eq!(find(&notes, stranger, later), (begin, None));
    }

    #[test]
    fn thirty_at_the_same_moment_hardly_share_a_place() {
        let places: std::collections::BTreeSet<(usize, usize)> =
            (0..30).map(|number| own_place(call(number).id)).collect();
        assert!(places.len() >= 28, "{}", places.len());
        for (group, own) in places {
            assert!(group % GROUP == 0 && own < GROUP && group + own < NOTES);
        }
    }

    #[test]
    fn a_file_of_an_earlier_version_says_nothing_and_is_taken_over() {
        let desk = Desk::new();
        let path = desk.files.dir().path().join("k.handed");
        desk.given(call(1), START, &token("a", START));
        let earlier: Vec<u8> = [START, START, START]
            .iter()
            .flat_map(|number| number.to_le_bytes())
            .collect();
        for content in [&earlier[..], b"", b"printed1", &[0xff; 40]] {
            std::fs::write(&path, content).unwrap();
            let old = token("a", START - SECOND);
            assert_eq!(desk.ask(call(1), START, &old), GatewayRefusal::None);
            assert_eq!(
                desk.ask(call(1), START + 1200, &old),
                GatewayRefusal::RefreshDue
            );
        }
    }

    #[test]
    fn nothing_of_a_token_lies_in_the_file() {
        let desk = Desk::new();
        let value = "a-token-that-must-not-be-seen";
        desk.given(call(1), START, &token(value, START));
        let bytes = std::fs::read(desk.files.dir().path().join("k.handed")).unwrap();
        for part in value.as_bytes().windows(4) {
            assert!(!bytes.windows(4).any(|window| window == part));
        }
    }
}
