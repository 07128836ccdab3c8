//! What the operating system says of this program's file: signature, owner, mark of a download.

use std::path::Path;

/// What a system that signs programs says of this one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Signature {
    /// It is signed, and unchanged since.
    #[cfg_attr(
        target_os = "linux",
        allow(dead_code, reason = "only macOS signs its programs")
    )]
    Good,
    /// It is not, and why.
    #[cfg_attr(
        target_os = "linux",
        allow(dead_code, reason = "only macOS signs its programs")
    )]
    Bad(String),
    /// This system signs no programs, or was not asked.
    Unknown,
}

/// Whether users other than its owner and root may put another program in its place.
#[cfg(unix)]
pub fn others_may_replace(path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let loose = |path: &Path| {
        std::fs::metadata(path).is_ok_and(|file| {
            let strangers = !super::is_us(file.uid());
            // A group is often the user's own. In a folder with the sticky bit no user replaces another's file.
            strangers || (file.mode() & 0o002 != 0 && file.mode() & 0o1000 == 0)
        })
    };
    loose(path) || path.parent().is_some_and(loose)
}

/// Guarded by access control lists, which are not read here.
#[cfg(windows)]
pub fn others_may_replace(_: &Path) -> bool {
    false
}

/// Whether macOS runs a copy of a downloaded program from a folder that it made for this start alone.
pub fn is_translocated(path: &Path) -> bool {
    path.components()
        .any(|part| part.as_os_str() == "AppTranslocation")
}

/// Whether the system marked the file as downloaded; the answer is how to take the mark off.
#[cfg(target_os = "macos")]
pub fn quarantined(path: &Path) -> Option<String> {
    let mut value = [0_u8; 512];
    rustix::fs::getxattr(path, "com.apple.quarantine", &mut value[..])
        .is_ok()
        .then(|| format!("xattr -d com.apple.quarantine '{}'", path.display()))
}

/// Whether the system marked the file as downloaded; the answer is how to take the mark off.
#[cfg(windows)]
pub fn quarantined(path: &Path) -> Option<String> {
    // The mark of the web is a stream beside the file's own content.
    let mut mark = path.as_os_str().to_owned();
    mark.push(":Zone.Identifier");
    std::fs::metadata(mark)
        .is_ok()
        .then(|| format!("Unblock-File '{}'", path.display()))
}

/// Linux has no such mark.
#[cfg(not(any(windows, target_os = "macos")))]
pub fn quarantined(_: &Path) -> Option<String> {
    None
}

/// What `codesign` says.
#[cfg(target_os = "macos")]
pub fn signature(path: &Path) -> Signature {
    let verified = std::process::Command::new("/usr/bin/codesign")
        .args(["--verify", "--strict"])
        .arg(path)
        .stdin(std::process::Stdio::null())
        .output();
    match verified {
        Ok(output) if output.status.success() => Signature::Good,
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stderr);
            Signature::Bad(
                said.lines()
                    .next()
                    .unwrap_or("codesign refuses it")
                    .to_owned(),
            )
        }
        Err(_) => Signature::Unknown,
    }
}

/// Not asked here: packages of Linux distributions are signed as a whole, and Windows' answer needs its own API.
#[cfg(not(target_os = "macos"))]
pub fn signature(_: &Path) -> Signature {
    Signature::Unknown
}
