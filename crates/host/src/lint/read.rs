//! Which form a file has, and the values in it.

use serde_json::Value;

use super::{Encoding, HostSettings, LintReport, Severity};
use crate::registry::{self, Data};
use crate::value::{Members, Object, kind, set_below};
use crate::{HOSTS, HostInfo, Target, claude_desktop};

/// What a file (or a part of it) configures.
#[derive(Clone, Debug)]
pub(super) enum FileForm {
    /// A host.
    Host(&'static HostInfo, HostSettings),
    /// gatepass itself, by policy.
    Policy(Object),
    /// The list of a library of configurations.
    Library(Object),
}

/// Where gatepass's own policy lies.
const OWN_DOMAIN: &str = "io.gatepass.helper";
const OWN_KEY: &str = r"SOFTWARE\Policies\Gatepass";

/// Recognises a file's form by its content. What cannot be read is reported.
pub(super) fn recognise(bytes: &[u8], report: &mut LintReport) -> Vec<FileForm> {
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

fn unknown(report: &mut LintReport) -> Vec<FileForm> {
    let hosts: Vec<&str> = HOSTS.iter().map(|host| host.title).collect();
    report.whole(
        Severity::Error,
        format!(
            "this is no configuration of {} that gatepass knows",
            hosts.join(" or ")
        ),
        "give a .mobileconfig, .reg, managed-settings.json, configLibrary entry, settings.json or config.toml",
    );
    Vec::new()
}

/// The host whose configuration an object is.
fn host_of(object: &Object) -> Option<&'static HostInfo> {
    HOSTS.iter().find(|host| (host.recognises)(object))
}

fn flat(
    object: &Object,
    prefix: &'static str,
    encoding: Encoding,
    target: Option<Target>,
) -> HostSettings {
    HostSettings {
        encoding,
        target,
        prefix,
        values: object
            .iter()
            .map(|(name, value)| (name.clone(), value.clone(), None))
            .collect(),
    }
}

fn desktop(settings: HostSettings) -> Vec<FileForm> {
    vec![FileForm::Host(&claude_desktop::INFO, settings)]
}

fn from_json(text: &str, report: &mut LintReport) -> Vec<FileForm> {
    let object = match serde_json::from_str(text) {
        Ok(Value::Object(object)) => object,
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
    let has = |name: &str| object.contains_key(name);
    if let Some(nested) = object.get("enterpriseConfig") {
        let Some(inner) = nested.as_object() else {
            report.add(
                Severity::Error,
                "enterpriseConfig",
                None,
                format!("is {}, not an object", kind(nested)),
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
        return desktop(flat(inner, "enterpriseConfig.", Encoding::Native, None));
    }
    if has("entries") && (has("appliedId") || object.len() == 1) {
        return vec![FileForm::Library(object)];
    }
    if let Some(inference) = object.get("inference").and_then(Value::as_object) {
        report.add(Severity::Warning, "inference", None, "this is the nested form, which a bootstrap server may serve and a configuration library does not take", "write flat keys in files, such as inferenceProvider");
        return desktop(nested(inference));
    }
    match host_of(&object) {
        Some(host) => vec![FileForm::Host(
            host,
            flat(&object, "", Encoding::Native, None),
        )],
        None => unknown(report),
    }
}

/// The nested form of a served configuration, as flat keys.
fn nested(inference: &Object) -> HostSettings {
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
    let credential = inference.get("credential").and_then(Value::as_object);
    for (name, value) in inference.iter().chain(credential.into_iter().flatten()) {
        if let Some((_, flat)) = NAMES.iter().find(|(nested, _)| nested == name) {
            values.push(((*flat).to_owned(), value.clone(), None));
        } else if name == "customHeaders" {
            values.push(("inferenceCustomHeaders".to_owned(), value.clone(), None));
        }
    }
    HostSettings {
        encoding: Encoding::Native,
        target: None,
        prefix: "",
        values,
    }
}

fn from_toml(text: &str, report: &mut LintReport) -> Vec<FileForm> {
    match toml::from_str::<Value>(text) {
        Ok(Value::Object(table)) => match host_of(&table) {
            Some(host) => vec![FileForm::Host(
                host,
                flat(&table, "", Encoding::Native, None),
            )],
            None => unknown(report),
        },
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

fn from_plist(bytes: &[u8], report: &mut LintReport) -> Vec<FileForm> {
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
    let Value::Object(root) = value else {
        return unknown(report);
    };
    let mac = Some(Target::Macos);
    let Some(payloads) = root.get("PayloadContent").and_then(Value::as_array) else {
        return match host_of(&root) {
            Some(host) => vec![FileForm::Host(host, flat(&root, "", Encoding::Plist, mac))],
            None => unknown(report),
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
    for payload in payloads.iter().filter_map(Value::as_object) {
        let own: Object = payload
            .iter()
            .filter(|(name, _)| !name.starts_with("Payload"))
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        let of_domain = |domain| HOSTS.iter().find(|host| host.domain == Some(domain));
        match payload
            .text("PayloadType")
            .map(|domain| (domain, of_domain(domain)))
        {
            Some((_, Some(host))) => {
                forms.push(FileForm::Host(host, flat(&own, "", Encoding::Plist, mac)));
            }
            Some((OWN_DOMAIN, None)) => forms.push(FileForm::Policy(own)),
            Some((other, None)) => report.add(
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
                "com.anthropic.claudefordesktop for Claude Desktop",
            ),
        }
    }
    if forms.is_empty()
        && payloads
            .iter()
            .all(|payload| payload.as_object().is_none_or(Object::is_empty))
    {
        return unknown(report);
    }
    forms
}

fn as_json(value: &plist::Value) -> Value {
    match value {
        plist::Value::Boolean(flag) => Value::Bool(*flag),
        plist::Value::String(text) => Value::String(text.clone()),
        plist::Value::Integer(number) => number
            .as_unsigned()
            .map(Value::from)
            .or_else(|| number.as_signed().map(Value::from))
            .unwrap_or(Value::Null),
        plist::Value::Real(number) => {
            serde_json::Number::from_f64(*number).map_or(Value::Null, Value::Number)
        }
        plist::Value::Array(items) => Value::Array(items.iter().map(as_json).collect()),
        plist::Value::Dictionary(members) => members
            .iter()
            .map(|(name, value)| (name.clone(), as_json(value)))
            .collect(),
        _ => Value::Null,
    }
}

fn from_registry(bytes: &[u8], text: &str, report: &mut LintReport) -> Vec<FileForm> {
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
    let mut policy = Object::new();
    let mut hives = Vec::new();
    for section in &file.sections {
        let (hive, path) = section.path.split_once('\\').unwrap_or((&section.path, ""));
        let host = HOSTS.iter().find_map(|host| {
            let below = below(path, host.registry_key?)?;
            Some((host, below))
        });
        match (host, below(path, OWN_KEY)) {
            (Some((host, "")), _) if host.one_value => {
                forms.push(FileForm::Host(host, one_value(section, report)));
            }
            (Some((host, "")), _) => {
                hives.push(hive.to_ascii_uppercase());
                forms.push(FileForm::Host(host, from_section(section, report)));
            }
            (Some((host, _)), _) => report.add(
                Severity::Error,
                &section.path,
                Some(section.line),
                format!("{} reads no keys below its own", host.title),
                "write values, with JSON text for lists and objects",
            ),
            (None, Some(below)) => {
                if !hive.eq_ignore_ascii_case("HKEY_LOCAL_MACHINE") {
                    report.add(
                        Severity::Error,
                        &section.path,
                        Some(section.line),
                        "gatepass reads its policy from HKEY_LOCAL_MACHINE alone",
                        "write it there",
                    );
                }
                let section = from_section(section, report);
                into_policy(&mut policy, below, &section);
            }
            (None, None) => report.add(
                Severity::Warning,
                &section.path,
                Some(section.line),
                "is not checked",
                "it is for another program",
            ),
        }
    }
    if !policy.is_empty() {
        forms.push(FileForm::Policy(policy));
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

/// What of a path lies below a key; names of the registry have no capitals that matter.
fn below<'p>(path: &'p str, key: &str) -> Option<&'p str> {
    let (start, rest) = path.split_at_checked(key.len())?;
    let within = rest.is_empty() || rest.starts_with('\\');
    (within && start.eq_ignore_ascii_case(key)).then_some(rest)
}

/// The keys below the policy's own, as the tables that they mean: `Profiles\\NAME`, `Defaults` and so on.
fn into_policy(policy: &mut Object, below: &str, section: &HostSettings) {
    let path: Vec<String> = below
        .split('\\')
        .filter(|part| !part.is_empty())
        .map(|part| match part.to_ascii_lowercase().as_str() {
            name @ ("profiles" | "defaults") => name.to_owned(),
            _ => part.to_owned(),
        })
        .collect();
    for (name, value, _) in &section.values {
        set_below(policy, &path, name, value.clone());
    }
}

fn from_section(section: &registry::Section, report: &mut LintReport) -> HostSettings {
    let mut values = Vec::new();
    for (name, value, line) in &section.values {
        let json = match value {
            Data::Text(text) => Value::String(text.clone()),
            Data::Number(number) => Value::from(*number),
            Data::Removed => continue,
            Data::Other(kind) => {
                report.add(
                    Severity::Error,
                    name,
                    Some(*line),
                    format!("is {kind}, which is not read from policies"),
                    "use REG_SZ",
                );
                continue;
            }
        };
        values.push((name.clone(), json, Some(*line)));
    }
    HostSettings {
        encoding: Encoding::Registry,
        target: Some(Target::Windows),
        prefix: "",
        values,
    }
}

/// A host that reads one value, with all of its settings as JSON text.
fn one_value(section: &registry::Section, report: &mut LintReport) -> HostSettings {
    let settings = section.values.iter().find(|(name, ..)| name == "Settings");
    let object = match settings {
        Some((_, Data::Text(text), line)) => match serde_json::from_str(text) {
            Ok(Value::Object(object)) => object,
            _ => {
                report.add(
                    Severity::Error,
                    "Settings",
                    Some(*line),
                    "is no JSON object",
                    "write the settings as one line of JSON",
                );
                Object::new()
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
            Object::new()
        }
        None => {
            report.add(
                Severity::Error,
                "Settings",
                Some(section.line),
                "is missing: it is the one value that is read",
                "write all settings into it as JSON text",
            );
            Object::new()
        }
    };
    flat(
        &object,
        "Settings: ",
        Encoding::Native,
        Some(Target::Windows),
    )
}
