//! gatepass's own policy in the forms in which a host's configuration travels.

/// A key of the configuration as policies on macOS and Windows spell it.
pub fn camel_case(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    let mut upper = false;
    for c in name.chars() {
        match c {
            '_' => upper = true,
            c if upper => {
                out.push(c.to_ascii_uppercase());
                upper = false;
            }
            c => out.push(c),
        }
    }
    out
}

/// The key that [`camel_case`] made this of.
pub fn snake_case(name: &str) -> String {
    let mut out = String::with_capacity(name.len() + 4);
    for c in name.chars() {
        if c.is_ascii_uppercase() {
            out.push('_');
        }
        out.push(c.to_ascii_lowercase());
    }
    out
}

#[cfg(test)]
mod tests {
    use super::{camel_case, snake_case};
    use crate::config::schema::KEYS;

    #[test]
    fn every_key_has_a_spelling_that_leads_back_to_it() {
        for key in KEYS {
            assert_eq!(snake_case(&camel_case(key.name)), key.name);
        }
        assert_eq!(camel_case("min_validity"), "minValidity");
    }
}
