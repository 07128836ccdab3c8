//! Values of `headers`: plain text with places for claims.
//!
//! Only `{name}` with `[A-Za-z0-9_.:-]+` is a place for a claim, so JSON values stay as they are.

use serde_json::{Map, Value as Json};

/// One piece of a template.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece<'t> {
    /// Text as it is.
    Text(&'t str),
    /// A place for this claim.
    Claim(&'t str),
}

/// Takes a template apart.
pub fn pieces(template: &str) -> Vec<Piece<'_>> {
    let name_character =
        |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b':' | b'-');
    let mut found = Vec::new();
    let mut text_from = 0;
    let mut at = 0;
    while let Some(start) = template[at..].find('{').map(|offset| at + offset) {
        let name = template[start + 1..]
            .split_once('}')
            .map_or("", |(name, _)| name);
        if name.is_empty() || !name.bytes().all(name_character) {
            at = start + 1;
            continue;
        }
        if start > text_from {
            found.push(Piece::Text(&template[text_from..start]));
        }
        found.push(Piece::Claim(name));
        at = start + name.len() + 2;
        text_from = at;
    }
    if text_from < template.len() {
        found.push(Piece::Text(&template[text_from..]));
    }
    found
}

/// The claims that a template needs.
pub fn claims(template: &str) -> impl Iterator<Item = &str> {
    pieces(template)
        .into_iter()
        .filter_map(|piece| match piece {
            Piece::Claim(name) => Some(name),
            Piece::Text(_) => None,
        })
}

/// Fills the places. The error is the claim that is missing, not a string or not visible ASCII.
pub fn fill<'t>(template: &'t str, claims: &Map<String, Json>) -> Result<String, &'t str> {
    let is_json = serde_json::from_str::<Json>(template)
        .is_ok_and(|value| value.is_object() || value.is_array());
    let mut out = String::with_capacity(template.len());
    for piece in pieces(template) {
        let name = match piece {
            Piece::Text(text) => {
                out.push_str(text);
                continue;
            }
            Piece::Claim(name) => name,
        };
        let claim = claims.get(name).and_then(Json::as_str).unwrap_or_default();
        if claim.is_empty() || !claim.bytes().all(|byte| matches!(byte, 0x21..=0x7E)) {
            return Err(name);
        }
        if is_json {
            let quoted = Json::from(claim).to_string();
            out.push_str(&quoted[1..quoted.len() - 1]);
        } else {
            out.push_str(claim);
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn filled(template: &str) -> Result<String, &str> {
        let Json::Object(claims) = json!({
            "sub": "s1", "email": "ann@example.com", "quote": "a\"b\\c", "space": "a b", "bad": "a\r\nb", "n": 5, "urn:x.y-z": "u"
        }) else {
            unreachable!()
        };
        fill(template, &claims)
    }

    #[test]
    fn placeholders_are_names_in_braces_and_nothing_else() {
        for (template, value) in [
            ("{email}", "ann@example.com"),
            ("user={sub};x", "user=s1;x"),
            ("{urn:x.y-z}", "u"),
            ("{}", "{}"),
            ("{ sub }", "{ sub }"),
            ("{", "{"),
            ("{{sub}}", "{s1}"),
            ("", ""),
            (
                r#"{"user":"{email}","a":{"b":1}}"#,
                r#"{"user":"ann@example.com","a":{"b":1}}"#,
            ),
            (r#"{"q":"{quote}"}"#, r#"{"q":"a\"b\\c"}"#),
            ("{quote}", "a\"b\\c"),
        ] {
            assert_eq!(filled(template).as_deref(), Ok(value), "{template}");
        }
        for (template, claim) in [
            ("{missing}", "missing"),
            ("{n}", "n"),
            ("x{bad}", "bad"),
            ("{space}", "space"),
        ] {
            assert_eq!(filled(template), Err(claim), "{template}");
        }
    }

    #[test]
    fn the_claims_of_a_template_are_known_beforehand() {
        let needed: Vec<_> = claims("{a}-{b}{\"c\":1}").collect();
        assert_eq!(needed, ["a", "b"]);
    }
}
