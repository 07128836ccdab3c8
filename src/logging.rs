//! Diagnostic lines: on standard error when `-v` or `GATEPASS_LOG` asks for them, and in a file beside the state
//! when the configuration does (`log_level`), for machines whose standard error is not read.
//!
//! Only gatepass's own lines are written: a library's debug output may quote requests. Each line is cleaned
//! again before it is written, and no secret type can be formatted into one.

use std::fs::File;
use std::io::{self, Write};
use std::sync::{Mutex, OnceLock, PoisonError};

use log::{Level, LevelFilter, Log, Metadata, Record};

use crate::config::settings::Settings;
use crate::error::Failure;
use crate::platform::files::{PrivateDir, Unsafe};
use crate::platform::paths;
use crate::{clock, text};

/// Name of the log in the state folder, and of the one before it.
const NAME: &str = "gatepass.log";
const OLDER: &str = "gatepass.log.1";

/// Name of the lock that admits one process to the change from one to the other.
const LOCK: &str = "gatepass.log-lock";

/// Size at which a new log is begun, in bytes. With the one before it that is the most that is kept.
const FULL: u64 = 1024 * 1024;

/// Longest line, in characters.
const LINE: usize = 1000;

/// Both places, and how much goes to each.
struct Logger {
    stderr: OnceLock<LevelFilter>,
    file: OnceLock<LogFile>,
}

static LOGGER: Logger = Logger {
    stderr: OnceLock::new(),
    file: OnceLock::new(),
};

impl Logger {
    fn to_stderr(&self) -> LevelFilter {
        self.stderr.get().copied().unwrap_or(LevelFilter::Off)
    }
}

impl Log for Logger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("gatepass")
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let level = record.level();
        let line = text::printable(&record.args().to_string(), LINE);
        if level <= self.to_stderr() {
            let level = level.as_str().to_ascii_lowercase();
            // A closed standard error is no reason to stop.
            let _ = writeln!(io::stderr(), "gatepass: {level}: {line}");
        }
        if let Some(file) = self.file.get() {
            file.write(level, &line);
        }
    }

    fn flush(&self) {}
}

/// Starts logging to standard error at the level that `GATEPASS_LOG` names, or at `info` for `--verbose`.
///
/// An unknown level counts as `info`: a support engineer who mistypes wants lines.
pub fn start(verbose: bool) {
    let asked = std::env::var_os("GATEPASS_LOG").filter(|value| !value.is_empty());
    let level = match asked.as_ref().and_then(|value| value.to_str()) {
        Some("error") => LevelFilter::Error,
        Some("warn") => LevelFilter::Warn,
        Some("info") => LevelFilter::Info,
        Some("debug" | "trace") => LevelFilter::Debug,
        Some("off") => LevelFilter::Off,
        None if asked.is_none() && !verbose => LevelFilter::Off,
        _ => LevelFilter::Info,
    };
    if level != LevelFilter::Off && LOGGER.stderr.set(level).is_ok() {
        install(level);
    }
}

/// Keeps lines in the file too, where the configuration asks for that. Otherwise this costs a comparison.
pub fn keep(settings: &Settings) {
    let level = settings.log_level;
    if level == LevelFilter::Off {
        return;
    }
    // A log that cannot be written is no reason to refuse a token; `doctor` tells of the folder.
    let Some(dir) = paths::state_dir()
        .ok()
        .and_then(|path| PrivateDir::create(&path).ok())
    else {
        return;
    };
    if LOGGER.file.set(LogFile::new(dir, level)).is_ok() {
        install(level.max(LOGGER.to_stderr()));
    }
}

fn install(level: LevelFilter) {
    // Two calls are one too many, which changes nothing.
    let _ = log::set_logger(&LOGGER);
    log::set_max_level(level);
}

/// Whether lines go to standard error, so that a worker's are worth passing on.
pub fn is_on_stderr() -> bool {
    LOGGER.to_stderr() != LevelFilter::Off
}

/// Notes in the file how this run failed. Standard error is told in any case.
pub fn failed(failure: &Failure) {
    if let Some(file) = LOGGER.file.get() {
        let line = format!("{} [{}]", failure.what, failure.id.as_str());
        file.write(Level::Error, &text::printable(&line, LINE));
    }
}

/// The last lines of the file, oldest first.
pub fn tail(lines: usize) -> Vec<String> {
    let dir = paths::state_dir()
        .ok()
        .and_then(|path| PrivateDir::open(&path).ok()?);
    let Some(dir) = dir else {
        return Vec::new();
    };
    // A process may write a line while another one begins a new file.
    let limit = FULL + 64 * 1024;
    let read = |name| dir.read(name, limit).ok().flatten().unwrap_or_default();
    let mut bytes = read(OLDER);
    bytes.extend(read(NAME));
    let text = String::from_utf8_lossy(&bytes);
    let all: Vec<&str> = text.lines().collect();
    all[all.len().saturating_sub(lines)..]
        .iter()
        .map(|line| text::printable(line, LINE + 100))
        .collect()
}

/// The file, shared with every other gatepass of this user.
struct LogFile {
    dir: PrivateDir,
    level: LevelFilter,
    full: u64,
    file: Mutex<Option<File>>,
}

impl LogFile {
    fn new(dir: PrivateDir, level: LevelFilter) -> Self {
        Self {
            dir,
            level,
            full: FULL,
            file: Mutex::new(None),
        }
    }

    /// Appends a line in one write, so that lines of several processes do not mix.
    fn write(&self, level: Level, line: &str) {
        if level > self.level {
            return;
        }
        let now = clock::now_millis();
        let at = text::moment(now / 1000);
        let line = format!(
            "{}.{:03}Z {:5} [{}] {line}\n",
            at.trim_end_matches('Z'),
            now % 1000,
            level.as_str().to_ascii_lowercase(),
            std::process::id()
        );
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(mut open) = self.current(file.take()) {
            let _ = open.write_all(line.as_bytes());
            *file = Some(open);
        }
    }

    /// The file to write to: the open one unless it is full.
    fn current(&self, open: Option<File>) -> Option<File> {
        let has_room = |file: &File| file.metadata().is_ok_and(|file| file.len() < self.full);
        let open = match open {
            Some(file) => file,
            None => self.dir.append(NAME).ok()?,
        };
        if has_room(&open) {
            return Some(open);
        }
        // Another process may have begun a new one already.
        let newest = self.dir.append(NAME).ok()?;
        if has_room(&newest) {
            return Some(newest);
        }
        self.begin_anew().ok()?;
        self.dir.append(NAME).ok()
    }

    /// The full file becomes the older one. One process does it; the others find it done.
    fn begin_anew(&self) -> Result<(), Unsafe> {
        let lock = self.dir.lock_file(LOCK)?;
        lock.lock()?;
        let full = self.dir.path().join(NAME);
        match std::fs::metadata(&full) {
            Ok(about) if about.len() >= self.full => {
                std::fs::rename(&full, self.dir.path().join(OLDER))?;
            }
            Ok(_) => {}
            // Another process has moved it, and has not begun the new one yet.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(base: &tempfile::TempDir, full: u64) -> LogFile {
        let dir = PrivateDir::create(&base.path().join("state")).unwrap();
        LogFile {
            full,
            ..LogFile::new(dir, LevelFilter::Info)
        }
    }

    #[test]
    fn lines_have_time_level_and_process_and_only_those_asked_for_are_kept() {
        let base = tempfile::tempdir().unwrap();
        let log = file(&base, FULL);
        log.write(Level::Info, "first");
        log.write(Level::Debug, "not asked for");
        log.write(Level::Error, "second");
        let text = log.dir.read(NAME, FULL).unwrap().unwrap();
        let text = String::from_utf8(text).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 2, "{text}");
        let process = format!("[{}]", std::process::id());
        assert!(
            lines[0].ends_with(&format!("Z info  {process} first")),
            "{text}"
        );
        assert!(
            lines[1].ends_with(&format!("Z error {process} second")),
            "{text}"
        );
        assert_eq!(lines[0].as_bytes()[23], b'Z', "milliseconds: {text}");
    }

    #[test]
    fn writers_at_once_lose_no_line_and_keep_two_files_at_most() {
        const WRITERS: usize = 4;
        const LINES: usize = 50;
        let base = tempfile::tempdir().unwrap();
        // Room for all lines in two files, and too little in one.
        let full = 8 * 1024;
        let logs: Vec<LogFile> = (0..WRITERS).map(|_| file(&base, full)).collect();
        std::thread::scope(|scope| {
            for (writer, log) in logs.iter().enumerate() {
                scope.spawn(move || {
                    for line in 0..LINES {
                        log.write(Level::Info, &format!("writer {writer} line {line}"));
                    }
                });
            }
        });
        let dir = &logs[0].dir;
        let read = |name| dir.read(name, FULL).unwrap().unwrap_or_default();
        let (older, newer) = (read(OLDER), read(NAME));
        assert!(!older.is_empty(), "it was full once");
        assert!(older.len() as u64 <= full + 1024 && (newer.len() as u64) < full + 1024);
        let text = String::from_utf8([older, newer].concat()).unwrap();
        assert_eq!(text.lines().count(), WRITERS * LINES, "every line is whole");
        let others = std::fs::read_dir(dir.path()).unwrap().count();
        assert_eq!(others, 3, "two logs and the lock");
    }
}
