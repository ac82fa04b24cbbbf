//! Arguments with places for values: `{voice}`, or `{voice=en}` where `en` is taken when the
//! request has none. `{{` and `}}` stand for the brackets themselves.
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
    Place { name: String, default: Option<String> },
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
    /// Reads an argument of a command.
    ///
    /// # Errors
    /// Says what a bracket opens that is no place.
    pub(super) fn parse(argument: &str) -> Result<Self, String> {
        let mut pieces = Vec::new();
        let mut plain = String::new();
        let mut rest = argument;
        while let Some(at) = rest.find(['{', '}']) {
            plain.push_str(&rest[..at]);
            rest = &rest[at..];
            if let Some(after) = rest.strip_prefix("{{") {
                plain.push('{');
                rest = after;
            } else if let Some(after) = rest.strip_prefix('}') {
                plain.push('}');
                rest = after.strip_prefix('}').unwrap_or(after);
            } else {
                let (place, after) = place(rest, argument)?;
                if !plain.is_empty() {
                    pieces.push(Piece::Plain(std::mem::take(&mut plain)));
                }
                pieces.push(place);
                rest = after;
            }
        }
        plain.push_str(rest);
        if !plain.is_empty() {
            pieces.push(Piece::Plain(plain));
        }
        Ok(Self { pieces })
    }

    /// Names of all its places.
    pub(super) fn places(&self) -> impl Iterator<Item = &str> {
        self.pieces.iter().filter_map(|piece| match piece {
            Piece::Plain(_) => None,
            Piece::Place { name, default: _ } => Some(name.as_str()),
        })
    }

    /// The argument with its places filled: from `own`, which is trusted, else from `values`. An
    /// empty value counts as none.
    pub(super) fn fill(
        &self,
        own: &BTreeMap<&str, String>,
        values: &BTreeMap<String, String>,
    ) -> Result<String, Unfilled> {
        let mut filled = String::new();
        for (index, piece) in self.pieces.iter().enumerate() {
            let (name, default) = match piece {
                Piece::Plain(text) => {
                    filled.push_str(text);
                    continue;
                }
                Piece::Place { name, default } => (name, default),
            };
            let place = || name.clone();
            if let Some(path) = own.get(name.as_str()) {
                filled.push_str(path);
            } else if let Some(value) = values.get(name).filter(|value| !value.is_empty()) {
                if value.contains('\0') {
                    return Err(Unfilled::Nul { place: place() });
                }
                if index == 0 && value.starts_with('-') {
                    return Err(Unfilled::Option { place: place() });
                }
                filled.push_str(value);
            } else {
                let default =
                    default.as_ref().ok_or_else(|| Unfilled::Missing { place: place() })?;
                filled.push_str(default);
            }
        }
        Ok(filled)
    }
}

/// The place that `text` begins with, and what comes after it.
fn place<'a>(text: &'a str, argument: &str) -> Result<(Piece, &'a str), String> {
    let inner = text.strip_prefix('{').and_then(|inner| inner.split_once('}'));
    let (inner, after) = inner.ok_or_else(|| {
        format!("the bracket in '{argument}' is never closed; write {{{{ for a bracket itself")
    })?;
    let (name, default) = match inner.split_once('=') {
        Some((name, default)) => (name, Some(default.to_owned())),
        None => (inner, None),
    };
    let is_letter = |letter: char| letter.is_ascii_lowercase() || letter == '_';
    if name.is_empty() || !name.chars().all(is_letter) {
        return Err(format!(
            "'{{{inner}}}' in '{argument}' is no place for a value; a name has lower case letters \
             and _ only (write {{{{ for a bracket itself)"
        ));
    }
    Ok((Piece::Place { name: name.to_owned(), default }, after))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn filled(argument: &str, values: &[(&str, &str)]) -> Result<String, Unfilled> {
        let values = values.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let own = BTreeMap::from([("input", "/tmp/in".to_owned())]);
        Template::parse(argument).unwrap().fill(&own, &values.collect())
    }

    #[track_caller]
    fn check(argument: &str, values: &[(&str, &str)], expected: &str) {
        assert_eq!(filled(argument, values).as_deref(), Ok(expected));
    }

    #[test]
    fn places_are_filled_where_they_stand() {
        check("--voice={voice}.onnx", &[("voice", "amy")], "--voice=amy.onnx");
        check("{voice}", &[("voice", "a b; $(c)")], "a b; $(c)");
        check("{voice=en}", &[], "en");
        check("{voice=en}", &[("voice", "")], "en");
        check("{prompt=}", &[], "");
        check("{input}", &[], "/tmp/in");
        check("{{\"a\": {n=1}}}", &[], "{\"a\": 1}");
        check("}", &[], "}");
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
        check("{level=-1}", &[], "-1");
    }

    #[test]
    fn what_cannot_be_filled_is_named() {
        let missing = Err(Unfilled::Missing { place: "voice".to_owned() });
        assert_eq!(filled("{voice}", &[]), missing);
        let nul = Err(Unfilled::Nul { place: "voice".to_owned() });
        assert_eq!(filled("{voice}", &[("voice", "a\0b")]), nul);
    }

    #[test]
    fn what_is_no_place_is_refused() {
        for (argument, word) in [
            ("{voice", "never closed"),
            ("{}", "'{}'"),
            ("{Voice}", "lower case"),
            ("{=x}", "'{=x}'"),
        ] {
            let message = Template::parse(argument).unwrap_err();
            assert!(message.contains(word), "{message}");
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
        fn any_text_is_an_argument_or_a_refusal(argument in ".{0,12}") {
            let _ = Template::parse(&argument);
        }
    }
}
