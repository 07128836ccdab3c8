//! What `serde_json` does not say about a value: its kind in words, and the text that management systems deliver.

use serde_json::{Map, Value};

/// The members of an object, in the order in which the file has them.
pub type Object = Map<String, Value>;

/// Members of an object, asked for by their kind.
pub trait Members {
    /// The text of a member, if it is one.
    fn text(&self, name: &str) -> Option<&str>;

    /// As the text of a file: two spaces, a final line break.
    fn pretty(&self) -> String;
}

impl Members for Object {
    fn text(&self, name: &str) -> Option<&str> {
        self.get(name).and_then(Value::as_str)
    }

    fn pretty(&self) -> String {
        // The alternate form of a value cannot fail.
        format!("{:#}\n", Value::Object(self.clone()))
    }
}

/// As management systems want it: everything is a string, lists and objects as JSON text.
pub fn managed_text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// What kind of value it is, for people.
pub fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// Lists and objects are JSON text where every value is a string.
pub fn structure(value: &Value) -> Option<Value> {
    match value {
        Value::String(text) => serde_json::from_str(text).ok(),
        other => Some(other.clone()),
    }
}

/// Sets a member of an object below this one, making the objects on the way.
pub fn set_below(object: &mut Object, path: &[String], name: &str, value: Value) {
    let Some((first, rest)) = path.split_first() else {
        object.insert(name.to_owned(), value);
        return;
    };
    let inner = object
        .entry(first.clone())
        .or_insert_with(|| Object::new().into());
    if !inner.is_object() {
        *inner = Object::new().into();
    }
    if let Value::Object(inner) = inner {
        set_below(inner, rest, name, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn members_keep_their_order_and_what_is_set_keeps_its_place() {
        let source = r#"{"z":1,"a":{"y":[true,null,1.5,-2],"b":"ü"},"m":"x"}"#;
        let mut object: Object = serde_json::from_str(source).unwrap();
        assert_eq!(Value::from(object.clone()).to_string(), source);
        object.insert("a".to_owned(), "new".into());
        object.insert("last".to_owned(), true.into());
        assert_eq!(
            Value::from(object).to_string(),
            r#"{"z":1,"a":"new","m":"x","last":true}"#
        );
    }

    #[test]
    fn management_systems_get_strings() {
        for (value, text) in [
            (json!("a"), "a"),
            (json!(300), "300"),
            (json!(true), "true"),
            (json!(["--profile", "a b"]), "[\"--profile\",\"a b\"]"),
        ] {
            assert_eq!(managed_text(&value), text);
        }
    }

    #[test]
    fn objects_on_the_way_are_made_and_nothing_else_is_lost() {
        let mut object: Object = serde_json::from_str(r#"{"a":{"x":1},"b":2}"#).unwrap();
        let path = |parts: &[&str]| {
            parts
                .iter()
                .map(|part| part.to_string())
                .collect::<Vec<_>>()
        };
        set_below(&mut object, &path(&["a", "c"]), "d", json!(3));
        set_below(&mut object, &path(&["b"]), "e", json!(4));
        set_below(&mut object, &[], "f", json!(5));
        assert_eq!(
            Value::from(object).to_string(),
            r#"{"a":{"x":1,"c":{"d":3}},"b":{"e":4},"f":5}"#
        );
    }
}
