//! What the user has to type: a key, and secrets for headers. At a terminal without echo, else a line each.

use std::collections::BTreeMap;
use std::io::{self, BufRead, IsTerminal, Write};

use zeroize::Zeroizing;

use crate::config::settings::{Kind, Settings};
use crate::credential::{self, LONGEST, Use};
use crate::error::{Failure, Id, Result};
use crate::secret::Secret;

/// What was typed. What was left empty stays as it is.
#[derive(Default)]
pub(super) struct Typed {
    pub(super) key: Option<Secret>,
    pub(super) headers: BTreeMap<String, Secret>,
}

/// Asks for the key, then for the headers in the order in which they are listed.
pub(super) fn secrets(settings: &Settings) -> Result<Typed> {
    let mut typed = Typed::default();
    if settings.kind == Kind::Key {
        typed.key = one("key for the gateway", Use::Token)?;
    }
    for name in &settings.secret_headers {
        if let Some(secret) = one(&format!("value of the header {name}"), Use::Header)? {
            typed.headers.insert(name.clone(), secret);
        }
    }
    Ok(typed)
}

fn one(what: &str, purpose: Use) -> Result<Option<Secret>> {
    let line = if io::stdin().is_terminal() {
        let _ = write!(
            io::stderr(),
            "{what} (not shown; empty keeps the stored one): "
        );
        rpassword::read_password().map(Zeroizing::new)
    } else {
        line_of_input()
    };
    let line = line.map_err(|error| {
        Failure::new(
            Id::SignInFailed,
            format!("the {what} could not be read: {error}"),
            "gatepass login, and type it at the prompt or give it on standard input",
        )
    })?;
    let secret = Secret::new(line.trim());
    if secret.is_empty() {
        return Ok(None);
    }
    if !credential::may_be_stored(&secret, purpose) {
        return Err(Failure::new(
            Id::SignInFailed,
            format!("the {what} has characters that no key has, or is too long"),
            "copy it again, without line breaks, and run gatepass login",
        ));
    }
    Ok(Some(secret))
}

/// One line of standard input, which must not be longer than a secret can be.
fn line_of_input() -> io::Result<Zeroizing<String>> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(LONGEST + 2));
    let mut input = io::stdin().lock();
    loop {
        let available = input.fill_buf()?;
        if available.is_empty() {
            break;
        }
        let end = available.iter().position(|byte| *byte == b'\n');
        let taken = end.map_or(available.len(), |end| end + 1);
        bytes.extend_from_slice(&available[..taken]);
        input.consume(taken);
        if end.is_some() || bytes.len() > LONGEST + 2 {
            break;
        }
    }
    String::from_utf8(bytes.to_vec())
        .map(Zeroizing::new)
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "it is not text"))
}
