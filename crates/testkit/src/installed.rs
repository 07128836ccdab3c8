//! What tests of a program share that runs somewhere else: in Wine's Windows, in a machine of its own.

use std::process::{Child, Command, Output};
use std::thread;
use std::time::{Duration, Instant};

use crate::provider::{Provider, client};

/// Longest wait for anything, on a machine with other things to do.
pub const PATIENCE: Duration = Duration::from_secs(300);

/// Where the browser that [`browser`] configures leaves the address.
pub const VISITS: &str = r"HKCU\SOFTWARE\GatepassTest";

/// How a program ended.
#[derive(Debug)]
pub struct Outcome {
    /// Its exit code; none where a signal ended it.
    pub code: Option<i32>,
    /// What it printed.
    pub stdout: String,
    /// What it said.
    pub stderr: String,
}

impl Outcome {
    /// Runs it to its end.
    ///
    /// # Panics
    /// Where it cannot be started, or does not end.
    #[must_use]
    pub fn of(command: &mut Command) -> Self {
        Self::of_child(command.spawn().expect("it can be started"))
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// Where it does not end.
    #[must_use]
    pub fn of_child(mut child: Child) -> Self {
        let started = Instant::now();
        while child.try_wait().expect("a child").is_none() {
            assert!(started.elapsed() < PATIENCE, "it does not end");
            thread::sleep(Duration::from_millis(20));
        }
        child.wait_with_output().expect("its output").into()
    }

    /// The exit code has to be this one.
    ///
    /// # Panics
    /// Where it is not.
    #[track_caller]
    pub fn expect(self, code: i32) -> Self {
        assert_eq!(
            self.code,
            Some(code),
            "stdout has {} bytes; stderr:\n{}",
            self.stdout.len(),
            self.stderr
        );
        self
    }

    /// The token on standard output, which has nothing else on it.
    ///
    /// # Panics
    /// Where it is not so.
    #[track_caller]
    pub fn token(self) -> String {
        let ended = self.expect(0);
        let token = ended.stdout.strip_suffix('\n').expect("a line");
        assert!(!token.is_empty() && !token.contains(char::is_whitespace));
        token.to_owned()
    }
}

impl From<Output> for Outcome {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

/// Looks until something is found.
///
/// # Panics
/// Where that does not happen.
#[track_caller]
pub fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(started.elapsed() < PATIENCE, "{what}");
        thread::sleep(Duration::from_millis(50));
    }
}

/// Does what the browser would do with the address that gatepass opened, and gives the page at the end.
///
/// # Panics
/// Where the address is not the provider's, or nothing answers there.
#[must_use]
pub fn visit(provider: &Provider, address: &str) -> String {
    assert!(address.starts_with(&provider.issuer()), "{address}");
    let back = client::get(address).expect("the provider answers");
    let redirect = back.header("location").expect("a redirect").to_owned();
    assert!(redirect.starts_with("http://127.0.0.1:"), "{redirect}");
    // The page is at another address than the one with the code.
    let done = client::get(&redirect).expect("gatepass answers");
    let page = done.header("location").expect("another redirect");
    let here = redirect.find("/callback").expect("the path of a redirect");
    let page = client::get(&format!("{}{page}", &redirect[..here]));
    page.expect("gatepass answers").text()
}

/// A line of configuration with a browser for Windows: `reg.exe` takes the address as one argument and leaves it where
/// the test finds it.
#[must_use]
pub fn browser() -> String {
    format!(
        "browser = ['C:\\windows\\system32\\reg.exe', 'add', '{VISITS}', '/v', 'visit', '/f', '/d']\n"
    )
}

/// The address in what `reg query` says of the place where the browser leaves it.
#[must_use]
pub fn address_in(answer: &str) -> Option<String> {
    let start = answer.find("http")?;
    answer[start..].split_whitespace().next().map(str::to_owned)
}

/// Requests for another token.
#[must_use]
pub fn refreshes(provider: &Provider) -> usize {
    provider.token_grants("refresh_token")
}

/// Where Windows looks for the libraries that a program of 64 bits names, as it reads that: by the load configuration of
/// which the head has the address ("PE Format"). None where the program does not say, and Windows looks beside it first.
///
/// # Panics
/// Where it cannot be read.
#[must_use]
pub fn dependent_load_flags(program: &std::path::Path) -> Option<u16> {
    let bytes = std::fs::read(program).expect("a program");
    let number = |at: usize, size: usize| {
        let mut wide = [0; 8];
        wide[..size].copy_from_slice(bytes.get(at..at + size)?);
        usize::try_from(u64::from_le_bytes(wide)).ok()
    };
    let pe = number(0x3c, 4)?;
    let optional = pe + 24;
    assert_eq!(number(optional, 2), Some(0x20b), "a program of 64 bits");
    let (address, size) = (number(optional + 192, 4)?, number(optional + 196, 4)?);
    if address == 0 || size < 80 {
        return None;
    }
    let heads = optional + number(pe + 20, 2)?;
    let place = (0..number(pe + 6, 2)?).find_map(|index| {
        let head = heads + index * 40;
        let within = address.checked_sub(number(head + 12, 4)?)?;
        (within < number(head + 16, 4)?).then_some(number(head + 20, 4)? + within)
    })?;
    assert!(
        number(place, 4)? >= 80,
        "as long as it must be to have the flags"
    );
    number(place + 78, 2)?.try_into().ok()
}
