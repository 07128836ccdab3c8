//! Which form a file has, and the values in it.

use super::{Medium, Report, Settings, Severity};
use crate::host::Target;
use crate::host::json::{Json, Object};
use crate::host::registry::{self, Value};

/// What a file (or a part of it) configures.
#[derive(Clone, Debug)]
pub enum Form {
    /// Claude Desktop.
    Desktop(Settings),
    /// Claude Code.
    Code(Settings),
    /// Codex.
    Codex(Object),
    /// gatepass itself, by policy.
    Own(serde_json::Map<String, serde_json::Value>),
    /// The list of Claude Desktop's configuration library.
    Library(Object),
}

/// Payload types of configuration profiles, which are preference domains.
const DESKTOP_DOMAIN: &str = "com.anthropic.claudefordesktop";
const CODE_DOMAIN: &str = "com.anthropic.claudecode";
const OWN_DOMAIN: &str = "io.gatepass.helper";

/// Recognises a file's form by its content. What cannot be read is reported.
pub(super) fn recognise(bytes: &[u8], report: &mut Report) -> Vec<Form> {
    if let Some(text) = registry::decode(bytes) {
        return from_registry(bytes, &text, report);
    }
    let start = bytes.trim_ascii_start();
    if start.starts_with(b"bplist")
        || start.starts_with(b"<")
        || bytes.starts_with(b"\xEF\xBB\xBF<")
    {
        return from_plist(bytes, report);
    }
    if bytes.starts_with(&[0x30, 0x82]) || bytes.starts_with(&[0x30, 0x83]) {
        report.whole(
            Severity::Error,
            "this profile is signed, and gatepass does not look into signatures",
            "check the profile as it was before it was signed",
        );
        return Vec::new();
    }
    let Ok(text) = std::str::from_utf8(bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes)) else {
        report.whole(
            Severity::Error,
            "this is neither text nor a property list",
            "give the file that the host reads",
        );
        return Vec::new();
    };
    if text.trim_start().starts_with(['{', '[']) && !text.trim_start().starts_with("[model") {
        from_json(text, report)
    } else {
        from_toml(text, report)
    }
}

fn unknown(report: &mut Report) -> Vec<Form> {
    report.whole(
        Severity::Error,
        "this is no configuration of Claude Desktop, Claude Code or Codex that gatepass knows",
        "give a .mobileconfig, .reg, managed-settings.json, configLibrary entry, settings.json or config.toml",
    );
    Vec::new()
}

fn flat(object: &Object, prefix: &'static str, medium: Medium, target: Option<Target>) -> Settings {
    Settings {
        medium,
        target,
        prefix,
        values: object
            .0
            .iter()
            .map(|(name, value)| (name.clone(), value.clone(), None))
            .collect(),
    }
}

fn from_json(text: &str, report: &mut Report) -> Vec<Form> {
    let object = match Json::parse(text) {
        Ok(Json::Object(object)) => object,
        Ok(_) => return unknown(report),
        Err(error) => {
            report.whole(
                Severity::Error,
                format!("this is no valid JSON: {error}"),
                "correct it at the place that is named",
            );
            return Vec::new();
        }
    };
    let has = |name: &str| object.get(name).is_some();
    if let Some(nested) = object.get("enterpriseConfig") {
        let Some(inner) = nested.as_object() else {
            report.add(
                Severity::Error,
                "enterpriseConfig",
                None,
                format!("is {}, not an object", nested.kind()),
                "write the keys in braces",
            );
            return Vec::new();
        };
        if object.text("deploymentMode") != Some("3p") {
            report.add(
                Severity::Warning,
                "deploymentMode",
                None,
                "is not \"3p\", so the app may ask for a Claude account first",
                "set it to \"3p\"",
            );
        }
        return vec![Form::Desktop(flat(
            inner,
            "enterpriseConfig.",
            Medium::Json,
            None,
        ))];
    }
    if has("entries") && (has("appliedId") || object.0.len() == 1) {
        return vec![Form::Library(object)];
    }
    if let Some(inference) = object.get("inference").and_then(Json::as_object) {
        report.add(Severity::Warning, "inference", None, "this is the nested form, which a bootstrap server may serve and a configuration library does not take", "write flat keys in files, such as inferenceProvider");
        return vec![Form::Desktop(nested(inference))];
    }
    let desktop = object
        .iter()
        .any(|(name, _)| name.starts_with("inference") || crate::host::keys::kind(name).is_some());
    // Both hosts know managed servers; only Claude Code has these.
    let code = [
        "apiKeyHelper",
        "env",
        "permissions",
        "forceLoginMethod",
        "hooks",
    ]
    .into_iter()
    .any(has);
    match (desktop, code) {
        (_, true) if !object.iter().any(|(name, _)| name.starts_with("inference")) => {
            vec![Form::Code(flat(&object, "", Medium::Json, None))]
        }
        (true, _) => vec![Form::Desktop(flat(&object, "", Medium::Json, None))],
        _ => unknown(report),
    }
}

/// The nested form of a served configuration, as flat keys.
fn nested(inference: &Object) -> Settings {
    const NAMES: [(&str, &str); 10] = [
        ("kind", "inferenceCredentialKind"),
        ("command", "inferenceCredentialHelper"),
        ("args", "inferenceCredentialHelperArgs"),
        ("ttlSec", "inferenceCredentialHelperTtlSec"),
        ("timeoutSec", "inferenceCredentialHelperTimeoutSec"),
        (
            "silentRefreshEnabled",
            "inferenceCredentialHelperSilentRefreshEnabled",
        ),
        ("authScheme", "inferenceGatewayAuthScheme"),
        ("apiKey", "inferenceGatewayApiKey"),
        ("provider", "inferenceProvider"),
        ("baseUrl", "inferenceGatewayBaseUrl"),
    ];
    let mut values = Vec::new();
    let credential = inference.get("credential").and_then(Json::as_object);
    for (name, value) in inference
        .iter()
        .chain(credential.into_iter().flat_map(Object::iter))
    {
        if let Some((_, flat)) = NAMES.iter().find(|(nested, _)| *nested == name) {
            values.push(((*flat).to_owned(), value.clone(), None));
        } else if name == "customHeaders" {
            values.push(("inferenceCustomHeaders".to_owned(), value.clone(), None));
        }
    }
    Settings {
        medium: Medium::Json,
        target: None,
        prefix: "",
        values,
    }
}

fn from_toml(text: &str, report: &mut Report) -> Vec<Form> {
    match toml::from_str::<Json>(text) {
        Ok(Json::Object(table)) if table.get("model_providers").is_some() => {
            vec![Form::Codex(table)]
        }
        Ok(_) => unknown(report),
        Err(error) => {
            let line = error
                .span()
                .map(|span| 1 + text[..span.start.min(text.len())].matches('\n').count());
            report.add(
                Severity::Error,
                "",
                line,
                format!(
                    "this is neither JSON, nor a property list, nor valid TOML: {}",
                    error.message()
                ),
                "correct it at the place that is named",
            );
            Vec::new()
        }
    }
}

fn from_plist(bytes: &[u8], report: &mut Report) -> Vec<Form> {
    let value = match plist::Value::from_reader(std::io::Cursor::new(bytes)) {
        Ok(value) => as_json(&value),
        Err(error) => {
            report.whole(
                Severity::Error,
                format!("this is no valid property list: {error}"),
                "export it again from where it came from",
            );
            return Vec::new();
        }
    };
    let Json::Object(root) = value else {
        return unknown(report);
    };
    let mac = Some(Target::Macos);
    let Some(payloads) = root.get("PayloadContent").and_then(Json::as_list) else {
        let inference = root.iter().any(|(name, _)| name.starts_with("inference"));
        return if inference {
            vec![Form::Desktop(flat(&root, "", Medium::Plist, mac))]
        } else if root.get("apiKeyHelper").is_some() {
            vec![Form::Code(flat(&root, "", Medium::Plist, mac))]
        } else {
            unknown(report)
        };
    };
    if root.text("PayloadType") != Some("Configuration") {
        report.add(
            Severity::Error,
            "PayloadType",
            None,
            "of the profile is not \"Configuration\"",
            "set it to Configuration",
        );
    }
    for key in ["PayloadIdentifier", "PayloadUUID"] {
        if root.text(key).is_none_or(str::is_empty) {
            report.add(
                Severity::Error,
                key,
                None,
                "the profile has none",
                "add it, and keep it the same in later versions",
            );
        }
    }
    let mut forms = Vec::new();
    for payload in payloads.iter().filter_map(Json::as_object) {
        let own: Vec<(String, Json)> = payload
            .0
            .iter()
            .filter(|(name, _)| !name.starts_with("Payload"))
            .cloned()
            .collect();
        let settings = |prefix| flat(&Object(own.clone()), prefix, Medium::Plist, mac);
        match payload.text("PayloadType") {
            Some(DESKTOP_DOMAIN) => forms.push(Form::Desktop(settings(""))),
            Some(CODE_DOMAIN) => forms.push(Form::Code(settings(""))),
            Some(OWN_DOMAIN) => forms.push(Form::Own(native(&Object(own.clone())))),
            Some(other) => report.add(
                Severity::Warning,
                "PayloadType",
                None,
                format!("{other} is not checked"),
                "it is for another program",
            ),
            None => report.add(
                Severity::Error,
                "PayloadType",
                None,
                "a payload has none",
                format!("{DESKTOP_DOMAIN} for Claude Desktop"),
            ),
        }
    }
    if forms.is_empty()
        && payloads
            .iter()
            .all(|payload| payload.as_object().is_none_or(|p| p.0.is_empty()))
    {
        return unknown(report);
    }
    forms
}

fn as_json(value: &plist::Value) -> Json {
    match value {
        plist::Value::Boolean(flag) => Json::Flag(*flag),
        plist::Value::String(text) => Json::Text(text.clone()),
        plist::Value::Integer(number) => number
            .as_unsigned()
            .map(Json::whole)
            .or_else(|| number.as_signed().map(|number| Json::Number(number.into())))
            .unwrap_or(Json::Null),
        plist::Value::Real(number) => {
            serde_json::Number::from_f64(*number).map_or(Json::Null, Json::Number)
        }
        plist::Value::Array(items) => Json::List(items.iter().map(as_json).collect()),
        plist::Value::Dictionary(members) => Json::Object(Object(
            members
                .iter()
                .map(|(name, value)| (name.clone(), as_json(value)))
                .collect(),
        )),
        _ => Json::Null,
    }
}

fn from_registry(bytes: &[u8], text: &str, report: &mut Report) -> Vec<Form> {
    if text.starts_with("REGEDIT4") {
        report.add(
            Severity::Warning,
            "",
            Some(1),
            "this is the form of Windows 98: text is read in the machine's own code page",
            "begin with Windows Registry Editor Version 5.00, in UTF-16",
        );
    } else if !bytes.starts_with(&[0xFF, 0xFE]) && !text.is_ascii() {
        report.add(
            Severity::Error,
            "",
            Some(1),
            "the file is not UTF-16, so letters beyond ASCII arrive changed",
            "save it as UTF-16 LE with a byte order mark",
        );
    }
    let file = registry::parse(text);
    for (line, what) in &file.problems {
        report.add(
            Severity::Error,
            "",
            Some(*line),
            what,
            "write \"name\"=\"value\"",
        );
    }
    let mut forms = Vec::new();
    let mut policy = Object::default();
    let mut hives = Vec::new();
    for section in &file.sections {
        let (hive, path) = section.path.split_once('\\').unwrap_or((&section.path, ""));
        let path = path.to_ascii_lowercase();
        let values = |report: &mut Report, prefix| from_section(section, prefix, report);
        let (desktop, own) = (r"software\policies\claude", r"software\policies\gatepass");
        if path == desktop {
            hives.push(hive.to_ascii_uppercase());
            forms.push(Form::Desktop(values(report, "")));
        } else if path.starts_with(&format!(r"{desktop}\")) {
            report.add(
                Severity::Error,
                &section.path,
                Some(section.line),
                "Claude Desktop reads no keys below its own",
                "write values, with JSON text for lists and objects",
            );
        } else if path == r"software\policies\claudecode" {
            forms.push(code_section(section, report));
        } else if path == own || path.starts_with(&format!(r"{own}\")) {
            if !hive.eq_ignore_ascii_case("HKEY_LOCAL_MACHINE") {
                report.add(
                    Severity::Error,
                    &section.path,
                    Some(section.line),
                    "gatepass reads its policy from HKEY_LOCAL_MACHINE alone",
                    "write it there",
                );
            }
            let below = &section.path[section.path.len() - (path.len() - own.len())..];
            let section = from_section(section, "", report);
            into_policy(&mut policy, below, &section);
        } else {
            report.add(
                Severity::Warning,
                &section.path,
                Some(section.line),
                "is not checked",
                "it is for another program",
            );
        }
    }
    if !policy.0.is_empty() {
        forms.push(Form::Own(native(&policy)));
    }
    if hives.iter().any(|hive| hive == "HKEY_LOCAL_MACHINE")
        && hives.iter().any(|hive| hive == "HKEY_CURRENT_USER")
    {
        report.whole(Severity::Warning, "values under HKEY_LOCAL_MACHINE make the app ignore those under HKEY_CURRENT_USER altogether", "write all of them to one place");
    }
    if forms.is_empty() && file.problems.is_empty() {
        return unknown(report);
    }
    forms
}

/// The keys below the policy's own, as the tables that they mean: `Profiles\\NAME`, `Defaults` and so on.
fn into_policy(policy: &mut Object, below: &str, section: &Settings) {
    let path: Vec<String> = below
        .split('\\')
        .filter(|part| !part.is_empty())
        .map(|part| match part.to_ascii_lowercase().as_str() {
            name @ ("profiles" | "defaults") => name.to_owned(),
            _ => part.to_owned(),
        })
        .collect();
    for (name, value, _) in &section.values {
        policy.set_below(&path, name, value.clone());
    }
}

fn native(object: &Object) -> serde_json::Map<String, serde_json::Value> {
    match serde_json::to_value(object) {
        Ok(serde_json::Value::Object(map)) => map,
        _ => serde_json::Map::new(),
    }
}

fn from_section(
    section: &registry::Section,
    prefix: &'static str,
    report: &mut Report,
) -> Settings {
    let mut values = Vec::new();
    for (name, value, line) in &section.values {
        let json = match value {
            Value::Text(text) => Json::Text(text.clone()),
            Value::Number(number) => Json::whole(u64::from(*number)),
            Value::Removed => continue,
            Value::Other(kind) => {
                report.add(
                    Severity::Error,
                    format!("{prefix}{name}"),
                    Some(*line),
                    format!("is {kind}, which is not read from policies"),
                    "use REG_SZ",
                );
                continue;
            }
        };
        values.push((name.clone(), json, Some(*line)));
    }
    Settings {
        medium: Medium::Registry,
        target: Some(Target::Windows),
        prefix,
        values,
    }
}

/// Claude Code has one value, with all of its settings as JSON text.
fn code_section(section: &registry::Section, report: &mut Report) -> Form {
    let settings = section.values.iter().find(|(name, ..)| name == "Settings");
    let object = match settings {
        Some((_, Value::Text(text), line)) => match Json::parse(text) {
            Ok(Json::Object(object)) => object,
            _ => {
                report.add(
                    Severity::Error,
                    "Settings",
                    Some(*line),
                    "is no JSON object",
                    "write the settings as one line of JSON",
                );
                Object::default()
            }
        },
        Some((_, _, line)) => {
            report.add(
                Severity::Error,
                "Settings",
                Some(*line),
                "is no string",
                "use REG_SZ with JSON text",
            );
            Object::default()
        }
        None => {
            report.add(
                Severity::Error,
                "Settings",
                Some(section.line),
                "is missing: Claude Code reads this one value",
                "write all settings into it as JSON text",
            );
            Object::default()
        }
    };
    Form::Code(flat(
        &object,
        "Settings: ",
        Medium::Json,
        Some(Target::Windows),
    ))
}
