//! Lists in JSON that may have so many entries and no more.

use std::{fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer,
    de::{Error as _, SeqAccess, Visitor},
};

/// Reads a list of at most `MAX` entries; of a longer one no more is kept.
///
/// # Errors
/// When it is longer, or is none.
pub(super) fn at_most<'de, D, T, const MAX: usize>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    deserializer.deserialize_seq(AtMost::<T, MAX>(PhantomData))
}

struct AtMost<T, const MAX: usize>(PhantomData<T>);

impl<'de, T: Deserialize<'de>, const MAX: usize> Visitor<'de> for AtMost<T, MAX> {
    type Value = Vec<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a list of at most {MAX} entries")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut entries: A) -> Result<Vec<T>, A::Error> {
        let mut found = Vec::new();
        while let Some(entry) = entries.next_element()? {
            if found.len() == MAX {
                return Err(A::Error::custom(format!("a list has more than {MAX} entries")));
            }
            found.push(entry);
        }
        Ok(found)
    }

    /// Go's programs write an empty list so.
    fn visit_unit<E: serde::de::Error>(self) -> Result<Vec<T>, E> {
        Ok(Vec::new())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize)]
    struct Three(#[serde(deserialize_with = "at_most::<_, _, 3>")] Vec<u8>);

    #[test]
    fn as_many_as_may_be() {
        for (text, expected) in [("[]", 0), ("[1,2,3]", 3)] {
            assert_eq!(serde_json::from_str::<Three>(text).unwrap().0.len(), expected);
        }
        for (text, expected) in
            [("[1,2,3,4]", "more than 3 entries"), ("{}", "a list of at most 3")]
        {
            let message = serde_json::from_str::<Three>(text).unwrap_err().to_string();
            assert!(message.contains(expected), "{message}");
        }
    }
}
