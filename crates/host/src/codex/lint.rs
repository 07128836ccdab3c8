//! The model providers in Codex's `config.toml` that get their token from a command.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::Value;

use crate::address;
use crate::lint::{Context, Encoding, HostSettings, LintReport, Severity, kept_too_long, program};
use crate::secrets::looks_secret;
use crate::value::{Members, Object};

use Severity::{Error, Warning};

/// Names that Codex keeps for its own providers.
const RESERVED: [&str; 4] = ["openai", "ollama", "lmstudio", "amazon-bedrock"];

pub(super) fn check(settings: &HostSettings, context: &Context, report: &mut LintReport) {
    if let Some(text) = settings.text(super::MANAGED_KEY) {
        managed(text, settings, context, report);
        return;
    }
    let empty = Object::new();
    let providers = settings
        .get("model_providers")
        .and_then(Value::as_object)
        .unwrap_or(&empty);
    let chosen = settings.text("model_provider");
    let mut with_helper = Vec::new();
    for (name, provider) in providers {
        let Some(provider) = provider.as_object() else {
            report.add(
                Error,
                format!("model_providers.{name}"),
                None,
                "is no table",
                "[model_providers.NAME]",
            );
            continue;
        };
        if let Some(auth) = provider.get("auth") {
            with_helper.push(name);
            one(name, provider, auth, context, report);
        }
    }
    match (chosen, with_helper.first()) {
        (_, None) => report.add(
            Warning,
            "model_providers",
            None,
            "no provider gets its token from a command",
            "gatepass export codex writes one",
        ),
        (None, Some(name)) => report.add(
            Warning,
            "model_provider",
            None,
            "is missing: Codex stays with its own provider",
            format!("model_provider = \"{name}\""),
        ),
        (Some(chosen), Some(_))
            if providers.get(chosen).is_none() && !RESERVED.contains(&chosen) =>
        {
            report.add(
                Error,
                "model_provider",
                None,
                format!("\"{chosen}\" is not among the providers"),
                "name one of [model_providers.…]",
            )
        }
        _ => (),
    }
}

/// A `requirements.toml` in a managed preference.
fn managed(text: &str, settings: &HostSettings, context: &Context, report: &mut LintReport) {
    let wrong = |what: &str, report: &mut LintReport| {
        report.add(
            Error,
            super::MANAGED_KEY,
            settings.line(super::MANAGED_KEY),
            what,
            "gatepass export codex --format mobileconfig writes it",
        );
    };
    let Ok(bytes) = BASE64_STANDARD.decode(text.trim()) else {
        return wrong("is no Base64 (RFC 4648)", report);
    };
    let table = std::str::from_utf8(&bytes)
        .ok()
        .map(toml::from_str::<Object>);
    let Some(Ok(table)) = table else {
        return wrong("holds no valid TOML", report);
    };
    if !table.contains_key("model_providers") {
        return wrong("holds no model provider", report);
    }
    let inner = HostSettings {
        encoding: Encoding::Native,
        target: settings.target,
        prefix: "",
        values: table
            .into_iter()
            .map(|(name, value)| (name, value, None))
            .collect(),
    };
    check(&inner, context, report);
}

fn one(name: &str, provider: &Object, auth: &Value, context: &Context, report: &mut LintReport) {
    let mut add = |severity, key: &str, what: &str, remedy: &str| {
        report.add(
            severity,
            format!("model_providers.{name}.{key}"),
            None,
            what,
            remedy,
        );
    };
    if RESERVED.contains(&name) {
        add(
            Error,
            "auth",
            "stands in a provider whose name Codex keeps for itself",
            "choose another name",
        );
    }
    for other in [
        "env_key",
        "experimental_bearer_token",
        "requires_openai_auth",
    ] {
        let set = provider
            .get(other)
            .is_some_and(|value| *value != Value::Bool(false));
        if set {
            add(Error, other, "contradicts the table auth", "remove it");
        }
    }
    match provider.text("base_url") {
        None => add(
            Error,
            "base_url",
            "is missing",
            "the gateway's address with /v1",
        ),
        Some(url) => {
            if let Err(reason) = address::check(url) {
                add(Error, "base_url", reason, "https://gateway.example.com/v1");
            }
        }
    }
    if provider
        .text("wire_api")
        .is_some_and(|api| api != "responses")
    {
        add(
            Error,
            "wire_api",
            "Codex speaks \"responses\" only",
            "wire_api = \"responses\"",
        );
    }
    for (header, value) in provider
        .get("http_headers")
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
    {
        if looks_secret(header, value.as_str().unwrap_or_default()) {
            add(
                Error,
                "http_headers",
                &format!("{header} looks like a credential, and this file is not secret"),
                "use env_http_headers",
            );
        }
    }
    let Some(auth) = auth.as_object() else {
        add(Error, "auth", "is no table", "[model_providers.NAME.auth]");
        return;
    };
    command(auth, context, &mut add);
}

fn command(auth: &Object, context: &Context, add: &mut impl FnMut(Severity, &str, &str, &str)) {
    let Some(path) = auth.text("command") else {
        add(Error, "auth.command", "is missing", "the path of gatepass");
        return;
    };
    if let Err((what, remedy)) = program(path, None, context) {
        add(Error, "auth.command", &what, &remedy);
    }
    let args: Vec<&str> = match auth.get("args") {
        None => Vec::new(),
        Some(Value::Array(args)) if args.iter().all(|arg| arg.as_str().is_some()) => {
            args.iter().filter_map(Value::as_str).collect()
        }
        Some(_) => {
            add(
                Error,
                "auth.args",
                "is no list of strings",
                "[\"token\", \"--caller\", \"codex\"]",
            );
            return;
        }
    };
    let ours = path
        .rsplit(['/', '\\'])
        .next()
        .is_some_and(|name| name.starts_with("gatepass"));
    let says_who = args.windows(2).any(|pair| pair == ["--caller", "codex"])
        || args.contains(&"--caller=codex");
    if ours && !says_who {
        add(
            Error,
            "auth.args",
            "do not say who is calling, so gatepass may answer too late",
            "[\"token\", \"--caller\", \"codex\"]",
        );
    }
    // What gatepass is told to take at most; by itself it answers Codex within 4 seconds.
    let told = args.windows(2).find(|pair| pair[0] == "--timeout");
    let patience = told.and_then(|pair| pair[1].parse().ok()).unwrap_or(4_u64);
    let number = |name: &str| match auth.get(name) {
        Some(Value::Number(number)) => Some(number.as_u64()),
        Some(_) => Some(None),
        None => None,
    };
    match number("timeout_ms") {
        Some(None | Some(0)) => add(
            Error,
            "auth.timeout_ms",
            "is no number of milliseconds above zero",
            "5000",
        ),
        Some(Some(time)) if ours && time < patience * 1000 + 500 => add(
            Warning,
            "auth.timeout_ms",
            &format!("is {time}, and gatepass takes up to {patience} seconds"),
            &format!("{}", (patience + 5) * 1000),
        ),
        None if ours && patience > 4 => add(
            Warning,
            "auth.timeout_ms",
            &format!("is missing, so Codex waits 5 seconds, and gatepass takes up to {patience}"),
            &format!("{}", (patience + 5) * 1000),
        ),
        _ => (),
    }
    match number("refresh_interval_ms") {
        Some(None) => add(
            Error,
            "auth.refresh_interval_ms",
            "is no number of milliseconds",
            "300000",
        ),
        interval => {
            let seconds = interval.flatten().unwrap_or(300_000) / 1000;
            if let Some((severity, what, right)) = kept_too_long(seconds, context) {
                let remedy = format!("set it to {} or less", right * 1000);
                add(severity, "auth.refresh_interval_ms", &what, &remedy);
            }
        }
    }
}
