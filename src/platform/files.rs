//! Files and folders that only their owner may touch.
//!
//! What is checked is the opened descriptor, never a path, so that no other process can swap the file in between (time
//! of check to time of use).

use std::fs::{self, DirBuilder, File, Metadata, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Why a file or folder is not safe to use.
#[derive(Debug)]
pub enum Unsafe {
    /// It belongs to another user.
    Owner,
    /// Others may write it (or read it, where it must be private).
    Mode,
    /// It is a link, device, pipe or folder where a plain file was expected, or the reverse.
    Kind,
    /// It is larger than anything gatepass ever writes there.
    Size,
    /// The operating system refused.
    Io(io::Error),
}

impl From<io::Error> for Unsafe {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl std::fmt::Display for Unsafe {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Owner => f.write_str("it belongs to another user"),
            Self::Mode => f.write_str("other users may change or read it"),
            Self::Kind => f.write_str("it is not a plain file"),
            Self::Size => f.write_str("it is too large"),
            Self::Io(error) => write!(f, "{error}"),
        }
    }
}

/// Who may do what with a file that gatepass reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Other users may read, only the owner may write; links are followed (the user's own dot-file manager).
    OwnerWrites,
    /// Only the owner may read or write, and the path itself is no link.
    OwnerOnly,
}

/// Opens a file of this user (or of root) for reading and checks the opened descriptor.
///
/// `Ok(None)` if there is no such file.
pub fn open(path: &Path, access: Access) -> Result<Option<File>, Unsafe> {
    let mut options = OpenOptions::new();
    options.read(true);
    os::no_follow(&mut options, access);
    match patiently(|| options.open(path)) {
        Ok(file) => {
            os::check_file(&file, access)?;
            Ok(Some(file))
        }
        Err(error) if is_missing(&error) => Ok(None),
        Err(error) if os::is_link(&error) => Err(Unsafe::Kind),
        Err(error) => Err(error.into()),
    }
}

/// Tries again for a while on Windows, where a file that another process reads cannot be replaced at that moment, nor one be
/// opened that is being replaced. Elsewhere neither happens.
fn patiently<T>(mut attempt: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    let mut pause = Duration::from_millis(1);
    loop {
        match attempt() {
            Err(error)
                if cfg!(windows)
                    && error.kind() == io::ErrorKind::PermissionDenied
                    && pause < Duration::from_secs(1) =>
            {
                std::thread::sleep(pause);
                pause *= 2;
            }
            result => return result,
        }
    }
}

/// Neither the file nor, perhaps, its folder is there.
fn is_missing(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}

/// A file that was opened and checked, before it is read.
#[derive(Debug)]
pub struct Opened {
    file: File,
    about: Metadata,
}

impl Opened {
    /// A file that the caller has checked, with what it knows of it.
    pub fn checked(file: File, about: Metadata) -> Self {
        Self { file, about }
    }

    /// Reads all of it, if that is at most `limit` bytes.
    pub fn whole(self, limit: u64) -> Result<Vec<u8>, Unsafe> {
        let length = self.about.len().min(limit);
        // One byte more than there is, so that the end is seen without another allocation.
        let mut bytes = Vec::with_capacity(usize::try_from(length).unwrap_or(0) + 1);
        self.file.take(limit + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > limit {
            return Err(Unsafe::Size);
        }
        Ok(bytes)
    }
}

/// Opens a file and checks it, to be read soon. `Ok(None)` if there is no such file.
pub fn open_to_read(path: &Path, access: Access) -> Result<Option<Opened>, Unsafe> {
    let Some(file) = open(path, access)? else {
        return Ok(None);
    };
    let about = file.metadata()?;
    Ok(Some(Opened::checked(file, about)))
}

/// Reads a whole file of at most `limit` bytes after checking it. `Ok(None)` if there is no such file.
pub fn read(path: &Path, access: Access, limit: u64) -> Result<Option<Vec<u8>>, Unsafe> {
    let opened = open_to_read(path, access)?;
    opened.map(|file| file.whole(limit)).transpose()
}

/// How files are called that are not complete yet.
const UNNAMED: &str = ".new-";

/// Age at which no process works with such a file any more.
const LEFT_BEHIND: Duration = Duration::from_secs(60);

/// A folder of this user alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PrivateDir(PathBuf);

impl PrivateDir {
    /// Opens the folder, creating it (and its parents) with owner-only access if it is missing.
    pub fn create(path: &Path) -> Result<Self, Unsafe> {
        match Self::open(path)? {
            Some(dir) => Ok(dir),
            None => {
                let mut builder = DirBuilder::new();
                builder.recursive(true);
                os::private_dir(&mut builder);
                builder.create(path)?;
                Self::open(path)?.ok_or(Unsafe::Kind)
            }
        }
    }

    /// Opens the folder if it exists.
    pub fn open(path: &Path) -> Result<Option<Self>, Unsafe> {
        match fs::symlink_metadata(path) {
            Ok(metadata) if metadata.is_dir() => {
                os::check_dir(&metadata)?;
                Ok(Some(Self(path.to_owned())))
            }
            Ok(_) => Err(Unsafe::Kind),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// The folder's path.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Reads a private file of at most `limit` bytes in this folder.
    pub fn read(&self, name: &str, limit: u64) -> Result<Option<Vec<u8>>, Unsafe> {
        read(&self.0.join(name), Access::OwnerOnly, limit)
    }

    /// Atomic replacement of a file: readers see the old content or the new one, whatever happens.
    pub fn replace(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let mut file = tempfile::Builder::new()
            .prefix(UNNAMED)
            .tempfile_in(&self.0)?;
        file.write_all(bytes)?;
        file.as_file().sync_data()?;
        let target = self.0.join(name);
        let mut file = Some(file);
        patiently(|| {
            let Some(unnamed) = file.take() else {
                return Ok(());
            };
            unnamed.persist(&target).map(drop).map_err(|refused| {
                file = Some(refused.file);
                refused.error
            })
        })
    }

    /// Opens (or creates) a file to which lines are appended.
    pub fn append(&self, name: &str) -> Result<File, Unsafe> {
        let mut options = OpenOptions::new();
        options.append(true).create(true);
        os::no_follow(&mut options, Access::OwnerOnly);
        os::private_file(&mut options);
        let file = options.open(self.0.join(name))?;
        os::check_file(&file, Access::OwnerOnly)?;
        Ok(file)
    }

    /// Removes what writers left behind that died between writing a file and giving it its name.
    pub fn sweep(&self) {
        let old = |entry: &fs::DirEntry| {
            let modified = entry.metadata().and_then(|metadata| metadata.modified());
            modified.is_ok_and(|at| at.elapsed().is_ok_and(|age| age > LEFT_BEHIND))
        };
        for entry in fs::read_dir(&self.0).into_iter().flatten().flatten() {
            if entry.file_name().to_string_lossy().starts_with(UNNAMED) && old(&entry) {
                let _ = fs::remove_file(entry.path());
            }
        }
    }

    /// Removes a file; one that is not there counts as removed.
    pub fn remove(&self, name: &str) -> io::Result<()> {
        match fs::remove_file(self.0.join(name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Whether an open file is the one that has this name now.
    pub fn is_named(&self, name: &str, file: &File) -> bool {
        os::is_same(file, &self.0.join(name))
    }

    /// Opens (or creates) an empty file to take locks on. Such files are never deleted: a lock on a deleted file
    /// excludes no process.
    pub fn lock_file(&self, name: &str) -> Result<File, Unsafe> {
        self.in_place(name)
    }

    /// Opens (or creates) a file without changing what is in it, to write over parts of it in place.
    pub fn in_place(&self, name: &str) -> Result<File, Unsafe> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        os::no_follow(&mut options, Access::OwnerOnly);
        os::private_file(&mut options);
        let file = options.open(self.0.join(name))?;
        os::check_file(&file, Access::OwnerOnly)?;
        Ok(file)
    }
}

/// Creates a new private file; fails if one is there.
pub fn create_new(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    os::private_file(&mut options);
    options.open(path)
}

/// Reads from this place of a file on, in bytes, and says how much there was.
pub fn read_at(file: &File, place: u64, bytes: &mut [u8]) -> io::Result<usize> {
    #[cfg(unix)]
    return std::os::unix::fs::FileExt::read_at(file, bytes, place);
    #[cfg(windows)]
    return std::os::windows::fs::FileExt::seek_read(file, bytes, place);
}

/// Writes at this place of a file, in bytes, whether or not the file is that long.
pub fn write_at(file: &File, place: u64, bytes: &[u8]) -> io::Result<()> {
    #[cfg(unix)]
    let written = std::os::unix::fs::FileExt::write_at(file, bytes, place)?;
    #[cfg(windows)]
    let written = std::os::windows::fs::FileExt::seek_write(file, bytes, place)?;
    if written == bytes.len() {
        Ok(())
    } else {
        Err(io::ErrorKind::WriteZero.into())
    }
}

#[cfg(unix)]
mod os {
    use std::fs::{DirBuilder, File, Metadata, OpenOptions};
    use std::io;
    use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
    use std::path::Path;

    use super::{Access, Unsafe};
    use crate::platform::User;

    pub(super) fn no_follow(options: &mut OpenOptions, access: Access) {
        // NONBLOCK so that a FIFO put in our way is opened and refused instead of waited for.
        let mut flags = rustix::fs::OFlags::CLOEXEC | rustix::fs::OFlags::NONBLOCK;
        if access == Access::OwnerOnly {
            flags |= rustix::fs::OFlags::NOFOLLOW;
        }
        options.custom_flags(flags.bits().cast_signed());
    }

    pub(super) fn is_link(error: &io::Error) -> bool {
        error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error())
    }

    pub(super) fn private_file(options: &mut OpenOptions) {
        options.mode(0o600);
    }

    pub(super) fn private_dir(builder: &mut DirBuilder) {
        builder.mode(0o700);
    }

    pub(super) fn check_file(file: &File, access: Access) -> Result<(), Unsafe> {
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Err(Unsafe::Kind);
        }
        let user = User::current().id();
        match access {
            Access::OwnerOnly if metadata.uid() != user => Err(Unsafe::Owner),
            Access::OwnerWrites if metadata.uid() != user && metadata.uid() != 0 => {
                Err(Unsafe::Owner)
            }
            Access::OwnerOnly if metadata.mode() & 0o077 != 0 || metadata.nlink() > 1 => {
                Err(Unsafe::Mode)
            }
            Access::OwnerWrites if metadata.mode() & 0o022 != 0 => Err(Unsafe::Mode),
            _ => Ok(()),
        }
    }

    pub(super) fn is_same(file: &File, path: &Path) -> bool {
        let (ours, there) = (file.metadata(), std::fs::symlink_metadata(path));
        ours.is_ok_and(|ours| {
            there.is_ok_and(|there| (ours.dev(), ours.ino()) == (there.dev(), there.ino()))
        })
    }

    pub(super) fn check_dir(metadata: &Metadata) -> Result<(), Unsafe> {
        if metadata.uid() != User::current().id() {
            Err(Unsafe::Owner)
        } else if metadata.mode() & 0o022 != 0 {
            Err(Unsafe::Mode)
        } else {
            Ok(())
        }
    }
}

/// Windows guards these folders by the access control lists they inherit from the user's profile.
#[cfg(windows)]
mod os {
    use std::fs::{DirBuilder, File, Metadata, OpenOptions};
    use std::io;
    use std::path::Path;

    use super::{Access, Unsafe};

    pub(super) fn no_follow(_: &mut OpenOptions, _: Access) {}
    pub(super) fn is_link(_: &io::Error) -> bool {
        false
    }
    pub(super) fn private_file(_: &mut OpenOptions) {}
    pub(super) fn private_dir(_: &mut DirBuilder) {}
    pub(super) fn check_file(file: &File, _: Access) -> Result<(), Unsafe> {
        if file.metadata()?.is_file() {
            Ok(())
        } else {
            Err(Unsafe::Kind)
        }
    }
    /// A file that is open cannot be replaced here.
    pub(super) fn is_same(_: &File, _: &Path) -> bool {
        true
    }
    pub(super) fn check_dir(_: &Metadata) -> Result<(), Unsafe> {
        Ok(())
    }
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::{Access, PrivateDir, Unsafe, read};

    fn folder() -> (tempfile::TempDir, PrivateDir) {
        let base = tempfile::tempdir().unwrap();
        let dir = PrivateDir::create(&base.path().join("a/b")).unwrap();
        (base, dir)
    }

    #[test]
    fn folders_and_files_are_created_for_the_owner_alone() {
        let (_base, dir) = folder();
        dir.replace("state", b"x").unwrap();
        let mode = |path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(dir.path().to_owned()), 0o700);
        assert_eq!(mode(dir.path().join("state")), 0o600);
        assert_eq!(dir.read("state", 10).unwrap().unwrap(), b"x");
    }

    #[test]
    fn what_others_could_have_planted_is_refused() {
        let (_base, dir) = folder();
        let path = dir.path().join("state");
        fs::write(dir.path().join("target"), "x").unwrap();
        symlink(dir.path().join("target"), &path).unwrap();
        assert!(matches!(dir.read("state", 10), Err(Unsafe::Kind)));
        fs::remove_file(&path).unwrap();
        fs::write(&path, "x").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(dir.read("state", 10), Err(Unsafe::Mode)));
        assert!(read(&path, Access::OwnerWrites, 10).is_ok());
        fs::set_permissions(&path, fs::Permissions::from_mode(0o660)).unwrap();
        assert!(matches!(
            read(&path, Access::OwnerWrites, 10),
            Err(Unsafe::Mode)
        ));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        fs::hard_link(&path, dir.path().join("other-name")).unwrap();
        assert!(matches!(dir.read("state", 10), Err(Unsafe::Mode)));
        fs::remove_file(&path).unwrap();
        // Opened and refused, without waiting for a pipe's other end.
        rustix::fs::mknodat(
            rustix::fs::CWD,
            &path,
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::from_raw_mode(0o600),
            0,
        )
        .unwrap();
        assert!(matches!(dir.read("state", 10), Err(Unsafe::Kind)));
        assert!(matches!(dir.lock_file("state"), Err(Unsafe::Kind)));
        assert!(matches!(
            read(&path, Access::OwnerWrites, 10),
            Err(Unsafe::Kind)
        ));
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        assert!(matches!(dir.read("state", 10), Err(Unsafe::Kind)));
        assert!(matches!(
            read("/dev/zero".as_ref(), Access::OwnerWrites, 10),
            Err(Unsafe::Kind)
        ));
        symlink(dir.path(), dir.path().with_extension("link")).unwrap();
        assert!(matches!(
            PrivateDir::open(&dir.path().with_extension("link")),
            Err(Unsafe::Kind)
        ));
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o770)).unwrap();
        assert!(matches!(PrivateDir::open(dir.path()), Err(Unsafe::Mode)));
    }

    #[test]
    fn larger_than_expected_is_refused() {
        let (_base, dir) = folder();
        dir.replace("state", &[b'x'; 11]).unwrap();
        assert!(matches!(dir.read("state", 10), Err(Unsafe::Size)));
        assert!(dir.read("missing", 10).unwrap().is_none());
    }
}
