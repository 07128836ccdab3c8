//! The licence texts of everything that is in a binary, in one file.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

use super::crates::Crate;
use super::read;
use crate::process::root;

/// How files with licence texts begin, in lower case.
const NAMES: [&str; 6] = [
    "licen",
    "copying",
    "copyright",
    "notice",
    "unlicense",
    "ofl",
];

const HEAD: &str = "\
gatepass contains the software below, and the Rust standard library (https://github.com/rust-lang/rust,
MIT OR Apache-2.0, copyright The Rust Project Contributors). Each text stands once, under the names of all whom it
concerns.
";

/// The file's content. A crate without any text gets that of its licence; one without that either is an error.
pub(super) fn of(linked: &[Crate]) -> Result<String, String> {
    let mut concerned: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for one in linked.iter().filter(|one| !one.own) {
        let mut texts = Vec::new();
        for file in files(one)? {
            // Some old texts are not UTF-8; their words still are.
            let bytes = fs::read(&file).map_err(|e| format!("{}: {e}", file.display()))?;
            texts.push(String::from_utf8_lossy(&bytes).into_owned());
        }
        if texts.is_empty() {
            texts.push(standard(one)?);
        }
        for text in texts {
            let text = text.replace("\r\n", "\n").trim().to_owned();
            concerned
                .entry(text)
                .or_default()
                .push(format!("{} {} ({})", one.name, one.version, one.licence));
        }
    }
    let mut sections: Vec<(Vec<String>, String)> = concerned
        .into_iter()
        .map(|(text, names)| (names, text))
        .collect();
    sections.sort();
    let mut out = HEAD.to_owned();
    let line = "=".repeat(78);
    for (names, text) in sections {
        let _ = write!(out, "\n{line}\n{}\n{line}\n\n{text}\n", names.join("\n"));
    }
    Ok(out)
}

fn files(one: &Crate) -> Result<Vec<PathBuf>, String> {
    let entries =
        fs::read_dir(&one.folder).map_err(|e| format!("{}: {e}", one.folder.display()))?;
    let mut files: Vec<PathBuf> = entries
        .filter_map(Result::ok)
        .filter(|entry| entry.path().is_file())
        .filter(|entry| {
            let name = entry.file_name().to_string_lossy().to_lowercase();
            NAMES.iter().any(|start| name.starts_with(start))
        })
        .map(|entry| entry.path())
        .collect();
    files.sort();
    Ok(files)
}

/// Our own copy of a licence whose text is the same for everybody.
fn standard(one: &Crate) -> Result<String, String> {
    if one.licence.contains("Apache-2.0") {
        read(&root().join("LICENSE-APACHE"))
    } else {
        Err(format!(
            "{} brings no licence text, and {} has none that is the same for everybody",
            one.id(),
            one.licence
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::of;
    use crate::package::crates::linked;
    use crate::package::target::Target;

    #[test]
    fn every_crate_of_every_system_has_a_text() {
        for target in [Target::LinuxX64, Target::WindowsX64, Target::MacArm64] {
            let crates = linked(target).expect("metadata");
            let text = of(&crates).expect("texts");
            for one in crates.iter().filter(|one| !one.own) {
                let line = format!("{} {} (", one.name, one.version);
                assert!(text.contains(&line), "{line}");
            }
        }
    }
}
