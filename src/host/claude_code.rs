//! Claude Code: the `apiKeyHelper` part of its settings.

use super::Target;
use super::json::{Json, Object};
use super::mobileconfig::{self, Payload};
use super::plan::{Notes, Plan};
use super::registry::{self, Section, Value};
use crate::error::{Failure, Id, Result};

/// The preference domain, which is also the type of the payload.
const DOMAIN: &str = "com.anthropic.claudecode";

/// Where policies lie in the registry.
const KEY: &str = r"HKEY_LOCAL_MACHINE\SOFTWARE\Policies\ClaudeCode";

const HOST: &str = "Claude Code";

/// The settings.
pub fn settings(plan: &Plan<'_>, notes: &mut Notes) -> Result<Object> {
    plan.refuse_secret_headers(HOST)?;
    let mut env = Object::default();
    env.set("ANTHROPIC_BASE_URL", plan.base_url(notes)?.into());
    let ttl = plan.time_to_live(notes);
    env.set(
        "CLAUDE_CODE_API_KEY_HELPER_TTL_MS",
        (ttl * 1000).to_string().into(),
    );
    let mut headers = plan.checked_headers()?.to_vec();
    headers.extend(plan.fixed_headers(HOST, notes));
    if !headers.is_empty() {
        let lines: Vec<String> = headers
            .iter()
            .map(|(name, value)| format!("{name}: {value}"))
            .collect();
        env.set("ANTHROPIC_CUSTOM_HEADERS", lines.join("\n").into());
    }
    models(plan, &mut env);
    let mut out = Object::default();
    out.set("apiKeyHelper", command(plan)?.into());
    out.set("env", env.clone().into());
    for (name, value) in plan.checked_further(&out)? {
        match name.strip_prefix("env.") {
            Some(name) => {
                if env.get(name).is_some() {
                    return Err(Failure::new(
                        Id::Usage,
                        format!("--set env.{name}: the export sets this key itself"),
                        "gatepass export --help names the option for it",
                    ));
                }
                env.set(name, value.as_managed_text().into());
            }
            None => {
                out.set(name, value.clone());
            }
        }
    }
    out.set("env", env.into());
    notes.say("ANTHROPIC_AUTH_TOKEN and ANTHROPIC_API_KEY in a person's environment come before the helper");
    Ok(out)
}

/// The command line. On Windows a quoted path fails, so the bare name is found along the machine's PATH.
fn command(plan: &Plan<'_>) -> Result<String> {
    let program = match (plan.target, &plan.helper_path) {
        (Target::Windows, None) => "gatepass".to_owned(),
        (Target::Windows, Some(path)) if path.contains(['/', '\\', ' ', '"']) => {
            return Err(Failure::new(
                Id::Usage,
                "Claude Code on Windows cannot run a helper by its path",
                "leave --helper-path out: gatepass is found along the machine's PATH",
            ));
        }
        (Target::Windows, Some(name)) => name.clone(),
        _ => shell_word(plan.program()),
    };
    let profile = &plan.settings.profile;
    Ok(if profile.is_default() {
        format!("{program} token --caller claude-code")
    } else {
        format!("{program} token --caller claude-code --profile {profile}")
    })
}

/// One word of a shell's command line.
fn shell_word(text: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"/._-+@%".contains(&b);
    if text.bytes().all(plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

/// The first model is the usual one; a family's name also fills the family's place.
fn models(plan: &Plan<'_>, env: &mut Object) {
    const FAMILIES: [(&str, &str); 3] = [
        ("opus", "ANTHROPIC_DEFAULT_OPUS_MODEL"),
        ("sonnet", "ANTHROPIC_DEFAULT_SONNET_MODEL"),
        ("haiku", "ANTHROPIC_DEFAULT_HAIKU_MODEL"),
    ];
    if let Some(first) = plan.models.first() {
        env.set("ANTHROPIC_MODEL", first.as_str().into());
    }
    for (family, variable) in FAMILIES {
        let of_family = |model: &&String| model.to_ascii_lowercase().contains(family);
        if let Some(model) = plan.models.iter().find(of_family) {
            env.set(variable, model.as_str().into());
        }
    }
}

/// A configuration profile.
pub fn mobileconfig(plan: &Plan<'_>, settings: &Object) -> String {
    let title = plan.title(HOST);
    let payload = Payload {
        domain: DOMAIN,
        title: title.clone(),
        keys: settings.clone(),
    };
    mobileconfig::write(
        &mobileconfig::identifier("claude-code", &plan.settings.profile),
        &title,
        &plan.settings.display_name,
        &[payload],
    )
}

/// A registration file: one value with all settings as JSON text.
pub fn reg(settings: &Object) -> Vec<u8> {
    let mut section = Section::new(KEY);
    section.push(
        "Settings",
        Value::Text(Json::from(settings.clone()).compact()),
    );
    registry::write(&[section])
}
