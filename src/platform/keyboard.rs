//! Lines that the user types or pastes while we wait for something else.
//!
//! A terminal that edits lines itself cuts them off (at 4095 bytes on Linux, 1023 on macOS), and an authorization
//! response can be longer. So on Unix the terminal hands over what comes as it comes, without showing it, and is set
//! back at the end.

use std::sync::mpsc::{self, Receiver};
use std::thread;

use zeroize::Zeroizing;

/// Longest line, in bytes; of a longer one nothing is kept.
const LINE: usize = 24 * 1024;

/// The keyboard, for as long as this lives.
#[derive(Debug)]
pub struct Keyboard {
    lines: Receiver<Zeroizing<Vec<u8>>>,
}

impl Keyboard {
    /// Listens to the terminal on standard input, if there is one and it is ours to read.
    pub fn open() -> Option<Self> {
        terminal::take()?;
        let (send, lines) = mpsc::channel();
        let spawned = thread::Builder::new()
            .name("keyboard".to_owned())
            .spawn(move || {
                let mut typing = Typing::default();
                while let Some(bytes) = terminal::read() {
                    for line in typing.take(&bytes) {
                        if send.send(line).is_err() {
                            return;
                        }
                    }
                }
            });
        spawned.ok().map(|_| Self { lines })
    }

    /// The next line, if one was finished since the last question. A line that was too long is empty.
    pub fn line(&self) -> Option<Zeroizing<Vec<u8>>> {
        self.lines.try_recv().ok()
    }
}

impl Drop for Keyboard {
    fn drop(&mut self) {
        give_back();
    }
}

/// Sets the terminal back to what it was, wherever the process ends.
pub fn give_back() {
    terminal::give_back();
}

/// A line that is being typed.
#[derive(Default)]
struct Typing {
    line: Zeroizing<Vec<u8>>,
    too_long: bool,
}

impl Typing {
    /// Takes bytes in and gives the lines that they finish, empty ones left out.
    fn take(&mut self, bytes: &[u8]) -> Vec<Zeroizing<Vec<u8>>> {
        let mut lines = Vec::new();
        for byte in bytes {
            match byte {
                b'\r' | b'\n' => {
                    let line = std::mem::take(&mut self.line);
                    let too_long = std::mem::take(&mut self.too_long);
                    if too_long {
                        lines.push(Zeroizing::default());
                    } else if !line.is_empty() {
                        lines.push(line);
                    }
                }
                // Backspace, and Ctrl-U for the whole line.
                0x7f | 0x08 => drop(self.line.pop()),
                0x15 => *self = Self::default(),
                // An address has no spaces and no control characters.
                0x21..=0x7e if self.line.len() < LINE => {
                    if self.line.capacity() == 0 {
                        // Once, so that no copy stays behind when it grows.
                        self.line.reserve_exact(LINE);
                    }
                    self.line.push(*byte);
                }
                0x21..=0x7e => self.too_long = true,
                _ => {}
            }
        }
        lines
    }
}

#[cfg(unix)]
mod terminal {
    use std::sync::Mutex;

    use rustix::process::getpgrp;
    use rustix::stdio::stdin;
    use rustix::termios::{
        LocalModes, OptionalActions, Termios, isatty, tcgetattr, tcgetpgrp, tcsetattr,
    };
    use zeroize::Zeroizing;

    /// How the terminal was before.
    static BEFORE: Mutex<Option<Termios>> = Mutex::new(None);

    /// A program in the background that touches the terminal is stopped, so it keeps away.
    fn is_ours() -> bool {
        isatty(stdin()) && tcgetpgrp(stdin()).is_ok_and(|group| group == getpgrp())
    }

    pub(super) fn take() -> Option<()> {
        if !is_ours() {
            return None;
        }
        let before = tcgetattr(stdin()).ok()?;
        let mut quiet = before.clone();
        // Ctrl-C stays what it is.
        quiet
            .local_modes
            .remove(LocalModes::ICANON | LocalModes::ECHO);
        *BEFORE.lock().ok()? = Some(before);
        tcsetattr(stdin(), OptionalActions::Now, &quiet).ok()
    }

    pub(super) fn give_back() {
        let before = BEFORE.lock().ok().and_then(|mut before| before.take());
        if let Some(before) = before {
            // What was typed ahead is not for the shell: it may be half of an address.
            let _ = tcsetattr(stdin(), OptionalActions::Flush, &before);
        }
    }

    pub(super) fn read() -> Option<Zeroizing<Vec<u8>>> {
        let mut buffer = Zeroizing::new(vec![0; 4096]);
        let length = rustix::io::retry_on_intr(|| rustix::io::read(stdin(), &mut **buffer)).ok()?;
        buffer.truncate(length);
        (length > 0).then_some(buffer)
    }
}

#[cfg(not(unix))]
mod terminal {
    use std::io::{IsTerminal, Read};

    use zeroize::Zeroizing;

    /// The console's own lines are long enough.
    pub(super) fn take() -> Option<()> {
        std::io::stdin().is_terminal().then_some(())
    }

    pub(super) fn give_back() {}

    pub(super) fn read() -> Option<Zeroizing<Vec<u8>>> {
        let mut buffer = Zeroizing::new(vec![0; 4096]);
        let length = std::io::stdin().lock().read(&mut buffer).ok()?;
        buffer.truncate(length);
        (length > 0).then_some(buffer)
    }
}

#[cfg(test)]
mod tests {
    use super::{LINE, Typing};

    #[test]
    fn lines_come_out_as_they_were_meant() {
        let mut typing = Typing::default();
        let mut lines = |bytes: &[u8]| -> Vec<String> {
            typing
                .take(bytes)
                .iter()
                .map(|line| String::from_utf8(line.to_vec()).unwrap())
                .collect()
        };
        for (bytes, expected) in [
            (&b"http://"[..], &[][..]),
            (b"a\n", &["http://a"]),
            (b"\n\r\n", &[]),
            (b"ab\x7fc\x08d\n", &["ad"]),
            (b"wrong\x15right\r", &["right"]),
            (b" a b\x1b[31m\t\xff\n", &["ab[31m"]),
            (b"a\nb\nc", &["a", "b"]),
            (b"\x7f\x7f\n", &[]),
        ] {
            assert_eq!(lines(bytes), expected, "{bytes:?}");
        }
        assert_eq!(lines(&vec![b'x'; LINE]), [""; 0]);
        assert_eq!(lines(b"\n"), ["x".repeat(LINE)]);
        assert_eq!(lines(&vec![b'x'; LINE * 3]), [""; 0]);
        assert_eq!(lines(b"\nb\n"), ["", "b"], "too long, and the next one");
    }
}
