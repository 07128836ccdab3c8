//! Puts the Windows manifest into the Windows program, and leaves an index out of the Linux one.
#![allow(missing_docs, reason = "a build script has no interface")]

use std::env;

fn main() -> Result<(), std::io::Error> {
    const MANIFEST: &str = "packaging/windows/gatepass.manifest";
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed={MANIFEST}");
    let is = |name: &str, value: &str| env::var(name).as_deref() == Ok(value);
    if is("CARGO_CFG_TARGET_OS", "windows") {
        embed_manifest::embed_manifest_file(MANIFEST)?;
    }
    // A panic ends the release at once and says where in our own words: nobody looks up how to unwind.
    if is("CARGO_CFG_TARGET_OS", "linux") && is("PROFILE", "release") {
        println!("cargo:rustc-link-arg-bins=-Wl,--no-eh-frame-hdr");
    }
    Ok(())
}
