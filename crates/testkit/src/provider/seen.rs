//! The record of what clients sent.

use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::http::{Pairs, Request, find_header, lock};

/// One request, recorded when it arrived and before it was answered.
#[derive(Clone, Debug)]
pub struct Seen {
    /// When it arrived.
    pub at: Instant,
    /// HTTP method.
    pub method: String,
    /// Path without query.
    pub path: String,
    /// Query parameters.
    pub query: Pairs,
    /// Form parameters of the body.
    pub form: Pairs,
    /// Header names and values.
    pub headers: Pairs,
    /// The body's bytes.
    pub body: Vec<u8>,
}

impl Seen {
    /// The first parameter of this name, in the form or the query.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.form
            .iter()
            .chain(&self.query)
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }

    /// The first header of this name, whatever its case.
    pub fn header(&self, name: &str) -> Option<&str> {
        find_header(&self.headers, name)
    }
}

/// All requests in the order of their arrival.
#[derive(Default)]
pub(crate) struct Log {
    seen: Mutex<Vec<Seen>>,
    grown: Condvar,
}

impl Log {
    pub(crate) fn record(&self, request: &Request) {
        lock(&self.seen).push(Seen {
            at: Instant::now(),
            method: request.method.clone(),
            path: request.path.clone(),
            query: request.query.clone(),
            form: request.form(),
            headers: request.headers.clone(),
            body: request.body.clone(),
        });
        self.grown.notify_all();
    }

    pub(crate) fn all(&self) -> Vec<Seen> {
        lock(&self.seen).clone()
    }

    pub(crate) fn clear(&self) {
        lock(&self.seen).clear();
    }

    pub(crate) fn count(&self, matches: impl Fn(&Seen) -> bool) -> usize {
        lock(&self.seen).iter().filter(|seen| matches(seen)).count()
    }

    /// Waits until `n` requests match, and says whether they did in time.
    pub(crate) fn wait(
        &self,
        n: usize,
        timeout: Duration,
        matches: impl Fn(&Seen) -> bool,
    ) -> bool {
        let missing = |seen: &mut Vec<Seen>| seen.iter().filter(|one| matches(one)).count() < n;
        let (_guard, result) = self
            .grown
            .wait_timeout_while(lock(&self.seen), timeout, missing)
            .unwrap_or_else(PoisonError::into_inner);
        !result.timed_out()
    }
}
