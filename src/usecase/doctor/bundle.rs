//! A support bundle: what a helper needs, without what is secret or personal.
//!
//! Nothing secret is put in. Should a secret or a name have found its way into a text all the same (a server's
//! message, a path), it is taken out again at the end, so that one forgotten place does no harm.

use std::io::Write;
use std::path::Path;

use serde_json::{Value as Json, json};

use super::DoctorReport;
use crate::clock;
use crate::config::settings::Settings;
use crate::error::{Failure, Result};
use crate::platform::files;
use crate::secret::Secret;
use crate::session::active_sign_in::Progress;
use crate::session::state::StateFiles;
use crate::text;

/// Version of the bundle's form.
const FORMAT: u32 = 1;

/// Variables that change what gatepass does. Their values may be private; whether they are set is not.
const VARIABLES: [&str; 20] = [
    "ALL_PROXY",
    "BROWSER",
    "CLAUDE_HELPER_CONTEXT",
    "DBUS_SESSION_BUS_ADDRESS",
    "DISPLAY",
    "GATEPASS_LOG",
    "GATEPASS_PROFILE",
    "HOME",
    "HTTPS_PROXY",
    "HTTP_PROXY",
    "NO_COLOR",
    "NO_PROXY",
    "SSH_CONNECTION",
    "SSL_CERT_FILE",
    "WAYLAND_DISPLAY",
    "WSL_DISTRO_NAME",
    "XDG_CONFIG_HOME",
    "XDG_RUNTIME_DIR",
    "all_proxy",
    "https_proxy",
];

/// A new file for a bundle. It is made before the checks run, so that a bad name is told at once.
#[derive(Debug)]
pub struct Bundle<'a> {
    path: &'a Path,
    file: std::fs::File,
}

/// What goes in beside the report.
#[derive(Debug)]
pub struct Contents<'a> {
    /// The findings.
    pub report: &'a DoctorReport,
    /// What `config show` prints.
    pub configuration: String,
    /// The configuration, if there is one that can be used.
    pub settings: Option<&'a Settings>,
    /// The last lines of the log.
    pub log: Vec<String>,
}

impl<'a> Bundle<'a> {
    /// Makes the file, for its owner alone. One that is there already is never overwritten.
    ///
    /// # Errors
    /// `config` where the file cannot be made, or is there already.
    pub fn create(path: &'a Path) -> Result<Self> {
        match files::create_new(path) {
            Ok(file) => Ok(Self { path, file }),
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                Err(Failure::config(
                    format!("{} is there already", path.display()),
                    "give --bundle the name of a new file",
                ))
            }
            Err(error) => Err(unwritable(path, &error)),
        }
    }

    /// Writes everything.
    ///
    /// # Errors
    /// `config` where the file cannot be written.
    pub fn write(mut self, contents: &Contents<'_>) -> Result<()> {
        let mut text = serde_json::to_string_pretty(&document(contents))
            .map_err(|error| Failure::internal(error.to_string()))?;
        text.push('\n');
        self.file
            .write_all(text.as_bytes())
            .and_then(|()| self.file.sync_all())
            .map_err(|error| unwritable(self.path, &error))
    }
}

fn unwritable(path: &Path, error: &std::io::Error) -> Failure {
    Failure::config(
        format!("{} cannot be written: {error}", path.display()),
        "give --bundle a file in a folder of yours that has room",
    )
}

fn document(contents: &Contents<'_>) -> Json {
    let set = |name: &&str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let variables: Vec<&str> = VARIABLES.into_iter().filter(set).collect();
    let mut all = json!({
        "format": FORMAT,
        "made_at": text::moment(clock::now()),
        "gatepass": env!("CARGO_PKG_VERSION"),
        "system": system(),
        "variables_set": variables,
        "doctor": contents.report,
        "configuration": contents.configuration.lines().collect::<Vec<_>>(),
        "state": contents.settings.and_then(state),
        "log": log(contents),
    });
    let mut hidden: Vec<&Secret> = contents.report.hidden.iter().collect();
    hidden.extend(
        contents
            .settings
            .and_then(|settings| settings.client_secret.as_ref()),
    );
    let home = directories::BaseDirs::new()
        .and_then(|base| base.home_dir().to_str().map(str::to_owned))
        .filter(|home| home.len() > 1);
    redact(&mut all, &|text| {
        let mut text = text.to_owned();
        for secret in &hidden {
            // A short name would take half the report with it.
            if secret.len() > 3 {
                text = text.replace(secret.expose(), "(hidden)");
            }
        }
        if let Some(home) = &home {
            text = text.replace(home.as_str(), "~");
        }
        without_tokens(&without_addresses(&text))
    });
    all
}

/// The log, unless it is unknown which secrets must be taken out of it.
fn log(contents: &Contents<'_>) -> Json {
    if contents.report.secrets_are_known {
        contents.log.clone().into()
    } else {
        json!(["left out: the keychain did not say which secrets to take out of it"])
    }
}

fn system() -> Json {
    let release = std::fs::read_to_string("/etc/os-release").unwrap_or_default();
    let pretty = release
        .lines()
        .find_map(|line| line.strip_prefix("PRETTY_NAME="))
        .map(|name| text::printable(name.trim_matches('"'), 100));
    json!({
        "os": std::env::consts::OS,
        "arch": std::env::consts::ARCH,
        "release": pretty,
    })
}

/// What lies beside the session, none of which is secret.
fn state(settings: &Settings) -> Option<Json> {
    let files = StateFiles::existing(settings).ok()??;
    Some(json!({
        "session": files.read().ok(),
        "sign_in": Progress::read(&files),
    }))
}

/// Changes every text in a document.
fn redact(value: &mut Json, change: &dyn Fn(&str) -> String) {
    match value {
        Json::String(text) => *text = change(text),
        Json::Array(items) => items.iter_mut().for_each(|item| redact(item, change)),
        Json::Object(members) => members
            .values_mut()
            .for_each(|member| redact(member, change)),
        _ => {}
    }
}

/// Mail addresses keep their domain, which tells an organisation's accounts from private ones.
fn without_addresses(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('@') {
        let local = |c: char| c.is_alphanumeric() || "._%+-'".contains(c);
        let (before, after) = rest.split_at(at);
        let kept = before.trim_end_matches(local);
        let is_address =
            kept.len() < before.len() && after[1..].starts_with(|c: char| c.is_alphanumeric());
        out.push_str(if is_address { kept } else { before });
        out.push_str(if is_address { "…@" } else { "@" });
        rest = &after[1..];
    }
    out.push_str(rest);
    out
}

/// Anything that looks like a JWT, wherever it came from.
fn without_tokens(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find("eyJ") {
        let part = |c: char| c.is_ascii_alphanumeric() || "-_.=".contains(c);
        let (before, token) = rest.split_at(start);
        let end = token.find(|c| !part(c)).unwrap_or(token.len());
        out.push_str(before);
        out.push_str(if end > 20 { "(hidden)" } else { &token[..end] });
        rest = &token[end..];
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_tokens_are_taken_out_of_texts() {
        for (from, to) in [
            ("as ann.b+c@example.com since", "as …@example.com since"),
            ("a@b, c@d.e", "…@b, …@d.e"),
            ("@ home", "@ home"),
            ("x @", "x @"),
            ("grüße@example.com", "…@example.com"),
        ] {
            assert_eq!(without_addresses(from), to);
        }
        let token = "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJhIn0.c2ln";
        assert_eq!(without_tokens(&format!("a {token}, b")), "a (hidden), b");
        assert_eq!(without_tokens("eyJ is short"), "eyJ is short");
    }
}
