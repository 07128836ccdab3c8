//! `cargo xtask check --all-targets`: gatepass compiles, without a warning, for every system it is made for.

pub(crate) mod toolchain;

use std::process::Command;

use serde_json::Value;

use crate::process;
use toolchain::Toolchain;

/// The systems that gatepass is made for and that this machine is not.
pub(crate) const TARGETS: [&str; 5] = [
    "x86_64-pc-windows-gnu",
    "aarch64-pc-windows-gnullvm",
    "aarch64-apple-darwin",
    "x86_64-apple-darwin",
    "aarch64-unknown-linux-gnu",
];

/// Checks the library and the programs for all of them.
///
/// All at once: the dependencies that run on this machine are compiled a single time, and both processors stay
/// busy. A target that cannot be checked is a failure, never a pass. One that is `built` anyway is left out.
pub(crate) fn check(built: Option<&str>) -> Result<(), String> {
    let mut targets = TARGETS.to_vec();
    targets.retain(|target| Some(*target) != built);
    let toolchain = Toolchain::provide(&targets)?;
    let mut cargo = toolchain.cargo("check");
    cargo.args(["--locked", "--quiet", "--lib", "--bins"]);
    for target in targets {
        cargo.args(["--target", target]);
    }
    without_warnings(&mut cargo)
}

/// Compiles. The compiler's messages come as JSON, so that warnings can be counted: an option of the compiler's own would
/// also be one for the standard library, which is compiled along.
pub(crate) fn without_warnings(cargo: &mut Command) -> Result<(), String> {
    let mut warnings = 0;
    process::run_read(cargo.arg("--message-format=json"), |line| {
        let Ok(message) = serde_json::from_str::<Value>(line) else {
            return;
        };
        if let Some(rendered) = message["message"]["rendered"].as_str() {
            eprint!("{rendered}");
        }
        warnings += u32::from(message["message"]["level"] == "warning");
    })?;
    match warnings {
        0 => Ok(()),
        number => Err(format!("the compiler warns: {number} messages")),
    }
}
