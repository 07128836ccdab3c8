//! Files that belong to a host or its user: new ones are written by atomic replacement, present ones are merged or left
//! alone.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use gatepass_host::FileMode;

use crate::error::{Failure, Result};

/// Largest file that is merged, in bytes.
const LIMIT: u64 = 4 * 1024 * 1024;

/// The content of a file that is there.
pub(super) fn present(path: &Path) -> Result<Option<String>> {
    let failed = |what: String| {
        Failure::config(
            format!("{} cannot be merged: {what}", path.display()),
            "give --output the name of a new file",
        )
    };
    match std::fs::metadata(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error.to_string())),
        Ok(metadata) if !metadata.is_file() => {
            return Err(failed("it is no plain file".to_owned()));
        }
        Ok(metadata) if metadata.len() > LIMIT => return Err(failed("it is too large".to_owned())),
        Ok(_) => (),
    }
    let bytes = std::fs::read(path).map_err(|error| failed(error.to_string()))?;
    let bytes = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(&bytes);
    String::from_utf8(bytes.to_vec())
        .map(Some)
        .map_err(|_| failed("it is no UTF-8 text".to_owned()))
}

/// Writes a file that must not be there yet. Its folder is made where only that one is missing: a host that has not
/// run yet (`~/.claude`, `~/.codex`) has none, while more missing folders are a mistyped path.
pub(super) fn create(path: &Path, bytes: &[u8], mode: FileMode) -> Result<()> {
    if let Some(folder) = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        && !folder.is_dir()
        && let Err(error) = std::fs::create_dir(folder)
        && error.kind() != std::io::ErrorKind::AlreadyExists
    {
        return Err(unwritable(path, &error));
    }
    let file = prepared(path, bytes, None, mode)?;
    file.persist_noclobber(path).map_err(|error| {
        if error.error.kind() == std::io::ErrorKind::AlreadyExists {
            exists(path)
        } else {
            unwritable(path, &error.error)
        }
    })?;
    Ok(())
}

/// Replaces a file that was merged, in one step, keeping who may read it.
pub(super) fn replace(path: &Path, bytes: &[u8]) -> Result<()> {
    // The file that a link leads to is replaced, not the link.
    let target = std::fs::canonicalize(path).map_err(|error| unwritable(path, &error))?;
    let permissions = std::fs::metadata(&target)
        .map_err(|error| unwritable(path, &error))?
        .permissions();
    let file = prepared(&target, bytes, Some(permissions), FileMode::Owner)?;
    file.persist(&target)
        .map_err(|error| unwritable(path, &error.error))?;
    Ok(())
}

/// The failure for a file that would have to be overwritten.
pub(super) fn exists(path: &Path) -> Failure {
    Failure::config(
        format!(
            "there is a file {} already, and it is never overwritten",
            path.display()
        ),
        "move it away, or give --output another name",
    )
}

fn unwritable(path: &Path, error: &std::io::Error) -> Failure {
    Failure::config(
        format!("{} cannot be written: {error}", path.display()),
        "make sure that the folder is there and that you may write to it",
    )
}

fn prepared(
    path: &Path,
    bytes: &[u8],
    permissions: Option<std::fs::Permissions>,
    mode: FileMode,
) -> Result<tempfile::NamedTempFile> {
    let failed = |error: std::io::Error| unwritable(path, &error);
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
        _ => PathBuf::from("."),
    };
    let mut file = tempfile::Builder::new()
        .prefix(".gatepass-new-")
        .tempfile_in(folder)
        .map_err(failed)?;
    file.write_all(bytes).map_err(failed)?;
    if let Some(permissions) = permissions.or_else(|| new_permissions(mode)) {
        file.as_file()
            .set_permissions(permissions)
            .map_err(failed)?;
    }
    file.as_file().sync_all().map_err(failed)?;
    Ok(file)
}

#[cfg(unix)]
fn new_permissions(mode: FileMode) -> Option<std::fs::Permissions> {
    use std::os::unix::fs::PermissionsExt;
    Some(std::fs::Permissions::from_mode(match mode {
        FileMode::Everyone => 0o644,
        FileMode::Owner => 0o600,
    }))
}

/// Windows gives a new file what its folder says.
#[cfg(not(unix))]
fn new_permissions(_: FileMode) -> Option<std::fs::Permissions> {
    None
}
