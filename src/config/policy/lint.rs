//! What is wrong with a policy of gatepass's own in a profile or a registration file.

use gatepass_host::lint::{Finding, Severity};
use serde_json::{Map, Value};

use super::Policy;
use super::native::{meant, snake_case};
use crate::config::schema::Key;

/// What stands before each message.
const PLACE: &str = "gatepass policy";

/// Every problem of a policy as managed preferences or the registry would have it.
pub fn check(values: &Map<String, Value>) -> Vec<Finding> {
    let problems = Policy::problems_of_values(values).into_iter();
    let mut found: Vec<Finding> = problems
        .map(|problem| {
            let remedy = problem.remedy;
            finding(
                Severity::Error,
                problem.what,
                remedy.unwrap_or_else(|| "gatepass refuses to run with such a policy".to_owned()),
            )
        })
        .collect();
    secrets(values, &mut found);
    found
}

fn finding(severity: Severity, what: String, remedy: String) -> Finding {
    Finding {
        severity,
        key: PLACE.to_owned(),
        line: None,
        what,
        remedy,
    }
}

/// Every user of a machine can read its policy.
fn secrets(values: &Map<String, Value>, found: &mut Vec<Finding>) {
    for (name, value) in values {
        let key = snake_case(name);
        if Key::find(&key).is_some_and(Key::is_secret) {
            found.push(finding(
                Severity::Warning,
                format!("`{name}` is a secret, and every user of the machine can read it"),
                "use client_secret_file, or a client without a secret".to_owned(),
            ));
        }
        // Profiles, defaults, and tables, which may be JSON text.
        if let Value::Object(inner) = meant(&key, value) {
            secrets(&inner, found);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::check;
    use serde_json::{Value, json};

    #[test]
    fn a_secret_is_named_wherever_it_lies_and_however_it_is_spelt() {
        for (values, name) in [
            (json!({"clientSecret": "x"}), "clientSecret"),
            (json!({"ClientSecret": "x"}), "ClientSecret"),
            (json!({"Defaults": {"ClientSecret": "x"}}), "ClientSecret"),
            (
                json!({"profiles": {"a": {"client_secret": "x"}}}),
                "client_secret",
            ),
            (
                json!({"exchange": "{\"clientSecret\":\"x\"}"}),
                "client_secret",
            ),
        ] {
            let Value::Object(policy) = &values else {
                panic!()
            };
            let found = check(policy);
            assert!(
                found
                    .iter()
                    .any(|finding| finding.what.contains(&format!("`{name}` is a secret"))),
                "{values}: {found:?}"
            );
        }
        let fine = json!({"issuer": "https://idp.example", "minValidity": 420});
        assert_eq!(check(fine.as_object().unwrap()), []);
    }

    #[test]
    fn what_gatepass_would_refuse_is_told_before_it_does() {
        let wrong = json!({"clientld": "x"});
        let found = check(wrong.as_object().unwrap());
        assert_eq!(
            found[0].to_string(),
            "error: gatepass policy: unknown key `clientld` (did you mean `client_id`?)"
        );
    }
}
