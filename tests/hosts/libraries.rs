//! The vendors' libraries take a token from gatepass with the few lines of the page.

use std::os::unix::fs::symlink;

use gatepass_testkit::lab::{Gatepass, Hosts};

use crate::desk::{Desk, GREETING};

/// The program of a section, in Python or for Node.
fn program(desk: &Desk, heading: &str, file: &str) -> Gatepass {
    desk.follow(heading);
    let file = desk.home(file).display().to_string();
    if file.ends_with(".py") {
        let python = Hosts::python().display().to_string();
        return desk.run(&python, [file.as_str()]);
    }
    let packages = desk.home("node_modules");
    if !packages.exists() {
        symlink(Hosts::folder().join("node_modules"), packages).unwrap();
    }
    desk.run("node", [file.as_str()])
}

/// A program that answers, and one whose token the gateway refuses: it has to answer too where the library asks anew.
fn answers(heading: &str, file: &str, recovers: bool) {
    let desk = Desk::new();
    let done = program(&desk, heading, file).run();
    assert_eq!(
        (done.code, done.stdout.trim()),
        (0, GREETING),
        "{}",
        done.stderr
    );
    assert_eq!(desk.statuses(), [200]);
    assert_eq!(desk.refreshes(), 0);

    desk.gateway.revoke(&desk.token());
    let again = program(&desk, heading, file).run();
    if recovers {
        assert_eq!(again.stdout.trim(), GREETING, "{}", again.stderr);
        assert_eq!(desk.statuses(), [200, 401, 200]);
        assert_eq!(desk.refreshes(), 1);
    } else {
        assert_ne!(again.code, 0, "the page is to be mended: {again:?}");
        let helped = desk.scene.gatepass(["token", "--force-refresh"]).run();
        helped.expect(0);
        let last = program(&desk, heading, file).run();
        assert_eq!(last.stdout.trim(), GREETING, "{}", last.stderr);
    }
}

#[test]
#[ignore = "needs the libraries: cargo xtask test --hosts"]
fn anthropics_library_for_python_asks_gatepass() {
    answers("Anthropic's libraries", "ask_anthropic.py", true);
}

#[test]
#[ignore = "needs the libraries: cargo xtask test --hosts"]
fn anthropics_library_for_typescript_asks_gatepass() {
    answers("Anthropic's libraries", "ask_anthropic.mjs", true);
}

#[test]
#[ignore = "needs the libraries: cargo xtask test --hosts"]
fn openais_library_for_python_asks_gatepass() {
    answers("OpenAI's libraries", "ask_openai.py", false);
}

#[test]
#[ignore = "needs the libraries: cargo xtask test --hosts"]
fn openais_library_for_typescript_asks_gatepass() {
    answers("OpenAI's libraries", "ask_openai.mjs", false);
}
