//! A new version while the old one works.

use std::fs;
use std::path::Path;
use std::thread;
use std::time::Duration;

use gatepass_testkit::provider::{Fault, Hook};

use crate::{
    Outcome, Windows, end, eventually, gatepass_exe, program, refreshes, run, scratch, short_lived,
};

/// What an installer does, by Windows' own command.
fn cmd(line: &[&str]) -> Outcome {
    run(program("cmd", &[&["/c"], line].concat()))
}

#[test]
#[ignore = "needs Wine: cargo xtask test --windows"]
fn an_upgrade_while_a_worker_runs_needs_no_restart_and_loses_nothing() {
    let windows = Windows::signed_in(short_lived());
    let (folder, there) = scratch();
    let installed = format!(r"{there}\gatepass.exe");
    fs::copy(gatepass_exe(), folder.join("gatepass.exe")).unwrap();
    let mut next = fs::read(gatepass_exe()).unwrap();
    next.extend(b"the next version");
    fs::write(folder.join("next.exe"), &next).unwrap();

    thread::sleep(Duration::from_secs(4));
    windows.provider.clear_requests();
    windows.provider.script_times(
        Hook::RefreshGrant,
        ..1,
        Fault::Delay(Duration::from_secs(10)),
    );
    let old = program(&installed, &["token", "--force-refresh"])
        .spawn()
        .unwrap();
    eventually("the refresh is sent", || {
        (refreshes(&windows) == 1).then_some(())
    });
    // Windows deletes no program that runs, and renames it.
    cmd(&["del", &installed]);
    assert!(folder.join("gatepass.exe").exists());
    cmd(&["ren", &installed, "gatepass.old"]).expect(0);
    cmd(&["copy", &format!(r"{there}\next.exe"), &installed]).expect(0);
    assert_eq!(fs::read(folder.join("gatepass.exe")).unwrap(), next);

    // The next version's call joins the refresh of the one before.
    let mut new = program(&installed, &[]);
    new.env("CLAUDE_HELPER_CONTEXT", "background");
    let new = new.spawn().unwrap();
    assert!(!has_ended(&folder), "the refresh is still under way");
    let token = end(old).token();
    assert_eq!(end(new).token(), token);
    assert_eq!(refreshes(&windows), 1);
    // And refreshes by itself afterwards.
    let renewed = run(program(&installed, &["token", "--force-refresh"])).token();
    assert_ne!(renewed, token);
    assert_eq!(windows.provider.families_revoked(), 0);
    run(program(&installed, &["status"])).expect(0);
    eventually("nothing holds the old version any more", || {
        cmd(&["del", &format!(r"{there}\gatepass.old")]);
        has_ended(&folder).then_some(())
    });
}

/// Whether the old version has been deleted, which can happen only after its end.
fn has_ended(folder: &Path) -> bool {
    !folder.join("gatepass.old").exists()
}
