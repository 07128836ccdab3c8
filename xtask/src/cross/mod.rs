//! `cargo xtask check --all-targets`: gatepass compiles, without a warning, for every system it is made for.

pub(crate) mod toolchain;

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
/// busy. A target that cannot be checked is a failure, never a pass.
pub(crate) fn check() -> Result<(), String> {
    let toolchain = Toolchain::provide(&TARGETS)?;
    let mut cargo = toolchain.cargo("check");
    cargo.args(["--locked", "--quiet", "--lib", "--bins"]);
    // The compiler's messages come as JSON, so that warnings can be counted: an option of the compiler's own would
    // also be one for the standard library, which is compiled along.
    cargo.arg("--message-format=json");
    for target in TARGETS {
        cargo.args(["--target", target]);
    }
    let mut warnings = 0;
    process::run_read(&mut cargo, |line| {
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
