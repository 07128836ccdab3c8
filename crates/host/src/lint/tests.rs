use super::{Context, Finding, Severity};

fn check(bytes: &[u8], context: &Context) -> Vec<Finding> {
    super::check(bytes, context).findings
}

fn is_fine(findings: &[Finding]) -> bool {
    let warning = |finding: &Finding| finding.severity == Severity::Warning;
    findings.iter().all(warning)
}


/// A profile as `gatepass export` writes it, with one member changed.
fn profile(change: &str) -> String {
    let mut members = vec![
        ("inferenceProvider", "\"gateway\""),
        ("inferenceGatewayBaseUrl", "\"https://gateway.example\""),
        ("inferenceGatewayAuthScheme", "\"bearer\""),
        ("inferenceCredentialKind", "\"helper-script\""),
        ("inferenceCredentialHelper", "\"/usr/bin/gatepass\""),
        ("inferenceCredentialHelperTtlSec", "300"),
        ("inferenceCredentialHelperTimeoutSec", "60"),
        ("inferenceModels", "[\"claude-haiku-4-5\"]"),
    ];
    if let Some(name) = change.strip_prefix('-') {
        members.retain(|(known, _)| *known != name);
    } else if let Some((name, value)) = change.split_once('=') {
        match members.iter_mut().find(|(known, _)| *known == name) {
            Some(member) => member.1 = value,
            None => members.push((name, value)),
        }
    }
    let members: Vec<String> = members
        .iter()
        .map(|(name, value)| format!("\"{name}\": {value}"))
        .collect();
    format!("{{{}}}", members.join(",\n"))
}

fn context() -> Context {
    Context {
        token_lifetime: Some(3600),
        min_validity: Some(420),
        interactive_timeout: Some(55),
        ..Context::default()
    }
}

fn found(source: impl AsRef<[u8]>) -> Vec<Finding> {
    check(source.as_ref(), &context())
}

#[test]
fn a_good_profile_has_nothing_to_be_found() {
    assert_eq!(found(profile("")), []);
}

#[test]
fn each_mistake_in_a_profile_is_named_with_its_key() {
    use Severity::{Error, Warning};
    let cases = [
        ("-inferenceProvider", Error, "inferenceProvider", "is missing"),
        ("-inferenceCredentialKind", Warning, "inferenceCredentialKind", "guesses"),
        ("-inferenceCredentialHelper", Error, "inferenceCredentialHelper", "is missing"),
        ("-inferenceGatewayBaseUrl", Error, "inferenceGatewayBaseUrl", "is missing"),
        ("-inferenceCredentialHelperTtlSec", Warning, "inferenceCredentialHelperTtlSec", "is missing"),
        ("inferenceProvider=\"gatway\"", Error, "inferenceProvider", "knows no"),
        ("inferenceGatewayApiKey=\"placeholder\"", Error, "inferenceGatewayApiKey", "placeholder"),
        ("inferenceGatewayApiKey=\"sk-real\"", Error, "inferenceGatewayApiKey", "beside a credential helper"),
        ("inferenceCredentialKind=\"static\"", Error, "inferenceCredentialKind", "never run"),
        ("inferenceCredentialKind=\"oauth\"", Error, "inferenceCredentialKind", "no longer read"),
        ("inferenceGatewayAuthScheme=\"sso\"", Error, "inferenceGatewayAuthScheme", "no longer read"),
        ("inferenceGatewayAuthScheme=\"auto\"", Error, "inferenceGatewayAuthScheme", "no longer read"),
        ("inferenceIdpOidc={\"clientId\":\"a\"}", Warning, "inferenceIdpOidc", "unused"),
        ("inferenceGatewayOidc={\"clientId\":\"a\"}", Warning, "inferenceGatewayOidc", "deprecated"),
        ("inferenceGatewayHeaders={}", Error, "inferenceGatewayHeaders", "no longer read"),
        ("inferenceGatewayOidc.clientId=\"a\"", Error, "inferenceGatewayOidc.clientId", "dot"),
        ("inferenceCredentialHelperTtlSec=120", Error, "inferenceCredentialHelperTtlSec", "120 or less"),
        ("inferenceCredentialHelperTtlSec=7200", Error, "inferenceCredentialHelperTtlSec", "live 3600"),
        ("inferenceCredentialHelperTtlSec=400", Warning, "inferenceCredentialHelperTtlSec", "420 seconds left"),
        ("inferenceCredentialHelperTtlSec=\"five\"", Error, "inferenceCredentialHelperTtlSec", "whole number"),
        ("inferenceCredentialHelperTimeoutSec=0", Error, "inferenceCredentialHelperTimeoutSec", "is 0"),
        ("inferenceCredentialHelperTimeoutSec=601", Error, "inferenceCredentialHelperTimeoutSec", "is 601"),
        ("inferenceCredentialHelperTimeoutSec=20", Warning, "inferenceCredentialHelperTimeoutSec", "waits up to 55"),
        ("inferenceCredentialHelper=\"gatepass\"", Error, "inferenceCredentialHelper", "absolute"),
        ("inferenceCredentialHelper=\"~/bin/gatepass\"", Error, "inferenceCredentialHelper", "absolute"),
        ("inferenceCredentialHelper=\"//server/gatepass\"", Error, "inferenceCredentialHelper", "absolute"),
        ("inferenceCredentialHelper=\"/usr/bin/gatepass token\"", Error, "inferenceCredentialHelper", "arguments"),
        ("inferenceCredentialHelperArgs=\"--profile a\"", Error, "inferenceCredentialHelperArgs", "no list"),
        ("inferenceGatewayBaseUrl=\"https://gateway.example/v1\"", Error, "inferenceGatewayBaseUrl", "/v1"),
        ("inferenceGatewayBaseUrl=\"https://gateway.example/v1/\"", Error, "inferenceGatewayBaseUrl", "/v1"),
        ("inferenceGatewayBaseUrl=\"http://gateway.example\"", Error, "inferenceGatewayBaseUrl", "https"),
        ("inferenceCustomHeaders={\"X-Key\":\"sk-123\"}", Error, "inferenceCustomHeaders", "credential"),
        ("inferenceCustomHeaders={\"Authorization\":\"x\"}", Error, "inferenceCustomHeaders", "credential"),
        ("inferenceCustomHeaders=\"X-A=b\"", Error, "inferenceCustomHeaders", "no JSON object"),
        ("inferenceCustomHeaders={\"X A\":\"b\"}", Error, "inferenceCustomHeaders", "name of a header"),
        ("inferenceModels=[\"claude-opus-4\"]", Warning, "inferenceModels", "no Haiku"),
        ("inferenceCredentialHelprTtlSec=300", Error, "inferenceCredentialHelprTtlSec", "is no key"),
        ("inferenceSomethingQuiteNew=1", Warning, "inferenceSomethingQuiteNew", "may know it"),
        ("disableautoupdates=true", Error, "disableautoupdates", "is no key"),
        ("managedMcpServers=[{\"name\":\"a\",\"url\":\"https://m\"}]", Error, "managedMcpServers", "no transport"),
        ("managedMcpServers=[{\"name\":\"a\",\"transport\":\"http\",\"url\":\"https://m\",\"headersHelper\":\"/usr/bin/gatepass\"}]", Error, "managedMcpServers", "bare token"),
    ];
    for (change, severity, key, what) in cases {
        let found = found(profile(change));
        assert!(
            found.iter().any(|finding| finding.severity == severity
                && finding.key == key
                && (finding.what.contains(what) || finding.remedy.contains(what))),
            "{change}: {found:?}"
        );
        assert!(found.iter().all(|finding| !finding.remedy.is_empty()));
    }
}

#[test]
fn further_host_keys_are_left_alone() {
    for change in [
        "coworkEgressAllowedHosts=[\"*\"]",
        "inferenceCustomHeaders={\"X-Archestra-Agent-Id\":\"claude-desktop\"}",
        "managedMcpServers=[{\"name\":\"a\",\"transport\":\"http\",\"url\":\"https://gateway.example/mcp\",\"headersHelper\":\"/usr/bin/gatepass.headers\"}]",
        "aKeyOfTheNextRelease=true",
    ] {
        assert_eq!(found(profile(change)), [], "{change}");
    }
}

#[test]
fn every_problem_is_found_at_once() {
    let found = found(r#"{"inferenceGatewayBaseUrl":"http://a/v1","inferenceCredentialHelperTtlSec":"x"}"#);
    assert!(found.len() >= 3, "{found:?}");
    assert!(!is_fine(&found));
}

#[test]
fn a_file_for_another_system_is_not_looked_for_on_this_one() {
    let context = Context {
        look_for_programs: true,
        ..context()
    };
    let windows = profile(r#"inferenceCredentialHelper="C:\\Program Files\\Gatepass\\gatepass.exe""#);
    assert_eq!(check(windows.as_bytes(), &context), []);
    let missing = profile("inferenceCredentialHelper=\"/nowhere/gatepass\"");
    let found = check(missing.as_bytes(), &context);
    assert_eq!(found[0].what, "there is no program /nowhere/gatepass on this system");
}

#[test]
fn profiles_hold_strings() {
    let source = |value: &str| {
        format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?><plist version=\"1.0\"><dict>\
             <key>PayloadType</key><string>Configuration</string>\
             <key>PayloadIdentifier</key><string>a</string><key>PayloadUUID</key><string>b</string>\
             <key>PayloadContent</key><array><dict>\
             <key>PayloadType</key><string>com.anthropic.claudefordesktop</string>\
             <key>inferenceProvider</key><string>gateway</string>\
             <key>inferenceGatewayBaseUrl</key><string>https://gateway.example</string>\
             <key>inferenceCredentialKind</key><string>helper-script</string>\
             <key>inferenceCredentialHelper</key><string>/usr/local/bin/gatepass</string>\
             <key>inferenceCredentialHelperTtlSec</key>{value}\
             </dict><dict><key>PayloadType</key><string>io.gatepass.helper</string>\
             <key>minValidity</key><integer>420</integer><key>clientld</key><string>x</string>\
             </dict></array></dict></plist>"
        )
    };
    let found_keys = |value: &str| -> Vec<String> {
        found(source(value))
            .into_iter()
            .map(|finding| finding.to_string())
            .collect()
    };
    let own = super::check(source("<string>300</string>").as_bytes(), &context()).policies;
    assert_eq!(own, [serde_json::json!({"minValidity": 420, "clientld": "x"}).as_object().unwrap().clone()]);
    assert_eq!(found_keys("<string>300</string>"), Vec::<String>::new());
    assert_eq!(
        found_keys("<integer>300</integer>"),
        [
            "error: inferenceCredentialHelperTtlSec: is a number; in a profile every value is a string (write <string>…</string>)",
        ]
    );
    assert!(!is_fine(&found("<plist><dict>")));
    assert!(!is_fine(&found(b"bplist00nonsense")));
}

#[test]
fn registration_files_are_judged_line_by_line() {
    let text = "Windows Registry Editor Version 5.00\r\n\r\n\
        [HKEY_LOCAL_MACHINE\\SOFTWARE\\Policies\\Claude]\r\n\
        \"inferenceProvider\"=\"gateway\"\r\n\
        \"inferenceGatewayBaseUrl\"=\"https://gateway.example\"\r\n\
        \"inferenceCredentialKind\"=\"helper-script\"\r\n\
        \"inferenceCredentialHelper\"=\"C:\\\\Program Files\\\\Gatepass\\\\gatepass.exe\"\r\n\
        \"inferenceCredentialHelperTtlSec\"=dword:0000012c\r\n\
        \"inferenceGatewayAuthScheme\"=dword:00000001\r\n\
        \"inferenceModels\"=hex(7):61,00,00,00\r\n\
        \"inferenceCredentialHelperTimeoutSec\"=hex(b):3c,00,00,00,00,00,00,00\r\n\
        \r\n[HKEY_LOCAL_MACHINE\\SOFTWARE\\Policies\\Claude\\Sub]\r\n\"a\"=\"b\"\r\n\
        [HKEY_LOCAL_MACHINE\\SOFTWARE\\Policies\\Gatepass]\r\n\"clientId\"=\"x\"\r\n\"isuer\"=\"y\"\r\n";
    let lines = |bytes: &[u8]| -> Vec<(Option<usize>, String)> {
        found(bytes)
            .into_iter()
            .map(|finding| (finding.line, finding.key))
            .collect()
    };
    let expected = [
        (Some(9), "inferenceGatewayAuthScheme".to_owned()),
        (Some(10), "inferenceModels".to_owned()),
        (Some(11), "inferenceCredentialHelperTimeoutSec".to_owned()),
        (Some(13), r"HKEY_LOCAL_MACHINE\SOFTWARE\Policies\Claude\Sub".to_owned()),
    ];
    assert_eq!(lines(text.as_bytes()), expected);
    let mut wide = vec![0xFF, 0xFE];
    wide.extend(text.encode_utf16().flat_map(u16::to_le_bytes));
    assert_eq!(lines(&wide), expected);
}

#[test]
fn claude_code_asks_gatepass_and_nobody_before_it() {
    let cases = [
        (r#"{"apiKeyHelper":"/usr/bin/gatepass token --caller claude-code","env":{"ANTHROPIC_BASE_URL":"https://g"}}"#, ""),
        (r#"{"apiKeyHelper":"/usr/bin/gatepass","env":{"ANTHROPIC_BASE_URL":"https://g"}}"#, "--caller claude-code"),
        (r#"{"apiKeyHelper":"/x","env":{"ANTHROPIC_BASE_URL":"https://g/v1"}}"#, "/v1"),
        (r#"{"apiKeyHelper":"/x","env":{"ANTHROPIC_BASE_URL":"https://g","ANTHROPIC_API_KEY":"k"}}"#, "before the helper"),
        (r#"{"apiKeyHelper":"/x","env":{"ANTHROPIC_BASE_URL":"https://g","CLAUDE_CODE_API_KEY_HELPER_TTL_MS":"4000000"}}"#, "live 3600"),
        (r#"{"apiKeyHelper":"/x","env":{"ANTHROPIC_BASE_URL":"https://g","CLAUDE_CODE_API_KEY_HELPER_TTL_MS":300000}}"#, "not a string"),
        (r#"{"apiKeyHelper":"/x","forceLoginMethod":"gateway","env":{"ANTHROPIC_BASE_URL":"https://g"}}"#, "never runs apiKeyHelper"),
        (r#"{"apiKeyHelper":"/x","forceLoginMethod":"claudeai","env":{"ANTHROPIC_BASE_URL":"https://g"}}"#, "never runs apiKeyHelper"),
        (r#"{"apiKeyHelper":"/x","forceLoginOrgUUID":"0","env":{"ANTHROPIC_BASE_URL":"https://g"}}"#, "never runs apiKeyHelper"),
        (r#"{"apiKeyHelper":"/x","otelHeadersHelper":"/usr/bin/gatepass token","env":{"ANTHROPIC_BASE_URL":"https://g"}}"#, "--output headers"),
        (r#"{"apiKeyHelper":"/bin/sh -c 'gatepass token --caller claude-code'","env":{"ANTHROPIC_BASE_URL":"https://g"}}"#, ""),
        (r#"{"mcpServers":{"a":{"url":"https://g/mcp","headersHelper":"/usr/bin/gatepass token --output headers"}}}"#, ""),
        (r#"{"mcpServers":{"a":{"url":"https://g/mcp","headersHelper":"/usr/bin/gatepass token"}}}"#, "--output headers"),
        (r#"{"mcpServers":{"a":{"url":"https://g/mcp","headers":{"Authorization":"Bearer x"}}}}"#, "credential"),
    ];
    for (source, what) in cases {
        let found = found(source);
        if what.is_empty() {
            assert_eq!(found, [], "{source}");
        } else {
            assert!(found.iter().any(|finding| finding.what.contains(what)), "{source}: {found:?}");
            assert!(!is_fine(&found));
        }
    }
}

#[test]
fn a_shell_that_may_print_a_banner_is_remarked() {
    for (command, remarked) in [
        ("bash -lc 'gatepass token --caller claude-code'", true),
        ("/bin/zsh -i -c 'gatepass token --caller claude-code'", true),
        ("bash --login -c 'gatepass token --caller claude-code'", true),
        ("/bin/sh -c 'gatepass token --caller claude-code --interactive never'", false),
        ("/usr/bin/gatepass token --caller claude-code --interactive never", false),
    ] {
        let file = serde_json::json!({"apiKeyHelper": command, "env": {"ANTHROPIC_BASE_URL": "https://g"}});
        let found = found(file.to_string());
        assert_eq!(found.iter().any(|finding| finding.what.contains("2.1.227")), remarked, "{command}: {found:?}");
        assert!(is_fine(&found), "{command}: {found:?}");
    }
}

#[test]
fn codex_gets_one_token_in_time() {
    let good = "model_provider = \"g\"\n[model_providers.g]\nbase_url = \"https://g/v1\"\nwire_api = \"responses\"\n\
        [model_providers.g.auth]\ncommand = \"/usr/bin/gatepass\"\nargs = [\"token\", \"--caller\", \"codex\"]\n";
    assert_eq!(found(good), []);
    for (from, to, what) in [
        ("\"--caller\", \"codex\"", "\"-v\"", "who is calling"),
        ("/usr/bin/gatepass", "gatepass", "absolute"),
        ("\"responses\"", "\"chat\"", "responses"),
        ("wire_api", "env_key = \"X\"\nwire_api", "contradicts"),
        ("command", "refresh_interval_ms = 7200000\ncommand", "live 3600"),
        ("https://g/v1", "ftp://g", "https"),
        ("\"codex\"]", "\"codex\", \"--timeout\", \"25\"]\ntimeout_ms = 0", "above zero"),
    ] {
        let found = found(good.replacen(from, to, 1));
        assert!(found.iter().any(|finding| finding.what.contains(what)), "{to}: {found:?}");
        assert!(!is_fine(&found), "{to}");
    }
}

#[test]
fn strangers_are_refused_and_nothing_panics() {
    for source in [
        &b""[..], b"{}", b"[]", b"null", b"\xff\xfe", b"\xff", b"a = 1", b"<html>", b"{\"entries\":[],\"appliedId\":\"x\"}",
        b"Windows Registry Editor Version 5.00\n", b"Windows Registry Editor Version 5.00\n\"a\"=\"b\"\n", b"\x30\x82\x00",
    ] {
        let found = found(source);
        assert!(!is_fine(&found), "{source:?}: {found:?}");
    }
}

#[test]
fn codex_waits_as_long_as_gatepass_is_told_to_take() {
    let with = |more: &str| {
        let file = format!("model_provider = \"g\"\n[model_providers.g]\nbase_url = \"https://g/v1\"\n\
            [model_providers.g.auth]\ncommand = \"/usr/bin/gatepass\"\n{more}\n");
        found(file).into_iter().map(|finding| finding.to_string()).collect::<Vec<_>>()
    };
    let told = "args = [\"token\", \"--caller\", \"codex\", \"--timeout\", \"25\"]";
    assert_eq!(with(&format!("{told}\ntimeout_ms = 30000")), Vec::<String>::new());
    for (more, what) in [("", "is missing, so Codex waits 5 seconds"), ("timeout_ms = 5000", "takes up to 25 seconds")] {
        let found = with(&format!("{told}\n{more}"));
        assert!(found.len() == 1 && found[0].contains(what), "{found:?}");
    }
}

#[test]
fn enforced_requirements_are_looked_into() {
    use base64::Engine as _;
    let preference = |text: &str| {
        let text = base64::prelude::BASE64_STANDARD.encode(text);
        found(format!("<plist version=\"1.0\"><dict><key>requirements_toml_base64</key><string>{text}</string></dict></plist>"))
    };
    let good = "model_provider = \"g\"\n[model_providers.g]\nbase_url = \"https://g/v1\"\n\
        [model_providers.g.auth]\ncommand = \"/usr/local/bin/gatepass\"\nargs = [\"token\", \"--caller\", \"codex\"]\n";
    assert_eq!(preference(good), []);
    for (text, what) in [
        (good.replace("--caller", "-v"), "who is calling"),
        ("a = ".to_owned(), "no valid TOML"),
        ("a = 1".to_owned(), "no model provider"),
    ] {
        let found = preference(&text);
        assert!(found.iter().any(|finding| finding.what.contains(what)), "{found:?}");
    }
    let found = found("<plist version=\"1.0\"><dict><key>requirements_toml_base64</key><string>?</string></dict></plist>");
    assert!(found[0].what.contains("no Base64"), "{found:?}");
}

#[test]
fn a_token_for_another_host_than_the_gateways_is_remarked() {
    let context = Context { gateway_url: Some("https://gateway.example".to_owned()), ..context() };
    let desktop = |url: &str| profile(&format!(
        "managedMcpServers=[{{\"name\":\"a\",\"transport\":\"http\",\"url\":\"{url}\",\"headersHelper\":\"/usr/bin/gatepass.headers\"}}]"
    ));
    let code = |url: &str| format!(
        "{{\"mcpServers\":{{\"a\":{{\"url\":\"{url}\",\"headersHelper\":\"/usr/bin/gatepass token --output headers\"}}}}}}"
    );
    let desktop_otlp = |url: &str| profile(&format!("otlpEndpoint=\"{url}\",\"otlpHeadersHelper\":\"/usr/bin/gatepass.headers\""));
    let code_otlp = |url: &str| format!(
        "{{\"otelHeadersHelper\":\"/usr/bin/gatepass token --caller claude-code --output headers\",\"env\":{{\"ANTHROPIC_BASE_URL\":\"https://gateway.example\",\"OTEL_EXPORTER_OTLP_LOGS_ENDPOINT\":\"{url}\"}}}}"
    );
    for (file, remarked) in [
        (desktop_otlp("https://gateway.example/otlp"), false),
        (desktop_otlp("https://otel.example"), true),
        (code_otlp("https://gateway.example/otlp"), false),
        (code_otlp("https://otel.example"), true),
        (desktop("https://gateway.example/mcp"), false),
        (desktop("https://mcp.example"), true),
        (code("https://gateway.example/mcp"), false),
        (code("https://mcp.example"), true),
        (code("https://mcp.example").replace("/usr/bin/gatepass", "/usr/bin/other"), false),
    ] {
        let found = check(file.as_bytes(), &context);
        let said = found.iter().any(|finding| finding.what.contains("another host"));
        assert_eq!(said, remarked, "{file}: {found:?}");
        assert!(is_fine(&found), "{found:?}");
        // What `export` writes has been asked for, host by host.
        for (receivers, fine) in [(&[][..], !remarked), (&["mcp.example", "OTEL.example"], true)] {
            let receivers = receivers.iter().map(|host| (*host).to_owned()).collect();
            let context = Context { receivers: Some(receivers), ..context.clone() };
            assert_eq!(is_fine(&check(file.as_bytes(), &context)), fine, "{file}");
        }
    }
}
