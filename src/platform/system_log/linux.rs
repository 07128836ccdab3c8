//! Linux: a datagram to `/dev/log`, where journald or a syslog daemon listens.
//!
//! The form is that of syslog(3) of the C libraries: `<PRI>Mmm dd hh:mm:ss tag[pid]: text` (RFC 3164 section 4.1
//! without a host).

use std::io;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::time::Duration;

use time::OffsetDateTime;

use super::Weight;

/// Where the daemon listens.
const SOCKET: &str = "/dev/log";

/// `LOG_AUTHPRIV` of `<syslog.h>`: lines about who was let in, which not every user should read.
const AUTHPRIV: u8 = 10 << 3;

/// Longest wait for a daemon that is behind with its work.
const WAIT: Duration = Duration::from_millis(200);

pub(super) fn write(weight: Weight, line: &str) -> io::Result<()> {
    write_to(Path::new(SOCKET), weight, line)
}

pub(super) fn reachable() -> io::Result<()> {
    connected(Path::new(SOCKET)).map(drop)
}

fn connected(path: &Path) -> io::Result<UnixDatagram> {
    let socket = UnixDatagram::unbound()?;
    socket.connect(path)?;
    socket.set_write_timeout(Some(WAIT))?;
    Ok(socket)
}

fn write_to(path: &Path, weight: Weight, line: &str) -> io::Result<()> {
    let severity = match weight {
        Weight::Warning => 4,
        Weight::Notice => 5,
    };
    let message = format!(
        "<{}>{} gatepass[{}]: {line}",
        AUTHPRIV | severity,
        timestamp(OffsetDateTime::now_utc()),
        std::process::id()
    );
    connected(path)?.send(message.as_bytes()).map(drop)
}

/// In UTC, as musl's syslog(3) has it. Daemons use the moment at which a line arrives.
fn timestamp(at: OffsetDateTime) -> String {
    let month = at.month().to_string();
    let (hour, minute, second) = at.to_hms();
    let (month, day) = (month.get(..3).unwrap_or_default(), at.day());
    format!("{month} {day:2} {hour:02}:{minute:02}:{second:02}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_arrives_in_the_form_of_syslog() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        assert!(connected(&path).is_err(), "no daemon listens yet");
        let daemon = UnixDatagram::bind(&path).unwrap();
        write_to(&path, Weight::Notice, "event=token profile=\"a\"").unwrap();
        write_to(&path, Weight::Warning, "event=refused").unwrap();
        let receive = || {
            let mut bytes = [0; 1024];
            let length = daemon.recv(&mut bytes).unwrap();
            String::from_utf8(bytes[..length].to_vec()).unwrap()
        };
        let first = receive();
        let tail = format!(
            " gatepass[{}]: event=token profile=\"a\"",
            std::process::id()
        );
        assert!(first.starts_with("<85>"), "authpriv.notice: {first}");
        assert!(first.ends_with(&tail), "{first}");
        assert_eq!(first.len(), "<85>Mmm dd hh:mm:ss".len() + tail.len());
        assert!(receive().starts_with("<84>"), "authpriv.warning");
    }

    #[test]
    fn days_of_one_digit_are_padded_by_a_space() {
        assert_eq!(timestamp(OffsetDateTime::UNIX_EPOCH), "Jan  1 00:00:00");
    }
}
