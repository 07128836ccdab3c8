//! The registry: policy in it is law, exports reach it by Windows' own tools, and what those tools write is read.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use crate::{
    HOST_POLICY, POLICY, Settings, Windows, anywhere, drive_c, gatepass, gatepass_exe, program,
    reg, run, scratch,
};

#[test]
#[ignore = "needs Wine: cargo xtask test --windows"]
fn what_the_registry_says_is_law() {
    let windows = Windows::new(Settings::default());
    let set = |key: &str, name: &str, kind: &str, value: &str| {
        reg(&["add", key, "/v", name, "/t", kind, "/d", value, "/f"]).expect(0);
    };
    set(POLICY, "clientId", "REG_SZ", "from-policy");
    set(POLICY, "minValidity", "REG_DWORD", "300");
    set(POLICY, "notify", "REG_DWORD", "0");
    set(POLICY, "scopes", "REG_SZ", r#"["openid","offline_access"]"#);
    set(
        &format!(r"{POLICY}\Profiles\work"),
        "audience",
        "REG_SZ",
        "work-api",
    );
    set(
        &format!(r"{POLICY}\Defaults"),
        "loginHint",
        "REG_SZ",
        "someone",
    );
    let shown = run(gatepass(&["config", "show"])).expect(0).stdout;
    for expected in ["from-policy", "300", "someone"] {
        assert!(shown.contains(expected), "{expected} in:\n{shown}");
    }
    let work = run(gatepass(&["--profile", "work", "config", "show"]));
    assert!(
        work.stdout.contains("work-api") || work.code == Some(3),
        "{}",
        work.stderr
    );
    // What cannot be understood is not skipped.
    for (name, kind, value) in [
        ("mnValidity", "REG_DWORD", "1"),
        ("minValidity", "REG_SZ", "soon"),
        ("proxy", "REG_EXPAND_SZ", "%PROXY%"),
    ] {
        set(POLICY, name, kind, value);
        let refused = run(Windows::host("background")).expect(3);
        assert!(
            refused.stderr.contains(r"HKLM\SOFTWARE\Policies\Gatepass"),
            "{}",
            refused.stderr
        );
        reg(&["delete", POLICY, "/v", name, "/f"]).expect(0);
    }
    reg(&["delete", POLICY, "/f"]).expect(0);
    drop(windows);
}

#[test]
#[ignore = "needs Wine: cargo xtask test --windows"]
fn an_exported_registration_file_is_a_policy() {
    let windows = Windows::new(Settings::default());
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/windows/example.reg");
    fs::copy(file, drive_c().join("example.reg")).unwrap();
    reg(&["import", r"C:\example.reg"]).expect(0);
    let shown = run(gatepass(&["config", "show"])).expect(0).stdout;
    for expected in [
        "issuer = \"https://idp.example.com\"  # policy (locked)",
        "support_text = \"ask #it-help\"  # policy (locked)",
        "interactive_timeout = 295  # policy (locked)",
        "min_validity = 420  # policy (locked)",
    ] {
        assert!(shown.contains(expected), "{expected} in:\n{shown}");
    }
    let claude = reg(&["query", HOST_POLICY]).expect(0).stdout;
    for expected in [
        r"C:\Program Files\Gatepass\gatepass.exe",
        r#"["claude-sonnet-4-5","claude-haiku-4-5"]"#,
    ] {
        assert!(claude.contains(expected), "{expected} in:\n{claude}");
    }
    for key in [POLICY, HOST_POLICY] {
        reg(&["delete", key, "/f"]).expect(0);
    }
    drop(windows);
}

/// The lines of a registration file that say something.
fn lines(file: &Path) -> BTreeSet<String> {
    let bytes = fs::read(file).unwrap();
    let units: Vec<u16> = bytes
        .chunks_exact(2)
        .map(|pair| u16::from_le_bytes([pair[0], pair[1]]))
        .collect();
    let text = String::from_utf16(&units).unwrap();
    text.lines()
        .map(str::trim_end)
        .filter(|line| line.starts_with(['[', '"']))
        .map(str::to_owned)
        .collect()
}

#[test]
#[ignore = "needs Wine: cargo xtask test --windows"]
fn an_export_is_in_force_once_it_is_imported() {
    let windows = Windows::new(Settings::default());
    windows.configure(
        "gateway_url = \"https://gateway.example\"\nmin_validity = 77\nnotify = false\n\
         display_name = 'Zoë & \"Söhne\" 東京 C:\\dir\\'\nresource = [\"https://a.example/\"]\n\
         headers = { X-Route = \"{\\\"user\\\":\\\"{email}\\\"}\" }\n",
    );
    let (folder, there) = scratch();
    let (export, back) = (format!(r"{there}\export.reg"), format!(r"{there}\back.reg"));
    let helper = format!(r"{there}\gatepass.exe");
    fs::hard_link(gatepass_exe(), folder.join("gatepass.exe")).unwrap();
    run(gatepass(&[
        "export",
        "claude-desktop",
        "--format",
        "reg",
        "--with-policy",
        "--helper-path",
        &helper,
        "--model",
        "claude-sonnet-4-5",
        "--output",
        &export,
    ]))
    .expect(0);
    // Both of Windows' tools take it.
    reg(&["import", &export]).expect(0);
    run(program("regedit", &["/S", &export])).expect(0);

    // The registry has exactly what the file says, names and types included.
    let written = lines(&folder.join("export.reg"));
    for key in [POLICY, HOST_POLICY] {
        reg(&["export", key, &back, "/y"]).expect(0);
        let exported = lines(&folder.join("back.reg"));
        assert!(exported.len() > 5, "{exported:?}");
        assert!(exported.is_subset(&written), "{exported:?}\n{written:?}");
        run(gatepass(&["export", "--check", &back])).expect(0);
    }

    // And it is law, whatever the person's file says.
    windows.configure("display_name = \"Mine\"\nmin_validity = 5\n");
    let shown = run(gatepass(&["config", "show"])).expect(0).stdout;
    for expected in [
        "display_name = \"Zoë & \\\"Söhne\\\" 東京 C:\\\\dir\\\\\"  # policy",
        "interactive_timeout = 295  # policy",
        "notify = false  # policy",
        "resource = [\"https://a.example/\"]  # policy",
        "headers = {\"X-Route\":\"{\\\"user\\\":\\\"{email}\\\"}\"}  # policy",
        "display_name = \"Mine\" is not used",
    ] {
        assert!(shown.contains(expected), "{expected} in:\n{shown}");
    }
    for key in [POLICY, HOST_POLICY] {
        reg(&["delete", key, "/f"]).expect(0);
    }
    let shown = run(gatepass(&["config", "show"])).expect(0).stdout;
    assert!(!shown.contains("# policy"), "{shown}");
}

#[test]
#[ignore = "needs Wine: cargo xtask test --windows"]
fn a_gateways_registration_file_is_taken_over() {
    const KEY: &str = "arch_0123456789abcdef";
    let windows = Windows::new(Settings::default());
    let (folder, there) = scratch();
    let download = format!(
        "Windows Registry Editor Version 5.00\r\n\r\n[HKEY_LOCAL_MACHINE\\SOFTWARE\\Policies\\Claude]\r\n\
         \"inferenceProvider\"=\"gateway\"\r\n\"inferenceGatewayBaseUrl\"=\"https://gateway.example\"\r\n\
         \"inferenceGatewayApiKey\"=\"{KEY}\"\r\n\
         \"inferenceCustomHeaders\"=\"{{\\\"X-Agent\\\":\\\"claude\\\"}}\"\r\n"
    );
    fs::write(folder.join("download.reg"), download).unwrap();
    run(program(
        "regedit",
        &["/S", &format!(r"{there}\download.reg")],
    ))
    .expect(0);
    let back = format!(r"{there}\back.reg");
    reg(&["export", HOST_POLICY, &back, "/y"]).expect(0);
    reg(&["delete", HOST_POLICY, "/f"]).expect(0);

    fs::remove_file(Windows::config_file()).unwrap();
    run(gatepass(&["config", "import", &back])).expect(0);
    assert!(!anywhere(
        Windows::config_file().parent().unwrap(),
        KEY.as_bytes()
    ));
    let shown = run(gatepass(&["config", "show"])).expect(0).stdout;
    for expected in [
        "kind = \"key\"",
        "gateway_url = \"https://gateway.example\"",
        "X-Agent",
    ] {
        assert!(shown.contains(expected), "{expected} in:\n{shown}");
    }
    assert_eq!(run(gatepass(&["token", "--output", "bare"])).token(), KEY);
    run(gatepass(&["logout"])).expect(0);
    drop(windows);
}
