//! The questions of `gatepass config init` at a terminal: provider, issuer, client, gateway, in the order in which an
//! administrator finds the answers.

use std::io::{BufRead, Write as _};

use super::{StarterFile, accepted, look, say, suit};
use crate::config::choice::TokenChoice;
use crate::config::preset::Preset;
use crate::config::settings::Settings;
use crate::config::starter::Starter;
use crate::error::{Failure, Id, Result};

/// How often one question is asked.
const TIMES: usize = 5;

/// The client while it is not known yet: what is tried out before needs one.
const NOT_YET: &str = "CLIENT-ID";

/// Asks for everything. The issuer is tried before it is taken.
pub(super) fn ask(target: &StarterFile<'_>) -> Result<(Starter, Settings)> {
    tell(
        "gatepass signs you in at your organisation's provider. Five questions; Ctrl-C writes nothing.\n",
    );
    let mut starter = Starter {
        profile: (!target.profile.is_default()).then(|| target.profile.to_string()),
        preset: preset()?,
        client_id: NOT_YET.to_owned(),
        ..Starter::default()
    };
    let settings = issuer(&mut starter, target)?;
    if settings.is_redirected() {
        tell(
            "\nRegister a native (also: public, desktop) client there, with authorization code, PKCE and refresh tokens. Its redirect address:\n",
        );
        for address in settings.redirect_addresses() {
            tell(&format!("  {address}\n"));
        }
    }
    if let Some(preset) = starter.preset {
        let about = preset.about();
        tell(&format!(
            "Step by step for {}: {}\n",
            about.title, about.page
        ));
    }
    starter.client_id = text("\nClient id")?;
    let settings = api(&mut starter, target)?;
    drop(settings);
    let settings = repeated(|| {
        starter.gateway_url =
            optional("\nGateway, without /v1 (https://gateway.example.com; empty if unknown)")?;
        accepted(&starter, target)
    })?;
    Ok((starter, settings))
}

/// Which provider it is.
fn preset() -> Result<Option<Preset>> {
    let names: Vec<&str> = Preset::NAMES.into_iter().collect();
    tell(&format!(
        "\nProviders that gatepass knows: {}.\n",
        names.join(", ")
    ));
    repeated(|| {
        let answer = optional("Provider (empty: another one, or told by its address)")?;
        match answer.as_deref() {
            None | Some("other" | "none") => Ok(None),
            Some(name) => Preset::find(&name.to_ascii_lowercase())
                .map(Some)
                .ok_or_else(|| {
                    Failure::config(
                        format!(
                            "gatepass has no preset \"{}\"",
                            crate::text::printable(name, 80)
                        ),
                        "one of the names above, or nothing",
                    )
                }),
        }
    })
}

/// The issuer, which must answer and name itself as it was typed.
fn issuer(starter: &mut Starter, target: &StarterFile<'_>) -> Result<Settings> {
    let chosen = starter.preset;
    let example = chosen.map_or_else(
        || "https://idp.example.com".to_owned(),
        |preset| preset.about().issuer_example,
    );
    repeated(|| {
        starter.issuer = text(&format!("\nIssuer ({example})"))?;
        starter.preset = chosen.or_else(|| Preset::guess(&starter.issuer));
        starter.notes.clear();
        // What the token is for is asked later.
        let settings = super::understood(starter, target.path, &target.profile)?;
        settings.issuer_template()?;
        tell("asking it …\n");
        let metadata = look(&settings)?;
        suit(starter, &settings, &metadata);
        tell(&format!("{} answers.\n", starter.issuer));
        super::understood(starter, target.path, &target.profile)
    })
}

/// What the gateway's token is, where the provider's usual one is of no use to a gateway.
fn api(starter: &mut Starter, target: &StarterFile<'_>) -> Result<Settings> {
    let Err(failure) = accepted(starter, target) else {
        return accepted(starter, target);
    };
    tell(&format!("\n{}.\n", failure.what));
    let before = super::understood(starter, target.path, &target.profile)?.scopes;
    let hint = starter
        .preset
        .and_then(|preset| preset.about().api_scope_hint)
        .unwrap_or_default();
    repeated(|| {
        match optional(&format!(
            "Scope of the gateway's API ({hint}; empty: the gateway checks the ID token)"
        ))? {
            Some(scope) => {
                let mut scopes = before.clone();
                scopes.extend(scope.split_whitespace().map(str::to_owned));
                starter.scopes = Some(scopes);
                starter.token = None;
            }
            None => starter.token = Some(TokenChoice::IdToken),
        }
        accepted(starter, target)
    })
}

/// Asks again while the answer cannot be used, a few times.
fn repeated<T>(mut question: impl FnMut() -> Result<T>) -> Result<T> {
    let mut times = 0;
    loop {
        times += 1;
        match question() {
            Err(failure) if times < TIMES && failure.id != Id::Usage => {
                say(&format!("{}; {}", failure.what, failure.remedy));
            }
            result => return result,
        }
    }
}

/// An answer that must be given.
fn text(question: &str) -> Result<String> {
    repeated(|| {
        optional(question)?.ok_or_else(|| Failure::config("an answer is needed here", "type it"))
    })
}

/// An answer; `None` if it is empty.
fn optional(question: &str) -> Result<Option<String>> {
    tell(&format!("{question}: "));
    let ended = |what: String| {
        Failure::new(
            Id::Usage,
            what,
            "gatepass config init --issuer URL --client-id ID",
        )
    };
    let mut line = String::new();
    let length = std::io::stdin()
        .lock()
        .read_line(&mut line)
        .map_err(|error| ended(format!("no answer: {error}")))?;
    if length == 0 {
        return Err(ended("no answer: the input has ended".to_owned()));
    }
    Ok(Some(line.trim().to_owned()).filter(|answer| !answer.is_empty()))
}

/// Questions go where no file is written to.
fn tell(text: &str) {
    let mut stderr = std::io::stderr();
    let _ = stderr.write_all(text.as_bytes());
    let _ = stderr.flush();
}
