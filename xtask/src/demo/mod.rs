//! `cargo xtask demo`: the main job in one command, from a sign-in to a gateway's answer.
//!
//! What a person starts only builds and then waits for the show: see [`crate::stage`].

mod talk;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use gatepass_testkit::provider::client;
use gatepass_testkit::provider::jwt::Jwt;

#[cfg(target_os = "linux")]
use crate::install;
#[cfg(target_os = "linux")]
use crate::process::find;
use crate::process::{cargo, root, run};
use crate::stage::browser::{self, Browser};
use crate::stage::place::{self, Keychain, Place};
use crate::stage::{self, Asked, Stage, interrupted};
use talk::Talk;

/// How often the cached token is asked for.
const CALLS: usize = 21;

const STEPS: usize = 8;

/// What was asked for.
pub(crate) enum Demo {
    /// The demo, as a person starts it.
    Start {
        /// Nobody sits here, whatever the environment says.
        scripted: bool,
    },
    /// The show, as the demo starts it.
    Show {
        /// The program to show.
        gatepass: PathBuf,
        /// Nobody sits here, whatever the environment says.
        scripted: bool,
    },
    /// What gatepass runs as its browser: it hands the address over to the show.
    HandOver {
        /// Where the show looks for it.
        file: PathBuf,
        /// The address.
        address: String,
    },
}

impl Demo {
    pub(crate) fn from_arguments(arguments: &[&str]) -> Option<Self> {
        match *arguments {
            [] => Some(Self::Start { scripted: false }),
            ["--scripted"] => Some(Self::Start { scripted: true }),
            ["show", gatepass, scripted] => Some(Self::Show {
                gatepass: gatepass.into(),
                scripted: scripted == "true",
            }),
            ["hand-over", file, address] => Some(Self::HandOver {
                file: file.into(),
                address: address.to_owned(),
            }),
            _ => None,
        }
    }

    pub(crate) fn run(self) -> Result<(), String> {
        match self {
            Self::Start { scripted } => start(scripted),
            Self::Show { gatepass, scripted } => guarded(&gatepass, scripted),
            Self::HandOver { file, address } => browser::hand_over(&file, &address),
        }
    }
}

/// Builds, then starts the show and waits for its end.
fn start(scripted: bool) -> Result<(), String> {
    let talk = Talk::new();
    talk.title("gatepass: from a sign-in to the answer of an LLM gateway");
    talk.say(&format!(
        "Everything runs on this machine and is gone at the end: no account, and no network but \
         for what the build fetches. {}",
        place::PROMISE
    ));
    talk.step(1, STEPS, "Build gatepass");
    #[cfg(target_os = "linux")]
    if place::KEYCHAIN_PROGRAMS
        .iter()
        .any(|name| find(name).is_none())
    {
        talk.say("The programs for a private keychain are missing, so they are installed first:");
        install::packages()?;
    }
    let gatepass = build(&talk)?;

    stage::end_like(stage::in_own_process(&[
        "demo".into(),
        "show".into(),
        gatepass.into(),
        scripted.to_string().into(),
    ])?)
}

/// Builds the release and returns where it is.
fn build(talk: &Talk) -> Result<PathBuf, String> {
    let words = ["build", "--release", "--bin", "gatepass"];
    talk.command(&format!("cargo {}", words.join(" ")));
    talk.say("The first time this takes a few minutes.");
    let started = Instant::now();
    run(&mut cargo(&words))?;
    // Nothing is left to do for this one; it says where the program is.
    let answer = cargo(&words)
        .args(["--message-format=json", "--quiet"])
        .output()
        .map_err(|e| format!("cargo cannot be started: {e}"))?;
    let answer = String::from_utf8_lossy(&answer.stdout).replace(r"\\", r"\");
    let gatepass = answer
        .rsplit_once(r#""executable":""#)
        .and_then(|(_, rest)| rest.split_once('"'))
        .map(|(path, _)| PathBuf::from(path))
        .ok_or("cargo does not say where the program is")?;
    let size = fs::metadata(&gatepass).map_or(0, |about| about.len());
    let shown = gatepass.strip_prefix(root()).unwrap_or(&gatepass);
    talk.say(&format!(
        "{}, {:.1} MB, in {}",
        shown.display(),
        size as f64 / 1e6,
        talk::duration(started.elapsed()),
    ));
    Ok(gatepass)
}

/// Runs the show; whatever happens in it, it ends in order.
fn guarded(gatepass: &Path, scripted: bool) -> Result<(), String> {
    let talk = Talk::new();
    let result = stage::guarded(|| show(gatepass, scripted, &talk));
    result.map_err(|why| {
        let step = talk.current_step();
        format!("the demo stopped at step {step}: {why} (everything was cleaned up)")
    })
}

fn show(gatepass: &Path, scripted: bool, talk: &Talk) -> Result<(), String> {
    let (mut browser, why) = Browser::choose(scripted);

    talk.step(2, STEPS, "Start a provider, a gateway and a keychain");
    let mut stage = Stage::set(gatepass, &browser, Place::new(Keychain::Private)?)?;
    talk.fact("provider", &stage.provider.issuer());
    talk.fact("gateway", &stage.gateway.url());
    for (name, value) in stage.place.describe() {
        talk.fact(name, &value);
    }

    talk.step(3, STEPS, "A host asks in the background, nobody is there");
    interrupted()?;
    refused_without_a_person(&stage, talk)?;

    talk.step(4, STEPS, "A host asks, and a person is there");
    interrupted()?;
    let token = sign_in(&mut stage, &mut browser, &why, talk)?;

    talk.step(5, STEPS, "The gateway looks at the token");
    interrupted()?;
    use_gateway(&stage, &token, talk)?;

    talk.step(6, STEPS, "The host asks again and again");
    interrupted()?;
    ask_again(&stage, &token, talk)?;

    talk.step(7, STEPS, "Sign out");
    interrupted()?;
    sign_out(&mut stage, talk)?;

    talk.step(8, STEPS, "Clean up");
    clean_up(stage, talk)?;
    what_next(talk);
    Ok(())
}

/// Without a session, and without a person who could make one, the answer is a quick no.
fn refused_without_a_person(stage: &Stage, talk: &Talk) -> Result<(), String> {
    talk.command(&stage.place.command_line("background"));
    let asked = stage.ask("background")?;
    expect(
        asked.code == Some(4) && asked.stdout.is_empty(),
        "a background call without a session has to end with exit code 4",
        &asked,
    )?;
    talk.say(&format!(
        "exit code 4 after {}, nothing on standard output; for the log:",
        talk::duration(asked.elapsed)
    ));
    asked.stderr.lines().for_each(|line| talk.quote(line));
    talk.say("No window opened: whoever calls in the background never disturbs.");
    Ok(())
}

fn sign_in(
    stage: &mut Stage,
    browser: &mut Browser,
    why: &str,
    talk: &Talk,
) -> Result<String, String> {
    talk.say(&format!("Browser: {} ({why}).", browser.describe()));
    talk.command(&stage.place.command_line("interactive"));
    let asked = stage.ask_while("interactive", |mailbox| {
        browser.attend(mailbox, &|text| talk.say(text))
    })?;
    expect(
        asked.code == Some(0) && asked.stderr.is_empty(),
        "the sign-in did not bring a token",
        &asked,
    )?;
    if let Some(page) = browser.last_page()? {
        talk.say(&format!("The browser's last page: \u{201c}{page}\u{201d}"));
    }
    let token = asked
        .token()
        .ok_or("the host got something else than one bare token")?
        .to_owned();
    talk.say(&format!(
        "exit code 0 after {}, nothing on standard error; on standard output:",
        talk::duration(asked.elapsed)
    ));
    talk.quote(&format!(
        "{}   ({} characters)",
        talk::shortened(&token),
        token.len()
    ));
    talk.say("That is all the host sees. What the token says:");
    let claims = Jwt::decode(&token).ok_or("it is no signed token")?.claims;
    for (name, meaning) in [
        ("iss", "who issued it"),
        ("aud", "for whom"),
        ("sub", "whose"),
        ("email", ""),
        ("client_id", "by which client"),
        ("scope", ""),
    ] {
        if let Some(value) = claims[name].as_str() {
            talk.claim(name, value, meaning);
        }
    }
    let life = claims["exp"]
        .as_u64()
        .zip(claims["iat"].as_u64())
        .map_or(0, |(ends, begins)| ends.saturating_sub(begins));
    talk.claim("exp", &format!("{} minutes after its issue", life / 60), "");
    Ok(token)
}

fn use_gateway(stage: &Stage, token: &str, talk: &Talk) -> Result<(), String> {
    talk.say("It checks signature, issuer, audience and expiry of each request's token.");
    let call = |method: &str, path: &str, token: &str, body: &str| {
        let bearer = format!("Bearer {token}");
        let mut headers = vec![("Authorization", bearer.as_str())];
        if !body.is_empty() {
            headers.push(("Content-Type", "application/json"));
        }
        let url = format!("{}{path}", stage.gateway.url());
        client::send(method, &url, &headers, body.as_bytes())
            .map_err(|e| format!("the gateway does not answer {method} {path}: {e}"))
    };

    let models = call("GET", "/v1/models", token, "")?;
    expect_status(&models, 200, "GET /v1/models")?;
    let list = models.json();
    let names = list["data"].as_array().into_iter().flatten();
    let names: Vec<&str> = names.filter_map(|model| model["id"].as_str()).collect();
    talk.answer("GET /v1/models", 200, &names.join(", "));

    let question = r#"{"model": "demo-large", "max_tokens": 32,
        "messages": [{"role": "user", "content": "Who am I?"}]}"#;
    let message = call("POST", "/v1/messages", token, question)?;
    expect_status(&message, 200, "POST /v1/messages")?;
    let message = message.json();
    let text = message["content"][0]["text"].as_str().unwrap_or_default();
    talk.answer("POST /v1/messages", 200, text);

    talk.say("The same with one character of the token changed:");
    let refused = call("GET", "/v1/models", &tampered(token)?, "")?;
    expect_status(&refused, 401, "GET /v1/models with a changed token")?;
    let reason = refused.json();
    let reason = reason["error"]["message"].as_str().unwrap_or_default();
    talk.answer("GET /v1/models", 401, reason);
    Ok(())
}

fn ask_again(stage: &Stage, token: &str, talk: &Talk) -> Result<(), String> {
    talk.command(&stage.place.command_line("background"));
    let before = stage.provider.requests().len();
    let mut times = Vec::with_capacity(CALLS);
    for _ in 0..CALLS {
        let asked = stage.ask("background")?;
        expect(
            asked.code == Some(0) && asked.stdout.trim_end() == token,
            "the next call has to print the same token",
            &asked,
        )?;
        times.push(asked.elapsed);
    }
    times.sort_unstable();
    let asked = stage.provider.requests().len() - before;
    if asked != 0 {
        return Err(format!("the provider was asked {asked} times for nothing"));
    }
    talk.say(&format!("{CALLS} calls, each the same good token:"));
    talk.fact("median", &talk::duration(times[CALLS / 2]));
    talk.fact("fastest", &talk::duration(times[0]));
    talk.fact("slowest", &talk::duration(times[CALLS - 1]));
    talk.say(
        "The token came from the cache: no network, no window, no background program. \
         When it is about to expire, gatepass gets the next one by itself.",
    );
    Ok(())
}

fn sign_out(stage: &mut Stage, talk: &Talk) -> Result<(), String> {
    let session_lives = |stage: &Stage| {
        let issued = stage.provider.issued_secrets();
        issued
            .iter()
            .any(|secret| stage.provider.refresh_token_lives(secret))
    };
    if !session_lives(stage) {
        return Err("the provider knows of no session".to_owned());
    }
    talk.command("gatepass logout");
    let said = stage.logout()?;
    expect(said.code == Some(0), "signing out failed", &said)?;
    said.stdout.lines().for_each(|line| talk.quote(line));
    if session_lives(stage) {
        return Err("the provider still takes the session's refresh token".to_owned());
    }
    let asked = stage.ask("background")?;
    expect(
        asked.code == Some(4) && asked.stdout.is_empty(),
        "after signing out a call has to end with exit code 4",
        &asked,
    )?;
    talk.say(
        "The provider refuses the session from now on, and a further background call \
         ends with exit code 4 again.",
    );
    Ok(())
}

fn clean_up(stage: Stage, talk: &Talk) -> Result<(), String> {
    let folders = stage.place.folders();
    let addresses = [stage.provider.url(""), stage.gateway.url()];
    drop(stage);
    if let Some(folder) = folders.iter().find(|folder| folder.exists()) {
        return Err(format!("{} is still there", folder.display()));
    }
    if let Some(address) = addresses.iter().find(|url| client::get(url).is_ok()) {
        return Err(format!("{address} still answers"));
    }
    talk.say(&format!(
        "Provider and gateway have stopped. {} The built program stays.",
        place::FAREWELL
    ));
    Ok(())
}

fn what_next(talk: &Talk) {
    talk.title("What next");
    talk.say("With your organisation's provider and the client registered there:");
    talk.command("gatepass config init --issuer https://YOUR-PROVIDER --client-id ID");
    talk.command("gatepass login");
    talk.command("gatepass");
    talk.say(
        "The README says how Claude Desktop, Claude Code, Codex and scripts call it, and what an \
         administrator sets. `cargo xtask test` runs every check.",
    );
}

/// The same token with another first character of its signature.
fn tampered(token: &str) -> Result<String, String> {
    let (signed, signature) = token.rsplit_once('.').ok_or("it is no signed token")?;
    let first = if signature.starts_with('A') { 'B' } else { 'A' };
    let rest: String = signature.chars().skip(1).collect();
    Ok(format!("{signed}.{first}{rest}"))
}

fn expect(condition: bool, what: &str, asked: &Asked) -> Result<(), String> {
    if condition {
        return Ok(());
    }
    Err(format!("{what}; {}", asked.in_words()))
}

fn expect_status(reply: &client::Reply, status: u16, what: &str) -> Result<(), String> {
    if reply.status == status {
        return Ok(());
    }
    Err(format!(
        "{what} has to be answered with {status}, not with {}: {}",
        reply.status,
        reply.text()
    ))
}

#[cfg(test)]
mod tests {
    use super::{Demo, tampered};

    #[test]
    fn a_changed_token_differs_in_one_character() {
        for (token, changed) in [("h.c.Abc", "h.c.Bbc"), ("h.c.xyz", "h.c.Ayz")] {
            assert_eq!(tampered(token).as_deref(), Ok(changed));
        }
        assert!(tampered("opaque").is_err());
    }

    #[test]
    fn only_known_words_start_something() {
        assert!(matches!(
            Demo::from_arguments(&["--scripted"]),
            Some(Demo::Start { scripted: true })
        ));
        assert!(Demo::from_arguments(&["--fast"]).is_none());
    }
}
