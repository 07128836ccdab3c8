//! Claude Desktop: one flat set of keys in several forms.

use super::json::{Json, Object};
use super::mobileconfig::{self, Payload};
use super::plan::{Notes, Plan};
use super::policy::Policy;
use super::registry::{Section, Value};
use super::{LOOK_AHEAD, Target};
use crate::error::Result;

/// The preference domain, which is also the type of the payload.
const DOMAIN: &str = "com.anthropic.claudefordesktop";

/// Where policies lie in the registry.
const KEY: &str = r"HKEY_LOCAL_MACHINE\SOFTWARE\Policies\Claude";

/// Every key that the app must be told, with native types.
pub fn settings(plan: &Plan<'_>, notes: &mut Notes) -> Result<Object> {
    let mut out = Object::default();
    let mut set = |name: &str, value: Json| {
        out.set(name, value);
    };
    set("inferenceProvider", "gateway".into());
    set("inferenceGatewayBaseUrl", plan.base_url(notes)?.into());
    set("inferenceGatewayAuthScheme", plan.scheme().into());
    set("inferenceCredentialKind", "helper-script".into());
    let (helper, args) = plan.helper(notes);
    set("inferenceCredentialHelper", helper.into());
    if !args.is_empty() {
        set("inferenceCredentialHelperArgs", args.into_iter().collect());
        notes.say("inferenceCredentialHelperArgs is read by builds from 2.2553 on; older ones run the default profile");
    }
    let ttl = plan.time_to_live(notes);
    set("inferenceCredentialHelperTtlSec", Json::whole(ttl));
    let (_, timeout) = plan.waits();
    set("inferenceCredentialHelperTimeoutSec", Json::whole(timeout));
    if !plan.models.is_empty() {
        set("inferenceModels", plan.models.iter().cloned().collect());
    }
    let headers = plan.checked_headers()?;
    if !headers.is_empty() {
        let headers = headers
            .iter()
            .map(|(name, value)| (name.clone(), value.as_str().into()))
            .collect();
        set("inferenceCustomHeaders", Object(headers).into());
    }
    if !plan.servers.is_empty() {
        set("managedMcpServers", servers(plan, ttl, notes)?);
    }
    for (name, value) in plan.checked_further(&out)? {
        out.set(name, value.clone());
    }
    about_models(plan, notes);
    about_times(plan, ttl, notes);
    Ok(out)
}

/// MCP servers that get gatepass's headers.
fn servers(plan: &Plan<'_>, ttl: u64, notes: &mut Notes) -> Result<Json> {
    let helper = plan.headers_helper()?;
    notes.say(format!(
        "the servers get their headers from the link {helper}, which must lead to {}",
        plan.program()
    ));
    let entry = |(name, url): &(String, String)| {
        Json::from(Object(vec![
            ("name".to_owned(), name.as_str().into()),
            ("transport".to_owned(), "http".into()),
            ("url".to_owned(), url.as_str().into()),
            ("headersHelper".to_owned(), helper.as_str().into()),
            ("headersHelperTtlSec".to_owned(), Json::whole(ttl)),
        ]))
    };
    Ok(Json::List(plan.servers.iter().map(entry).collect()))
}

fn about_models(plan: &Plan<'_>, notes: &mut Notes) {
    let haiku = |model: &String| model.to_ascii_lowercase().contains("haiku");
    if plan.models.is_empty() {
        notes.warn("no --model: the app asks the gateway for its models, and a Haiku must be among them, which Cowork's sub-agents need");
    } else if !plan.models.iter().any(haiku) {
        notes.warn("no model is a Haiku, which Cowork's sub-agents need: add --model with the gateway's name for it");
    }
}

/// The settings of gatepass that belong to the host's.
fn about_times(plan: &Plan<'_>, ttl: u64, notes: &mut Notes) {
    let (wait, timeout) = plan.waits();
    if plan.with_policy {
        return;
    }
    let least = ttl + LOOK_AHEAD;
    notes.say(format!(
        "gatepass settings that belong to it: interactive_timeout = {wait} (the app waits {timeout}), min_validity = {least} (the app keeps a token {ttl})"
    ));
    if plan.settings.min_validity < least {
        notes.warn(format!(
            "min_validity is {}: with a TTL of {ttl} the app may use a token that has ended; set it to {least}",
            plan.settings.min_validity
        ));
    }
}

/// The names that tell a profile's exports apart, on every machine the same.
pub fn identifier(plan: &Plan<'_>) -> String {
    mobileconfig::identifier("claude-desktop", &plan.settings.profile)
}

/// A configuration profile.
pub fn mobileconfig(plan: &Plan<'_>, settings: &Object, policy: Option<&Policy>) -> String {
    let title = plan.title("Claude Desktop");
    let mut payloads = vec![Payload {
        domain: DOMAIN,
        title: title.clone(),
        keys: managed(settings),
    }];
    payloads.extend(policy.map(Policy::payload));
    mobileconfig::write(
        &identifier(plan),
        &title,
        &plan.settings.display_name,
        &payloads,
    )
}

/// The keys of the registry and the values in them.
pub fn sections(settings: &Object, policy: Option<&Policy>) -> Vec<Section> {
    let mut section = Section::new(KEY);
    for (name, value) in settings.iter() {
        section.push(name, Value::Text(value.as_managed_text()));
    }
    let mut sections = vec![section];
    sections.extend(policy.map(Policy::section));
    sections
}

/// What management systems deliver: strings only.
fn managed(settings: &Object) -> Object {
    Object(
        settings
            .iter()
            .map(|(name, value)| (name.to_owned(), Json::Text(value.as_managed_text())))
            .collect(),
    )
}

/// `claude_desktop_config.json` with its part for organisations.
pub fn enterprise_config(settings: &Object) -> Object {
    Object(vec![
        ("deploymentMode".to_owned(), "3p".into()),
        ("enterpriseConfig".to_owned(), settings.clone().into()),
    ])
}

/// Where the app looks for a file of this kind, for people.
pub fn library_folder(target: Target) -> &'static str {
    match target {
        Target::Linux => "~/.config/Claude-3p/configLibrary/",
        Target::Macos => "~/Library/Application Support/Claude-3p/configLibrary/",
        Target::Windows => r"%LOCALAPPDATA%\Claude-3p\configLibrary\",
    }
}

/// The list of a configuration library with this entry in it, and whether the entry is the one that is applied.
pub fn in_library(meta: &mut Object, id: &str, name: &str) -> bool {
    let entry = Json::from(Object(vec![
        ("id".to_owned(), id.into()),
        ("name".to_owned(), name.into()),
    ]));
    let mut entries = match meta.get("entries") {
        Some(Json::List(entries)) => entries.clone(),
        _ => Vec::new(),
    };
    let same = |known: &Json| known.as_object().and_then(|entry| entry.text("id")) == Some(id);
    if !entries.iter().any(same) {
        entries.push(entry);
    }
    if meta.text("appliedId").is_none_or(str::is_empty) {
        meta.set("appliedId", id.into());
    }
    meta.set("entries", Json::List(entries));
    meta.text("appliedId") == Some(id)
}
