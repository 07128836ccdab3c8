//! Diagnostic lines on standard error, when `-v` or `GATEPASS_LOG` asks for them.
//!
//! Only gatepass's own lines are written: a library's debug output may quote requests. Each line is cleaned
//! again before it is written, and no secret type can be formatted into one.

use std::io::Write;

use log::{LevelFilter, Log, Metadata, Record};

use crate::text;

struct Stderr;

impl Log for Stderr {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("gatepass")
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            let line = text::printable(&record.args().to_string(), 1000);
            let level = record.level().as_str().to_ascii_lowercase();
            // A closed standard error is no reason to stop.
            let _ = writeln!(std::io::stderr(), "gatepass: {level}: {line}");
        }
    }

    fn flush(&self) {}
}

/// Starts logging at the level that `GATEPASS_LOG` names, or at `info` for `--verbose`.
///
/// An unknown level is reported once and counts as `info`: a support engineer who mistypes wants lines.
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
    if level != LevelFilter::Off && log::set_logger(&Stderr).is_ok() {
        log::set_max_level(level);
    }
}
