//! What is wrong with a host's configuration: every problem at once, in whatever form the file is.
//!
//! [`read`] recognises the form and gives its values; each host judges its own.

mod read;

use std::fmt;

use serde_json::Value;

use crate::document::LibraryEntry;
use crate::value::{Members, Object, structure};
use crate::{HostInfo, Target};

use read::FileForm;

/// How much a finding weighs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// It works, but perhaps not as meant.
    Warning,
    /// It does not work, or not safely.
    Error,
}

/// One thing that the administrator or the user should look at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// How much it weighs.
    pub severity: Severity,
    /// The key it is about; empty if it is about the whole file.
    pub key: String,
    /// The line, where the form has lines that can be told.
    pub line: Option<usize>,
    /// What is wrong, without a full stop.
    pub what: String,
    /// What to do about it.
    pub remedy: String,
}

impl fmt::Display for Finding {
    /// One line for people.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.severity {
            Severity::Warning => "warning: ",
            Severity::Error => "error: ",
        })?;
        if let Some(line) = self.line {
            write!(f, "line {line}: ")?;
        }
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        write!(f, "{} ({})", self.what, self.remedy)
    }
}

/// What is known beside the file.
#[derive(Clone, Debug, Default)]
pub struct Context {
    /// The system on which the file is used, if the form does not say it.
    pub target: Option<Target>,
    /// Whether programs named in the file are looked for, where the file is for this system.
    pub look_for_programs: bool,
    /// How long the provider's tokens live, in seconds.
    pub token_lifetime: Option<u64>,
    /// `min_validity` in force.
    pub min_validity: Option<u64>,
    /// `interactive_timeout` in force.
    pub interactive_timeout: Option<u64>,
    /// The gateway's address.
    pub gateway_url: Option<String>,
    /// Names of the configured profiles.
    pub profiles: Vec<String>,
    /// The hosts that may get the gateway's token beside the gateway's own, where they were asked for: any
    /// other one is an error then.
    pub receivers: Option<Vec<String>>,
}

/// What a file holds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Judged {
    /// What is wrong with the hosts' configuration in it, by line and weight.
    pub findings: Vec<Finding>,
    /// Policies of gatepass in it, as managed preferences or the registry would have them.
    pub policies: Vec<Object>,
}

/// Checks the content of a file. Nothing is found if it is fine. Findings may quote the file as it is: the
/// caller makes them printable before it shows them.
pub fn check(bytes: &[u8], context: &Context) -> Judged {
    let mut report = LintReport::default();
    let mut policies = Vec::new();
    for form in read::recognise(bytes, &mut report) {
        match form {
            FileForm::Host(host, settings) => (host.check)(&settings, context, &mut report),
            FileForm::Policy(values) => policies.push(values),
            FileForm::Library(meta) => library(&meta, &mut report),
        }
    }
    let mut findings = report.found;
    sort(&mut findings);
    Judged { findings, policies }
}

/// Findings in the order of their lines, errors first.
pub fn sort(findings: &mut [Finding]) {
    findings.sort_by_key(|finding| {
        (
            finding.line.unwrap_or(0),
            std::cmp::Reverse(finding.severity),
        )
    });
}

/// The settings for one host that a file holds, or why there are none.
pub(crate) fn settings_of(host: &HostInfo, bytes: &[u8]) -> Result<HostSettings, String> {
    let mut report = LintReport::default();
    let forms = read::recognise(bytes, &mut report);
    let own = forms.into_iter().find_map(|form| match form {
        FileForm::Host(of, settings) if of == host => Some(settings),
        _ => None,
    });
    own.ok_or_else(|| {
        let found = report.found.into_iter().next();
        found.map_or_else(
            || format!("it does not configure {}", host.title),
            |finding| finding.what,
        )
    })
}

/// Where the values were written, which decides about their types.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// A property list: every value is a string.
    Plist,
    /// The registry: strings, and numbers for numbers and flags.
    Registry,
    /// JSON or TOML with native types.
    Native,
}

/// A flat set of host settings, from whatever form.
#[derive(Clone, Debug)]
pub struct HostSettings {
    /// Where they were written.
    pub encoding: Encoding,
    /// The system they are for, if the form says it.
    pub target: Option<Target>,
    /// What stands before each key in messages.
    pub prefix: &'static str,
    /// Names, values and lines.
    pub values: Vec<(String, Value, Option<usize>)>,
}

impl HostSettings {
    /// A value.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.values
            .iter()
            .rev()
            .find(|(known, ..)| known == name)
            .map(|(_, value, _)| value)
    }

    /// A string.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.get(name).and_then(Value::as_str)
    }

    pub(crate) fn line(&self, name: &str) -> Option<usize> {
        self.values
            .iter()
            .rev()
            .find(|(known, ..)| known == name)
            .and_then(|(_, _, line)| *line)
    }

    /// Lists and objects are JSON text where every value is a string.
    pub fn structure(&self, name: &str) -> Option<Value> {
        structure(self.get(name)?)
    }

    /// A number, however it was written.
    pub(crate) fn number(&self, name: &str) -> Option<u64> {
        match self.get(name)? {
            Value::String(text) => text.trim().parse().ok(),
            Value::Number(number) => number.as_u64(),
            _ => None,
        }
    }
}

/// Findings as they are gathered.
#[derive(Debug, Default)]
pub struct LintReport {
    found: Vec<Finding>,
}

impl LintReport {
    /// Adds one.
    pub fn add(
        &mut self,
        severity: Severity,
        key: impl Into<String>,
        line: Option<usize>,
        what: impl AsRef<str>,
        remedy: impl AsRef<str>,
    ) {
        self.found.push(Finding {
            severity,
            key: key.into(),
            line,
            what: what.as_ref().to_owned(),
            remedy: remedy.as_ref().to_owned(),
        });
    }

    pub(crate) fn whole(
        &mut self,
        severity: Severity,
        what: impl AsRef<str>,
        remedy: impl AsRef<str>,
    ) {
        self.add(severity, "", None, what, remedy);
    }
}

/// The list of a configuration library.
fn library(meta: &Object, report: &mut LintReport) {
    let entries: Vec<&str> = meta
        .get("entries")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.as_object()?.text("id"))
        .collect();
    for id in &entries {
        if !LibraryEntry::is_id(id) {
            report.add(
                Severity::Error,
                "entries",
                None,
                format!("\"{id}\" is no id of an entry"),
                "36 characters of a-f, 0-9 and -, as in the name of the entry's file",
            );
        }
    }
    match meta.get("appliedId") {
        Some(Value::String(id)) if !LibraryEntry::is_id(id) => report.add(
            Severity::Error,
            "appliedId",
            None,
            format!("\"{id}\" is no id of an entry"),
            "36 characters of a-f, 0-9 and -",
        ),
        Some(Value::String(id)) if !entries.contains(&id.as_str()) => report.add(
            Severity::Error,
            "appliedId",
            None,
            "no entry has this id",
            "list it under entries, or apply another one",
        ),
        Some(Value::String(_)) => (),
        _ => report.add(
            Severity::Warning,
            "appliedId",
            None,
            "no entry is applied",
            "choose one in the app's configuration window",
        ),
    }
}

/// Texts that people forget to replace.
pub fn is_placeholder(text: &str) -> bool {
    let upper = text.to_ascii_uppercase();
    let bracketed = |text: &str| {
        (text.starts_with('<') && text.ends_with('>'))
            || (text.starts_with("{{") && text.ends_with("}}"))
            || (text.starts_with("${") && text.ends_with('}'))
    };
    [
        "REPLACE",
        "YOUR_",
        "YOUR-",
        "CHANGEME",
        "CHANGE_ME",
        "PLACEHOLDER",
        "XXXX",
    ]
    .iter()
    .any(|part| upper.contains(part))
        || matches!(
            upper.as_str(),
            "DUMMY" | "NONE" | "UNUSED" | "TODO" | "NOT-USED" | "NOT_USED"
        )
        || bracketed(text.trim())
}

/// Whether a command or a path runs gatepass.
pub(crate) fn is_ours(command: &str) -> bool {
    let names = command.split([' ', '/', '\\', '\'', '"']);
    names.into_iter().any(|name| {
        let name = name.strip_suffix(".exe").unwrap_or(name);
        name == "gatepass" || name.starts_with("gatepass-") || name.starts_with("gatepass.")
    })
}

/// What is wrong with the time for which a host keeps a token, in seconds, and the time that would be right.
pub(crate) fn kept_too_long(seconds: u64, context: &Context) -> Option<(Severity, String, u64)> {
    if let Some(life) = context.token_lifetime.filter(|life| seconds > *life) {
        let what = format!("is {seconds} seconds, and the provider's tokens live {life}");
        return Some((Severity::Error, what, crate::time_to_live(Some(life))));
    }
    let least = context.min_validity.filter(|least| seconds > *least)?;
    let what = format!("is {seconds} seconds, and gatepass's tokens have {least} left at least");
    Some((Severity::Warning, what, least))
}

/// Why a token should not go to an address: it is on another host than the gateway, whose owner could use the
/// gateway with each person's token.
pub(crate) fn another_host(
    url: &str,
    gateway: Option<&str>,
    context: &Context,
) -> Option<(Severity, String)> {
    let gateway = gateway?;
    if crate::address::same_host(url, gateway) {
        return None;
    }
    let severity = match &context.receivers {
        Some(receivers) if !crate::address::is_on_one_of(url, receivers) => Severity::Error,
        _ => Severity::Warning,
    };
    Some((
        severity,
        format!(
            "{url} gets the gateway's token, and is on another host than the gateway ({gateway})"
        ),
    ))
}

/// What to do about it.
pub(crate) const ANOTHER_HOST: &str =
    "take its headers helper out, or make sure that this server may act as each of its users";

/// A program that the host is to run.
pub(crate) fn program(
    path: &str,
    target: Option<Target>,
    context: &Context,
) -> Result<(), (String, String)> {
    let shape = target.or_else(|| match path.chars().nth(1) {
        Some(':') => Some(Target::Windows),
        _ => context.target,
    });
    let absolute = match shape {
        Some(target) => target.is_absolute(path),
        None => Target::Linux.is_absolute(path) || Target::Windows.is_absolute(path),
    };
    if !absolute {
        return Err((
            format!(
                "\"{path}\" is not an absolute path of this machine; hosts expand neither ~ nor variables"
            ),
            format!(
                "{} on {}",
                shape.unwrap_or(Target::here()).installed(),
                shape.unwrap_or(Target::here()).name()
            ),
        ));
    }
    let with_arguments = [" --", " -", " token", " login"]
        .iter()
        .any(|part| path.contains(part));
    let for_this_system =
        shape.is_none_or(|shape| shape == Target::here()) && Target::here().is_absolute(path);
    let missing =
        context.look_for_programs && for_this_system && !std::path::Path::new(path).exists();
    if with_arguments && (missing || !context.look_for_programs || !for_this_system) {
        return Err((
            format!("\"{path}\" holds arguments; the whole text is taken as the name of one file"),
            "name the program alone: a link gatepass-NAME chooses a profile, or use inferenceCredentialHelperArgs".to_owned(),
        ));
    }
    if missing {
        return Err((
            format!("there is no program {path} on this system"),
            "install gatepass there, or name the path where it is".to_owned(),
        ));
    }
    if context.look_for_programs && for_this_system && !is_executable(path) {
        return Err((
            format!("{path} cannot be executed"),
            format!("chmod +x '{path}'"),
        ));
    }
    Ok(())
}

#[cfg(unix)]
fn is_executable(path: &str) -> bool {
    use std::os::unix::fs::PermissionsExt;
    std::fs::metadata(path)
        .is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}

#[cfg(not(unix))]
fn is_executable(path: &str) -> bool {
    std::path::Path::new(path).is_file()
}

#[cfg(test)]
#[rustfmt::skip]
mod tests;
