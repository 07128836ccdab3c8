//! What a person with a Windows machine runs: `cargo xtask test --native`, its Windows build.

use std::env;
use std::fs;

use crate::{gatepass_exe, program, run, scratch};

#[test]
#[ignore = "needs Wine: cargo xtask test --windows"]
fn the_proof_holds() {
    let (folder, there) = scratch();
    let xtask = env::var("GATEPASS_XTASK_EXE").expect("run `cargo xtask test --windows`");
    let host = env::var("GATEPASS_HOST_EXE").expect("run `cargo xtask test --windows`");
    let gatepass = gatepass_exe();
    // The host without arguments does nothing, as the program should that a hot run is compared with.
    let ended = run(program(
        &xtask,
        &[
            "test",
            "--native",
            "--short",
            "--program",
            &gatepass,
            "--empty",
            &host,
            "--report",
            &format!(r"{there}\report.md"),
        ],
    ));
    let report = fs::read_to_string(folder.join("report.md")).unwrap_or_default();
    assert_eq!(
        ended.code,
        Some(0),
        "{}{}{report}",
        ended.stdout,
        ended.stderr
    );
    assert!(report.contains("which is Wine"), "{report}");
    assert!(report.contains(" 0 failed"), "{report}");
}
