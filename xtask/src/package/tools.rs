//! The programs that build packages, fetched where they are missing.

use std::path::PathBuf;
use std::process::Command;

use crate::cross::toolchain::kept;
use crate::process::{cargo, command, run};

/// A program that cargo installs, at the version that was tried.
pub(super) struct Tool {
    name: &'static str,
    version: &'static str,
}

/// Makes Debian packages.
pub(super) const DEB: Tool = Tool {
    name: "cargo-deb",
    version: "3.8.0",
};

/// Makes RPM packages.
pub(super) const RPM: Tool = Tool {
    name: "cargo-generate-rpm",
    version: "0.21.1",
};

/// Writes the list of crates into the binary.
pub(super) const AUDITABLE: Tool = Tool {
    name: "cargo-auditable",
    version: "0.7.7",
};

/// Where a program is; it is installed (a few minutes, once) if it is missing or of another version.
pub(super) fn installed(tool: &Tool) -> Result<PathBuf, String> {
    let folder = kept()?
        .join("tools")
        .join(format!("{}-{}", tool.name, tool.version));
    let program = folder.join("bin").join(tool.name);
    if !program.is_file() {
        println!("installing {} {} (once)", tool.name, tool.version);
        run(cargo(&["install", "--locked", "--quiet", "--root"])
            .arg(&folder)
            .arg(format!("{}@{}", tool.name, tool.version))
            // The tool's own speed does not matter, the time to build it does.
            .env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "1")
            .env("CARGO_PROFILE_RELEASE_LTO", "off"))?;
    }
    Ok(program)
}

/// A run of a program.
pub(super) fn cargo_tool(tool: &Tool) -> Result<Command, String> {
    Ok(command(&installed(tool)?.display().to_string(), &[]))
}
