//! The state machine of a session, tested as one: random calls, sign-ins, sign-outs, crashes at every boundary,
//! provider answers and store failures against the real session code, with a clock, a store and a provider that
//! the test controls.
//!
//! The provider rotates and revokes the whole family on reuse; it is the one that knows the truth.

use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::Duration;

use proptest::prelude::*;
use serde_json::{Map, Value as Json};
use zeroize::Zeroizing;

use super::install::Outcome;
use super::issue::Times;
use super::renewal::{NotRenewed, Renewal, Renewed};
use super::{Budget, Writer};
use crate::caller::{Deadline, TokenUse};
use crate::clock;
use crate::config::Sources;
use crate::config::profile::ProfileName;
use crate::config::settings::Settings;
use crate::error::{Failure, Id, Result};
use crate::oidc::exchange::{End, Exchanged};
use crate::oidc::id_token::Claims;
use crate::oidc::tokens::Grant;
use crate::reader::{Reader, Renew, TokenRequirement, without_session};
use crate::secret::Secret;
use crate::session::record::{IssuedToken, Record, SignedInBy};
use crate::session::state::{Session, StateFiles};
use crate::store::{SecretStore, StoreError};

/// How the provider treats the next refresh.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mood {
    Rotates,
    KeepsTheToken,
    IsDown,
    /// It rotates, and the connection breaks before the answer arrives.
    AnswerLost,
    /// It rotates; its ID token cannot be checked because its keys cannot be fetched.
    KeysMissing,
    /// It rotates; its ID token is refused.
    Lies,
}

#[derive(Clone, Debug)]
enum Step {
    Call { force: bool },
    SignIn,
    SignOut,
    Sleep(u64),
    ClockBack(u64),
}

/// What happens and what goes wrong meanwhile.
#[derive(Clone, Debug)]
struct Event {
    step: Step,
    mood: Mood,
    /// The process dies at this boundary, if it gets there.
    dies_at: Option<u32>,
    /// So many writes to the store fail.
    failing_writes: u32,
}

/// One sign-in at the provider and the refresh token that is good for it now.
#[derive(Debug)]
struct Family {
    current: Option<u32>,
    revoked: bool,
}

/// Nothing goes wrong.
fn calm(step: Step) -> Event {
    Event {
        step,
        mood: Mood::Rotates,
        dies_at: None,
        failing_writes: 0,
    }
}

/// Everything outside of the session code.
struct World {
    entry: RefCell<Option<Vec<u8>>>,
    failing_writes: Cell<u32>,
    families: RefCell<Vec<Family>>,
    mood: Cell<Mood>,
    boundary: Cell<u32>,
    dies_at: Cell<Option<u32>>,
    requests: Cell<u32>,
    /// The gateway's issuer does not take the provider's token.
    refuses_exchange: Cell<bool>,
    /// A rotated token may have been lost for a reason that nobody can help: the stored one may be used up.
    excused: Cell<bool>,
}

/// The payload of a process that died.
struct Died;

impl World {
    /// A boundary at which the process may die.
    fn boundary(&self) {
        let here = self.boundary.get();
        self.boundary.set(here + 1);
        if self.dies_at.get() == Some(here) {
            resume_unwind(Box::new(Died));
        }
    }

    fn token(family: usize, number: u32) -> String {
        format!("rt.{family}.{number}")
    }

    fn parse(token: &str) -> (usize, u32) {
        let mut parts = token.split('.').skip(1);
        let mut next = || parts.next().unwrap();
        (next().parse().unwrap(), next().parse().unwrap())
    }

    fn record(&self) -> Option<Record> {
        self.entry.borrow().as_deref().and_then(Record::from_bytes)
    }

    /// Whether the stored refresh token is one that the provider would take.
    fn stored_token_is_good(&self) -> bool {
        let Some(token) = self.record().and_then(|record| record.refresh_token) else {
            return false;
        };
        let (family, number) = Self::parse(token.expose());
        let family = &self.families.borrow()[family];
        !family.revoked && family.current == Some(number)
    }
}

impl SecretStore for World {
    fn read(&self, _: &str, _: Deadline) -> Result<Option<Zeroizing<Vec<u8>>>, StoreError> {
        self.boundary();
        Ok(self.entry.borrow().clone().map(Zeroizing::new))
    }

    fn write(&self, _: &str, secret: &[u8], _: Deadline) -> Result<(), StoreError> {
        self.boundary();
        if self.failing_writes.get() > 0 {
            self.failing_writes.set(self.failing_writes.get() - 1);
            return Err(StoreError::Silent);
        }
        *self.entry.borrow_mut() = Some(secret.to_vec());
        self.boundary();
        Ok(())
    }

    fn pause(&self) -> Duration {
        Duration::ZERO
    }

    fn remove(&self, _: &str, _: Deadline) -> Result<bool, StoreError> {
        self.boundary();
        let was = self.entry.borrow_mut().take().is_some();
        self.boundary();
        Ok(was)
    }
}

impl Renewal for World {
    fn renew(
        &self,
        _: &Record,
        refresh_token: &Secret,
        _: bool,
        before_sending: &mut dyn FnMut() -> Result<()>,
    ) -> Result<Renewed, NotRenewed> {
        self.boundary();
        before_sending()?;
        self.boundary();
        self.requests.set(self.requests.get() + 1);
        let (index, number) = Self::parse(refresh_token.expose());
        let mood = self.mood.get();
        let unavailable =
            |what| NotRenewed::Failed(Failure::new(Id::Unavailable, what, "wait").from_provider());
        if mood == Mood::IsDown {
            return Err(unavailable("503"));
        }
        let next = {
            let family = &mut self.families.borrow_mut()[index];
            if family.revoked || family.current != Some(number) {
                family.revoked = true;
                return Err(NotRenewed::Over("invalid_grant".to_owned()));
            }
            if mood == Mood::KeepsTheToken {
                number
            } else {
                number + 1
            }
        };
        self.families.borrow_mut()[index].current = Some(next);
        if next != number {
            // From here to the end of the write the answer exists only in the process's memory.
            let dies = self.dies_at.get().is_some();
            self.excused
                .set(self.excused.get() || dies || mood == Mood::AnswerLost);
        }
        self.boundary();
        if mood == Mood::AnswerLost {
            return Err(unavailable("the connection broke"));
        }
        Ok(Renewed {
            grant: grant(index, next, next != number),
            checked: match mood {
                Mood::KeysMissing => Err(Failure::new(Id::Unavailable, "no keys", "wait")),
                Mood::Lies => Err(Failure::untrusted("another person")),
                _ => Ok(None),
            },
            times: Times {
                asked_at_ms: clock::now_millis(),
                obtained_at_ms: clock::now_millis(),
            },
        })
    }

    fn exchange(&self, _: &Secret) -> Result<Exchanged> {
        if self.refuses_exchange.get() {
            return Err(Failure::new(Id::SignInFailed, "invalid_grant", "ask").from_provider());
        }
        Ok(Exchanged {
            token: Secret::new("the-gateways"),
            end: End::In(Some(3600)),
        })
    }
}

/// Tokens live an hour.
fn grant(family: usize, number: u32, rotated: bool) -> Grant {
    Grant {
        access_token: Secret::new(format!("at.{family}.{number}.{}", clock::now_millis())),
        id_token: None,
        refresh_token: rotated.then(|| Secret::new(World::token(family, number))),
        expires_in: Some(3600),
        refresh_expires_in: None,
        bound_to: None,
    }
}

fn settings() -> Settings {
    let text = "issuer = 'https://model.example'\nclient_id = 'model'\ncache = 'file'";
    crate::config::load(&Sources::of_text(text), &ProfileName::default()).unwrap()
}

struct Machine {
    world: World,
    settings: Settings,
    files: StateFiles,
    now_ms: u64,
    _folder: tempfile::TempDir,
}

impl Machine {
    fn new() -> Self {
        // In memory: the state is written thousands of times, and nobody cuts the power here.
        let folder = tempfile::tempdir_in("/dev/shm")
            .or_else(|_| tempfile::tempdir())
            .unwrap();
        Self {
            world: World {
                entry: RefCell::default(),
                failing_writes: Cell::default(),
                families: RefCell::default(),
                mood: Cell::new(Mood::Rotates),
                boundary: Cell::default(),
                dies_at: Cell::default(),
                requests: Cell::default(),
                excused: Cell::default(),
                refuses_exchange: Cell::default(),
            },
            settings: settings(),
            files: StateFiles::at(folder.path(), "model").unwrap(),
            now_ms: 1_800_000_000_000,
            _folder: folder,
        }
    }

    fn with_exchange() -> Self {
        let text = "issuer = 'https://model.example'\nclient_id = 'model'\ncache = 'file'\n\
                    [exchange]\ntoken_url = 'https://model.example/exchange'";
        Self {
            settings: crate::config::load(&Sources::of_text(text), &ProfileName::default())
                .unwrap(),
            ..Self::new()
        }
    }

    fn writer(&self) -> Result<Writer<'_>> {
        let budget = Budget::of(Deadline::after(Duration::from_secs(5)));
        Writer::take(&self.settings, &self.files, &self.world, budget)
    }

    /// What a host's call does: read, and if that is not enough, one refresh.
    fn call(&self, force: bool) -> Result<IssuedToken> {
        let need = TokenRequirement {
            asked_at_ms: clock::now_millis(),
            renew: if force {
                Renew::Forced
            } else {
                Renew::IfNeeded
            },
            token_use: TokenUse::Kept,
        };
        let reader = Reader::with(&self.settings, self.files.clone())?;
        if let Some(token) = reader.cached()
            && need.is_met_by(&token, &reader)
        {
            return Ok(token);
        }
        self.writer()?.refresh(need, &self.world)
    }

    fn sign_in(&self) -> Result<IssuedToken> {
        let family = {
            let mut families = self.world.families.borrow_mut();
            families.push(Family {
                current: Some(0),
                revoked: false,
            });
            families.len() - 1
        };
        let claims = Map::from_iter([("sub".to_owned(), Json::from("ann"))]);
        let outcome = Outcome {
            grant: grant(family, 0, true),
            claims: Some(Claims(claims)),
            registered: None,
            exchanged: None,
            secret_headers: std::collections::BTreeMap::new(),
            times: Times {
                asked_at_ms: clock::now_millis(),
                obtained_at_ms: clock::now_millis(),
            },
            token_endpoint: "https://model.example/token".to_owned(),
            by: SignedInBy::Browser,
        };
        self.writer()?
            .replace_session(outcome)
            .map(|done| done.token)
    }

    /// Runs one event; `None` if the process died.
    fn run(&mut self, event: &Event) -> Option<Result<Option<IssuedToken>>> {
        self.now_ms += 7;
        match event.step {
            Step::Sleep(seconds) => self.now_ms += seconds * 1000,
            Step::ClockBack(seconds) => self.now_ms -= seconds * 1000,
            _ => {}
        }
        clock::fake::set(Some(self.now_ms));
        self.world.mood.set(event.mood);
        self.world.boundary.set(0);
        self.world.dies_at.set(event.dies_at);
        self.world.failing_writes.set(event.failing_writes);
        let result = catch_unwind(AssertUnwindSafe(|| match event.step {
            Step::Call { force } => self.call(force).map(Some),
            Step::SignIn => self.sign_in().map(Some),
            Step::SignOut => self.writer()?.forget().map(|_| None),
            Step::Sleep(_) | Step::ClockBack(_) => Ok(None),
        }));
        self.world.dies_at.set(None);
        match result {
            Ok(result) => Some(result),
            Err(payload) if payload.is::<Died>() => None,
            Err(payload) => resume_unwind(payload),
        }
    }
}

/// What must hold, whatever happens.
fn check(events: &[Event]) {
    let mut machine = Machine::new();
    // The sign-ins whose tokens may be printed: one, except after a sign-in or sign-out died half-way.
    let mut owners: Vec<usize> = Vec::new();
    for event in events {
        let alive = machine.world.stored_token_is_good();
        let ended = |machine: &Machine| {
            let state = machine.files.read().unwrap();
            let stored = machine.world.record();
            without_session(&state).is_some()
                || stored.is_some_and(|record| state.over(record.generation).is_some())
        };
        let had_ended = ended(&machine);
        let requests = machine.world.requests.get();
        let result = machine.run(event);
        let newest = machine.world.families.borrow().len().wrapping_sub(1);
        match (&event.step, &result) {
            (Step::SignIn, Some(Ok(_))) => {
                owners = vec![newest];
                machine.world.excused.set(false);
            }
            (Step::SignIn, _) => owners.push(newest),
            (Step::SignOut, Some(Ok(_))) => {
                owners.clear();
                machine.world.excused.set(false);
                assert!(machine.world.entry.borrow().is_none());
            }
            (Step::Call { .. }, Some(result)) => {
                let sent = machine.world.requests.get() - requests;
                assert!(sent <= 1, "one request for a call");
                assert!(
                    !had_ended || sent == 0,
                    "an ended session is not sent again"
                );
                if event.failing_writes > 0 && sent > 0 {
                    machine.world.excused.set(true);
                }
                match result {
                    Ok(Some(token)) => {
                        let (family, _) = World::parse(token.value.expose());
                        assert!(
                            owners.contains(&family),
                            "a token of somebody who signed out"
                        );
                        assert!(
                            token.life.expires_at_ms > clock::now_millis(),
                            "an expired token"
                        );
                    }
                    Ok(None) => unreachable!(),
                    Err(failure) => {
                        let healthy = matches!(event.mood, Mood::Rotates | Mood::KeepsTheToken);
                        assert!(
                            !(alive && healthy && !had_ended),
                            "a living session gave nothing: {failure:?}"
                        );
                        if event.mood == Mood::IsDown && alive && !had_ended {
                            assert_eq!(failure.id, Id::Unavailable);
                            assert!(!ended(&machine), "an outage ended the session");
                        }
                    }
                }
            }
            _ => {}
        }
        // The heart of it: what is stored is what the provider takes, unless an answer was lost on the way.
        let has_token = machine
            .world
            .record()
            .is_some_and(|r| r.refresh_token.is_some());
        if has_token && event.mood != Mood::Lies && !machine.world.excused.get() && !ended(&machine)
        {
            assert!(
                machine.world.stored_token_is_good(),
                "a session was lost by {event:?}"
            );
        }
        if event.mood == Mood::Lies && machine.world.requests.get() > requests {
            // The check failed: nothing was stored, and the old token is not sent again without a sign-in.
            assert!(result.is_none() || ended(&machine));
            machine.world.excused.set(true);
        }
        // A dead process leaves no lock behind.
        assert!(machine.writer().is_ok());
    }
    clock::fake::set(None);
}

fn event() -> impl Strategy<Value = Event> {
    let step = prop_oneof![
        6 => any::<bool>().prop_map(|force| Step::Call { force }),
        2 => Just(Step::SignIn),
        1 => Just(Step::SignOut),
        3 => prop_oneof![1..600_u64, 3000..4000_u64].prop_map(Step::Sleep),
        1 => (1..7200_u64).prop_map(Step::ClockBack),
    ];
    let mood = prop_oneof![
        6 => Just(Mood::Rotates),
        2 => Just(Mood::KeepsTheToken),
        2 => Just(Mood::IsDown),
        1 => Just(Mood::AnswerLost),
        1 => Just(Mood::KeysMissing),
        1 => Just(Mood::Lies),
    ];
    let dies_at = prop_oneof![3 => Just(None), 2 => (0..12_u32).prop_map(Some)];
    let failing = prop_oneof![6 => Just(0_u32), 1 => 1..3_u32, 1 => Just(9_u32)];
    (step, mood, dies_at, failing).prop_map(|(step, mood, dies_at, failing_writes)| Event {
        step,
        mood,
        dies_at,
        failing_writes,
    })
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: if std::env::var_os("GATEPASS_LONG_TESTS").is_some() { 20_000 } else { 500 },
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn no_interleaving_loses_a_session(events in proptest::collection::vec(event(), 1..25)) {
        check(&events);
    }
}

#[test]
fn a_rotated_token_that_cannot_be_stored_is_printed_and_never_sent_again() {
    let mut machine = Machine::new();
    machine.run(&calm(Step::SignIn)).unwrap().unwrap();
    let failing = Event {
        failing_writes: 9,
        ..calm(Step::Call { force: true })
    };
    let token = machine.run(&failing).unwrap().unwrap().unwrap();
    assert_eq!(machine.world.requests.get(), 1);
    // It is still printed while it is good, and `status` has a warning.
    let again = machine
        .run(&calm(Step::Call { force: false }))
        .unwrap()
        .unwrap()
        .unwrap();
    assert_eq!(again, token);
    assert_eq!(machine.files.read().unwrap().warnings.len(), 1);
    let later = machine.run(&calm(Step::Call { force: true })).unwrap();
    assert_eq!(later.unwrap_err().id, Id::SignInRequired);
    assert_eq!(machine.world.requests.get(), 1);
    clock::fake::set(None);
}

#[test]
fn a_sign_in_that_dies_once_its_session_is_stored_has_succeeded() {
    // After a session that the provider has ended, and after one that is still good.
    for ended in [true, false] {
        for dies_at in 0..4 {
            let mut machine = Machine::new();
            machine.run(&calm(Step::SignIn)).unwrap().unwrap();
            if ended {
                machine.world.families.borrow_mut()[0].revoked = true;
                let refused = machine.run(&calm(Step::Call { force: true })).unwrap();
                assert_eq!(refused.unwrap_err().id, Id::SignInRequired);
            }
            let dying = Event {
                dies_at: Some(dies_at),
                ..calm(Step::SignIn)
            };
            let died = machine.run(&dying).is_none();
            let (family, _) = World::parse(
                machine
                    .world
                    .record()
                    .unwrap()
                    .refresh_token
                    .unwrap()
                    .expose(),
            );
            let requests = machine.world.requests.get();
            let call = machine.run(&calm(Step::Call { force: true })).unwrap();
            let case = format!("ended {ended}, dies at {dies_at}: {died}");
            if family == 0 && ended {
                assert_eq!(call.unwrap_err().id, Id::SignInRequired, "{case}");
                assert_eq!(machine.world.requests.get(), requests, "{case}");
            } else {
                let token = call.unwrap().unwrap();
                assert_eq!(World::parse(token.value.expose()).0, family, "{case}");
            }
            clock::fake::set(None);
        }
    }
}

#[test]
fn an_exchanged_token_that_cannot_be_stored_ends_no_session() {
    let mut machine = Machine::with_exchange();
    let event = |step, failing_writes| Event {
        failing_writes,
        ..calm(step)
    };
    machine.run(&event(Step::SignIn, 0)).unwrap().unwrap();
    let renewed = machine.run(&event(Step::Call { force: true }, 0)).unwrap();
    assert!(renewed.unwrap().is_some());
    // What the provider gave is exchanged again, and nothing of it can be stored.
    machine.run(&event(Step::Sleep(3500), 0));
    let exchanged = machine.run(&event(Step::Call { force: false }, 9)).unwrap();
    assert!(exchanged.unwrap().is_some());
    assert_eq!(machine.world.requests.get(), 1);
    assert_eq!(machine.files.read().unwrap().session, Session::Stored);
    // The rotated session cannot be stored at first, and then it can, together with what it was exchanged for.
    let renewed = machine.run(&event(Step::Call { force: true }, 3)).unwrap();
    assert!(renewed.unwrap().is_some());
    assert_eq!(machine.files.read().unwrap().session, Session::Stored);
    assert!(machine.world.stored_token_is_good());
    clock::fake::set(None);
}

#[test]
fn an_exchange_that_was_only_tried_before_a_refresh_is_not_remembered_as_refused() {
    let mut machine = Machine::with_exchange();
    let event = |step, mood| Event { mood, ..calm(step) };
    let call = |force| Step::Call { force };
    machine.run(&event(Step::SignIn, Mood::Rotates));
    let renewed = machine.run(&event(call(true), Mood::Rotates)).unwrap();
    assert!(renewed.unwrap().is_some());
    machine.run(&event(Step::Sleep(3500), Mood::Rotates));
    // What the provider gave is refused; whether it would take something newer is not known while it is away.
    machine.world.refuses_exchange.set(true);
    for _ in 0..2 {
        let call = machine.run(&event(call(false), Mood::IsDown)).unwrap();
        // The last token lives for another moment.
        assert!(call.unwrap().is_some());
    }
    machine.run(&event(Step::Sleep(200), Mood::Rotates));
    for _ in 0..2 {
        let call = machine.run(&event(call(false), Mood::IsDown)).unwrap();
        assert_eq!(call.unwrap_err().id, Id::Unavailable);
    }
    machine.world.refuses_exchange.set(false);
    let healthy = machine.run(&event(call(false), Mood::Rotates)).unwrap();
    assert!(healthy.unwrap().is_some());
    clock::fake::set(None);
}
