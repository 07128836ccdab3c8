//! Back-off: how long a refresh that has failed is not tried again.
//!
//! Hosts call in loops. What the provider has just refused, and what this machine cannot check, does not change with
//! the next call. It may change after a while, and with the configuration, the clock or a sign-in.

use serde::{Deserialize, Serialize};

use super::kept_failure::KeptFailure;
use crate::clock;
use crate::error::Failure;
use crate::text;

/// The back-off after the first, second, third and every later failure, in seconds.
pub const STEPS: [u64; 4] = [60, 300, 900, 3600];

/// How long a user who insists (`--force-refresh`) waits before the next attempt, in milliseconds.
const INSISTENCE: u64 = 10_000;

/// By how much the wall clock may differ from what the uptime says before it counts as set, in milliseconds.
const DRIFT: u64 = 5_000;

/// The back-off after attempts that failed in a row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackOff {
    /// How many attempts have failed in a row.
    attempts: u32,
    /// When the first of them failed, in seconds since 1970.
    pub since: u64,
    /// When the last one failed, in milliseconds since 1970.
    at_ms: u64,
    /// The same moment in milliseconds since the machine started, which tells whether the wall clock was set.
    uptime_ms: u64,
    /// Digest of the configuration with which it failed.
    configuration: String,
    /// Why.
    failure: KeptFailure,
}

impl BackOff {
    /// The back-off after one more failure under this configuration.
    pub fn after(before: Option<&Self>, failure: &Failure, configuration: String) -> Self {
        let now_ms = clock::now_millis();
        let same = before.filter(|before| before.stands(&configuration));
        Self {
            attempts: same.map_or(1, |before| before.attempts.saturating_add(1)),
            since: same.map_or(now_ms / 1000, |before| before.since),
            at_ms: now_ms,
            uptime_ms: clock::uptime_millis(),
            configuration,
            failure: failure.into(),
        }
    }

    /// Until when nothing is sent, in seconds since 1970.
    pub fn until(&self) -> u64 {
        let step = usize::try_from(self.attempts.saturating_sub(1)).unwrap_or(usize::MAX);
        let step = STEPS[step.min(STEPS.len() - 1)];
        (self.at_ms / 1000).saturating_add(step)
    }

    /// Whether what has failed would still meet the same configuration and the same clock.
    fn stands(&self, configuration: &str) -> bool {
        self.configuration == configuration && !self.clock_was_set()
    }

    /// The wall clock and the uptime differ by more than drift: the clock was set. After a restart of the machine the
    // uptime says nothing.
    fn clock_was_set(&self) -> bool {
        let by_wall = i128::from(clock::now_millis()) - i128::from(self.at_ms);
        match clock::uptime_millis().checked_sub(self.uptime_ms) {
            Some(passed) => by_wall.abs_diff(i128::from(passed)) > u128::from(DRIFT),
            None => by_wall < 0,
        }
    }

    /// What failed, while nothing is sent because of it.
    pub fn in_force(&self, configuration: &str) -> Option<Failure> {
        (self.stands(configuration) && clock::now() < self.until()).then(|| self.failure())
    }

    /// The same for a user who insists (`--force-refresh`): only an attempt of a moment ago is not repeated.
    pub fn in_force_for_insistence(&self, configuration: &str) -> Option<Failure> {
        let age = clock::now_millis().checked_sub(self.at_ms)?;
        (self.stands(configuration) && age < INSISTENCE).then(|| self.failure())
    }

    /// What failed, since when, and when it is tried again.
    fn failure(&self) -> Failure {
        let mut failure = Failure::from(self.failure.clone());
        failure.what = format!(
            "{}; so since {}, tried again at {}",
            failure.what,
            text::moment(self.since),
            text::moment(self.until()),
        );
        failure
    }

    /// What failed, as it was told then.
    pub fn reason(&self) -> Failure {
        Failure::from(self.failure.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Id;

    struct Clock {
        now_ms: u64,
        uptime_ms: u64,
    }

    impl Clock {
        fn passes(&mut self, seconds: u64) {
            self.now_ms += seconds * 1000;
            self.uptime_ms += seconds * 1000;
            self.show();
        }

        fn show(&self) {
            clock::fake::set(Some(self.now_ms));
            clock::fake::set_uptime(Some(self.uptime_ms));
        }
    }

    #[test]
    fn the_back_off_grows_and_ends_with_time_configuration_or_clock() {
        let mut clock = Clock {
            now_ms: 1_800_000_000_000,
            uptime_ms: 5_000_000,
        };
        clock.show();
        let failure = Failure::untrusted("the ID token was refused");
        let mut back_off: Option<BackOff> = None;
        for expected in [60, 300, 900, 3600, 3600] {
            let next = BackOff::after(back_off.as_ref(), &failure, "a".to_owned());
            assert!(next.in_force("a").is_some());
            assert!(next.in_force("b").is_none(), "another configuration");
            assert!(next.in_force_for_insistence("a").is_some());
            clock.passes(11);
            assert!(next.in_force_for_insistence("a").is_none());
            assert!(next.in_force("a").is_some());
            clock.passes(expected - 12);
            assert!(next.in_force("a").is_some(), "{expected}");
            clock.passes(1);
            assert!(next.in_force("a").is_none(), "{expected}");
            back_off = Some(next);
        }
        // The clock is set, in either direction: what depended on it may have changed.
        for jump in [-3_600_000_i64, -10_000, 10_000, 120_000] {
            let next = BackOff::after(None, &failure, "a".to_owned());
            let before = clock.now_ms;
            clock.now_ms = before.checked_add_signed(jump).unwrap();
            clock.show();
            assert!(next.in_force("a").is_none(), "{jump}");
            clock.now_ms = before;
            clock.show();
            assert!(next.in_force("a").is_some());
        }
        // Later failures under another configuration are counted anew.
        let again = BackOff::after(back_off.as_ref(), &failure, "b".to_owned());
        assert_eq!(again.until(), clock.now_ms / 1000 + 60);
        assert_eq!(
            again.in_force("b").map(|failure| failure.id),
            Some(Id::UntrustedResponse)
        );
        clock::fake::set(None);
        clock::fake::set_uptime(None);
    }
}
