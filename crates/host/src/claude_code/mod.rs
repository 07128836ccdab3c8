//! Claude Code: the `apiKeyHelper` part of its settings.

mod lint;

use serde_json::{Value, json};

use crate::plan::set_by_export;
use crate::registry::{Data, Section};
use crate::value::{Object, managed_text};
use crate::{
    Base, ConfigDocument, Error, Export, Format, HostFile, HostInfo, HostPlan, Notes, Target,
};

/// Preference domain of managed settings on macOS.
const DOMAIN: &str = "com.anthropic.claudecode";

/// Key of managed settings in the Windows registry.
const REGISTRY_KEY: &str = r"SOFTWARE\Policies\ClaudeCode";

/// What gatepass knows about it.
pub const INFO: HostInfo = HostInfo {
    name: "claude-code",
    title: "Claude Code",
    formats: &[
        Format::of_any("settings", "Claude Code's settings.json"),
        Format::of_any("managed", "Claude Code's managed-settings.json"),
        Format::of_any(
            "managed-mcp",
            "Claude Code's managed-mcp.json: the MCP servers of --mcp",
        ),
        Format::of(
            Target::Macos,
            "mobileconfig",
            "Configuration profile for macOS",
        ),
        Format::of(Target::Windows, "reg", "Registration file for Windows"),
    ],
    files: &[
        HostFile::of_machine(
            Target::Macos,
            "/Library/Application Support/ClaudeCode/managed-settings.json",
        ),
        HostFile::of_machine(
            Target::Windows,
            r"C:\Program Files\ClaudeCode\managed-settings.json",
        ),
        HostFile::of_machine(
            Target::Windows,
            r"C:\ProgramData\ClaudeCode\managed-settings.json",
        ),
        HostFile::of_machine(Target::Linux, "/etc/claude-code/managed-settings.json"),
        HostFile::of_machine(
            Target::Macos,
            "/Library/Application Support/ClaudeCode/managed-mcp.json",
        ),
        HostFile::of_machine(
            Target::Windows,
            r"C:\Program Files\ClaudeCode\managed-mcp.json",
        ),
        HostFile::of_machine(Target::Linux, "/etc/claude-code/managed-mcp.json"),
        HostFile::of_user(Base::Home, ".claude/settings.json"),
    ],
    domain: Some(DOMAIN),
    registry_key: Some(REGISTRY_KEY),
    one_value: true,
    recognises,
    write,
    check: lint::check,
};

/// Keys that only Claude Code has: managed servers are known to Claude Desktop as well.
pub(crate) fn recognises(object: &Object) -> bool {
    const KEYS: [&str; 9] = [
        "apiKeyHelper",
        "forceLoginGatewayUrl",
        "forceLoginOrgUUID",
        "mcpServers",
        "otelHeadersHelper",
        "env",
        "permissions",
        "forceLoginMethod",
        "hooks",
    ];
    KEYS.iter().any(|name| object.contains_key(*name))
        && !object.keys().any(|name| name.starts_with("inference"))
}

fn write(plan: &HostPlan, format: &str, notes: &mut Notes) -> Result<Export, Error> {
    if format == "managed-mcp" {
        return Ok(ConfigDocument::Json(servers(plan, notes)?).for_everyone());
    }
    if !plan.servers.is_empty() {
        return Err(Error::usage(
            "Claude Code has its MCP servers in a file of their own",
            "gatepass export claude-code --format managed-mcp --mcp NAME=URL",
        ));
    }
    let settings = settings(plan, notes)?;
    Ok(match format {
        "mobileconfig" => plan.profile(&INFO, DOMAIN, settings).for_everyone(),
        "reg" => {
            // One value with all settings as JSON text.
            let mut section = Section::machine(REGISTRY_KEY);
            section.push("Settings", Data::Text(Value::from(settings).to_string()));
            ConfigDocument::Registry(vec![section]).for_everyone()
        }
        "managed" => ConfigDocument::Json(settings).for_everyone(),
        _ => ConfigDocument::Json(settings).for_owner(),
    })
}

/// The settings.
fn settings(plan: &HostPlan, notes: &mut Notes) -> Result<Object, Error> {
    plan.refuse_secret_headers(INFO.title)?;
    let mut env = Object::new();
    env.insert(
        "ANTHROPIC_BASE_URL".to_owned(),
        plan.base_url.as_str().into(),
    );
    env.insert(
        "CLAUDE_CODE_API_KEY_HELPER_TTL_MS".to_owned(),
        (plan.ttl * 1000).to_string().into(),
    );
    let headers = plan.all_fixed_headers(INFO.title, notes)?;
    if !headers.is_empty() {
        let lines: Vec<String> = headers
            .iter()
            .map(|(name, value)| format!("{name}: {value}"))
            .collect();
        let lines = lines.join("\n").into();
        env.insert("ANTHROPIC_CUSTOM_HEADERS".to_owned(), lines);
    }
    models(plan, &mut env);
    let mut out = Object::new();
    out.insert("apiKeyHelper".to_owned(), command(plan, &[])?.into());
    if let Some(endpoint) = &plan.telemetry {
        let helper = command(plan, &["--output", "headers"])?;
        out.insert("otelHeadersHelper".to_owned(), helper.into());
        for (name, value) in [
            ("CLAUDE_CODE_ENABLE_TELEMETRY", "1"),
            ("OTEL_METRICS_EXPORTER", "otlp"),
            ("OTEL_LOGS_EXPORTER", "otlp"),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json"),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str()),
        ] {
            env.insert(name.to_owned(), value.into());
        }
    }
    out.insert("env".to_owned(), Value::Null);
    for (name, value) in plan.checked_extra(&out)? {
        match name.strip_prefix("env.") {
            Some(variable) if env.contains_key(variable) => return Err(set_by_export(name)),
            Some(variable) => {
                env.insert(variable.to_owned(), managed_text(value).into());
            }
            None => {
                out.insert(name.clone(), value.clone());
            }
        }
    }
    out.insert("env".to_owned(), env.into());
    notes.say("ANTHROPIC_AUTH_TOKEN and ANTHROPIC_API_KEY in a person's environment come before the helper");
    Ok(out)
}

/// MCP servers that get gatepass's headers. Claude Code runs the helper for each connection, and again after 401 and
/// 403 (from 2.1.193).
fn servers(plan: &HostPlan, notes: &mut Notes) -> Result<Object, Error> {
    if plan.servers.is_empty() {
        return Err(Error::usage(
            "managed-mcp.json holds MCP servers, and none is named",
            "add --mcp NAME=URL",
        ));
    }
    let helper = command(plan, &["--output", "headers"])?;
    let servers: Object = plan
        .servers
        .iter()
        .map(|(name, url)| {
            let entry = json!({"type": "http", "url": url, "headersHelper": helper});
            (name.clone(), entry)
        })
        .collect();
    notes.say("managed-mcp.json lies beside managed-settings.json; where it is, Claude Code loads its servers and no others");
    let mut out = Object::new();
    out.insert("mcpServers".to_owned(), servers.into());
    Ok(out)
}

/// The command line. On Windows a quoted path fails, so the bare name is found along the machine's PATH.
fn command(plan: &HostPlan, rest: &[&str]) -> Result<String, Error> {
    let program = match (plan.target, &plan.program) {
        (Target::Windows, None) => "gatepass".to_owned(),
        (Target::Windows, Some(path)) if path.contains(['/', '\\', ' ', '"']) => {
            return Err(Error::usage(
                "Claude Code on Windows cannot run a helper by its path",
                "leave --helper-path out: gatepass is found along the machine's PATH",
            ));
        }
        (Target::Windows, Some(name)) => name.clone(),
        _ => shell_word(plan.program()),
    };
    let arguments = [&["token", "--caller", "claude-code"], rest].concat();
    Ok(format!(
        "{program} {}",
        plan.arguments(&arguments).join(" ")
    ))
}

/// One word of a shell's command line.
pub fn shell_word(text: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"/._-+@%".contains(&b);
    if text.bytes().all(plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

/// The first model is the usual one; a family's name also fills the family's place.
fn models(plan: &HostPlan, env: &mut Object) {
    const FAMILIES: [(&str, &str); 3] = [
        ("opus", "ANTHROPIC_DEFAULT_OPUS_MODEL"),
        ("sonnet", "ANTHROPIC_DEFAULT_SONNET_MODEL"),
        ("haiku", "ANTHROPIC_DEFAULT_HAIKU_MODEL"),
    ];
    if let Some(first) = plan.models.first() {
        env.insert("ANTHROPIC_MODEL".to_owned(), first.as_str().into());
    }
    for (family, variable) in FAMILIES {
        let of_family = |model: &&String| model.to_ascii_lowercase().contains(family);
        if let Some(model) = plan.models.iter().find(of_family) {
            env.insert(variable.to_owned(), model.as_str().into());
        }
    }
}
