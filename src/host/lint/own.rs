//! gatepass's own policy, as a profile or a registration file carries it.

use serde_json::{Map, Value};

use super::{Report, Severity};
use crate::config::policy::Policy;
use crate::config::schema::Key;
use crate::host::policy::snake_case;

/// What stands before each message.
const PLACE: &str = "gatepass policy";

pub(super) fn check(values: &Map<String, Value>, report: &mut Report) {
    for problem in Policy::problems_of_values(values) {
        report.add(
            Severity::Error,
            PLACE,
            None,
            &problem.what,
            problem
                .remedy
                .unwrap_or_else(|| "gatepass refuses to run with such a policy".to_owned()),
        );
    }
    secrets(values, report);
}

/// Every user of a machine can read its policy.
fn secrets(values: &Map<String, Value>, report: &mut Report) {
    for (name, value) in values {
        if Key::find(&snake_case(name)).is_some_and(Key::is_secret) {
            report.add(
                Severity::Warning,
                PLACE,
                None,
                format!("`{name}` is a secret, and every user of the machine can read it"),
                "use client_secret_file, or a client without a secret",
            );
        }
        // Profiles and defaults.
        if let Value::Object(inner) = value {
            secrets(inner, report);
        }
    }
}
