//! Puts the Windows manifest into the Windows program. Nothing happens for other systems.
#![allow(missing_docs, reason = "a build script has no interface")]

use std::env;

fn main() -> Result<(), std::io::Error> {
    const MANIFEST: &str = "packaging/windows/gatepass.manifest";
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed={MANIFEST}");
    if env::var("CARGO_CFG_TARGET_OS").as_deref() == Ok("windows") {
        embed_manifest::embed_manifest_file(MANIFEST)?;
    }
    Ok(())
}
