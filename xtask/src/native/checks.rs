//! What is proved, in this order: each check is a promise, and needs nothing that a check before it has broken.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use gatepass_testkit::provider::{Fault, Hook, When, client};

use super::report::{Report, Why};
use super::{hot_run, machine};
use crate::stage::browser::Browser;
use crate::stage::place::{Keychain, Place};
use crate::stage::{Asked, PATIENCE, Running, Stage, finished, pause, processes};

/// How much of everything.
#[derive(Clone, Copy)]
pub(super) struct Size {
    callers: usize,
    hot_runs: usize,
}

impl Size {
    pub(super) const WHOLE: Self = Self {
        callers: 50,
        hot_runs: 200,
    };
    pub(super) const SHORT: Self = Self {
        callers: 12,
        hot_runs: 15,
    };
}

/// Life of tokens that no call is content with, in seconds, and how long the youngest of them still counts as new.
const SHORT_LIFE: u64 = 30;
const NEW: Duration = Duration::from_secs(4);

/// Life of tokens that every call is content with, in seconds.
const LONG_LIFE: u64 = 3600;

/// What the policy says in its place of `display_name`.
const BY_POLICY: &str = "named by the policy of this run";

/// A run of the proof.
struct Proof {
    stage: Stage,
    browser: Browser,
    /// Whether somebody is signed in.
    session: bool,
    size: Size,
}

/// Does all of them.
pub(super) fn all(program: &Path, empty: Option<&Path>, size: Size) -> Result<Report, String> {
    let mut report = Report::new();
    machine::describe(&mut report);
    machine::program(&mut report, program)?;
    let place = Place::new(Keychain::Real)?;
    for folder in place.folders() {
        report.hide_folder(&folder);
    }
    for (name, value) in place.describe() {
        report.fact(name, value);
    }
    // One that may be replaced, under a name by which its processes are known.
    let installed = place.program();
    fs::copy(program, &installed)
        .map_err(|e| format!("{} cannot be copied: {e}", program.display()))?;
    let browser = Browser::scripted();
    let mut proof = Proof {
        stage: Stage::set(&installed, &browser, place)?,
        browser,
        session: false,
        size,
    };
    let done = proof.checks(&mut report, empty);
    report.hide(proof.stage.provider.issued_secrets());
    let folders = proof.stage.place.folders();
    drop(proof);
    done?;
    report.check("nothing is left of the run", || {
        match folders.iter().find(|folder| folder.exists()) {
            Some(folder) => Err(format!("{} is still there", folder.display()).into()),
            None => Ok(String::new()),
        }
    })?;
    Ok(report)
}

impl Proof {
    fn checks(&mut self, report: &mut Report, empty: Option<&Path>) -> Result<(), String> {
        let callers = self.size.callers;
        report.check(
            "a host without a session is told at once, and no browser opens",
            || self.told_at_once(),
        )?;
        report.check(
            "a host's call signs in by the browser and gets one bare token",
            || self.signs_in(),
        )?;
        report.check("the gateway accepts the token", || self.is_accepted())?;
        report.check("the next calls print the same token and ask nobody", || {
            self.prints_again()
        })?;
        report.check("the keychain has the session, by its own word", || {
            self.is_in_the_keychain()
        })?;
        report.check("a refresh brings another token", || self.refreshes())?;
        report.check(
            &format!("{callers} callers at once share one refresh"),
            || self.share_one_refresh(),
        )?;
        report.check(
            "a caller that is killed does not take its refresh with it",
            || self.survives_its_caller(),
        )?;
        report.check(
            "a worker that is killed is replaced, and the session goes on",
            || self.survives_its_worker(),
        )?;
        report.check(
            "a caller with little time ends in time, and its refresh goes on",
            || self.ends_in_time(),
        )?;
        report.check(
            "the program is replaced in mid-refresh, and the next version gets the same token",
            || self.is_replaced(),
        )?;
        report.check("a locked keychain is told of, and nobody is asked", || {
            self.tells_of_a_locked_keychain()
        })?;
        report.check("no secret lies in the clear in a file", || {
            self.keeps_secrets()
        })?;
        let mut found = Vec::new();
        report.check("doctor finds nothing that is broken", || {
            self.asks_doctor(&mut found)
        })?;
        for (check, outcome) in found {
            report.doctor(&check, &outcome);
        }
        report.check("a policy is read where the system keeps it", || {
            self.follows_a_policy()
        })?;
        report.check("a hot run is measured", || self.is_measured(empty))?;
        report.check(
            "signing out revokes and leaves nothing in the keychain",
            || self.signs_out(),
        )
    }

    fn told_at_once(&mut self) -> Result<String, Why> {
        let asked = self.stage.ask("background")?;
        expect(
            asked.code == Some(4) && asked.stdout.is_empty(),
            &asked,
            "exit code 4 and nothing on standard output",
        )?;
        if self.stage.place.mailbox().exists() {
            return Err("a browser was opened".into());
        }
        Ok(format!("exit code 4 after {}", in_ms(asked.elapsed)))
    }

    fn signs_in(&mut self) -> Result<String, Why> {
        let browser = &mut self.browser;
        let asked = self
            .stage
            .ask_while("interactive", |mailbox| browser.attend(mailbox, &|_| {}))?;
        expect(
            asked.token().is_some() && asked.stderr.is_empty(),
            &asked,
            "exit code 0, one token and nothing on standard error",
        )?;
        self.session = true;
        let page = self.browser.last_page()?.unwrap_or_default();
        Ok(format!("the browser's last page: \u{201c}{page}\u{201d}"))
    }

    fn is_accepted(&mut self) -> Result<String, Why> {
        let bearer = format!("Bearer {}", self.token()?);
        let url = format!("{}/v1/models", self.stage.gateway.url());
        let reply = client::get_with(&url, &[("Authorization", &bearer)])
            .map_err(|e| format!("the gateway does not answer: {e}"))?;
        if reply.status == 200 {
            Ok(String::new())
        } else {
            Err(format!("the gateway answered {}", reply.status).into())
        }
    }

    fn prints_again(&mut self) -> Result<String, Why> {
        let token = self.token()?;
        self.stage.provider.clear_requests();
        for _ in 0..5 {
            if self.token()? != token {
                return Err("another token was printed".into());
            }
        }
        match self.stage.provider.requests().len() {
            0 => Ok(String::new()),
            requests => Err(format!("the provider was asked {requests} times").into()),
        }
    }

    fn is_in_the_keychain(&mut self) -> Result<String, Why> {
        self.needs_session()?;
        match self.stage.place.entries()? {
            0 => Err("it knows of no entry".into()),
            entries => Ok(format!("entries: {entries}")),
        }
    }

    fn refreshes(&mut self) -> Result<String, Why> {
        let before = self.begin()?;
        let asked = self.refresh()?;
        differs(&asked, &before)?;
        self.refreshed(1)?;
        Ok(format!("after {}", in_ms(asked.elapsed)))
    }

    fn share_one_refresh(&mut self) -> Result<String, Why> {
        let before = self.run_short()?;
        // Time for all of them to come.
        self.delay_refresh(Duration::from_secs(2));
        let started = Instant::now();
        let callers: Result<Vec<Running>, String> = (0..self.size.callers)
            .map(|_| Running::start(self.stage.host("background")))
            .collect();
        let ended: Vec<Asked> = callers?
            .into_iter()
            .map(|caller| caller.end(PATIENCE))
            .collect();
        let took = started.elapsed();
        let first = ended.first().and_then(Asked::token);
        if let Some(odd) = ended
            .iter()
            .find(|asked| asked.token().is_none() || asked.token() != first)
        {
            return Err(format!("not all of them got the same token: {}", odd.in_words()).into());
        }
        if let Some(asked) = ended.first() {
            differs(asked, &before)?;
        }
        self.refreshed(1)?;
        Ok(format!(
            "one refresh, one token, all in {:.1} s (the provider took 2 s)",
            took.as_secs_f64()
        ))
    }

    fn survives_its_caller(&mut self) -> Result<String, Why> {
        let before = self.begin()?;
        self.delay_refresh(Duration::from_secs(3));
        let mut caller = Running::start(self.stage.typed(&["token", "--force-refresh"]))?;
        self.wait_for_refreshes(1)?;
        caller.kill();
        self.wait_for_another(&before)?;
        self.refreshed(1)?;
        Ok("the next call printed what the refresh had brought".to_owned())
    }

    fn survives_its_worker(&mut self) -> Result<String, Why> {
        let before = self.begin()?;
        let provider = &self.stage.provider;
        provider.script_times(Hook::RefreshGrant, ..1, Fault::Stall(When::Before));
        let caller = Running::start(self.stage.typed(&["token", "--force-refresh"]))?;
        self.wait_for_refreshes(1)?;
        let workers = caller.workers();
        if workers.is_empty() {
            return Err(Why::NotTried("no worker was found".to_owned()));
        }
        workers.into_iter().for_each(processes::end);
        let asked = caller.end(PATIENCE);
        differs(&asked, &before)?;
        self.refreshed(2)?;
        Ok(format!(
            "the same caller got its token from the next worker, after {:.1} s",
            asked.elapsed.as_secs_f64()
        ))
    }

    fn ends_in_time(&mut self) -> Result<String, Why> {
        let before = self.begin()?;
        self.delay_refresh(Duration::from_secs(8));
        let words = ["token", "--force-refresh", "--timeout", "1"];
        // It ends when its streams do: a worker that held them would make its host wait.
        let asked = finished(self.stage.typed(&words))?;
        self.wait_for_refreshes(1)?;
        expect(
            asked.code.is_some() && asked.elapsed < Duration::from_secs(6),
            &asked,
            "an end within a second or two",
        )?;
        self.wait_for_another(&before)?;
        self.refreshed(1)?;
        Ok(format!(
            "exit code {} after {}; the refresh took 8 s",
            asked.code.unwrap_or_default(),
            in_ms(asked.elapsed)
        ))
    }

    fn is_replaced(&mut self) -> Result<String, Why> {
        let before = self.run_short()?;
        self.delay_refresh(Duration::from_secs(5));
        let old = Running::start(self.stage.typed(&["token", "--force-refresh"]))?;
        self.wait_for_refreshes(1)?;
        let replaced = replace(&self.stage.gatepass)?;
        let new = Running::start(self.stage.host("background"))?;
        let (old, new) = (old.end(PATIENCE), new.end(PATIENCE));
        differs(&old, &before)?;
        if new.token() != old.token() {
            return Err(format!("the next version did not get it: {}", new.in_words()).into());
        }
        self.refreshed(1)?;
        let renewed = self.refresh()?;
        differs(&renewed, old.token().unwrap_or_default())?;
        self.refreshed(2)?;
        Ok(replaced.to_owned())
    }

    fn tells_of_a_locked_keychain(&mut self) -> Result<String, Why> {
        let before = self.begin()?;
        self.stage.place.lock()?;
        let mut call = self.stage.typed(&["token", "--force-refresh"]);
        call.env("CLAUDE_HELPER_CONTEXT", "background");
        let locked = finished(call);
        self.stage.place.unlock();
        let locked = locked?;
        expect(
            locked.code == Some(7) && locked.stdout.is_empty(),
            &locked,
            "exit code 7 and nothing on standard output",
        )?;
        self.refreshed(0)?;
        differs(&self.refresh()?, &before)?;
        Ok(format!(
            "exit code 7 after {}, and a token once it was open",
            in_ms(locked.elapsed)
        ))
    }

    fn keeps_secrets(&mut self) -> Result<String, Why> {
        self.token()?;
        let secrets = self.stage.provider.issued_secrets();
        let mut files = Vec::new();
        for folder in self.stage.place.written_folders() {
            collect(&folder, &mut files);
        }
        // The program and the version that it replaced were built before there was a secret, and a debug build is
        // large.
        let program = self.stage.place.program();
        files.retain(|file| file.file_stem() != program.file_stem());
        for file in &files {
            let bytes = fs::read(file).unwrap_or_default();
            let holds = |secret: &String| {
                bytes
                    .windows(secret.len().max(1))
                    .any(|part| part == secret.as_bytes())
            };
            if secrets.iter().any(holds) {
                let name = file.file_name().unwrap_or_default().to_string_lossy();
                return Err(format!("there is one in {name}").into());
            }
        }
        #[cfg(windows)]
        {
            /// What everything begins with that DPAPI has encrypted, after a version: its provider's identifier, or
            /// what Wine writes in its place.
            const DPAPI: [&[u8]; 2] = [&[0xD0, 0x8C, 0x9D, 0xDF], b"Wine Crypt32 ok"];
            let is_sealed = |file: &[u8]| {
                let rest = file.strip_prefix(&[1, 0, 0, 0]);
                rest.is_some_and(|rest| DPAPI.iter().any(|one| rest.starts_with(one)))
            };
            match self.stage.place.sealed_token() {
                Some(sealed) if is_sealed(&sealed) => {}
                Some(_) => return Err("the cached token is not encrypted by DPAPI".into()),
                None => return Err("there is no cached token".into()),
            }
        }
        Ok(format!(
            "{} secrets looked for in {} files",
            secrets.len(),
            files.len()
        ))
    }

    fn asks_doctor(&mut self, found: &mut Vec<(String, String)>) -> Result<String, Why> {
        self.needs_session()?;
        let asked = finished(self.stage.typed(&["doctor", "--json"]))?;
        let told: serde_json::Value = serde_json::from_str(&asked.stdout)
            .map_err(|_| format!("it gave no JSON: {}", asked.in_words()))?;
        let mut broken = Vec::new();
        for check in told["checks"].as_array().into_iter().flatten() {
            let word = |name: &str| check[name].as_str().unwrap_or_default().to_owned();
            if word("outcome") == "failed" {
                broken.push(format!("{}: {}", word("id"), word("what")));
            }
            found.push((word("id"), word("outcome")));
        }
        if broken.is_empty() && !found.is_empty() {
            Ok(format!("{} checks, listed below", found.len()))
        } else {
            Err(broken.join("; ").into())
        }
    }

    fn follows_a_policy(&mut self) -> Result<String, Why> {
        let show = |mut command: Command| {
            command.args(["config", "show"]);
            finished(command)
        };
        let policy = self.stage.place.policy(BY_POLICY)?;
        let under = show(policy.command(&self.stage.place, &self.stage.gatepass))?;
        drop(policy);
        let after = show(self.stage.place.command(&self.stage.gatepass))?;
        let named = |asked: &Asked| asked.stdout.contains(BY_POLICY);
        expect(
            under.code == Some(0) && named(&under),
            &under,
            "the policy's display_name",
        )?;
        expect(
            after.code == Some(0) && !named(&after),
            &after,
            "the file's display_name again",
        )?;
        Ok("it wins over the file, and is gone once it is taken back".to_owned())
    }

    fn is_measured(&mut self, empty: Option<&Path>) -> Result<String, Why> {
        self.token()?;
        let mut empty = empty.map(Command::new);
        let mut hot = self.stage.host("background");
        Ok(hot_run::compare(
            &mut hot,
            empty.as_mut(),
            self.size.hot_runs,
        )?)
    }

    fn signs_out(&mut self) -> Result<String, Why> {
        self.needs_session()?;
        let said = self.stage.logout()?;
        expect(said.code == Some(0), &said, "exit code 0")?;
        self.session = false;
        let provider = &self.stage.provider;
        let mut issued = provider.issued_secrets().into_iter();
        if issued.any(|secret| provider.refresh_token_lives(&secret)) {
            return Err("the provider still takes a refresh token".into());
        }
        let asked = self.stage.ask("background")?;
        expect(asked.code == Some(4), &asked, "exit code 4")?;
        match self.stage.place.entries() {
            Ok(0) => Ok("the keychain has no entry".to_owned()),
            Ok(entries) => Err(format!("the keychain still has {entries} entries").into()),
            Err(why) => Ok(format!("the keychain was not asked: {}", why.0)),
        }
    }

    fn needs_session(&self) -> Result<(), Why> {
        if self.session {
            Ok(())
        } else {
            Err(Why::NotTried("nobody is signed in".to_owned()))
        }
    }

    /// The token that a background call prints.
    fn token(&self) -> Result<String, Why> {
        self.needs_session()?;
        let asked = self.stage.ask("background")?;
        let token = asked.token().map(str::to_owned);
        token.ok_or_else(|| format!("no token: {}", asked.in_words()).into())
    }

    /// The token so far, with a provider that behaves well and has forgotten the requests.
    fn begin(&self) -> Result<String, Why> {
        self.stage.provider.clear_script();
        let token = self.token()?;
        self.stage.provider.clear_requests();
        Ok(token)
    }

    /// The same, where the token is too short-lived for every call; the next one will not be.
    fn run_short(&self) -> Result<String, Why> {
        self.begin()?;
        let live = |seconds| {
            self.stage.provider.set(|settings| {
                settings.access_token_seconds = seconds;
                settings.id_token_seconds = seconds;
            });
        };
        live(SHORT_LIFE);
        let short = self.refresh();
        live(LONG_LIFE);
        let short = short?;
        let token = short.token().map(str::to_owned);
        let token = token.ok_or_else(|| format!("no token: {}", short.in_words()))?;
        thread::sleep(NEW);
        self.stage.provider.clear_requests();
        Ok(token)
    }

    fn refresh(&self) -> Result<Asked, Why> {
        Ok(finished(self.stage.typed(&["token", "--force-refresh"]))?)
    }

    fn delay_refresh(&self, time: Duration) {
        let provider = &self.stage.provider;
        provider.script_times(Hook::RefreshGrant, ..1, Fault::Delay(time));
    }

    fn wait_for_refreshes(&self, count: usize) -> Result<(), Why> {
        let ends = Instant::now() + PATIENCE;
        while self.stage.provider.token_grants("refresh_token") < count {
            if Instant::now() > ends {
                return Err("the provider was not asked for a refresh".into());
            }
            pause()?;
        }
        Ok(())
    }

    /// Waits until calls print something else than this token.
    fn wait_for_another(&self, before: &str) -> Result<(), Why> {
        let ends = Instant::now() + PATIENCE;
        while self.token()? == before {
            if Instant::now() > ends {
                return Err("the refresh did not go on".into());
            }
            thread::sleep(Duration::from_millis(200));
            pause()?;
        }
        Ok(())
    }

    /// So many refreshes were asked for, and no refresh token came twice.
    fn refreshed(&self, times: usize) -> Result<(), Why> {
        let asked = self.stage.provider.token_grants("refresh_token");
        if self.stage.provider.families_revoked() > 0 {
            return Err("a refresh token was used twice".into());
        }
        if asked == times {
            Ok(())
        } else {
            Err(format!("the provider was asked for {asked} refreshes, not {times}").into())
        }
    }
}

fn expect(holds: bool, asked: &Asked, expected: &str) -> Result<(), Why> {
    if holds {
        Ok(())
    } else {
        Err(format!("expected {expected}, not {}", asked.in_words()).into())
    }
}

/// The run printed a token, and not that one.
fn differs(asked: &Asked, before: &str) -> Result<(), Why> {
    expect(
        asked.token().is_some_and(|token| token != before),
        asked,
        "another token than before",
    )
}

/// Puts the next version where the program lies while it runs, as installers do: renames, then writes.
fn replace(program: &Path) -> Result<&'static str, String> {
    let failed = |what: &str, e: std::io::Error| format!("the program cannot be {what}: {e}");
    let old = program.with_extension("old");
    fs::rename(program, &old).map_err(|e| failed("renamed", e))?;
    fs::copy(&old, program).map_err(|e| failed("written", e))?;
    if cfg!(target_os = "macos") {
        // One more byte would break its signature, and the keychain knows programs by theirs.
        return Ok("another file with the same bytes, which the keychain takes for the same");
    }
    OpenOptions::new()
        .append(true)
        .open(program)
        .and_then(|mut file| file.write_all(b"the next version"))
        .map_err(|e| failed("changed", e))?;
    Ok("another file with other bytes")
}

fn collect(folder: &Path, files: &mut Vec<std::path::PathBuf>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => collect(&entry.path(), files),
            Ok(kind) if kind.is_file() => files.push(entry.path()),
            _ => {}
        }
    }
}

fn in_ms(time: Duration) -> String {
    format!("{:.0} ms", time.as_secs_f64() * 1e3)
}
