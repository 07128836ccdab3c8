//! The state machine of a session, tested as one: calls, sign-ins at two issuers, sign-outs, crashes at every boundary,
//! everything that a provider can answer, stores that fail and clocks that are set, against the real session code, with
//! a clock, a store and a provider that the test controls. Random sequences, and every short one.
//!
//! The provider rotates and revokes the whole family on reuse; it is the one that knows the truth.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::Duration;

use proptest::prelude::*;
use serde_json::{Map, Value as Json};
use zeroize::Zeroizing;

use super::install::Outcome;
use super::issue::Times;
use super::renewal::{JudgedAnswer, Judgement, NoAnswer, Renewal};
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
use crate::session::verdict::AttemptEnd;
use crate::store::parking::Parking;
use crate::store::{SecretStore, StoreError};

/// How the provider treats the next refresh.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mood {
    Rotates,
    KeepsTheToken,
    IsDown,
    /// It rotates, and the connection breaks before the answer arrives.
    AnswerLost,
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
    SignOut,
    Sleep(u64),
    ClockBack(u64),
    ClockForward(u64),
    /// The administrator changes the configuration, or changes it back.
    Reconfigure,
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
}

/// One sign-in at a provider and the refresh token that is good for it now.
#[derive(Debug)]
struct Family {
    issuer: String,
    current: u32,
    rotated_at_ms: u64,
    revoked: bool,
    /// How often each refresh token was sent after it had been used up.
    reused: u32,
}

/// Nothing goes wrong.
fn calm(step: Step) -> Incident {
    Incident {
        step,
        mood: Mood::Rotates,
        dies_at: None,
        failing_writes: 0,
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
    families: RefCell<Vec<Family>>,
    mood: Cell<Mood>,
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
            self.families.borrow_mut()[index].revoked = true;
            self.has_ended_it.set(true);
            return Err(NoAnswer::Refused {
                end: AttemptEnd::Refused {
                    code: "invalid_grant".to_owned(),
                    suberror: None,
                },
                said: "invalid_grant".to_owned(),
                was_repeated: false,
            });
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
        let grant = grant(index, next);
        let judgement = match mood {
            Mood::NewKey | Mood::KeysMissing | Mood::WrongKey => failed(AttemptEnd::UnknownSigner),
            Mood::ClockIsWrong => failed(AttemptEnd::ClockIsWrong),
            Mood::Lies => failed(AttemptEnd::Untrusted),
            Mood::AnotherPerson => {
                self.has_ended_it.set(true);
                failed(AttemptEnd::AnotherPerson)
            }
            Mood::NotAllowed => {
                let failure =
                    Failure::new(Id::SignInFailed, "not allowed", "ask").told_by_provider();
                Judgement::NotAllowed(Some(claims()), failure)
            }
            Mood::NoIdToken if record.unproven.is_some() => failed(AttemptEnd::NoProof),
            Mood::NoIdToken => self.passed(&grant, None),
            _ => self.passed(&grant, Some(claims())),
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
        // What came is safe before anything else is asked.
        let kept = self.record().and_then(|record| record.refresh_token);
        if self.failing_writes.get() == 0 && !self.excused.get() {
            assert_eq!(kept, answer.refresh_token, "asked before it was stored");
        }
        answer.judgement = match (self.mood.get(), &answer.grant) {
            (Mood::NewKey, Some(grant)) => self.passed(grant, Some(claims())),
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
    fn passed(&self, grant: &Grant, claims: Option<Claims>) -> Judgement {
        let token = grant.access_token.expose().to_owned();
        self.proved.borrow_mut().insert(token);
        Judgement::Passed(claims)
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
        "issuer = '{issuer}'\nclient_id = 'model'\ncache = 'file'\n{more}"
    ))
}

const HERE: &str = "https://model.example";
const ELSEWHERE: &str = "https://elsewhere.example";

struct Machine {
    world: World,
    /// As configured, and as configured after a change.
    settings: [Settings; 2],
    in_force: usize,
    elsewhere: Settings,
    files: StateFiles,
    files_elsewhere: StateFiles,
    now_ms: u64,
    uptime_ms: u64,
    _folder: tempfile::TempDir,
}

impl Machine {
    fn new(kind: WorldKind) -> Self {
        // In memory: the state is written thousands of times, and no power is cut here.
        let folder = tempfile::tempdir_in("/dev/shm")
            .or_else(|_| tempfile::tempdir())
            .unwrap();
        Self {
            world: World {
                kind,
                entry: RefCell::default(),
                failing_writes: Cell::default(),
                families: RefCell::default(),
                mood: Cell::new(Mood::Rotates),
                boundary: Cell::default(),
                dies_at: Cell::default(),
                requests: Cell::default(),
                excused: Cell::default(),
                has_ended_it: Cell::default(),
                refuses_exchange: Cell::default(),
                proved: RefCell::default(),
            },
            // The same tokens under both: only what concerns the attempt differs.
            settings: [settings(HERE, ""), settings(HERE, "client_secret = 's'")],
            in_force: 0,
            elsewhere: settings(ELSEWHERE, ""),
            files: StateFiles::at(folder.path(), "model").unwrap(),
            files_elsewhere: StateFiles::at(folder.path(), "elsewhere").unwrap(),
            now_ms: 1_800_000_000_000,
            uptime_ms: 10_000_000,
            _folder: folder,
        }
    }

    fn plain() -> Self {
        Self::new(WorldKind {
            grace_ms: 0,
            parks: false,
        })
    }

    fn with_exchange() -> Self {
        let mut machine = Self::plain();
        machine.settings[0] = settings(
            HERE,
            "[exchange]\ntoken_url = 'https://model.example/exchange'",
        );
        machine
    }

    fn settings(&self) -> &Settings {
        &self.settings[self.in_force]
    }

    fn writer_of<'a>(&'a self, settings: &'a Settings, files: &StateFiles) -> Result<Writer<'a>> {
        let budget = Budget::of(Deadline::after(Duration::from_secs(5)));
        let mut writer = Writer::take(settings, files, &self.world, budget)?;
        writer.reader.parking = self.parking();
        Ok(writer)
    }

    fn writer(&self) -> Result<Writer<'_>> {
        self.writer_of(self.settings(), &self.files)
    }

    fn parking(&self) -> Option<Parking> {
        let place = Parking::in_file(&self.files);
        self.world.kind.parks.then_some(place)
    }

    fn reader(&self) -> Reader<'_> {
        let mut reader = Reader::with(self.settings(), self.files.clone()).unwrap();
        reader.parking = self.parking();
        reader
    }

    /// The session as gatepass would use it: the stored one, or the parked one that was renewed later.
    fn session(&self) -> Option<Record> {
        let deadline = Deadline::after(Duration::from_secs(1));
        self.reader().stored(&self.world, deadline).unwrap()
    }

    /// What a host's call does: read, and if that is not enough, one refresh; at last the token in hand.
    fn call(&self, renew: Renew) -> Result<IssuedToken> {
        let need = TokenRequirement {
            asked_at_ms: clock::now_millis(),
            renew,
            token_use: TokenUse::Kept,
        };
        let reader = self.reader();
        if let Some(token) = reader.cached()
            && need.is_met_by(&token, &reader)
        {
            return Ok(token);
        }
        let result = self.writer()?.refresh(need, &self.world);
        let reader = self.reader();
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
        let grant = grant(family, 0);
        self.world.passed(&grant, None);
        let now = clock::now_millis();
        let outcome = Outcome {
            grant,
            claims: Some(claims()),
            registered: None,
            exchanged: None,
            secret_headers: std::collections::BTreeMap::new(),
            times: Times {
                asked_at_ms: now,
                obtained_at_ms: now,
            },
            token_endpoint: format!("{}/token", settings.issuer),
            by: SignedInBy::Browser,
        };
        let mut writer = self.writer_of(settings, files)?;
        writer.look()?;
        writer.replace_session(outcome).map(|done| done.token)
    }

    /// Runs one event; `None` if the process died.
    fn run(&mut self, event: &Incident) -> Option<Result<Option<IssuedToken>>> {
        self.now_ms += 7;
        self.uptime_ms += 7;
        match event.step {
            Step::Sleep(seconds) => {
                self.now_ms += seconds * 1000;
                self.uptime_ms += seconds * 1000;
            }
            Step::ClockBack(seconds) => self.now_ms -= seconds * 1000,
            Step::ClockForward(seconds) => self.now_ms += seconds * 1000,
            Step::Reconfigure => self.in_force = 1 - self.in_force,
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
        clock::fake::set(Some(self.now_ms));
        clock::fake::set_uptime(Some(self.uptime_ms));
        self.world.mood.set(event.mood);
        self.world.boundary.set(0);
        self.world.dies_at.set(event.dies_at);
        self.world.failing_writes.set(event.failing_writes);
        let result = catch_unwind(AssertUnwindSafe(|| match event.step {
            Step::Call(renew) => self.call(renew).map(Some),
            Step::SignIn => self.sign_in(self.settings(), &self.files).map(Some),
            Step::SignInElsewhere => self
                .sign_in(&self.elsewhere, &self.files_elsewhere)
                .map(Some),
            Step::SignOut => self.writer()?.forget().map(|_| None),
            _ => Ok(None),
        }));
        self.world.dies_at.set(None);
        self.world.failing_writes.set(0);
        match result {
            Ok(result) => Some(result),
            Err(payload) if payload.is::<Died>() => None,
            Err(payload) => resume_unwind(payload),
        }
    }

    /// Whether gatepass takes the session for ended.
    fn has_ended(&self) -> bool {
        let state = self.files.read().unwrap();
        state.over(state.generation).is_some()
            || self
                .session()
                .is_some_and(|record| state.over(record.generation).is_some())
    }

    fn is_alive(&self) -> bool {
        self.session()
            .and_then(|record| record.refresh_token)
            .is_some_and(|token| self.world.is_good(&token))
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        clock::fake::set(None);
        clock::fake::set_uptime(None);
    }
}

/// What must hold, whatever happens.
fn check(kind: WorldKind, events: &[Incident]) {
    let mut machine = Machine::new(kind);
    // The sign-ins whose tokens may be printed: one, except after a sign-in or sign-out died half-way.
    let mut owners: Vec<usize> = Vec::new();
    for event in events {
        let alive = machine.is_alive();
        let had_ended = machine.has_ended();
        let requests = machine.world.requests.get();
        if matches!(event.step, Step::LoseState) {
            // What is parked is not believed without the state file.
            let parked = machine.reader().parked().is_some();
            machine
                .world
                .excused
                .set(machine.world.excused.get() || parked);
        }
        let held_back = match event.step {
            Step::Call(renew) => {
                clock::fake::set(Some(machine.now_ms + 7));
                clock::fake::set_uptime(Some(machine.uptime_ms + 7));
                let session = machine.session();
                let reader = machine.reader();
                reader.held_back(session.as_ref(), renew).is_some()
            }
            _ => false,
        };
        let result = machine.run(event);
        let newest = machine.world.families.borrow().len().wrapping_sub(1);
        let sent = machine.world.requests.get() - requests;
        match (&event.step, &result) {
            (Step::SignIn, Some(Ok(_))) => {
                owners = vec![newest];
                machine.world.excused.set(false);
                machine.world.has_ended_it.set(false);
            }
            (Step::SignIn, _) => owners.push(newest),
            (Step::SignInElsewhere, Some(Ok(_))) => {
                // A token that is cached lives on until it ends or the user signs in here.
                machine.world.excused.set(false);
            }
            (Step::SignOut, Some(Ok(_))) => {
                owners.clear();
                machine.world.excused.set(false);
                machine.world.has_ended_it.set(false);
                assert!(machine.world.entry.borrow().is_none());
                assert!(machine.reader().parked().is_none());
            }
            (Step::Call(_), Some(result)) => {
                assert!(sent <= 1, "one request for a call");
                assert!(!had_ended || sent == 0, "an ended session is sent again");
                assert!(!held_back || sent == 0, "sent although it is held back");
                if event.failing_writes >= super::STORE_TRIES && sent > 0 && !kind.parks {
                    machine.world.excused.set(true);
                }
                let forbids = matches!(event.mood, Mood::AnotherPerson | Mood::NotAllowed);
                if sent > 0 && alive && forbids && !matches!(result, Ok(Some(_))) {
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
                    }
                    Ok(None) => unreachable!(),
                    Err(failure) => {
                        let healthy = matches!(event.mood, Mood::Rotates | Mood::KeepsTheToken);
                        let may_fail = !alive || !healthy || had_ended || held_back;
                        assert!(may_fail, "a living session gave nothing: {failure:?}");
                    }
                }
            }
            _ => {}
        }
        // Nothing ends a session but the provider's word; sign-outs and sign-ins leave no mark of an end.
        assert!(
            !machine.has_ended() || machine.world.has_ended_it.get(),
            "ended by {event:?}"
        );
        // The heart of it: what is kept is what the provider takes, unless an answer was lost on the way.
        let session = machine.session();
        let has_token = session.is_some_and(|record| record.refresh_token.is_some());
        if has_token && !machine.world.excused.get() && !machine.world.has_ended_it.get() {
            assert!(machine.is_alive(), "a session was lost by {event:?}");
        }
        // A dead process leaves no lock behind.
        assert!(machine.writer().is_ok());
    }
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
        calm(Step::Call(Renew::RefusedByGateway)),
        calm(Step::SignIn),
        calm(Step::SignInElsewhere),
        calm(Step::SignOut),
        calm(Step::Sleep(3500)),
        calm(Step::Sleep(100)),
        calm(Step::ClockBack(7200)),
        calm(Step::ClockForward(120)),
        calm(Step::Reconfigure),
        calm(Step::LoseState),
        Incident {
            failing_writes: 9,
            ..calm(FORCED)
        },
        Incident {
            dies_at: Some(6),
            ..calm(FORCED)
        },
    ];
    all.extend(
        [
            Mood::IsDown,
            Mood::AnswerLost,
            Mood::NewKey,
            Mood::WrongKey,
            Mood::NoIdToken,
            Mood::AnotherPerson,
            Mood::NotAllowed,
            Mood::Moved,
            Mood::Refuses("invalid_request"),
        ]
        .map(forced),
    );
    all
}

fn is_long() -> bool {
    std::env::var_os("GATEPASS_LONG_TESTS").is_some()
}

/// After a sign-in, every sequence of up to three events (with `GATEPASS_LONG_TESTS`: four).
#[test]
fn no_short_sequence_loses_a_session() {
    let alphabet = alphabet();
    let longest = if is_long() { 4 } else { 2 };
    let mut sequences = 0_u64;
    for kind in KINDS {
        for length in 1..=longest {
            let mut indices = vec![0; length];
            'sequences: loop {
                let events = indices.iter().map(|index| alphabet[*index]);
                let events: Vec<Incident> =
                    std::iter::once(calm(Step::SignIn)).chain(events).collect();
                check(kind, &events);
                sequences += 1;
                for place in &mut indices {
                    *place += 1;
                    if *place < alphabet.len() {
                        continue 'sequences;
                    }
                    *place = 0;
                }
                break;
            }
        }
    }
    let of = |length: u32| (alphabet.len() as u64).pow(length);
    let expected: u64 = (1..=longest as u32).map(of).sum();
    assert_eq!(sequences, expected * KINDS.len() as u64);
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
        1 => Just(Step::SignOut),
        3 => prop_oneof![1..600_u64, 3000..4000_u64].prop_map(Step::Sleep),
        1 => (1..7200_u64).prop_map(Step::ClockBack),
        1 => (1..7200_u64).prop_map(Step::ClockForward),
        1 => Just(Step::Reconfigure),
        1 => Just(Step::LoseState),
    ];
    let codes = prop::sample::select(vec![
        "access_denied",
        "consent_required",
        "interaction_required",
        "invalid_client",
        "invalid_request",
        "invalid_scope",
        "invalid_target",
        "invalid_token",
        "login_required",
        "server_error",
        "temporarily_unavailable",
        "unauthorized_client",
        "unsupported_grant_type",
        "something_else",
    ]);
    let mood = prop_oneof![
        12 => Just(Mood::Rotates),
        2 => Just(Mood::KeepsTheToken),
        2 => Just(Mood::IsDown),
        1 => Just(Mood::AnswerLost),
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
    ];
    let dies_at = prop_oneof![4 => Just(None), 2 => (0..16_u32).prop_map(Some)];
    let failing = prop_oneof![6 => Just(0_u32), 1 => 1..3_u32, 1 => Just(99_u32)];
    (step, mood, dies_at, failing).prop_map(|(step, mood, dies_at, failing_writes)| Incident {
        step,
        mood,
        dies_at,
        failing_writes,
    })
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
        refreshing.keep(&rotated).unwrap(),
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
