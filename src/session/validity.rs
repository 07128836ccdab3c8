//! When a token may be printed.

/// The life of a token, in milliseconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Life {
    /// When it was asked for (before the request was sent, so never too late).
    pub issued_at_ms: u64,
    /// When it ends.
    pub expires_at_ms: u64,
}

/// Longest time for which a token of a short-lived kind counts as new, in milliseconds.
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
    /// Judges the token for a caller that needs `min_validity` seconds.
    ///
    /// Where tokens live shorter than that altogether, one younger than a tenth of its life (at most 30
    /// seconds) is as good as new. `now_ms` is in milliseconds since 1970.
    pub fn freshness(self, now_ms: u64, min_validity: u64) -> Freshness {
        if now_ms >= self.expires_at_ms {
            return Freshness::Expired;
        }
        let needed = min_validity.saturating_mul(1000);
        // A clock that was set back makes the token look like one from the future: its life cannot be judged
        // by its age, but its end still stands.
        let lifetime = self.expires_at_ms.saturating_sub(self.issued_at_ms);
        let age = now_ms.checked_sub(self.issued_at_ms);
        let left = self.expires_at_ms - now_ms;
        let as_new =
            lifetime < needed && age.is_some_and(|age| age < (lifetime / 10).min(NEW_FOR_AT_MOST));
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
    use super::{Freshness::*, Life};

    #[test]
    fn the_rule_as_a_table() {
        let cases = [
            // lifetime, age, min_validity, what follows
            (3600, 0, 420, Good),
            (3600, 3180, 420, Good),
            (3600, 3181, 420, Short),
            (3600, 3599, 420, Short),
            (3600, 3600, 420, Expired),
            (60, 0, 420, Good),
            (60, 5, 420, Good),
            (60, 6, 420, Short),
            (60, 60, 420, Expired),
            (400, 29, 420, Good),
            (400, 30, 420, Short),
            (3600, 3599, 0, Good),
            (5, 0, 420, Good),
            (5, 1, 420, Short),
        ];
        for (lifetime, age, min_validity, expected) in cases {
            let life = Life {
                issued_at_ms: 1_000_000,
                expires_at_ms: 1_000_000 + lifetime * 1000,
            };
            assert_eq!(
                life.freshness(1_000_000 + age * 1000, min_validity),
                expected,
                "{lifetime} {age} {min_validity}"
            );
        }
    }

    #[test]
    fn a_clock_set_back_does_not_make_an_old_token_new() {
        let life = Life {
            issued_at_ms: 10_000_000,
            expires_at_ms: 13_600_000,
        };
        assert_eq!(life.freshness(1_000_000, 420), Short);
    }
}
