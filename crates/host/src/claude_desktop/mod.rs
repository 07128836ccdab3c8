//! Claude Desktop: one flat set of keys in several forms.

pub mod keys;
mod lint;

use serde_json::{Value, json};

use crate::lint::HostSettings;
use crate::mobileconfig;
use crate::registry::{Data, Section};
use crate::value::{Members, Object, managed_text};
use crate::{
    Base, ConfigDocument, Error, Export, Format, HostFile, HostInfo, HostPlan, Notes, Target,
    document::LibraryEntry, intune,
};

/// Preference domain of managed settings on macOS.
const DOMAIN: &str = "com.anthropic.claudefordesktop";

/// Key of managed settings in the Windows registry.
const REGISTRY_KEY: &str = r"SOFTWARE\Policies\Claude";

/// What gatepass knows about it.
pub const INFO: HostInfo = HostInfo {
    name: "claude-desktop",
    title: "Claude Desktop",
    formats: &[
        Format::of(
            Target::Macos,
            "mobileconfig",
            "Configuration profile for macOS",
        )
        .with_policy(),
        Format::of(Target::Windows, "reg", "Registration file for Windows").with_policy(),
        Format::of(
            Target::Windows,
            "intune",
            "Custom profile for Windows in Intune (Microsoft Graph's JSON)",
        )
        .with_policy(),
        Format::of(
            Target::Linux,
            "linux",
            "Claude Desktop's managed settings on Linux",
        )
        .with_policy(),
        Format::of_any("json", "What Claude Desktop's own window imports"),
        Format::of_any("config-library", "Entry of Claude Desktop's local library"),
        Format::of_any("enterprise-config", "claude_desktop_config.json"),
    ],
    files: &[
        HostFile::of_machine(
            Target::Macos,
            "/Library/Managed Preferences/com.anthropic.claudefordesktop.plist",
        ),
        HostFile::of_machine(Target::Linux, "/etc/claude-desktop/managed-settings.json"),
        HostFile::library(Target::Macos, Base::UserConfig, "Claude-3p/configLibrary"),
        HostFile::library(Target::Windows, Base::LocalData, "Claude-3p/configLibrary"),
        HostFile::library(Target::Linux, Base::UserConfig, "Claude-3p/configLibrary"),
    ],
    domain: Some(DOMAIN),
    registry_key: Some(REGISTRY_KEY),
    one_value: false,
    recognises,
    write,
    check: lint::check,
};

/// Its keys; beside a key that only Claude Code has, those that both know do not count.
fn recognises(object: &Object) -> bool {
    let own = |name: &String| name.starts_with("inference");
    object.keys().any(own)
        || (!crate::claude_code::recognises(object)
            && object.keys().any(|name| keys::kind(name).is_some()))
}

/// The settings for Claude Desktop that a file holds, in whatever form it is.
///
/// # Errors
///
/// Why there are none.
pub fn read(bytes: &[u8]) -> Result<HostSettings, String> {
    crate::lint::settings_of(&INFO, bytes)
}

fn write(plan: &HostPlan, format: &str, notes: &mut Notes) -> Result<Export, Error> {
    let settings = settings(plan, notes)?;
    Ok(match format {
        "mobileconfig" => {
            // What management systems deliver: strings only.
            let managed =
                |(name, value): (&String, &Value)| (name.clone(), managed_text(value).into());
            let settings = settings.iter().map(managed).collect();
            plan.profile(&INFO, DOMAIN, settings).for_everyone()
        }
        "reg" => ConfigDocument::Registry(sections(plan, &settings)).for_everyone(),
        "intune" => ConfigDocument::Intune(intune::Profile {
            name: plan.profile.clone().unwrap_or_default(),
            title: plan.title(INFO.title),
            sections: sections(plan, &settings),
        })
        .for_everyone(),
        "config-library" => Export {
            entry: Some(LibraryEntry {
                id: mobileconfig::uuid(&plan.identifier(INFO.name)),
                name: plan.title(INFO.title),
                folder: library_folder(plan.target),
            }),
            ..ConfigDocument::Json(settings).for_owner()
        },
        "enterprise-config" => ConfigDocument::Json(enterprise_config(&settings)).for_owner(),
        "linux" => {
            notes.say("Claude Desktop on Linux reads /etc/claude-desktop/managed-settings.json, which must belong to root and be writable by root alone");
            ConfigDocument::Json(settings).for_everyone()
        }
        _ => ConfigDocument::Json(settings).for_everyone(),
    })
}

/// Every key that the app must be told, with native types.
fn settings(plan: &HostPlan, notes: &mut Notes) -> Result<Object, Error> {
    let mut out = Object::new();
    let mut set = |name: &str, value: Value| {
        out.insert(name.to_owned(), value);
    };
    set("inferenceProvider", "gateway".into());
    set("inferenceGatewayBaseUrl", plan.base_url.as_str().into());
    set("inferenceGatewayAuthScheme", plan.scheme.as_str().into());
    set("inferenceCredentialKind", "helper-script".into());
    let (helper, args) = plan.helper(notes);
    set("inferenceCredentialHelper", helper.into());
    if !args.is_empty() {
        set("inferenceCredentialHelperArgs", args.into());
        notes.say("inferenceCredentialHelperArgs is read by builds from 2.2553 on; older ones run the default profile");
    }
    set("inferenceCredentialHelperTtlSec", plan.ttl.into());
    set("inferenceCredentialHelperTimeoutSec", plan.timeout().into());
    if !plan.models.is_empty() {
        set("inferenceModels", plan.models.clone().into());
    }
    let headers = plan.checked_headers()?;
    if !headers.is_empty() {
        let headers = headers.iter();
        let headers: Object = headers
            .map(|(name, value)| (name.clone(), value.as_str().into()))
            .collect();
        set("inferenceCustomHeaders", headers.into());
    }
    if !plan.servers.is_empty() {
        set("managedMcpServers", servers(plan, notes)?);
    }
    if let Some(endpoint) = &plan.telemetry {
        out.insert("otlpEndpoint".to_owned(), endpoint.as_str().into());
        out.insert(
            "otlpHeadersHelper".to_owned(),
            plan.headers_helper()?.into(),
        );
    }
    for (name, value) in plan.checked_extra(&out)? {
        out.insert(name.clone(), value.clone());
    }
    about_models(plan, notes);
    about_times(plan, notes);
    Ok(out)
}

/// MCP servers that get gatepass's headers.
fn servers(plan: &HostPlan, notes: &mut Notes) -> Result<Value, Error> {
    let helper = plan.headers_helper()?;
    notes.say(format!(
        "the servers get their headers from the link {helper}, which must lead to {}",
        plan.program()
    ));
    let entry = |(name, url): &(String, String)| {
        json!({
            "name": name,
            "transport": "http",
            "url": url,
            "headersHelper": helper,
            "headersHelperTtlSec": plan.ttl,
        })
    };
    Ok(plan.servers.iter().map(entry).collect())
}

fn about_models(plan: &HostPlan, notes: &mut Notes) {
    let haiku = |model: &String| model.to_ascii_lowercase().contains("haiku");
    if plan.models.is_empty() {
        notes.warn("no --model: the app asks the gateway for its models, and a Haiku must be among them, which Cowork's sub-agents need");
    } else if let [only] = plan.models.as_slice() {
        notes.warn(format!(
            "the app offers exactly the models that are listed, and {only} is the only one: name each with --model, a Haiku among them, which Cowork's sub-agents need"
        ));
    } else if !plan.models.iter().any(haiku) {
        notes.warn("no model is a Haiku, which Cowork's sub-agents need: add --model with the gateway's name for it");
    }
}

/// The settings of gatepass that belong to the host's.
fn about_times(plan: &HostPlan, notes: &mut Notes) {
    let Some(min_validity) = plan.min_validity else {
        return;
    };
    let (wait, timeout, ttl, least) = (plan.wait, plan.timeout(), plan.ttl, plan.least_validity());
    notes.say(format!(
        "gatepass settings that belong to it: interactive_timeout = {wait} (the app waits {timeout}), min_validity = {least} (the app keeps a token {ttl})"
    ));
    if min_validity < least {
        notes.warn(format!(
            "min_validity is {min_validity}: with a TTL of {ttl} the app may use a token that has ended; set it to {least}"
        ));
    }
}

/// The keys of the registry and the values in them.
fn sections(plan: &HostPlan, settings: &Object) -> Vec<Section> {
    let mut section = Section::machine(REGISTRY_KEY);
    for (name, value) in settings {
        section.push(name, Data::Text(managed_text(value)));
    }
    let mut sections = vec![section];
    sections.extend(plan.policy.iter().flat_map(crate::PolicyPayload::sections));
    sections
}

/// `claude_desktop_config.json` with its part for organisations.
fn enterprise_config(settings: &Object) -> Object {
    let mut out = Object::new();
    out.insert("deploymentMode".to_owned(), "3p".into());
    out.insert("enterpriseConfig".to_owned(), settings.clone().into());
    out
}

/// Where the app looks for an entry of its library, for people.
fn library_folder(target: Target) -> &'static str {
    match target {
        Target::Linux => "~/.config/Claude-3p/configLibrary/",
        Target::Macos => "~/Library/Application Support/Claude-3p/configLibrary/",
        Target::Windows => r"%LOCALAPPDATA%\Claude-3p\configLibrary\",
    }
}

/// The names of the models that a setting lists.
pub fn model_names(models: &Value) -> Vec<&str> {
    let models = models.as_array().map(Vec::as_slice).unwrap_or_default();
    models
        .iter()
        .filter_map(|model| match model {
            Value::String(name) => Some(name.as_str()),
            Value::Object(model) => model.text("name"),
            _ => None,
        })
        .collect()
}
