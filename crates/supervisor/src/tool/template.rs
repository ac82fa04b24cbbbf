//! Arguments with places for values, such as `{voice}`. Braces around anything but a name, as in JSON,
//! are no places.
//!
//! A value fills its place and nothing else: there is no shell that could read more out of it, one
//! argument stays one argument, and where an argument begins with a value, a value that begins with
//! `-` is refused, so that it cannot become an option. What the program makes of its arguments is
//! up to whoever wrote the command.

use std::collections::BTreeMap;

/// One argument.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Template {
    pieces: Vec<Piece>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Plain(String),
    Place(String),
}

/// Why a place was not filled.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Unfilled {
    /// There is neither a value nor a default.
    Missing { place: String },
    /// The value would be read as an option.
    Option { place: String },
    /// No argument of a program can hold this value.
    Nul { place: String },
}

impl Template {
    pub(super) fn parse(argument: &str) -> Self {
        let mut pieces = Vec::new();
        let mut plain = String::new();
        let mut rest = argument;
        while let Some(open) = rest.find('{') {
            plain.push_str(&rest[..open]);
            rest = &rest[open..];
            let name = rest[1..].split_once('}').map(|(name, _)| name).filter(|name| is_name(name));
            let Some(name) = name else {
                plain.push('{');
                rest = &rest[1..];
                continue;
            };
            if !plain.is_empty() {
                pieces.push(Piece::Plain(std::mem::take(&mut plain)));
            }
            pieces.push(Piece::Place(name.to_owned()));
            rest = &rest[name.len() + 2..];
        }
        plain.push_str(rest);
        if !plain.is_empty() {
            pieces.push(Piece::Plain(plain));
        }
        Self { pieces }
    }

    /// Names of all its places.
    pub(super) fn places(&self) -> impl Iterator<Item = &str> {
        self.pieces.iter().filter_map(|piece| match piece {
            Piece::Plain(_) => None,
            Piece::Place(name) => Some(name.as_str()),
        })
    }

    /// The argument with its places filled: from `own`, else from what the request has in `values`,
    /// where an empty value counts as none, else from `defaults`. Only the request is not trusted.
    pub(super) fn fill(
        &self,
        own: &BTreeMap<&str, String>,
        values: &BTreeMap<String, String>,
        defaults: &BTreeMap<String, String>,
    ) -> Result<String, Unfilled> {
        let mut filled = String::new();
        for (index, piece) in self.pieces.iter().enumerate() {
            let name = match piece {
                Piece::Plain(text) => {
                    filled.push_str(text);
                    continue;
                }
                Piece::Place(name) => name.as_str(),
            };
            let trusted = own.get(name);
            let value = values.get(name).filter(|value| !value.is_empty());
            filled.push_str(match (trusted, value) {
                (Some(path), _) => path,
                (None, Some(value)) => checked(name, value, index == 0)?,
                (None, None) => defaults
                    .get(name)
                    .ok_or_else(|| Unfilled::Missing { place: name.to_owned() })?,
            });
        }
        Ok(filled)
    }
}

fn is_name(text: &str) -> bool {
    let is_letter = |letter: u8| letter.is_ascii_lowercase() || letter == b'_';
    !text.is_empty() && text.bytes().all(is_letter)
}

fn checked<'a>(place: &str, value: &'a str, begins: bool) -> Result<&'a str, Unfilled> {
    let place = || place.to_owned();
    if value.contains('\0') {
        return Err(Unfilled::Nul { place: place() });
    }
    if begins && value.starts_with('-') {
        return Err(Unfilled::Option { place: place() });
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn filled(argument: &str, values: &[(&str, &str)]) -> Result<String, Unfilled> {
        let values = values.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let own = BTreeMap::from([("input", "/tmp/in".to_owned())]);
        let defaults = [("language", "en"), ("level", "-1"), ("hint", "")];
        let defaults = defaults.map(|(name, value)| (name.to_owned(), value.to_owned()));
        Template::parse(argument).fill(&own, &values.collect(), &defaults.into())
    }

    #[track_caller]
    fn check(argument: &str, values: &[(&str, &str)], expected: &str) {
        assert_eq!(filled(argument, values).as_deref(), Ok(expected));
    }

    #[test]
    fn places_are_filled_where_they_stand() {
        check("--voice={voice}.onnx", &[("voice", "amy")], "--voice=amy.onnx");
        check("{voice}", &[("voice", "a b; $(c)")], "a b; $(c)");
        check("{language}", &[("language", "de")], "de");
        check("{language}", &[], "en");
        check("{language}", &[("language", "")], "en");
        check("{hint}", &[], "");
        check("{input}", &[("input", "/etc/passwd")], "/tmp/in");
        // What a value holds is not read again.
        check("{a}{b}", &[("a", "{b}"), ("b", "2")], "{b}2");
    }

    #[test]
    fn a_value_never_becomes_an_option() {
        let refused = Err(Unfilled::Option { place: "voice".to_owned() });
        assert_eq!(filled("{voice}", &[("voice", "--help")]), refused);
        assert_eq!(filled("{voice}x", &[("voice", "-")]), refused);
        check("-v{voice}", &[("voice", "-x")], "-v-x");
        // The defaults are the operator's own words.
        check("{level}", &[], "-1");
    }

    #[test]
    fn what_cannot_be_filled_is_named() {
        let missing = Err(Unfilled::Missing { place: "voice".to_owned() });
        assert_eq!(filled("{voice}", &[]), missing);
        let nul = Err(Unfilled::Nul { place: "voice".to_owned() });
        assert_eq!(filled("{voice}", &[("voice", "a\0b")]), nul);
    }

    #[test]
    fn braces_around_anything_else_are_no_places() {
        check("{\"a\": {b}}", &[("b", "1")], "{\"a\": 1}");
        for argument in ["{", "}", "{}", "{Voice}", "{a b}", "{{", "{voice", "}{", "${HOME}"] {
            check(argument, &[("voice", "x")], argument);
        }
    }

    proptest! {
        #[test]
        fn an_argument_that_begins_with_a_value_is_never_an_option(
            value in ".{0,6}", after in "[a-z-]{0,3}"
        ) {
            if let Ok(filled) = filled(&format!("{{v}}{after}"), &[("v", &value)]) {
                prop_assert!(!filled.starts_with('-'));
            }
        }

        #[test]
        fn an_argument_without_places_stays_as_it_is(argument in "[{}a-zA-Z \u{e9}-]{0,12}") {
            let template = Template::parse(&argument);
            if template.places().next().is_none() {
                prop_assert_eq!(filled(&argument, &[]), Ok(argument));
            }
        }
    }
}
