//! Command-line cases as data: each file in `tests/cmd` says what is run and what must come out.

#[test]
fn the_command_line_behaves_as_written_down() {
    // A file that holds a secret must be its owner's alone; git keeps no such mode.
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = |mode| std::fs::Permissions::from_mode(mode);
        for (file, bits) in [("masked", 0o600), ("readable-secret", 0o644)] {
            let file = format!("tests/cmd/files/{file}.conf");
            std::fs::set_permissions(file, mode(bits)).unwrap();
        }
    }
    trycmd::TestCases::new()
        .case("tests/cmd/*.toml")
        .env("HOME", "/dev/null")
        .env("NO_COLOR", "1")
        .env("GATEPASS_LOG", "")
        .env("GATEPASS_PROFILE", "")
        .env("CLAUDE_HELPER_CONTEXT", "");
}
