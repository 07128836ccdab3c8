//! Claude Code's settings, as far as they decide about the credential.

use serde_json::Value;

use crate::address::check_base;
use crate::lint::{
    ANOTHER_HOST, Context, HostSettings, LintReport, Severity, another_host, is_ours,
    is_placeholder, kept_too_long, program,
};
use crate::secrets::looks_secret;
use crate::value::Members;
use crate::value::{Object, kind};

use Severity::{Error, Warning};

pub(super) fn check(settings: &HostSettings, context: &Context, report: &mut LintReport) {
    let mut add = |severity, key: &str, what: &str, remedy: &str| {
        let key = format!("{}{key}", settings.prefix);
        report.add(severity, key, None, what, remedy);
    };
    if let Some(Value::Object(servers)) = settings.structure("mcpServers") {
        mcp(&servers, context, &mut add);
        // managed-mcp.json and .mcp.json hold nothing else.
        if settings.values.len() == 1 {
            return;
        }
    }
    match settings.get("apiKeyHelper") {
        Some(Value::String(command)) => helper(command, settings, context, &mut add),
        Some(other) => add(
            Error,
            "apiKeyHelper",
            &format!("is {}, not a command", kind(other)),
            "\"/usr/bin/gatepass token --caller claude-code\"",
        ),
        None => add(
            Warning,
            "apiKeyHelper",
            "is missing: gatepass is not asked for a token",
            "gatepass export claude-code writes it",
        ),
    }
    for name in [
        "forceLoginMethod",
        "forceLoginGatewayUrl",
        "forceLoginOrgUUID",
    ] {
        if settings.get(name).is_some() {
            add(
                Error,
                name,
                "forces a sign-in where it stands in managed settings: Claude Code ends with a message and never runs apiKeyHelper (2.1.197; in a user's own settings that version passes it over)",
                "remove forceLoginMethod, forceLoginGatewayUrl and forceLoginOrgUUID",
            );
        }
    }
    if let Some(command) = settings.text("otelHeadersHelper") {
        prints_headers("otelHeadersHelper", command, &mut add);
    }
    let empty = Object::new();
    let env = match settings.structure("env") {
        Some(Value::Object(env)) => env,
        Some(_) => {
            add(Error, "env", "is no object", "{\"NAME\":\"value\"}");
            empty
        }
        None => empty,
    };
    environment(&env, settings, context, &mut add);
    if settings.text("otelHeadersHelper").is_some_and(is_ours) {
        let gateway = env.text("ANTHROPIC_BASE_URL");
        let gateway = gateway.or(context.gateway_url.as_deref());
        for (name, value) in &env {
            let is_endpoint = name.starts_with("OTEL_EXPORTER_OTLP_") && name.ends_with("ENDPOINT");
            if let Some(url) = value.as_str().filter(|_| is_endpoint)
                && let Some((severity, what)) = another_host(url, gateway, context)
            {
                add(severity, &format!("env.{name}"), &what, ANOTHER_HOST);
            }
        }
    }
}

/// MCP servers, as managed-mcp.json and .mcp.json have them.
fn mcp(servers: &Object, context: &Context, add: &mut impl FnMut(Severity, &str, &str, &str)) {
    for (name, server) in servers {
        let key = format!("mcpServers.{name}");
        let url = server.get("url").and_then(Value::as_str);
        if let Some(command) = server.get("headersHelper").and_then(Value::as_str)
            && is_ours(command)
        {
            prints_headers(&key, command, add);
            if let Some((severity, what)) =
                url.and_then(|url| another_host(url, context.gateway_url.as_deref(), context))
            {
                add(severity, &key, &what, ANOTHER_HOST);
            }
        }
        let headers = server.get("headers").and_then(Value::as_object);
        for (header, value) in headers.into_iter().flatten() {
            if looks_secret(header, value.as_str().unwrap_or_default()) {
                add(
                    Error,
                    &key,
                    &format!("{header} looks like a credential, and this file is not secret"),
                    "use headersHelper",
                );
            }
        }
    }
}

/// A helper for headers must print them, and not a bare token.
fn prints_headers(key: &str, command: &str, add: &mut impl FnMut(Severity, &str, &str, &str)) {
    let says = command.contains("--output headers") || command.contains("--output=headers");
    if is_ours(command) && !says && !command.contains(crate::HEADERS_LINK) {
        add(
            Error,
            key,
            "runs gatepass without --output headers, and gets a bare token in their place",
            "gatepass token --caller claude-code --output headers",
        );
    }
}

fn helper(
    command: &str,
    settings: &HostSettings,
    context: &Context,
    add: &mut impl FnMut(Severity, &str, &str, &str),
) {
    const KEY: &str = "apiKeyHelper";
    if command.trim().is_empty() || is_placeholder(command) {
        add(
            Error,
            KEY,
            "holds no command",
            "\"/usr/bin/gatepass token --caller claude-code\"",
        );
        return;
    }
    if by_login_shell(command) {
        add(
            Warning,
            KEY,
            "is run by a login or interactive shell: if its start-up files print a line, Claude Code takes the answer for a failure (from 2.1.227)",
            "run gatepass by itself, or by sh -c",
        );
    }
    let first = first_word(command);
    let bare = !first.contains(['/', '\\']);
    let ours = first
        .rsplit(['/', '\\'])
        .next()
        .is_some_and(|name| name.starts_with("gatepass"));
    if !bare && !first.starts_with('~') && !first.contains('$') {
        if let Err((what, remedy)) = program(&first, settings.target, context) {
            add(Error, KEY, &what, &remedy);
        }
    } else if bare
        && ours
        && settings
            .target
            .is_some_and(|target| target != crate::Target::Windows)
    {
        add(
            Warning,
            KEY,
            "gatepass is looked for along the PATH, where another program may come first",
            "give its absolute path",
        );
    }
    if ours && !command.contains("--caller claude-code") {
        add(
            Error,
            KEY,
            "runs gatepass without --caller claude-code, so in a terminal it may open a sign-in for every request",
            "gatepass token --caller claude-code",
        );
    }
}

/// Whether a command is run by a shell that reads the user's start-up files, which may print anything.
fn by_login_shell(command: &str) -> bool {
    const SHELLS: [&str; 6] = ["sh", "bash", "dash", "fish", "ksh", "zsh"];
    let mut words = command.split_whitespace();
    let shell = words.next().and_then(|word| word.rsplit('/').next());
    shell.is_some_and(|name| SHELLS.contains(&name))
        && words
            .take_while(|word| word.starts_with('-'))
            .any(|option| match option.strip_prefix("--") {
                Some(long) => matches!(long, "login" | "interactive"),
                None => option.contains(['l', 'i']),
            })
}

/// The first word of a command line, without its quotes.
fn first_word(command: &str) -> String {
    let command = command.trim_start();
    match command.chars().next() {
        Some(quote @ ('\'' | '"')) => command[1..]
            .split(quote)
            .next()
            .unwrap_or_default()
            .to_owned(),
        _ => command
            .split_whitespace()
            .next()
            .unwrap_or_default()
            .to_owned(),
    }
}

fn environment(
    env: &Object,
    settings: &HostSettings,
    context: &Context,
    add: &mut impl FnMut(Severity, &str, &str, &str),
) {
    let helper = settings.get("apiKeyHelper").is_some();
    for (name, value) in env {
        let key = format!("env.{name}");
        let Value::String(value) = value else {
            add(
                Error,
                &key,
                &format!("is {}, not a string", kind(value)),
                "write the value in quotes",
            );
            continue;
        };
        match name.as_str() {
            "ANTHROPIC_AUTH_TOKEN" | "ANTHROPIC_API_KEY" if helper => add(
                Error,
                &key,
                "comes before the helper, which is never asked then",
                "remove it",
            ),
            "ANTHROPIC_AUTH_TOKEN" | "ANTHROPIC_API_KEY" => add(
                Warning,
                &key,
                "a key lies in this file in the clear",
                "gatepass export claude-code writes a helper in its place",
            ),
            "ANTHROPIC_BASE_URL" => {
                if let Err((what, remedy)) = check_base(value) {
                    add(Error, &key, what, remedy);
                }
            }
            "CLAUDE_CODE_API_KEY_HELPER_TTL_MS" => ttl(&key, value, context, add),
            "ANTHROPIC_CUSTOM_HEADERS" => {
                for line in value.lines() {
                    match line.split_once(':') {
                        Some((name, value)) if looks_secret(name, value.trim()) => add(
                            Error,
                            &key,
                            &format!("{name} looks like a credential, and this file is not secret"),
                            "remove it; Claude Code cannot carry secret headers from gatepass",
                        ),
                        Some(_) => (),
                        None => add(
                            Error,
                            &key,
                            "has a line that is no header",
                            "Name: value, one on each line",
                        ),
                    }
                }
            }
            _ if is_placeholder(value) && name.starts_with("ANTHROPIC_") => add(
                Error,
                &key,
                "holds a placeholder that was meant to be replaced",
                "write the real value, or remove it",
            ),
            _ => (),
        }
    }
    if helper && !env.contains_key("ANTHROPIC_BASE_URL") {
        add(
            Warning,
            "env.ANTHROPIC_BASE_URL",
            "is missing: the token is sent to Anthropic's own service",
            "the gateway's address, without /v1",
        );
    }
}

fn ttl(
    key: &str,
    value: &str,
    context: &Context,
    add: &mut impl FnMut(Severity, &str, &str, &str),
) {
    match value.parse::<u64>() {
        Err(_) => add(Error, key, "is no number of milliseconds", "300000"),
        Ok(milliseconds) => {
            if let Some((severity, what, right)) = kept_too_long(milliseconds / 1000, context) {
                let remedy = format!("set it to {} or less", right * 1000);
                add(severity, key, &what, &remedy);
            }
        }
    }
}
