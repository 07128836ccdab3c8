//! JSON objects from a provider, read strictly where it matters.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};
use serde_json::{Map, Value};

/// A JSON object in which no member appears twice: two readers could otherwise see two different answers.
#[derive(Clone, Debug)]
pub struct UniqueObject(pub Map<String, Value>);

impl UniqueObject {
    /// Reads an object. Nesting is limited by the JSON library (128 levels).
    pub fn parse(bytes: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(bytes)
    }
}

impl<'de> Deserialize<'de> for UniqueObject {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct UniqueMembers;
        impl<'de> Visitor<'de> for UniqueMembers {
            type Value = UniqueObject;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<UniqueObject, A::Error> {
                let mut members = Map::new();
                while let Some((name, value)) = access.next_entry::<String, Value>()? {
                    if members.insert(name, value).is_some() {
                        return Err(Error::custom("a member appears twice"));
                    }
                }
                Ok(UniqueObject(members))
            }
        }
        deserializer.deserialize_map(UniqueMembers)
    }
}

/// All members of a JSON object, those that appear more than once included: for what must not be lost although the
/// object is refused.
#[derive(Debug)]
pub struct Members(Vec<(String, Value)>);

impl Members {
    /// Reads an object.
    ///
    /// # Errors
    /// What is no JSON object.
    pub fn parse(bytes: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(bytes)
    }

    /// The member of this name, if there is exactly one.
    pub fn only(&self, name: &str) -> Option<&Value> {
        let mut found = self.0.iter().filter(|(member, _)| member == name);
        let (_, value) = found.next()?;
        found.next().is_none().then_some(value)
    }
}

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Each;
        impl<'de> Visitor<'de> for Each {
            type Value = Members;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Members, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = access.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Each)
    }
}

#[cfg(test)]
mod tests {
    use super::{Members, UniqueObject};

    #[test]
    fn of_repeated_members_none_is_believed_and_the_others_are_found() {
        let members = Members::parse(br#"{"a":1,"b":2,"a":3}"#).unwrap();
        assert_eq!(members.only("a"), None);
        assert_eq!(members.only("b"), Some(&2.into()));
        assert_eq!(members.only("c"), None);
        assert!(Members::parse(b"[]").is_err());
    }

    #[test]
    fn only_objects_without_repetition_are_read() {
        assert!(UniqueObject::parse(br#"{"a":1,"b":{"c":2}}"#).is_ok());
        for bytes in [
            &br#"{"a":1,"a":2}"#[..],
            b"[]",
            b"null",
            b"",
            b"{",
            b"\xef\xbb\xbf{}",
        ] {
            assert!(UniqueObject::parse(bytes).is_err());
        }
    }
}
