//! The one place that prints. Output goes to stdout, everything else to stderr.
//!
//! A reader that closed its end (`resident ls | head -1`) is not an error. Colour is used only on a
//! terminal, never when `NO_COLOR` is set, and never carries meaning that the words do not.

use std::{
    fmt::Display,
    io::{self, IsTerminal as _, Write as _},
};

/// Prints a line of output.
pub(crate) fn line(text: impl Display) {
    text_as_is(&format!("{text}\n"));
}

/// Prints output without a line end, at once.
pub(crate) fn text_as_is(text: &str) {
    let mut out = io::stdout().lock();
    let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    if let Err(error) = written {
        // Nobody reads any more: there is nothing left to do, and nobody to tell.
        let code = if error.kind() == io::ErrorKind::BrokenPipe { 0 } else { 1 };
        std::process::exit(code);
    }
}

/// Prints a line for the person, beside the output. A closed stderr loses it, which is all one can do.
pub(crate) fn note(text: impl Display) {
    let _closed = writeln!(io::stderr().lock(), "{text}");
}

/// Prints one JSON document.
///
/// # Errors
/// When `document` has no JSON form.
pub(crate) fn json(document: &impl serde::Serialize) -> anyhow::Result<()> {
    line(serde_json::to_string_pretty(document)?);
    Ok(())
}

/// Whether a person reads stdout directly.
pub(crate) fn stdout_is_terminal() -> bool {
    io::stdout().is_terminal()
}

/// Whether a person looks at stderr, on something that can redraw a line.
pub(crate) fn stderr_is_screen() -> bool {
    io::stderr().is_terminal() && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

/// Whether what goes to stderr is coloured.
pub(crate) fn stderr_has_colour() -> bool {
    colour_wanted(io::stderr().is_terminal())
}

/// How text is set apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tone {
    /// What a reader looks for first.
    Strong,
    /// What may be skipped.
    Faint,
    /// What went wrong.
    Alarm,
}

/// Whether text is coloured, decided once per stream.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Paint(bool);

impl Paint {
    /// For what goes to stdout.
    pub(crate) fn stdout() -> Self {
        Self(colour_wanted(stdout_is_terminal()))
    }

    /// For what goes to stderr.
    pub(crate) fn stderr() -> Self {
        Self(stderr_has_colour())
    }

    /// No colour at all.
    #[cfg(test)]
    pub(crate) fn plain() -> Self {
        Self(false)
    }

    /// `text` in `tone`, or as it is.
    pub(crate) fn tone(self, tone: Tone, text: impl Display) -> String {
        if !self.0 {
            return text.to_string();
        }
        let code = match tone {
            Tone::Strong => "1",
            Tone::Faint => "2",
            Tone::Alarm => "1;31",
        };
        format!("\u{1b}[{code}m{text}\u{1b}[0m")
    }
}

/// `NO_COLOR` counts when it is set to anything but nothing (no-color.org); a dumb terminal has none.
fn colour_wanted(is_terminal: bool) -> bool {
    let is_set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    is_terminal && !is_set("NO_COLOR") && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

/// Text of a model or of a file without control characters, so that nothing it says can move the
/// cursor, retitle the window or type for the reader. Line ends and tabs stay.
pub(crate) fn inert(text: &str) -> String {
    text.chars().filter(|c| !c.is_control() || matches!(c, '\n' | '\t')).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escape_sequences_of_a_model_are_taken_out() {
        assert_eq!(inert("a\u{1b}[2Jb\r\n\tc\u{7}\u{9b}31m常驻"), "a[2Jb\n\tc31m常驻");
    }

    #[test]
    fn text_without_colour_is_the_text() {
        assert_eq!(Paint::plain().tone(Tone::Alarm, "error"), "error");
        assert_eq!(Paint(true).tone(Tone::Strong, "x"), "\u{1b}[1mx\u{1b}[0m");
    }
}
