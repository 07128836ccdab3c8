//! Command-line cases as data: each file in `tests/cmd` says what is run and what must come out.

#[test]
fn the_command_line_behaves_as_written_down() {
    trycmd::TestCases::new()
        .case("tests/cmd/*.toml")
        .env("HOME", "/dev/null")
        .env("NO_COLOR", "1")
        .env("GATEPASS_LOG", "")
        .env("GATEPASS_PROFILE", "")
        .env("CLAUDE_HELPER_CONTEXT", "");
}
