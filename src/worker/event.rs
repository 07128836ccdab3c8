//! What a worker says through its pipe: that it has begun, and how it ended.
//!
//! The pipe is the one way on which a token passes between two processes of gatepass without the keychain; it
//! has no name and ends with them.

use std::io::{BufRead, Write};

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::error::{Failure, Result};
use crate::session::kept_failure::KeptFailure;
use crate::session::record::IssuedToken;

/// Longest line that is read, in bytes: a token of 16 KiB and its headers.
const LINE: u64 = 256 * 1024;

/// What a worker says: one line of the pipe each.
#[derive(Debug)]
pub enum WorkerEvent {
    /// It holds the lock and works.
    Begun,
    /// It has ended, with a token or a failure.
    Done(Result<IssuedToken>),
}

/// A failure on its own line, told apart from a token by its first byte.
#[derive(Serialize, Deserialize)]
struct FailureLine {
    failure: KeptFailure,
}

fn failure_line(failure: &Failure) -> Result<Zeroizing<Vec<u8>>> {
    let failure = KeptFailure::from(failure);
    serde_json::to_vec(&FailureLine { failure })
        .map(Zeroizing::new)
        .map_err(|error| Failure::internal(format!("a failure cannot be written: {error}")))
}

impl WorkerEvent {
    /// Writes the line. A caller that was killed reads nothing, which is no reason to stop.
    ///
    /// # Errors
    /// `internal` where there is no line for it; then nothing is written, and the caller sees the pipe end.
    pub(super) fn write(&self, mut to: impl Write) -> Result<()> {
        let line = match self {
            Self::Begun => Zeroizing::new(b"begun".to_vec()),
            Self::Done(Ok(token)) => match token.to_cache(0) {
                Ok(line) => line,
                Err(failure) => failure_line(&failure)?,
            },
            Self::Done(Err(failure)) => failure_line(failure)?,
        };
        let _ = to
            .write_all(&line)
            .and_then(|()| to.write_all(b"\n"))
            .and_then(|()| to.flush());
        Ok(())
    }

    /// Reads one line; `None` at the end.
    pub(super) fn read(from: &mut impl BufRead, digest: &str) -> Option<Self> {
        let mut line = Zeroizing::new(Vec::new());
        std::io::Read::take(&mut *from, LINE)
            .read_until(b'\n', &mut line)
            .ok()?;
        match line.strip_suffix(b"\n")? {
            b"begun" => Some(Self::Begun),
            line if line.first() == Some(&b'{') => {
                let line: FailureLine = serde_json::from_slice(line).ok()?;
                Some(Self::Done(Err(line.failure.into())))
            }
            line => IssuedToken::from_cache(line, 0, digest).map(|token| Self::Done(Ok(token))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::record::tests::sample;

    #[test]
    fn lines_arrive_as_they_were_sent() {
        let token = sample().token.unwrap();
        let failure = Failure::config("a\nb", "c").told_by_provider();
        let mut pipe = Vec::new();
        WorkerEvent::Begun.write(&mut pipe).unwrap();
        WorkerEvent::Done(Ok(token.clone()))
            .write(&mut pipe)
            .unwrap();
        WorkerEvent::Done(Err(failure.clone()))
            .write(&mut pipe)
            .unwrap();
        let mut pipe = &pipe[..];
        assert!(matches!(
            WorkerEvent::read(&mut pipe, "d"),
            Some(WorkerEvent::Begun)
        ));
        assert!(
            matches!(WorkerEvent::read(&mut pipe, "d"), Some(WorkerEvent::Done(Ok(read))) if read == token)
        );
        assert!(
            matches!(WorkerEvent::read(&mut pipe, "d"), Some(WorkerEvent::Done(Err(read))) if read == failure)
        );
        assert!(WorkerEvent::read(&mut pipe, "d").is_none());
        assert!(WorkerEvent::read(&mut &b"cut short"[..], "d").is_none());
    }
}
