//! The state machine of a session, tested as one: calls, sign-ins at two issuers, sign-outs, crashes at every boundary,
//! everything that a provider can answer, stores that fail and clocks that are set, against the real session code, with
//! a clock, a store and a provider that the test controls. Random sequences, and every short one.
//!
//! The provider rotates and revokes the whole family on reuse; it is the one that knows the truth.
#![allow(clippy::print_stdout, reason = "a long run says how much it has tried")]

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use proptest::prelude::*;
use serde_json::{Map, Value as Json};
use zeroize::Zeroizing;

use super::install::Outcome;
use super::issue::Times;
use super::renewal::{JudgedAnswer, Judgement, NoAnswer, Renewal};
use super::sign_out::Others;
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
use crate::session::state::{Session, State, StateFiles};
use crate::session::verdict::AttemptEnd;
use crate::store::parking::Parking;
use crate::store::{SecretStore, StoreError};

/// How the provider treats the next refresh.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mood {
    Rotates,
    KeepsTheToken,
    IsDown,
    /// It rotates, and the connection breaks before the answer arrives, to the repeat as well.
    AnswerLost,
    /// It rotates, and the connection breaks before the first answer arrives: the repeat of the same attempt is answered.
    LostOnce,
    /// It rotates and signs with a key that is not known before its documents are fetched anew.
    NewKey,
    /// It rotates; its new documents cannot be fetched.
    KeysMissing,
    /// It rotates; no key of its own has signed the ID token.
    WrongKey,
    /// It rotates; this machine's clock does not fit the times in the ID token.
    ClockIsWrong,
    /// It rotates; its ID token fails another check.
    Lies,
    /// It rotates and issues no ID token.
    NoIdToken,
    /// It rotates; its ID token names another person.
    AnotherPerson,
    /// It rotates; the account is no allowed one.
    NotAllowed,
    /// Its token endpoint is another one than at the sign-in.
    Moved,
    /// It refuses with this error code, whatever it is sent.
    Refuses(&'static str),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Call(Renew),
    SignIn,
    /// The user signs in at another issuer on the same profile.
    SignInElsewhere,
    /// A call with that issuer configured.
    CallElsewhere,
    SignOut,
    /// With the other issuer configured.
    SignOutElsewhere,
    /// The organisation switches gatepass off, and on again.
    SwitchedOff,
    /// The organisation ends all sessions that began until now.
    Recall,
    Sleep(u64),
    ClockBack(u64),
    ClockForward(u64),
    /// The administrator changes the configuration, or changes it back.
    Reconfigure,
    /// The administrator mistypes a rule about who is allowed, or mends it.
    Rule,
    /// From now on the provider does this wherever nothing else is said.
    Lasting(Mood),
    /// The state file is lost.
    LoseState,
}

/// What happens and what goes wrong meanwhile.
#[derive(Clone, Copy, Debug)]
struct Incident {
    step: Step,
    mood: Mood,
    /// The process dies at this boundary, if it gets there.
    dies_at: Option<u32>,
    /// So many writes to the store fail.
    failing_writes: u32,
    /// The store neither gives nor takes anything.
    locked: bool,
}

/// One sign-in at a provider and the refresh token that is good for it now.
#[derive(Clone, Debug)]
struct Family {
    issuer: String,
    current: u32,
    rotated_at_ms: u64,
    revoked: bool,
    /// How often each refresh token was sent after it had been used up.
    reused: u32,
}

/// Real time is no part of the model: whatever the machine is busy with, nothing is given up for want of it.
fn no_hurry() -> Deadline {
    Deadline::after(Duration::from_secs(3600))
}

/// Nothing goes wrong.
fn calm(step: Step) -> Incident {
    Incident {
        step,
        mood: Mood::Rotates,
        dies_at: None,
        failing_writes: 0,
        locked: false,
    }
}

const FORCED: Step = Step::Call(Renew::Forced);
const CALL: Step = Step::Call(Renew::IfNeeded);

/// What kind of world the sequence meets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct WorldKind {
    /// For how long the provider forgives the use of a rotated refresh token, in milliseconds.
    grace_ms: u64,
    /// Whether the machine has a place for a session that the store does not take.
    parks: bool,
}

/// Everything outside of the session code.
struct World {
    kind: WorldKind,
    entry: RefCell<Option<Vec<u8>>>,
    failing_writes: Cell<u32>,
    /// Beside which a session may be parked.
    files: RefCell<Option<StateFiles>>,
    /// How long the last write may have taken.
    write_may_take: Cell<Duration>,
    locked: Cell<bool>,
    families: RefCell<Vec<Family>>,
    mood: Cell<Mood>,
    /// A rule that nobody satisfies is in force.
    rule: Cell<bool>,
    /// What another process does to the entry at a boundary of this one's attempt, with a lock of its own.
    intrusion: RefCell<Option<(u32, Option<Vec<u8>>)>>,
    boundary: Cell<u32>,
    dies_at: Cell<Option<u32>>,
    requests: Cell<u32>,
    /// The gateway's issuer does not take the provider's token.
    refuses_exchange: Cell<bool>,
    /// A rotated token may have been lost for a reason that no client can help: the stored one may be used up.
    excused: Cell<bool>,
    /// The provider has said that the session is over, or that it is another person's.
    has_ended_it: Cell<bool>,
    /// Access tokens of answers that passed every check.
    proved: RefCell<BTreeSet<String>>,
}

/// The payload of a process that died.
struct Died;

impl World {
    /// A boundary at which another process may have changed the entry.
    fn outside(&self) {
        let is_now = |at: u32| self.boundary.get() >= at;
        let mut intrusion = self.intrusion.borrow_mut();
        if intrusion.as_ref().is_some_and(|(at, _)| is_now(*at))
            && let Some((_, entry)) = intrusion.take()
        {
            *self.entry.borrow_mut() = entry;
        }
    }

    fn check_open(&self) -> Result<(), StoreError> {
        match self.locked.get() {
            true => Err(StoreError::Locked),
            false => Ok(()),
        }
    }

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

    /// The parked record that the state file knows.
    fn parked(&self) -> Option<Record> {
        let files = self.files.borrow();
        let files = files.as_ref()?;
        let digest = files.read().ok()?.parked?.digest;
        Parking::in_file(files).read(&digest)
    }

    /// The provider ends a session, and says so.
    fn revoke(&self, family: usize, was_repeated: bool) -> NoAnswer {
        self.families.borrow_mut()[family].revoked = true;
        self.has_ended_it.set(true);
        NoAnswer::Refused {
            end: AttemptEnd::Refused {
                code: "invalid_grant".to_owned(),
                suberror: None,
            },
            said: "invalid_grant".to_owned(),
            was_repeated,
        }
    }

    /// Whether the provider would take this refresh token now.
    fn is_good(&self, token: &Secret) -> bool {
        let (index, number) = Self::parse(token.expose());
        let family = &self.families.borrow()[index];
        let forgiven = family.current == number + 1
            && clock::uptime_millis().saturating_sub(family.rotated_at_ms) < self.kind.grace_ms;
        !family.revoked && (family.current == number || forgiven)
    }
}

impl SecretStore for World {
    fn read(&self, _: &str, _: Deadline) -> Result<Option<Zeroizing<Vec<u8>>>, StoreError> {
        self.boundary();
        self.check_open()?;
        self.outside();
        Ok(self.entry.borrow().clone().map(Zeroizing::new))
    }

    fn write(&self, _: &str, secret: &[u8], deadline: Deadline) -> Result<(), StoreError> {
        self.write_may_take.set(deadline.left());
        self.boundary();
        self.check_open()?;
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
        self.check_open()?;
        let was = self.entry.borrow_mut().take().is_some();
        self.boundary();
        Ok(was)
    }
}

fn unavailable(what: &str) -> Failure {
    Failure::new(Id::Unavailable, what, "wait").told_by_provider()
}

fn failed(end: AttemptEnd) -> Judgement {
    Judgement::Failed {
        what: format!("{end:?}"),
        end,
    }
}

fn claims() -> Claims {
    Claims(Map::from_iter([("sub".to_owned(), Json::from("ann"))]))
}

impl Renewal for World {
    fn renew(
        &self,
        record: &Record,
        refresh_token: &Secret,
        _: bool,
        before_sending: &mut dyn FnMut() -> Result<()>,
    ) -> Result<JudgedAnswer, NoAnswer> {
        self.boundary();
        let mood = self.mood.get();
        if mood == Mood::Moved {
            return Err(NoAnswer::EndpointMoved);
        }
        before_sending()?;
        self.boundary();
        self.outside();
        self.requests.set(self.requests.get() + 1);
        let (index, number) = Self::parse(refresh_token.expose());
        let issuer = self.families.borrow()[index].issuer.clone();
        assert_eq!(issuer, record.issuer, "sent to another issuer");
        match mood {
            Mood::IsDown => return Err(NoAnswer::Failed(unavailable("503"))),
            Mood::Refuses(code) => {
                return Err(NoAnswer::Refused {
                    end: AttemptEnd::Refused {
                        code: code.to_owned(),
                        suberror: None,
                    },
                    said: code.to_owned(),
                    was_repeated: false,
                });
            }
            _ => {}
        }
        {
            // One that the provider has looked at and that was used up before.
            let family = &mut self.families.borrow_mut()[index];
            if family.current > number {
                // A process that dies now has not noted the refusal.
                family.reused += u32::from(self.dies_at.get().is_none());
                assert!(
                    family.reused <= 1 || self.kind.grace_ms > 0,
                    "sent a third time"
                );
            } else {
                family.reused = 0;
            }
        }
        if !self.is_good(refresh_token) {
            return Err(self.revoke(index, false));
        }
        let next = if mood == Mood::KeepsTheToken {
            number
        } else {
            number + 1
        };
        {
            let family = &mut self.families.borrow_mut()[index];
            if next > family.current {
                family.current = next;
                family.rotated_at_ms = clock::uptime_millis();
            }
        }
        if next != number {
            // From here to the end of the write the answer exists only in the process's memory.
            let dies = self.dies_at.get().is_some();
            self.excused
                .set(self.excused.get() || dies || mood == Mood::AnswerLost);
        }
        self.boundary();
        if mood == Mood::AnswerLost {
            return Err(NoAnswer::Failed(unavailable("the connection broke")));
        }
        if mood == Mood::LostOnce && !self.is_good(refresh_token) {
            return Err(self.revoke(index, true));
        }
        let grant = grant(index, next);
        let judgement = match mood {
            Mood::NewKey | Mood::KeysMissing | Mood::WrongKey => failed(AttemptEnd::UnknownSigner),
            Mood::ClockIsWrong => failed(AttemptEnd::ClockIsWrong),
            Mood::Lies => failed(AttemptEnd::Untrusted),
            Mood::AnotherPerson => {
                self.has_ended_it.set(true);
                failed(AttemptEnd::AnotherPerson)
            }
            Mood::NoIdToken if record.unproven.is_some() => failed(AttemptEnd::NoProof),
            Mood::NoIdToken => self.passed(&grant, None, mood),
            _ => self.passed(&grant, Some(claims()), mood),
        };
        let now = clock::now_millis();
        Ok(JudgedAnswer {
            refresh_token: (next != number).then(|| Secret::new(Self::token(index, next))),
            refresh_expires_in: None,
            date: None,
            grant: Some(grant),
            times: Times {
                asked_at_ms: now,
                obtained_at_ms: now,
            },
            judgement,
        })
    }

    fn judge_again(&self, _: &Record, answer: &mut JudgedAnswer) {
        self.boundary();
        // What came is safe before anything else is asked: stored or, where the store does not take it, parked.
        let kept = [self.record(), self.parked()];
        let is_kept = kept
            .into_iter()
            .flatten()
            .any(|record| record.refresh_token == answer.refresh_token);
        if self.failing_writes.get() == 0 && !self.excused.get() {
            assert!(is_kept, "asked before it was stored");
        }
        answer.judgement = match (self.mood.get(), &answer.grant) {
            (Mood::NewKey, Some(grant)) => self.passed(grant, Some(claims()), Mood::NewKey),
            (Mood::KeysMissing, _) => failed(AttemptEnd::Unavailable),
            _ => failed(AttemptEnd::UnknownSigner),
        };
    }

    fn exchange(&self, _: &Secret) -> Result<Exchanged> {
        if self.refuses_exchange.get() {
            return Err(Failure::new(Id::SignInFailed, "invalid_grant", "ask").told_by_provider());
        }
        Ok(Exchanged {
            token: Secret::new("the-gateways"),
            end: End::In(Some(3600)),
        })
    }
}

impl World {
    fn passed(&self, grant: &Grant, claims: Option<Claims>, mood: Mood) -> Judgement {
        if self.rule.get() || mood == Mood::NotAllowed {
            let failure = Failure::new(Id::SignInFailed, "not allowed", "ask").told_by_provider();
            return Judgement::NotAllowed(claims, failure);
        }
        self.proves(grant);
        Judgement::Passed(claims)
    }

    fn proves(&self, grant: &Grant) {
        let token = grant.access_token.expose().to_owned();
        self.proved.borrow_mut().insert(token);
    }
}

/// Tokens live an hour.
fn grant(family: usize, number: u32) -> Grant {
    Grant {
        access_token: Secret::new(format!("at.{family}.{number}.{}", clock::now_millis())),
        id_token: None,
        refresh_token: Some(Secret::new(World::token(family, number))),
        expires_in: Some(3600),
        refresh_expires_in: None,
        bound_to: None,
    }
}

fn load(text: &str) -> Settings {
    crate::config::load(&Sources::of_text(text), &ProfileName::default()).unwrap()
}

fn settings(issuer: &str, more: &str) -> Settings {
    load(&format!(
        "issuer = '{issuer}'\nclient_id = 'model'\ncache = 'file'\nrevoke_on_logout = false\n{more}"
    ))
}

const HERE: &str = "https://model.example";
const ELSEWHERE: &str = "https://elsewhere.example";

struct Machine {
    world: World,
    settings: Settings,
    /// The configuration has a client secret.
    has_secret: bool,
    /// What the organisation ends: sessions that began before this, in seconds since 1970.
    recalled: Option<u64>,
    lasting: Option<Mood>,
    elsewhere: Settings,
    files: StateFiles,
    files_elsewhere: StateFiles,
    now_ms: u64,
    uptime_ms: u64,
    /// The latest moment that the clock has shown.
    latest_ms: u64,
    _folder: tempfile::TempDir,
}

impl Machine {
    fn new(kind: WorldKind) -> Self {
        // In memory: the state is written thousands of times, and no power is cut here.
        let folder = tempfile::tempdir_in("/dev/shm")
            .or_else(|_| tempfile::tempdir())
            .unwrap();
        let (here, elsewhere) = (settings(HERE, ""), settings(ELSEWHERE, ""));
        Self {
            world: World {
                kind,
                entry: RefCell::default(),
                files: RefCell::default(),
                write_may_take: Cell::default(),
                failing_writes: Cell::default(),
                locked: Cell::default(),
                families: RefCell::default(),
                mood: Cell::new(Mood::Rotates),
                rule: Cell::default(),
                intrusion: RefCell::default(),
                boundary: Cell::default(),
                dies_at: Cell::default(),
                requests: Cell::default(),
                excused: Cell::default(),
                has_ended_it: Cell::default(),
                refuses_exchange: Cell::default(),
                proved: RefCell::default(),
            },
            files: StateFiles::at(folder.path(), &here.key()).unwrap(),
            files_elsewhere: StateFiles::at(folder.path(), &elsewhere.key()).unwrap(),
            settings: here,
            has_secret: false,
            recalled: None,
            lasting: None,
            elsewhere,
            now_ms: 1_800_000_000_000,
            uptime_ms: 10_000_000,
            latest_ms: 0,
            _folder: folder,
        }
    }

    fn plain() -> Self {
        Self::new(WorldKind {
            grace_ms: 0,
            parks: false,
        })
    }

    /// Reads the configuration as it is by now.
    fn configure(&mut self) {
        let mut text = String::new();
        if self.has_secret {
            // The same tokens with it: only what concerns the attempt differs.
            text.push_str("client_secret = 's'\n");
        }
        if self.world.rule.get() {
            text.push_str("[required_claims]\nemail = 'nobody'\n");
        }
        self.settings = settings(HERE, &text);
        for settings in [&mut self.settings, &mut self.elsewhere] {
            if let Some(moment) = self.recalled {
                settings.session_not_before = Some(moment);
                settings.token_digest = format!("{}{moment}", settings.token_digest);
            }
        }
    }

    fn with_exchange() -> Self {
        let mut machine = Self::plain();
        machine.settings = settings(
            HERE,
            "[exchange]\ntoken_url = 'https://model.example/exchange'",
        );
        machine
    }

    fn writer_of<'a>(&'a self, settings: &'a Settings, files: &StateFiles) -> Result<Writer<'a>> {
        let budget = Budget::of(no_hurry());
        let mut writer = Writer::take(settings, files, &self.world, budget)?;
        writer.reader.parking = self.parking(files);
        Ok(writer)
    }

    fn writer(&self) -> Result<Writer<'_>> {
        self.writer_of(&self.settings, &self.files)
    }

    fn parking(&self, files: &StateFiles) -> Option<Parking> {
        let place = Parking::in_file(files);
        self.world.kind.parks.then_some(place)
    }

    fn reader_of<'a>(&self, settings: &'a Settings, files: &StateFiles) -> Reader<'a> {
        let mut reader = Reader::with(settings, files.clone()).unwrap();
        reader.parking = self.parking(files);
        reader
    }

    fn reader(&self) -> Reader<'_> {
        self.reader_of(&self.settings, &self.files)
    }

    /// The session as gatepass would use it: the stored one, or the parked one that was renewed later.
    fn session(&self) -> Option<Record> {
        let deadline = no_hurry();
        self.reader().stored(&self.world, deadline).unwrap()
    }

    /// What a host's call does: read, and if that is not enough, one refresh; at last the token in hand.
    fn call(&self, renew: Renew, settings: &Settings, files: &StateFiles) -> Result<IssuedToken> {
        let need = TokenRequirement {
            asked_at_ms: clock::now_millis(),
            renew,
            token_use: TokenUse::Kept,
        };
        let reader = self.reader_of(settings, files);
        if let Some(token) = reader.cached()
            && need.is_met_by(&token, &reader)
        {
            return Ok(token);
        }
        let deadline = no_hurry();
        if let Ok(Some(record)) = reader.stored(&self.world, deadline)
            && record.is_recalled(settings)
        {
            // That it could not be forgotten changes nothing.
            let _ = self.writer_of(settings, files)?.forget_recalled();
            return Err(crate::reader::sign_in_required("recalled"));
        }
        let result = self.writer_of(settings, files)?.refresh(need, &self.world);
        let reader = self.reader_of(settings, files);
        match result {
            Err(failure) if renew != Renew::Forced && reader.state.session != Session::None => {
                let cached = reader.cached().filter(Reader::is_valid);
                cached.ok_or(failure)
            }
            result => result,
        }
    }

    fn sign_in(&self, settings: &Settings, files: &StateFiles) -> Result<IssuedToken> {
        let family = {
            let mut families = self.world.families.borrow_mut();
            families.push(Family {
                issuer: settings.issuer.clone(),
                current: 0,
                rotated_at_ms: 0,
                revoked: false,
                reused: 0,
            });
            families.len() - 1
        };
        if self.world.rule.get() && settings.issuer == HERE {
            // The account is judged before anything is stored.
            return Err(Failure::new(Id::SignInFailed, "not allowed", "ask").told_by_provider());
        }
        let grant = grant(family, 0);
        self.world.proves(&grant);
        let now = clock::now_millis();
        let outcome = Outcome {
            grant,
            claims: Some(claims()),
            registered: None,
            exchanged: None,
            secret_headers: BTreeMap::new(),
            times: Times {
                asked_at_ms: now,
                obtained_at_ms: now,
            },
            token_endpoint: format!("{}/token", settings.issuer),
            by: SignedInBy::Browser,
        };
        let mut writer = self.writer_of(settings, files)?;
        let entry = writer.look()?;
        writer
            .replace_session(outcome, entry.other.as_ref())
            .map(|done| done.token)
    }

    /// Runs one event; `None` if the process died.
    fn run(&mut self, event: &Incident) -> Option<Result<Option<IssuedToken>>> {
        self.latest_ms = self.latest_ms.max(self.now_ms + 7);
        self.now_ms += 7;
        self.uptime_ms += 7;
        match event.step {
            Step::Sleep(seconds) => {
                self.now_ms += seconds * 1000;
                self.uptime_ms += seconds * 1000;
            }
            Step::ClockBack(seconds) => self.now_ms -= seconds * 1000,
            Step::ClockForward(seconds) => self.now_ms += seconds * 1000,
            Step::Reconfigure => self.has_secret = !self.has_secret,
            Step::Rule => self.world.rule.set(!self.world.rule.get()),
            Step::Recall => {
                // Later than every sign-in so far, also than those before a clock was set back, and than the last time.
                let later = self.recalled.map_or(0, |moment| moment + 1);
                self.recalled = Some(later.max(self.latest_ms / 1000 + 1));
            }
            Step::Lasting(mood) => self.lasting = Some(mood),
            Step::LoseState => {
                let name = self.files.name("state");
                let _ = std::fs::remove_file(self.files.dir().path().join(name));
                // What was noted of refusals is gone with it.
                for family in self.world.families.borrow_mut().iter_mut() {
                    family.reused = 0;
                }
            }
            _ => {}
        }
        if matches!(event.step, Step::Reconfigure | Step::Rule | Step::Recall) {
            self.configure();
        }
        clock::fake::set(Some(self.now_ms));
        clock::fake::set_uptime(Some(self.uptime_ms));
        self.world.mood.set(self.mood(event));
        self.world.locked.set(event.locked);
        self.world.boundary.set(0);
        self.world.dies_at.set(event.dies_at);
        self.world.failing_writes.set(event.failing_writes);
        let files = match event.step {
            Step::CallElsewhere => &self.files_elsewhere,
            _ => &self.files,
        };
        *self.world.files.borrow_mut() = Some(files.clone());
        let result = catch_unwind(AssertUnwindSafe(|| match event.step {
            Step::Call(renew) => self.call(renew, &self.settings, &self.files).map(Some),
            Step::CallElsewhere => self
                .call(Renew::Forced, &self.elsewhere, &self.files_elsewhere)
                .map(Some),
            Step::SignIn => self.sign_in(&self.settings, &self.files).map(Some),
            Step::SignInElsewhere => self
                .sign_in(&self.elsewhere, &self.files_elsewhere)
                .map(Some),
            Step::SignOut => self.writer()?.sign_out(Others::Forgotten).map(|_| None),
            Step::SignOutElsewhere => self
                .writer_of(&self.elsewhere, &self.files_elsewhere)?
                .sign_out(Others::Forgotten)
                .map(|_| None),
            Step::SwitchedOff => self.writer()?.forget().map(|_| None),
            _ => Ok(None),
        }));
        self.world.dies_at.set(None);
        self.world.locked.set(false);
        self.world.failing_writes.set(0);
        match result {
            Ok(result) => Some(result),
            Err(payload) if payload.is::<Died>() => None,
            Err(payload) => resume_unwind(payload),
        }
    }

    /// What the provider does at this event.
    fn mood(&self, event: &Incident) -> Mood {
        match (event.mood, self.lasting) {
            (Mood::Rotates, Some(lasting)) => lasting,
            (mood, _) => mood,
        }
    }

    fn view(&self) -> View {
        let reader = self.reader();
        let deadline = no_hurry();
        let session = reader.stored(&self.world, deadline).unwrap();
        View {
            session,
            state: reader.state,
        }
    }

    /// Whether gatepass takes the session for ended.
    fn has_ended(&self) -> bool {
        self.view().has_ended()
    }

    fn is_alive(&self) -> bool {
        self.view().is_alive(&self.world)
    }
}

/// What gatepass knows of its session.
struct View {
    session: Option<Record>,
    state: State,
}

impl View {
    /// Whether gatepass takes the session for ended.
    fn has_ended(&self) -> bool {
        let generation = self.session.as_ref().map(|record| record.generation);
        [Some(self.state.generation), generation]
            .into_iter()
            .flatten()
            .any(|generation| self.state.over(generation).is_some())
    }

    /// Whether the provider takes its refresh token.
    fn is_alive(&self, world: &World) -> bool {
        let token = self.session.as_ref();
        let token = token.and_then(|record| record.refresh_token.as_ref());
        token.is_some_and(|token| world.is_good(token))
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        clock::fake::set(None);
        clock::fake::set_uptime(None);
    }
}

/// A machine, and what may be printed on it.
struct Walk {
    machine: Machine,
    /// The sign-ins whose tokens may be printed: one, except after a sign-in or sign-out died half-way.
    owners: Vec<usize>,
    /// The same for calls with the other issuer configured.
    owners_elsewhere: Vec<usize>,
    /// So many sign-ins had begun when the organisation ended all of them.
    recalled: usize,
}

/// What must hold, whatever happens.
fn check(kind: WorldKind, events: &[Incident]) {
    let mut walk = Walk::new(kind);
    for event in events {
        walk.step(event);
    }
}

impl Walk {
    fn new(kind: WorldKind) -> Self {
        Self {
            machine: Machine::new(kind),
            owners: Vec::new(),
            owners_elsewhere: Vec::new(),
            recalled: 0,
        }
    }

    /// One event, and what must hold after it.
    fn step(&mut self, event: &Incident) {
        let Self {
            machine,
            owners,
            owners_elsewhere,
            recalled,
        } = self;
        let kind = machine.world.kind;
        let mood = machine.mood(event);
        let before = machine.view();
        let alive = before.is_alive(&machine.world);
        let had_ended = before.has_ended();
        let requests = machine.world.requests.get();
        if matches!(event.step, Step::LoseState) && before.state.parked.is_some() {
            // What is parked is not believed without the state file.
            machine.world.excused.set(true);
        }
        let is_recalled = before
            .session
            .as_ref()
            .is_some_and(|record| record.is_recalled(&machine.settings));
        let held_back = match event.step {
            Step::Call(renew) => {
                clock::fake::set(Some(machine.now_ms + 7));
                clock::fake::set_uptime(Some(machine.uptime_ms + 7));
                let reader = machine.reader();
                reader.held_back(before.session.as_ref(), renew).is_some()
            }
            _ => false,
        };
        let result = machine.run(event);
        let newest = machine.world.families.borrow().len().wrapping_sub(1);
        let sent = machine.world.requests.get() - requests;
        let begins_anew = || {
            machine.world.excused.set(false);
            machine.world.has_ended_it.set(false);
        };
        match (&event.step, &result) {
            (Step::SignIn, Some(Ok(_))) => {
                *owners = vec![newest];
                owners_elsewhere.clear();
                begins_anew();
            }
            (Step::SignIn, _) => owners.push(newest),
            (Step::SignInElsewhere, Some(Ok(_))) => {
                *owners_elsewhere = vec![newest];
                owners.clear();
                begins_anew();
            }
            (Step::SignInElsewhere, _) => owners_elsewhere.push(newest),
            (Step::SignOut | Step::SignOutElsewhere | Step::SwitchedOff, Some(result)) => {
                let own = event.step != Step::SignOutElsewhere;
                assert!(!own || machine.reader().parked().is_none());
                assert!(!own || machine.reader().cached().is_none());
                if result.is_ok() {
                    assert!(machine.world.entry.borrow().is_none());
                    owners.clear();
                    owners_elsewhere.clear();
                    begins_anew();
                } else {
                    assert!(event.locked, "{result:?}");
                    // What was parked is given up with the sign-out.
                    machine.world.excused.set(true);
                }
            }
            // A sign-out that died half-way has given up what was parked.
            (Step::SignOut | Step::SignOutElsewhere | Step::SwitchedOff, None) => {
                machine.world.excused.set(true);
            }
            (Step::Recall, _) => *recalled = newest.wrapping_add(1),
            (Step::CallElsewhere, Some(Ok(Some(token)))) => {
                let (family, _) = World::parse(token.value.expose());
                assert!(family >= *recalled, "a token that was recalled");
                assert!(owners_elsewhere.contains(&family), "another issuer's token");
            }
            (Step::Call(_), Some(result)) => {
                assert!(sent <= 1, "one request for a call");
                assert!(!had_ended || sent == 0, "an ended session is sent again");
                assert!(!held_back || sent == 0, "sent although it is held back");
                assert!(!is_recalled || sent == 0, "a recalled session is sent");
                if is_recalled && result.is_err() {
                    assert!(machine.reader().parked().is_none(), "parked and recalled");
                }
                if event.failing_writes >= super::STORE_TRIES && sent > 0 && !kind.parks {
                    machine.world.excused.set(true);
                }
                // An answer that names another person or an account that is not allowed takes the token away; one that
                // has not been judged so far does not.
                let is_withdrawn = result.as_ref().is_err_and(|failure| {
                    mood == Mood::AnotherPerson
                        || (failure.id == Id::SignInFailed && !matches!(mood, Mood::Refuses(_)))
                });
                if sent > 0 && alive && is_withdrawn {
                    machine.world.proved.borrow_mut().clear();
                }
                match result {
                    Ok(Some(token)) => {
                        let (family, _) = World::parse(token.value.expose());
                        assert!(owners.contains(&family), "a token of an earlier session");
                        assert!(
                            token.life.expires_at_ms > clock::now_millis(),
                            "an expired token"
                        );
                        assert!(
                            machine.world.proved.borrow().contains(token.value.expose()),
                            "a token that nothing has proved"
                        );
                        assert!(!machine.world.rule.get(), "a token that the rules forbid");
                        assert!(family >= *recalled, "a token that was recalled");
                    }
                    Ok(None) => unreachable!(),
                    Err(failure) => {
                        let healthy = matches!(mood, Mood::Rotates | Mood::KeepsTheToken)
                            || (mood == Mood::LostOnce && kind.grace_ms > 0);
                        let may_fail = !alive
                            || !healthy
                            || had_ended
                            || held_back
                            || is_recalled
                            || event.locked
                            || machine.world.rule.get();
                        assert!(may_fail, "a living session gave nothing: {failure:?}");
                    }
                }
            }
            _ => {}
        }
        let after = machine.view();
        // Nothing ends a session but the provider's word; sign-outs and sign-ins leave no mark of an end.
        assert!(
            !after.has_ended() || machine.world.has_ended_it.get(),
            "ended by {event:?}"
        );
        // The heart of it: what is kept is what the provider takes, unless an answer was lost on the way.
        let session = after.session.as_ref();
        let has_token = session.is_some_and(|record| {
            record.refresh_token.is_some() && !record.is_recalled(&machine.settings)
        });
        if has_token && !machine.world.excused.get() && !machine.world.has_ended_it.get() {
            assert!(
                after.is_alive(&machine.world),
                "a session was lost by {event:?}"
            );
        }
        // A dead process leaves no lock behind.
        assert!(result.is_some() || machine.writer().is_ok());
    }

    fn snapshot(&self) -> Snapshot {
        let (machine, world) = (&self.machine, &self.machine.world);
        let dir = machine.files.dir();
        let files = std::fs::read_dir(dir.path()).unwrap().map(|file| {
            let file = file.unwrap();
            let name = file.file_name().into_string().unwrap();
            (name, std::fs::read(file.path()).unwrap())
        });
        Snapshot {
            files: files.filter(|(name, _)| !is_lock(name)).collect(),
            entry: world.entry.borrow().clone(),
            families: world.families.borrow().clone(),
            proved: world.proved.borrow().clone(),
            flags: (
                world.rule.get(),
                world.excused.get(),
                world.has_ended_it.get(),
                machine.has_secret,
            ),
            recalled: machine.recalled,
            lasting: machine.lasting,
            clocks: (machine.now_ms, machine.uptime_ms),
            owners: (self.owners.clone(), self.owners_elsewhere.clone()),
            recalled_sign_ins: self.recalled,
        }
    }

    /// Goes back to how everything was.
    fn restore(&mut self, then: &Snapshot) {
        let machine = &mut self.machine;
        let dir = machine.files.dir().clone();
        for file in std::fs::read_dir(dir.path()).unwrap() {
            let name = file.unwrap().file_name().into_string().unwrap();
            if !is_lock(&name) && !then.files.contains_key(&name) {
                dir.remove(&name).unwrap();
            }
        }
        for (name, bytes) in &then.files {
            let path = dir.path().join(name);
            if std::fs::read(path).ok().as_ref() != Some(bytes) {
                dir.replace(name, bytes).unwrap();
            }
        }
        let world = &machine.world;
        *world.entry.borrow_mut() = then.entry.clone();
        world.families.borrow_mut().clone_from(&then.families);
        world.proved.borrow_mut().clone_from(&then.proved);
        let (rule, excused, has_ended_it, has_secret) = then.flags;
        let is_configured = machine.has_secret == has_secret
            && world.rule.get() == rule
            && machine.recalled == then.recalled;
        world.rule.set(rule);
        world.excused.set(excused);
        world.has_ended_it.set(has_ended_it);
        machine.has_secret = has_secret;
        machine.recalled = then.recalled;
        machine.lasting = then.lasting;
        (machine.now_ms, machine.uptime_ms) = then.clocks;
        clock::fake::set(Some(machine.now_ms));
        clock::fake::set_uptime(Some(machine.uptime_ms));
        if !is_configured {
            machine.elsewhere = settings(ELSEWHERE, "");
            machine.configure();
        }
        (self.owners, self.owners_elsewhere) = then.owners.clone();
        self.recalled = then.recalled_sign_ins;
    }

    /// Every sequence of so many further events. Gives how many were tried.
    fn every(
        &mut self,
        alphabet: &[Incident],
        first: &[Incident],
        length: usize,
        so_far: &mut Vec<Incident>,
    ) -> u64 {
        let then = self.snapshot();
        let mut sequences = 0;
        for event in first {
            so_far.push(*event);
            let told = catch_unwind(AssertUnwindSafe(|| self.step(event)));
            if let Err(payload) = told {
                println!("after a sign-in: {so_far:#?}");
                resume_unwind(payload);
            }
            sequences += 1;
            if length > 1 {
                sequences += self.every(alphabet, alphabet, length - 1, so_far);
            }
            so_far.pop();
            self.restore(&then);
        }
        sequences
    }
}

fn is_lock(name: &str) -> bool {
    name.ends_with("lock")
}

/// Everything that an event can change.
struct Snapshot {
    files: BTreeMap<String, Vec<u8>>,
    entry: Option<Vec<u8>>,
    families: Vec<Family>,
    proved: BTreeSet<String>,
    flags: (bool, bool, bool, bool),
    recalled: Option<u64>,
    lasting: Option<Mood>,
    clocks: (u64, u64),
    owners: (Vec<usize>, Vec<usize>),
    recalled_sign_ins: usize,
}

const KINDS: [WorldKind; 3] = [
    WorldKind {
        grace_ms: 0,
        parks: false,
    },
    WorldKind {
        grace_ms: 0,
        parks: true,
    },
    WorldKind {
        grace_ms: 30_000,
        parks: true,
    },
];

/// One of each that differs.
fn alphabet() -> Vec<Incident> {
    let forced = |mood| Incident {
        mood,
        ..calm(FORCED)
    };
    let mut all = vec![
        calm(CALL),
        calm(FORCED),
        calm(Step::SignIn),
        calm(Step::SignInElsewhere),
        calm(Step::CallElsewhere),
        calm(Step::SignOut),
        calm(Step::Recall),
        calm(Step::Sleep(3500)),
        calm(Step::ClockBack(7200)),
        calm(Step::Reconfigure),
        calm(Step::Rule),
        calm(Step::Lasting(Mood::Refuses("invalid_request"))),
        calm(Step::LoseState),
        Incident {
            failing_writes: 9,
            ..calm(FORCED)
        },
        Incident {
            locked: true,
            ..calm(FORCED)
        },
        Incident {
            locked: true,
            ..calm(Step::SignOut)
        },
        Incident {
            dies_at: Some(6),
            ..calm(FORCED)
        },
    ];
    all.extend(
        [
            Mood::AnswerLost,
            Mood::LostOnce,
            Mood::NewKey,
            Mood::WrongKey,
            Mood::NoIdToken,
            Mood::AnotherPerson,
            Mood::Moved,
        ]
        .map(forced),
    );
    all
}

fn is_long() -> bool {
    std::env::var_os("GATEPASS_LONG_TESTS").is_some()
}

/// After a sign-in, every sequence of up to three events of the alphabet (with `GATEPASS_LONG_TESTS`: four).
#[test]
fn no_short_sequence_loses_a_session() {
    let alphabet = alphabet();
    let longest = if is_long() { 4 } else { 3 };
    // Threads, each with a clock of its own, share the first events.
    let next = AtomicUsize::new(0);
    let run = || -> u64 {
        let mut sequences = 0;
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let (Some(first), Some(kind)) = (
                alphabet.get(number / KINDS.len()),
                KINDS.get(number % KINDS.len()),
            ) else {
                return sequences;
            };
            let mut walk = Walk::new(*kind);
            walk.step(&calm(Step::SignIn));
            let first = std::slice::from_ref(first);
            sequences += walk.every(&alphabet, first, longest, &mut Vec::new());
        }
    };
    let threads = std::thread::available_parallelism().map_or(2, |count| count.get().min(8));
    let sequences: u64 = std::thread::scope(|scope| {
        let running: Vec<_> = (0..threads).map(|_| scope.spawn(run)).collect();
        running.into_iter().map(|one| one.join().unwrap()).sum()
    });
    let of = |length: u32| (alphabet.len() as u64).pow(length);
    let expected: u64 = (1..=longest as u32).map(of).sum();
    println!("{sequences} sequences of up to {longest} events");
    assert_eq!(sequences, expected * KINDS.len() as u64);
}

/// A process with a lock of its own, as in another home folder, signs in at another issuer, signs in here or signs out
/// while this one renews the session: what it has left stands, whatever the clocks say.
#[test]
fn a_refresh_never_overwrites_what_another_process_has_done() {
    let tries = if is_long() { 10_000 } else { 300 };
    let mut random: u64 = 0x9E37_79B9_7F4A_7C15;
    let mut below = |limit: u64| {
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) % limit
    };
    let mut walk = Walk::new(KINDS[0]);
    let beginning = walk.snapshot();
    let mut intruded = 0;
    for number in 0..tries {
        let kind = KINDS[usize::try_from(below(3)).unwrap()];
        walk.machine.world.kind = kind;
        let machine = &mut walk.machine;
        machine.run(&calm(Step::SignIn)).unwrap().unwrap();
        let ours = machine.world.record().unwrap();
        // The other process has a clock of its own, which may be behind.
        let seconds = below(7200);
        let generation = match below(3) {
            0 => ours.generation.saturating_sub(seconds * 1000),
            1 => ours.generation,
            _ => ours.generation + seconds * 1000,
        };
        let theirs = Record {
            generation,
            rotations: below(3),
            refresh_token: Some(Secret::new("rt.0.9")),
            ..ours.clone()
        };
        let left = match below(4) {
            0 => None,
            1 => Some(Record {
                client_id: "another".to_owned(),
                ..theirs
            }),
            2 => Some(Record {
                issuer: ELSEWHERE.to_owned(),
                ..theirs
            }),
            // The same sign-in at the same issuer is the same record.
            _ => Some(Record {
                generation: generation.max(ours.generation + 1),
                ..theirs
            }),
        };
        let bytes = left.map(|record| record.to_bytes().unwrap().to_vec());
        // The first boundaries are the looks; what is done before them is no race.
        let at = 3 + u32::try_from(below(4)).unwrap();
        *machine.world.intrusion.borrow_mut() = Some((at, bytes.clone()));
        match below(3) {
            0 => machine.now_ms -= seconds * 1000,
            1 => machine.now_ms += seconds * 1000,
            _ => {}
        }
        let event = Incident {
            mood: [Mood::Rotates, Mood::NewKey, Mood::Lies, Mood::NotAllowed]
                [usize::try_from(below(4)).unwrap()],
            ..calm(FORCED)
        };
        let result = machine.run(&event);
        assert!(result.is_some());
        if machine.world.intrusion.take().is_none() {
            intruded += 1;
            assert_eq!(*machine.world.entry.borrow(), bytes, "try {number}");
        }
        walk.restore(&beginning);
    }
    println!("{tries} tries, {intruded} with another process in between");
    assert!(intruded * 10 > tries * 9, "{intruded} of {tries}");
}

fn mood() -> impl Strategy<Value = Mood> {
    let codes = prop::sample::select(vec![
        "access_denied",
        "account_selection_required",
        "consent_required",
        "interaction_required",
        "invalid_client",
        "invalid_request",
        "invalid_scope",
        "invalid_target",
        "invalid_token",
        "login_required",
        "mfa_required",
        "server_error",
        "temporarily_unavailable",
        "unauthorized_client",
        "unsupported_grant_type",
        "something_else",
    ]);
    prop_oneof![
        12 => Just(Mood::Rotates),
        2 => Just(Mood::KeepsTheToken),
        2 => Just(Mood::IsDown),
        1 => Just(Mood::AnswerLost),
        1 => Just(Mood::LostOnce),
        1 => Just(Mood::NewKey),
        1 => Just(Mood::KeysMissing),
        1 => Just(Mood::WrongKey),
        1 => Just(Mood::ClockIsWrong),
        1 => Just(Mood::Lies),
        2 => Just(Mood::NoIdToken),
        1 => Just(Mood::AnotherPerson),
        1 => Just(Mood::NotAllowed),
        1 => Just(Mood::Moved),
        2 => codes.prop_map(Mood::Refuses),
    ]
}

fn event() -> impl Strategy<Value = Incident> {
    let renew = prop_oneof![
        Just(Renew::IfNeeded),
        Just(Renew::Forced),
        Just(Renew::RefusedByGateway)
    ];
    let step = prop_oneof![
        6 => renew.prop_map(Step::Call),
        2 => Just(Step::SignIn),
        1 => Just(Step::SignInElsewhere),
        1 => Just(Step::CallElsewhere),
        1 => Just(Step::SignOut),
        1 => Just(Step::SignOutElsewhere),
        1 => Just(Step::SwitchedOff),
        1 => Just(Step::Recall),
        1 => Just(Step::Rule),
        1 => mood().prop_map(Step::Lasting),
        3 => prop_oneof![1..600_u64, 3000..4000_u64].prop_map(Step::Sleep),
        1 => (1..7200_u64).prop_map(Step::ClockBack),
        1 => (1..7200_u64).prop_map(Step::ClockForward),
        1 => Just(Step::Reconfigure),
        1 => Just(Step::LoseState),
    ];
    let mood = mood();
    let dies_at = prop_oneof![4 => Just(None), 2 => (0..16_u32).prop_map(Some)];
    let failing = prop_oneof![6 => Just(0_u32), 1 => 1..3_u32, 1 => Just(99_u32)];
    let locked = prop::bool::weighted(0.1);
    (step, mood, dies_at, failing, locked).prop_map(
        |(step, mood, dies_at, failing_writes, locked)| Incident {
            step,
            mood,
            dies_at,
            failing_writes,
            locked,
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: if is_long() { 10_000 } else { 400 },
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn no_interleaving_loses_a_session(
        kind in prop::sample::select(KINDS.to_vec()),
        events in proptest::collection::vec(event(), 1..25),
    ) {
        check(kind, &events);
    }
}

/// A renewed session that neither store nor parking place take: nothing ends, and the stored token is tried once.
#[test]
fn a_rotated_token_that_can_be_kept_nowhere_is_printed_and_the_old_one_sent_once_more() {
    let mut machine = Machine::plain();
    machine.run(&calm(Step::SignIn)).unwrap().unwrap();
    let failing = Incident {
        failing_writes: 9,
        ..calm(FORCED)
    };
    let token = machine.run(&failing).unwrap().unwrap().unwrap();
    assert_eq!(machine.world.requests.get(), 1);
    // It is still printed while it is good, and `status` has a warning.
    let again = machine.run(&calm(CALL)).unwrap().unwrap().unwrap();
    assert_eq!(again, token);
    assert_eq!(machine.files.read().unwrap().warnings.len(), 1);
    assert!(!machine.has_ended());
    let later = machine.run(&calm(FORCED)).unwrap().unwrap_err();
    assert_eq!(later.id, Id::SignInRequired);
    assert!(later.what.contains("could not be stored"), "{later}");
    assert_eq!(machine.world.requests.get(), 2);
    machine.run(&calm(FORCED)).unwrap().unwrap_err();
    assert_eq!(machine.world.requests.get(), 2);
}

#[test]
fn a_session_is_parked_over_ten_refreshes_and_brought_home_at_the_first_call_that_finds_the_store_willing()
 {
    let mut machine = Machine::new(KINDS[1]);
    machine.run(&calm(Step::SignIn)).unwrap().unwrap();
    let failing = Incident {
        failing_writes: 99,
        ..calm(FORCED)
    };
    for rotations in 1..=10 {
        let token = machine.run(&failing).unwrap().unwrap().unwrap();
        assert_eq!(World::parse(token.value.expose()).1, rotations);
        assert!(machine.reader().parked().is_some());
        assert_eq!(machine.world.record().unwrap().rotations, 0);
    }
    let renewed = machine.run(&calm(FORCED)).unwrap().unwrap().unwrap();
    assert_eq!(World::parse(renewed.value.expose()).1, 11);
    assert_eq!(machine.world.record().unwrap().rotations, 11);
    assert!(machine.files.read().unwrap().parked.is_none());
    // Parked once more, and forgotten with the sign-out.
    machine.run(&failing).unwrap().unwrap();
    let place = Parking::in_file(&machine.files);
    let digest = machine.files.read().unwrap().parked.unwrap().digest;
    assert!(place.read(&digest).is_some());
    machine.run(&calm(Step::SignOut)).unwrap().unwrap();
    assert!(place.read(&digest).is_none());
}

#[test]
fn a_wrong_answer_followed_by_one_without_an_id_token_prints_nothing() {
    let wrong = Incident {
        mood: Mood::WrongKey,
        ..calm(FORCED)
    };
    let without = Incident {
        mood: Mood::NoIdToken,
        ..calm(FORCED)
    };
    for dies_at in (0..20).map(Some).chain([None]) {
        let mut machine = Machine::plain();
        machine.run(&calm(Step::SignIn)).unwrap().unwrap();
        // The sign-in's own token is over.
        machine.run(&calm(Step::Sleep(3700)));
        let first = machine.run(&Incident { dies_at, ..wrong });
        if let Some(first) = &first {
            assert_eq!(first.as_ref().unwrap_err().id, Id::UntrustedResponse);
        }
        machine.run(&calm(Step::Sleep(61)));
        let requests = machine.world.requests.get();
        let second = machine.run(&without).unwrap();
        // A process that died before the answer came has left a session that was never in doubt.
        if machine
            .session()
            .is_some_and(|record| record.unproven.is_some())
        {
            assert_eq!(second.unwrap_err().id, Id::SignInRequired, "{dies_at:?}");
            // Nothing is sent any more until the user signs in.
            machine.run(&calm(Step::Sleep(7200)));
            let sent = machine.world.requests.get();
            assert!(sent > requests);
            let third = machine.run(&calm(FORCED)).unwrap();
            assert_eq!(third.unwrap_err().id, Id::SignInRequired);
            assert_eq!(machine.world.requests.get(), sent);
            machine.run(&calm(Step::SignIn)).unwrap().unwrap();
            assert!(machine.run(&calm(FORCED)).unwrap().is_ok());
        }
    }
}

#[test]
fn what_was_kept_unproven_is_proved_by_a_later_id_token_and_the_pause_ends_with_the_configuration()
{
    let mut machine = Machine::plain();
    machine.run(&calm(Step::SignIn)).unwrap().unwrap();
    machine.run(&calm(Step::Sleep(3700)));
    let refused = Incident {
        mood: Mood::Lies,
        ..calm(CALL)
    };
    let failure = machine.run(&refused).unwrap().unwrap_err();
    assert_eq!(failure.id, Id::UntrustedResponse);
    let requests = machine.world.requests.get();
    // The pause holds, also for a gateway's refusal, and for a person who insists only a moment.
    for step in [CALL, Step::Call(Renew::RefusedByGateway), FORCED] {
        let failure = machine.run(&calm(step)).unwrap().unwrap_err();
        assert_eq!(failure.id, Id::UntrustedResponse);
    }
    assert_eq!(machine.world.requests.get(), requests);
    assert!(machine.session().unwrap().unproven.is_some());
    machine.run(&calm(Step::Reconfigure));
    assert!(machine.run(&calm(CALL)).unwrap().is_ok());
    assert!(machine.session().unwrap().unproven.is_none());
    assert!(machine.files.read().unwrap().back_off.is_none());
}

#[test]
fn a_refresh_of_one_issuer_never_overwrites_a_sign_in_at_another() {
    let mut machine = Machine::plain();
    machine.run(&calm(Step::SignIn)).unwrap().unwrap();
    let mut refreshing = machine.writer().unwrap();
    let entry = refreshing.look().unwrap().session.unwrap();
    // Another process with another lock, as in another home folder, has signed in at another issuer meanwhile.
    let newer = Record {
        issuer: ELSEWHERE.to_owned(),
        generation: 1,
        ..entry.clone()
    };
    *machine.world.entry.borrow_mut() = Some(newer.to_bytes().unwrap().to_vec());
    let rotated = Record {
        rotations: entry.rotations + 1,
        ..entry
    };
    assert!(matches!(
        refreshing.keep(&rotated, super::WhoWaits::Caller).unwrap(),
        super::Kept::Overtaken
    ));
    drop(refreshing);
    assert_eq!(machine.world.record().unwrap().issuer, ELSEWHERE);
}

#[test]
fn issuers_and_clients_of_one_profile_share_the_write_lock() {
    let machine = Machine::plain();
    let _held = machine.writer().unwrap();
    let other = Writer::take(
        &machine.elsewhere,
        &machine.files_elsewhere,
        &machine.world,
        Budget::of(Deadline::after(Duration::ZERO)),
    );
    assert_eq!(other.err().map(|failure| failure.id), Some(Id::Unavailable));
}

#[test]
fn a_sign_in_that_dies_once_its_session_is_stored_has_succeeded() {
    // After a session that the provider has ended, and after one that is still good.
    for ended in [true, false] {
        for dies_at in 0..8 {
            let mut machine = Machine::plain();
            machine.run(&calm(Step::SignIn)).unwrap().unwrap();
            if ended {
                machine.world.families.borrow_mut()[0].revoked = true;
                let refused = machine.run(&calm(FORCED)).unwrap();
                assert_eq!(refused.unwrap_err().id, Id::SignInRequired);
            }
            let dying = Incident {
                dies_at: Some(dies_at),
                ..calm(Step::SignIn)
            };
            let died = machine.run(&dying).is_none();
            let stored = machine.world.record().unwrap().refresh_token.unwrap();
            let (family, _) = World::parse(stored.expose());
            let requests = machine.world.requests.get();
            let call = machine.run(&calm(FORCED)).unwrap();
            let case = format!("ended {ended}, dies at {dies_at}: {died}");
            if family == 0 && ended {
                assert_eq!(call.unwrap_err().id, Id::SignInRequired, "{case}");
                assert_eq!(machine.world.requests.get(), requests, "{case}");
            } else {
                let token = call.unwrap().unwrap();
                assert_eq!(World::parse(token.value.expose()).0, family, "{case}");
            }
        }
    }
}

/// A store that says nothing keeps a caller waiting only where the renewed session can be put nowhere else. In a sign-in
/// the user may have to answer its prompt first.
#[test]
fn a_silent_store_is_waited_for_by_the_user_and_where_nothing_can_be_parked() {
    for kind in KINDS {
        let mut walk = Walk::new(kind);
        let machine = &mut walk.machine;
        for (step, is_caller) in [(Step::SignIn, false), (FORCED, true)] {
            machine.run(&calm(step)).unwrap().unwrap();
            let is_short = machine.world.write_may_take.get() <= Duration::from_secs(10);
            assert_eq!(is_short, is_caller && kind.parks, "{kind:?} {step:?}");
        }
    }
}

#[test]
fn an_exchanged_token_that_cannot_be_stored_ends_no_session() {
    let mut machine = Machine::with_exchange();
    let event = |step, failing_writes| Incident {
        failing_writes,
        ..calm(step)
    };
    machine.run(&event(Step::SignIn, 0)).unwrap().unwrap();
    let renewed = machine.run(&event(FORCED, 0)).unwrap();
    assert!(renewed.unwrap().is_some());
    // What the provider gave is exchanged again, and nothing of it can be stored.
    machine.run(&event(Step::Sleep(3500), 0));
    let exchanged = machine.run(&event(CALL, 9)).unwrap();
    assert!(exchanged.unwrap().is_some());
    assert_eq!(machine.world.requests.get(), 1);
    assert_eq!(machine.files.read().unwrap().session, Session::Stored);
    // The rotated session cannot be stored at first, and then it can, together with what it was exchanged for.
    let renewed = machine.run(&event(FORCED, 3)).unwrap();
    assert!(renewed.unwrap().is_some());
    assert_eq!(machine.files.read().unwrap().session, Session::Stored);
    assert!(machine.is_alive());
}

#[test]
fn an_exchange_that_was_only_tried_before_a_refresh_is_not_remembered_as_refused() {
    let mut machine = Machine::with_exchange();
    let event = |step, mood| Incident { mood, ..calm(step) };
    machine.run(&event(Step::SignIn, Mood::Rotates));
    let renewed = machine.run(&event(FORCED, Mood::Rotates)).unwrap();
    assert!(renewed.unwrap().is_some());
    machine.run(&event(Step::Sleep(3500), Mood::Rotates));
    // What the provider gave is refused; whether it would take something newer is not known while it is away.
    machine.world.refuses_exchange.set(true);
    for _ in 0..2 {
        let call = machine.run(&event(CALL, Mood::IsDown)).unwrap();
        // The last token lives for another moment.
        assert!(call.unwrap().is_some());
    }
    machine.run(&event(Step::Sleep(200), Mood::Rotates));
    for _ in 0..2 {
        let call = machine.run(&event(CALL, Mood::IsDown)).unwrap();
        assert_eq!(call.unwrap_err().id, Id::Unavailable);
    }
    machine.world.refuses_exchange.set(false);
    let healthy = machine.run(&event(CALL, Mood::Rotates)).unwrap();
    assert!(healthy.unwrap().is_some());
}

#[test]
fn a_state_without_a_session_is_told_apart_from_one_that_has_ended() {
    let machine = Machine::plain();
    let state = machine.files.read().unwrap();
    assert!(without_session(&state).is_none());
}
