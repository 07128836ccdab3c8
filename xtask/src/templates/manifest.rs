//! The preference manifest for macOS, in the format of ProfileManifests: iMazing Profile Editor, ProfileCreator and
//! device managements read it and offer a form.

use std::fmt::Write as _;

use serde_json::Value;

use super::{Setting, Takes, escaped};

/// What every profile's payload says about itself.
const PAYLOAD: [(&str, &str, &str); 7] = [
    ("PayloadDescription", "string", "Settings of gatepass"),
    ("PayloadDisplayName", "string", "gatepass"),
    ("PayloadIdentifier", "string", "io.gatepass.helper"),
    ("PayloadType", "string", "io.gatepass.helper"),
    ("PayloadUUID", "string", ""),
    ("PayloadVersion", "integer", "1"),
    ("PayloadOrganization", "string", ""),
];

/// The manifest.
pub(super) fn of(settings: &[Setting]) -> String {
    let mut out = String::from(
        r#"<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">
<!-- Written by `cargo xtask templates`. -->
<plist version="1.0">
<dict>
	<key>pfm_app_url</key>
	<string>https://github.com/gatepass/gatepass</string>
	<key>pfm_description</key>
	<string>gatepass: sign-in to the organisation's gateway to language models. Forced values cannot be changed by anybody; those in the dictionary "defaults" can.</string>
	<key>pfm_domain</key>
	<string>io.gatepass.helper</string>
	<key>pfm_format_version</key>
	<integer>1</integer>
	<key>pfm_interaction</key>
	<string>combined</string>
	<key>pfm_platforms</key>
	<array>
		<string>macOS</string>
	</array>
	<key>pfm_targets</key>
	<array>
		<string>system-managed</string>
	</array>
	<key>pfm_title</key>
	<string>gatepass</string>
	<key>pfm_unique</key>
	<true/>
	<key>pfm_version</key>
	<integer>1</integer>
	<key>pfm_subkeys</key>
	<array>
"#,
    );
    for (name, kind, value) in PAYLOAD {
        payload(&mut out, name, kind, value);
    }
    for setting in settings {
        subkey(&mut out, 2, setting);
    }
    dictionary(
        &mut out,
        "defaults",
        "values that people may set differently in their own file",
        &settings
            .iter()
            .filter(|setting| !setting.policy_only)
            .collect::<Vec<_>>(),
    );
    dictionary(
        &mut out,
        "profiles",
        "a dictionary per profile, with the same keys",
        &[],
    );
    out.push_str("\t</array>\n</dict>\n</plist>\n");
    out
}

fn payload(out: &mut String, name: &str, kind: &str, value: &str) {
    let _ = write!(
        out,
        "\t\t<dict>\n\t\t\t<key>pfm_name</key>\n\t\t\t<string>{name}</string>\n\t\t\t<key>pfm_title</key>\n\t\t\t<string>{name}</string>\n\t\t\t<key>pfm_type</key>\n\t\t\t<string>{kind}</string>\n"
    );
    if !value.is_empty() {
        let _ = writeln!(
            out,
            "\t\t\t<key>pfm_default</key>\n\t\t\t<{kind}>{value}</{kind}>"
        );
    }
    if name != "PayloadOrganization" && name != "PayloadDescription" {
        out.push_str("\t\t\t<key>pfm_require</key>\n\t\t\t<string>always</string>\n");
    }
    out.push_str("\t\t</dict>\n");
}

fn dictionary(out: &mut String, name: &str, about: &str, settings: &[&Setting]) {
    let _ = write!(
        out,
        "\t\t<dict>\n\t\t\t<key>pfm_name</key>\n\t\t\t<string>{name}</string>\n\t\t\t<key>pfm_title</key>\n\t\t\t<string>{name}</string>\n\t\t\t<key>pfm_description</key>\n\t\t\t<string>{about}</string>\n\t\t\t<key>pfm_type</key>\n\t\t\t<string>dictionary</string>\n\t\t\t<key>pfm_subkeys</key>\n\t\t\t<array>\n"
    );
    for setting in settings {
        subkey(out, 4, setting);
    }
    out.push_str("\t\t\t</array>\n\t\t</dict>\n");
}

fn subkey(out: &mut String, depth: usize, setting: &Setting) {
    let tabs = "\t".repeat(depth);
    let mut line = |text: &str| {
        let _ = writeln!(out, "{tabs}{text}");
    };
    line("<dict>");
    let mut pair = |key: &str, value: String| {
        line(&format!("\t<key>{key}</key>"));
        for part in value.lines() {
            line(&format!("\t{part}"));
        }
    };
    let text = |text: &str| format!("<string>{}</string>", escaped(text));
    pair("pfm_name", text(&setting.camel()));
    pair("pfm_title", text(&setting.title()));
    pair("pfm_description", text(setting.about));
    let (kind, item) = match setting.takes {
        Takes::Text | Takes::Address | Takes::Word(_) => ("string", None),
        Takes::Number(..) => ("integer", None),
        Takes::Flag => ("boolean", None),
        Takes::Texts => ("array", Some("string")),
        Takes::Ports => ("array", Some("integer")),
        Takes::Table => ("dictionary", None),
    };
    pair("pfm_type", text(kind));
    match setting.takes {
        Takes::Number(least, most) => {
            pair("pfm_range_min", format!("<integer>{least}</integer>"));
            pair("pfm_range_max", format!("<integer>{most}</integer>"));
        }
        Takes::Word(words) => {
            let words: String = words
                .iter()
                .map(|word| format!("\t<string>{}</string>\n", escaped(word)))
                .collect();
            pair("pfm_range_list", format!("<array>\n{words}</array>"));
        }
        _ => {}
    }
    if let Some(item) = item {
        pair(
            "pfm_subkeys",
            format!(
                "<array>\n\t<dict>\n\t\t<key>pfm_type</key>\n\t\t<string>{item}</string>\n\t</dict>\n</array>"
            ),
        );
    } else if let Some(default) = &setting.default {
        pair("pfm_default", plist(default));
    }
    line("</dict>");
}

/// A scalar as a property list has it.
fn plist(value: &Value) -> String {
    match value {
        Value::Bool(true) => "<true/>".to_owned(),
        Value::Bool(false) => "<false/>".to_owned(),
        Value::Number(number) => format!("<integer>{number}</integer>"),
        Value::String(text) => format!("<string>{}</string>", escaped(text)),
        other => format!("<string>{}</string>", escaped(&other.to_string())),
    }
}
