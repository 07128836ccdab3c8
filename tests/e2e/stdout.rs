//! A standard output that takes nothing: the token was not delivered, and the session is none the worse for it.

use gatepass_testkit::lab::{Scene, Stdout};

use crate::GATEPASS;

#[test]
fn closed_or_full_is_exit_1_and_the_session_stays() {
    for stdout in [Stdout::Closed, Stdout::Full] {
        let scene = Scene::new(GATEPASS).signed_in();
        for arguments in [
            &[][..],
            &["token", "--output", "json"],
            &["token", "--force-refresh"],
        ] {
            let run = scene
                .gatepass(arguments.iter().copied())
                .stdout(stdout)
                .run();
            assert_eq!(run.code, 1, "{stdout:?}, {arguments:?}: {}", run.stderr);
            run.expect(1);
        }
        scene.background().token();
        scene.gatepass(["token", "--force-refresh"]).run().token();
        assert_eq!(
            (
                scene.provider.count("grant.error"),
                scene.provider.count("grant.revoked")
            ),
            (0, 0)
        );
    }
}

/// `gatepass config show | head`: whoever reads has seen enough.
#[test]
fn a_reader_that_goes_early_is_no_failure_where_people_read() {
    let scene = Scene::new(GATEPASS).signed_in();
    for (arguments, code) in [
        (&["completions", "bash"][..], 0),
        (&["config", "show"], 0),
        (&["status"], 0),
        (&["token"], 1),
    ] {
        let run = scene
            .gatepass(arguments.iter().copied())
            .stdout(Stdout::Left)
            .run();
        assert_eq!(run.code, code, "{arguments:?}: {}", run.stderr);
        assert_eq!(run.stderr.is_empty(), code == 0, "{}", run.stderr);
    }
}

#[test]
fn on_failure_it_is_empty() {
    let scene = Scene::new(GATEPASS);
    for arguments in [
        &[][..],
        &["token"],
        &["token", "--output", "json"],
        &["token", "--output", "headers"],
        &["token", "--no-such-option"],
        &["--profile", "unknown"],
    ] {
        let run = scene.gatepass(arguments.iter().copied()).run();
        assert!(
            run.code != 0 && run.stdout.is_empty(),
            "{arguments:?}: {run:?}"
        );
    }
}
