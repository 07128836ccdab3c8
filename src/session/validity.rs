//! When a token may be printed.

use crate::caller::TokenUse;

/// The life of a token, in milliseconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Life {
    /// When it was asked for (before the request was sent, so never too late).
    pub issued_at_ms: u64,
    /// When it ends.
    pub expires_at_ms: u64,
}

/// Longest time for which a token of a short-lived kind counts as new for a caller that keeps it, in milliseconds.
const NEW_FOR_AT_MOST: u64 = 30_000;

/// What may be done with a token now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Freshness {
    /// Print it.
    Good,
    /// Valid, but shorter than the caller needs: refresh, and print it only if the provider can't be reached.
    Short,
    /// Over.
    Expired,
}

impl Life {
    /// Judges the token for a caller that needs `min_validity` seconds and uses it like this.
    ///
    /// Where tokens live shorter than that altogether, one younger than a tenth of its life (at most 30
    /// seconds) is as good as new; for a caller that uses it at once, half of its life. `now_ms` is in milliseconds
    /// since 1970.
    pub fn freshness(self, now_ms: u64, min_validity: u64, token_use: TokenUse) -> Freshness {
        if now_ms >= self.expires_at_ms {
            return Freshness::Expired;
        }
        let needed = min_validity.saturating_mul(1000);
        // A clock that was set back makes the token look like one from the future: its life cannot be judged
        // by its age, but its end still stands.
        let lifetime = self.expires_at_ms.saturating_sub(self.issued_at_ms);
        let age = now_ms.checked_sub(self.issued_at_ms);
        let left = self.expires_at_ms - now_ms;
        let new_for = match token_use {
            TokenUse::Kept => (lifetime / 10).min(NEW_FOR_AT_MOST),
            TokenUse::AtOnce => lifetime / 2,
        };
        let as_new = lifetime < needed && age.is_some_and(|age| age < new_for);
        let clock_fits = left <= lifetime;
        if (left >= needed && clock_fits) || as_new {
            Freshness::Good
        } else {
            Freshness::Short
        }
    }

    /// Whole seconds that are left.
    pub fn left(self, now_ms: u64) -> u64 {
        self.expires_at_ms.saturating_sub(now_ms) / 1000
    }

    /// When it ends, in seconds since 1970.
    pub fn expires_at(self) -> u64 {
        self.expires_at_ms / 1000
    }
}

#[cfg(test)]
mod tests {
    use super::{Freshness::*, Life, TokenUse};

    #[test]
    fn the_rule_as_a_table() {
        let cases = [
            // lifetime, age, min_validity, what follows for a caller that keeps it, and for one that uses it at once
            (3600, 0, 420, Good, Good),
            (3600, 3180, 420, Good, Good),
            (3600, 3181, 420, Short, Short),
            (3600, 3599, 420, Short, Short),
            (3600, 3600, 420, Expired, Expired),
            (60, 0, 420, Good, Good),
            (60, 5, 420, Good, Good),
            (60, 6, 420, Short, Good),
            (60, 29, 420, Short, Good),
            (60, 30, 420, Short, Short),
            (60, 60, 420, Expired, Expired),
            (300, 29, 420, Good, Good),
            (300, 30, 420, Short, Good),
            (300, 149, 420, Short, Good),
            (300, 150, 420, Short, Short),
            (400, 29, 420, Good, Good),
            (400, 30, 420, Short, Good),
            (400, 200, 420, Short, Short),
            (3600, 3599, 0, Good, Good),
            (5, 0, 420, Good, Good),
            (5, 1, 420, Short, Good),
            (5, 3, 420, Short, Short),
        ];
        for (lifetime, age, min_validity, kept, at_once) in cases {
            let life = Life {
                issued_at_ms: 1_000_000,
                expires_at_ms: 1_000_000 + lifetime * 1000,
            };
            let now = 1_000_000 + age * 1000;
            for (token_use, expected) in [(TokenUse::Kept, kept), (TokenUse::AtOnce, at_once)] {
                assert_eq!(
                    life.freshness(now, min_validity, token_use),
                    expected,
                    "{lifetime} {age} {min_validity} {token_use:?}"
                );
            }
        }
    }

    /// What a loop of calls costs the provider: a refresh per half life, not per tenth.
    #[test]
    fn a_script_in_a_loop_refreshes_once_per_half_life() {
        for (lifetime, kept, at_once) in [(60_u64, 70, 14), (300, 14, 3)] {
            let refreshes = |token_use| {
                let mut issued = 0_u64;
                let seconds = 1..=420_u64;
                let due = seconds.filter(|second| {
                    let life = Life {
                        issued_at_ms: issued * 1000,
                        expires_at_ms: (issued + lifetime) * 1000,
                    };
                    let due = life.freshness(second * 1000, 420, token_use) != Good;
                    if due {
                        issued = *second;
                    }
                    due
                });
                due.count()
            };
            assert_eq!(refreshes(TokenUse::Kept), kept, "{lifetime}");
            assert!(refreshes(TokenUse::AtOnce) <= at_once, "{lifetime}");
        }
    }

    #[test]
    fn a_clock_set_back_does_not_make_an_old_token_new() {
        let life = Life {
            issued_at_ms: 10_000_000,
            expires_at_ms: 13_600_000,
        };
        assert_eq!(life.freshness(1_000_000, 420, TokenUse::Kept), Short);
        assert_eq!(life.freshness(1_000_000, 420, TokenUse::AtOnce), Short);
    }
}
