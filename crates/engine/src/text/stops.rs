//! Stop strings, found across any number of tokens.

use super::undecided_bytes;

/// Passes text on until a stop string comes, and holds back what could become one.
#[derive(Debug)]
pub(super) struct Stops {
    stops: Vec<String>,
    held: String,
}

/// What may be shown.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Passed {
    pub(super) text: String,
    /// The stop string that ended it.
    pub(super) stop: Option<String>,
}

impl Stops {
    /// Empty stop strings are left out: they would end every text before it begins.
    pub(super) fn new(mut stops: Vec<String>) -> Self {
        stops.retain(|stop| !stop.is_empty());
        Self { stops, held: String::new() }
    }

    /// Adds text and returns what is certain now.
    pub(super) fn push(&mut self, text: &str) -> Passed {
        if self.stops.is_empty() {
            return Passed { text: text.to_owned(), stop: None };
        }
        self.held.push_str(text);
        let found = self.stops.iter().filter_map(|stop| Some((self.held.find(stop)?, stop)));
        // Of stops that begin at the same place the longest is meant.
        if let Some((start, stop)) =
            found.min_by_key(|(start, stop)| (*start, usize::MAX - stop.len()))
        {
            let stop = Some(stop.clone());
            self.held.truncate(start);
            return Passed { text: std::mem::take(&mut self.held), stop };
        }
        let undecided = undecided_bytes(&self.held, self.stops.iter().map(String::as_str));
        let held = self.held.split_off(self.held.len() - undecided);
        Passed { text: std::mem::replace(&mut self.held, held), stop: None }
    }

    /// What is held back.
    pub(super) fn held(&self) -> &str {
        &self.held
    }

    /// No more text comes: what was held back is text.
    pub(super) fn finish(&mut self) -> String {
        std::mem::take(&mut self.held)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(stops: &[&str], pieces: &[&str], expected: &str, stop: Option<&str>) {
        let mut matcher = Stops::new(stops.iter().map(ToString::to_string).collect());
        let mut text = String::new();
        for piece in pieces {
            let passed = matcher.push(piece);
            text.push_str(&passed.text);
            if passed.stop.is_some() {
                assert_eq!((text.as_str(), passed.stop.as_deref()), (expected, stop));
                return;
            }
        }
        text.push_str(&matcher.finish());
        assert_eq!((text.as_str(), None), (expected, stop));
    }

    #[test]
    fn a_stop_is_found_across_pieces_and_left_out() {
        check(&["</s>"], &["Hello<", "/", "s>", " never"], "Hello", Some("</s>"));
        check(&["</s>"], &["Hello<", "/", "p>"], "Hello</p>", None);
        check(&["aab"], &["a", "a", "a", "b"], "a", Some("aab"));
        check(&["b", "ab"], &["xa", "b"], "x", Some("ab"));
        check(&["", "\n"], &["one", "\ntwo"], "one", Some("\n"));
        check(&["止"], &["停止"], "停", Some("止"));
    }

    proptest! {
        #[test]
        fn pieces_change_nothing(text in "[ab。]{0,30}", stop in "[ab。]{1,4}", cuts in prop::collection::vec(1..4usize, 1..30)) {
            let whole = text.find(&stop).map_or(text.as_str(), |at| &text[..at]);
            let mut matcher = Stops::new(vec![stop.clone()]);
            let mut seen = String::new();
            let mut stopped = false;
            let chars: Vec<char> = text.chars().collect();
            let mut rest = &chars[..];
            for cut in cuts.iter().cycle() {
                if rest.is_empty() || stopped {
                    break;
                }
                let (now, later) = rest.split_at((*cut).min(rest.len()));
                let passed = matcher.push(&now.iter().collect::<String>());
                seen.push_str(&passed.text);
                stopped = passed.stop.is_some();
                rest = later;
            }
            if !stopped {
                seen.push_str(&matcher.finish());
            }
            prop_assert_eq!(seen, whole);
            prop_assert_eq!(stopped, text.contains(&stop));
        }
    }
}
