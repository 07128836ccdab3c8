//! Puts resources into the Windows program, its icon, its manifest and what Explorer and Task Manager show about it, says
//! there where its libraries are looked for, and leaves an index out of the Linux one.
//!
//! The resources stand in one object file, which is written here: a resource compiler is on no machine by itself, and linkers
//! take one such file only. Microsoft's linker embeds the manifest by itself and shows nothing about the program.
#![allow(missing_docs, reason = "a build script has no interface")]

use std::{env, fs, io, path::Path};

const MANIFEST: &str = "packaging/windows/gatepass.manifest";

/// A PNG of 256 by 256 pixels, the one size that Windows takes in this format; it makes the smaller ones.
const ICON: &str = "packaging/icon.png";

/// `RT_ICON`, `RT_GROUP_ICON`, `RT_VERSION` and `RT_MANIFEST` (winuser.h).
const ICON_TYPE: u32 = 3;
const ICONS_TYPE: u32 = 14;
const VERSION_TYPE: u32 = 16;
const MANIFEST_TYPE: u32 = 24;

/// `LOAD_LIBRARY_SEARCH_SYSTEM32` (libloaderapi.h).
const FROM_SYSTEM32: u16 = 0x800;

/// American English, in which the program speaks, and Unicode.
const LANGUAGE: u16 = 0x0409;
const UNICODE: u16 = 1200;

fn main() -> io::Result<()> {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed={MANIFEST}");
    println!("cargo:rerun-if-changed={ICON}");
    match variable("CARGO_CFG_TARGET_OS")?.as_str() {
        "windows" => windows(),
        // A panic ends the release at once and says where in our own words: nobody looks up how to unwind.
        "linux" if variable("PROFILE")? == "release" => {
            println!("cargo:rustc-link-arg-bins=-Wl,--no-eh-frame-hdr");
            Ok(())
        }
        _ => Ok(()),
    }
}

fn windows() -> io::Result<()> {
    if variable("CARGO_CFG_TARGET_ENV")? == "msvc" {
        let manifest = fs::canonicalize(MANIFEST)?;
        println!("cargo:rustc-link-arg-bins=/MANIFEST:EMBED");
        println!("cargo:rustc-link-arg-bins=/MANIFESTUAC:NO");
        // Also what is loaded before `main` comes from the system's folder alone.
        println!("cargo:rustc-link-arg-bins=/DEPENDENTLOADFLAG:{FROM_SYSTEM32:#x}");
        println!(
            "cargo:rustc-link-arg-bins=/MANIFESTINPUT:{}",
            manifest.display()
        );
        return Ok(());
    }
    let icon = fs::read(ICON)?;
    let resources = section(&[
        (ICON_TYPE, icon.clone()),
        (ICONS_TYPE, icons(icon.len())),
        (VERSION_TYPE, version()?),
        (MANIFEST_TYPE, fs::read(MANIFEST)?),
    ]);
    let processor = variable("CARGO_CFG_TARGET_ARCH")?;
    for (name, object) in [
        ("resources.o", object(&processor, &resources)?),
        ("load-configuration.o", load_configuration(&processor)?),
    ] {
        let file = Path::new(&variable("OUT_DIR")?).join(name);
        fs::write(&file, object)?;
        println!("cargo:rustc-link-arg-bins={}", file.display());
    }
    // Nothing in the program refers to it, and the linker would leave it out.
    println!("cargo:rustc-link-arg-bins=-Wl,-u,{LOAD_CONFIGURATION}");
    Ok(())
}

fn variable(name: &str) -> io::Result<String> {
    env::var(name).map_err(|error| io::Error::other(format!("{name}: {error}")))
}

/// A resource section, and where in it the linker puts addresses.
struct Section {
    bytes: Vec<u8>,
    addresses: Vec<u32>,
}

/// Resources by type, in the order of their types, each with the name 1 and one language ("PE Format", `.rsrc`).
fn section(resources: &[(u32, Vec<u8>)]) -> Section {
    /// Sizes of a directory's head, of an entry in it, and of what describes a resource.
    const HEAD: usize = 16;
    const ENTRY: usize = 8;
    const DESCRIPTION: usize = 16;
    /// An entry that leads to another directory.
    const DIRECTORY: u32 = 1 << 31;
    let count = resources.len();
    let names = HEAD + count * ENTRY;
    let languages = names + count * (HEAD + ENTRY);
    let descriptions = languages + count * (HEAD + ENTRY);
    let mut bytes = Vec::new();
    let directory = |bytes: &mut Vec<u8>, entries: &[(u32, u32)]| {
        bytes.extend([0; HEAD - 2]);
        put16(bytes, entries.len());
        for (id, target) in entries {
            bytes.extend(id.to_le_bytes());
            bytes.extend(target.to_le_bytes());
        }
    };
    let nth = |start: usize, size: usize, index: usize| number(start + size * index);
    let types: Vec<_> = (0..count)
        .map(|i| (resources[i].0, nth(names, HEAD + ENTRY, i) | DIRECTORY))
        .collect();
    directory(&mut bytes, &types);
    for i in 0..count {
        let language = nth(languages, HEAD + ENTRY, i) | DIRECTORY;
        directory(&mut bytes, &[(1, language)]);
    }
    for i in 0..count {
        let description = nth(descriptions, DESCRIPTION, i);
        directory(&mut bytes, &[(LANGUAGE.into(), description)]);
    }
    let mut contents = Vec::new();
    let first = descriptions + count * DESCRIPTION;
    let mut addresses = Vec::new();
    for (_, content) in resources {
        addresses.push(number(bytes.len()));
        put32(&mut bytes, first + contents.len());
        put32(&mut bytes, content.len());
        bytes.extend([0; 8]);
        contents.extend(content);
        contents.resize(contents.len().next_multiple_of(8), 0);
    }
    bytes.extend(contents);
    Section { bytes, addresses }
}

/// The section as an object file: head, section, relocations, symbol (the same document, "COFF").
fn object(processor: &str, section: &Section) -> io::Result<Vec<u8>> {
    /// Of the file's head and the section's.
    const HEADS: usize = 20 + 40;
    /// Initialised data, readable and writable.
    const FLAGS: u32 = 0xC000_0040;
    let (machine, relative) = machine(processor)?;
    let relocations = HEADS + section.bytes.len();
    let symbols = relocations + section.addresses.len() * 10;
    let mut out = Vec::new();
    out.extend(machine.to_le_bytes());
    put16(&mut out, 1);
    // No time: builds of one commit are equal.
    put32(&mut out, 0);
    put32(&mut out, symbols);
    put32(&mut out, 2);
    out.extend([0; 4]);
    out.extend(b".rsrc\0\0\0");
    out.extend([0; 8]);
    put32(&mut out, section.bytes.len());
    put32(&mut out, HEADS);
    put32(&mut out, relocations);
    put32(&mut out, 0);
    put16(&mut out, section.addresses.len());
    put16(&mut out, 0);
    out.extend(FLAGS.to_le_bytes());
    out.extend(&section.bytes);
    for address in &section.addresses {
        out.extend(address.to_le_bytes());
        put32(&mut out, 0);
        out.extend(relative.to_le_bytes());
    }
    // The section's own symbol and what belongs to it; then a table of long names, which is empty.
    out.extend(b".rsrc\0\0\0");
    out.extend([0, 0, 0, 0, 1, 0, 0, 0, 3, 1]);
    put32(&mut out, section.bytes.len());
    put16(&mut out, section.addresses.len());
    out.extend([0; 12]);
    put32(&mut out, 4);
    Ok(out)
}

/// The name by which linkers know a program's load configuration.
const LOAD_CONFIGURATION: &str = "_load_config_used";

/// What `/DEPENDENTLOADFLAG` is for Microsoft's linker: a load configuration ("PE Format", `IMAGE_LOAD_CONFIG_DIRECTORY64`)
/// that says where Windows looks for the libraries which the program names. LLD tells Windows where it is; GNU's linker puts
/// it into the program and says nothing about it, which `xtask/src/load_configuration.rs` makes up for.
fn load_configuration(processor: &str) -> io::Result<Vec<u8>> {
    /// Of the file's head and the section's.
    const HEADS: usize = 20 + 40;
    /// Initialised data, readable, at a multiple of eight bytes.
    const FLAGS: u32 = 0x4040_0040;
    /// Up to and with the number of exception handlers; what comes after it is about guards that are not used here.
    const SIZE: usize = 112;
    const DEPENDENT_LOAD_FLAGS: usize = 78;
    let mut content = vec![0; SIZE];
    content[..4].copy_from_slice(&number(SIZE).to_le_bytes());
    content[DEPENDENT_LOAD_FLAGS..][..2].copy_from_slice(&FROM_SYSTEM32.to_le_bytes());
    let mut out = Vec::new();
    out.extend(machine(processor)?.0.to_le_bytes());
    put16(&mut out, 1);
    out.extend([0; 4]);
    put32(&mut out, HEADS + SIZE);
    put32(&mut out, 1);
    out.extend([0; 4]);
    out.extend(b".ldcfg\0\0");
    out.extend([0; 8]);
    put32(&mut out, SIZE);
    put32(&mut out, HEADS);
    out.extend([0; 12]);
    out.extend(FLAGS.to_le_bytes());
    out.extend(content);
    // One symbol, which others may see, at the section's beginning; its name is too long to stand here.
    out.extend([0; 4]);
    put32(&mut out, 4);
    out.extend([0, 0, 0, 0, 1, 0, 0, 0, 2, 0]);
    put32(&mut out, 4 + LOAD_CONFIGURATION.len() + 1);
    out.extend(LOAD_CONFIGURATION.as_bytes());
    out.push(0);
    Ok(out)
}

/// The processor's number in an object file, and that of "address from the program's beginning".
fn machine(processor: &str) -> io::Result<(u16, u16)> {
    match processor {
        "x86_64" => Ok((0x8664, 3)),
        "aarch64" => Ok((0xAA64, 2)),
        other => Err(io::Error::other(format!("unknown processor {other}"))),
    }
}

/// The sizes in which there is an icon of this many bytes: one.
fn icons(length: usize) -> Vec<u8> {
    let mut icons = Vec::new();
    // GRPICONDIR: an icon, of which there is one.
    put16(&mut icons, 0);
    put16(&mut icons, 1);
    put16(&mut icons, 1);
    // GRPICONDIRENTRY: 256 is written as 0; one plane of 32 bits; the bytes of the resource with the name 1.
    icons.extend([0; 4]);
    put16(&mut icons, 1);
    put16(&mut icons, 32);
    put32(&mut icons, length);
    put16(&mut icons, 1);
    icons
}

/// What is shown about the program: a `VS_VERSIONINFO`.
fn version() -> io::Result<Vec<u8>> {
    let version = variable("CARGO_PKG_VERSION")?;
    let part = |name: &str| -> io::Result<u32> {
        let part = variable(&format!("CARGO_PKG_VERSION_{name}"))?;
        part.parse().map_err(io::Error::other)
    };
    let high = part("MAJOR")? << 16 | part("MINOR")?;
    let low = part("PATCH")? << 16;
    let mut fixed = Vec::new();
    // VS_FIXEDFILEINFO (verrsrc.h): signature, form, twice the version, no flags, Windows NT, a program.
    for word in [
        0xFEEF_04BD,
        0x0001_0000,
        high,
        low,
        high,
        low,
        0x3F,
        0,
        0x0004_0004,
        1,
        0,
        0,
        0,
    ] {
        fixed.extend(u32::to_le_bytes(word));
    }
    let licence = variable("CARGO_PKG_LICENSE")?;
    let description = variable("CARGO_PKG_DESCRIPTION")?;
    let texts: Vec<u8> = [
        ("CompanyName", "gatepass developers"),
        ("FileDescription", description.as_str()),
        ("FileVersion", &version),
        ("InternalName", "gatepass"),
        ("LegalCopyright", &licence),
        ("OriginalFilename", "gatepass.exe"),
        ("ProductName", "gatepass"),
        ("ProductVersion", &version),
    ]
    .iter()
    .flat_map(|(name, text)| {
        let text = wide(text);
        padded(block(name, text.len() / 2, true, &text, &[]))
    })
    .collect();
    let table = block(
        &format!("{LANGUAGE:04x}{UNICODE:04x}"),
        0,
        true,
        &[],
        &texts,
    );
    let texts = padded(block("StringFileInfo", 0, true, &[], &table));
    let languages: Vec<u8> = [LANGUAGE, UNICODE]
        .iter()
        .flat_map(|number| number.to_le_bytes())
        .collect();
    let translation = block("Translation", languages.len(), false, &languages, &[]);
    let languages = block("VarFileInfo", 0, true, &[], &translation);
    let children = [texts, languages].concat();
    Ok(block(
        "VS_VERSION_INFO",
        fixed.len(),
        false,
        &fixed,
        &children,
    ))
}

/// A name, a value and what is below it. `length` is that of the value: texts count in characters.
fn block(name: &str, length: usize, is_text: bool, value: &[u8], children: &[u8]) -> Vec<u8> {
    let mut rest = Vec::new();
    put16(&mut rest, length);
    put16(&mut rest, usize::from(is_text));
    rest.extend(wide(name));
    // Counted from the block's beginning, of which the length is still missing.
    while (rest.len() + 2) % 4 != 0 {
        rest.push(0);
    }
    rest.extend(value);
    if !children.is_empty() {
        while (rest.len() + 2) % 4 != 0 {
            rest.push(0);
        }
        rest.extend(children);
    }
    let mut out = Vec::new();
    put16(&mut out, rest.len() + 2);
    out.extend(rest);
    out
}

fn padded(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

fn wide(text: &str) -> Vec<u8> {
    text.encode_utf16()
        .chain([0])
        .flat_map(u16::to_le_bytes)
        .collect()
}

/// Sizes here are some kilobytes.
fn number(size: usize) -> u32 {
    u32::try_from(size).unwrap_or(u32::MAX)
}

fn put32(to: &mut Vec<u8>, size: usize) {
    to.extend(number(size).to_le_bytes());
}

fn put16(to: &mut Vec<u8>, size: usize) {
    to.extend(u16::try_from(size).unwrap_or(u16::MAX).to_le_bytes());
}
