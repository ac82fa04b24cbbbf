//! What a pull says of itself: amounts, rates, times left, lines for people who have no terminal.

use std::time::Duration;

use super::state::{FileState, Stage, State};
use crate::{duration, size, terminal};

/// Characters of a file's name beside a bar. With the figures behind them a bar of a dozen cells is left on
/// a screen of 80.
pub(super) const NAME_CHARACTERS: usize = 24;

/// Characters of most rates, and of most times.
const RATE_CHARACTERS: usize = 10;
const LEFT_CHARACTERS: usize = 6;

/// What stands for a figure that nobody knows yet.
const UNKNOWN: &str = "?";

/// How much of how much, with the unit once where it is the same: `2.1/4.7 GiB`.
pub(super) fn amount(done_bytes: u64, whole_bytes: Option<u64>) -> String {
    let done = size::format(done_bytes);
    let Some(whole_bytes) = whole_bytes else { return done };
    let whole = size::format(whole_bytes);
    match (done.split_once(' '), whole.split_once(' ')) {
        (Some((number, one)), Some((_, other))) if one == other => format!("{number}/{whole}"),
        (Some(_) | None, Some(_) | None) => format!("{done}/{whole}"),
    }
}

/// A rate to read.
pub(super) fn rate(bytes_per_s: u64) -> String {
    format!("{}/s", size::format(bytes_per_s))
}

/// `45 %`.
pub(super) fn percent(percent: Option<u64>) -> String {
    percent.map_or_else(|| format!("{UNKNOWN} %"), |percent| format!("{percent} %"))
}

/// A name of at most [`NAME_CHARACTERS`], without its middle if it is longer: names of models differ at their ends.
pub(super) fn name(name: &str) -> String {
    let name = terminal::inert(name);
    let characters: Vec<char> = name.chars().collect();
    if characters.len() <= NAME_CHARACTERS {
        return name;
    }
    let kept = NAME_CHARACTERS - 1;
    let (front, back) = (kept - kept * 2 / 3, kept * 2 / 3);
    let back = &characters[characters.len() - back..];
    characters[..front].iter().chain(&['…']).chain(back).collect()
}

/// The figures behind the bar of one file of several.
pub(super) fn file_figures(file: &FileState) -> String {
    // Bars stand under each other when what is behind them is as wide.
    format!(
        "{:>5}  {:>15}  {:RATE_CHARACTERS$}  {:LEFT_CHARACTERS$}",
        percent(file.percent()),
        amount(file.done_bytes, file.whole_bytes),
        "",
        ""
    )
}

/// The figures behind the bar of all.
pub(super) fn figures(state: &State) -> String {
    let (rate, left) = if state.bytes_per_s == 0 {
        (String::new(), String::new())
    } else {
        let left = state.left_s.map(|seconds| duration::format(Duration::from_secs(seconds)));
        (rate(state.bytes_per_s), left.unwrap_or_default())
    };
    format!(
        "{:>5}  {:>15}  {rate:>RATE_CHARACTERS$}  {left:>LEFT_CHARACTERS$}",
        percent(state.percent()),
        amount(state.done_bytes, state.whole_bytes)
    )
}

/// What stands before the bar of all.
pub(super) fn heading(state: &State) -> String {
    match state.files.as_slice() {
        [] => "in all".to_owned(),
        [file] => name(&file.name),
        files => format!("in all, {} of {} files", state.whole_files(), files.len()),
    }
}

/// What is done now, where that is something else than to wait for bytes.
pub(super) fn stage(state: &State) -> Option<&'static str> {
    match state.stage {
        Some(Stage::Manifest) => Some("asking what there is"),
        Some(Stage::Verifying) => Some("looking whether all of it is right"),
        Some(Stage::Writing) => Some("entering it into the library"),
        Some(Stage::Files) | None => None,
    }
}

/// How far it is, in a line.
pub(super) fn line(state: &State) -> String {
    let mut line = match state.whole_bytes {
        Some(whole_bytes) => {
            format!("{} of {}", percent(state.percent()), size::format(whole_bytes))
        }
        None => format!("{} of what nobody says", size::format(state.done_bytes)),
    };
    if state.bytes_per_s > 0 {
        line += &format!(" at {}", rate(state.bytes_per_s));
        if let Some(seconds) = state.left_s {
            line += &format!(", {} left", duration::format(Duration::from_secs(seconds)));
        }
    }
    match &state.note {
        Some(note) => format!("{line} ({})", terminal::inert(note)),
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(name: &str, done_bytes: u64, whole_bytes: u64) -> FileState {
        FileState { name: name.to_owned(), done_bytes, whole_bytes: Some(whole_bytes) }
    }

    fn state() -> State {
        State {
            stage: Some(Stage::Files),
            done_bytes: 2 << 30,
            whole_bytes: Some(5 << 30),
            bytes_per_s: 50 << 20,
            left_s: Some(61),
            connections: 8,
            note: None,
            files: vec![file("qwen3-8b-Q4_K_M.gguf", 2 << 30, 5 << 30)],
        }
    }

    #[test]
    fn amounts_say_their_unit_once() {
        for (done, whole, expected) in [
            (2 << 30, Some(5 << 30), "2.0/5.0 GiB"),
            (2 << 20, Some(5 << 30), "2.0 MiB/5.0 GiB"),
            (0, Some(5 << 30), "0 B/5.0 GiB"),
            (2 << 20, None, "2.0 MiB"),
        ] {
            assert_eq!(amount(done, whole), expected);
        }
    }

    #[test]
    fn long_names_lose_their_middle() {
        let long = name("Qwen3-30B-A3B-Instruct-2507-UD-Q4_K_XL.gguf");
        assert_eq!(long, "Qwen3-30…UD-Q4_K_XL.gguf");
        assert_eq!(long.chars().count(), NAME_CHARACTERS);
        assert_eq!(name("short\u{1b}[2J.gguf"), "short[2J.gguf");
    }

    #[test]
    fn a_line_says_how_far_how_fast_and_how_long() {
        let mut state = state();
        assert_eq!(line(&state), "40 % of 5.0 GiB at 50.0 MiB/s, 1m 1s left");
        state.note = Some("waiting 12 s: the server has too many requests".to_owned());
        state.bytes_per_s = 0;
        let expected = "40 % of 5.0 GiB (waiting 12 s: the server has too many requests)";
        assert_eq!(line(&state), expected);
        let unknown = State { done_bytes: 3 << 20, ..State::default() };
        assert_eq!(line(&unknown), "3.0 MiB of what nobody says");
    }

    #[test]
    fn figures_stand_under_each_other() {
        let mut state = state();
        let all = figures(&state);
        assert_eq!(all, " 40 %      2.0/5.0 GiB  50.0 MiB/s   1m 1s");
        state.bytes_per_s = 0;
        assert_eq!(figures(&state).chars().count(), all.chars().count());
        let of_file = file_figures(&state.files[0]);
        assert!(all.starts_with(of_file.trim_end()), "{all}");
        assert_eq!(of_file.chars().count(), all.chars().count());
    }

    #[test]
    fn only_all_of_it_is_a_hundred() {
        let mut state = state();
        state.done_bytes = state.whole_bytes.unwrap() - 1;
        assert_eq!(percent(state.percent()), "99 %");
        state.done_bytes += 1;
        assert_eq!(percent(state.percent()), "100 %");
        state.whole_bytes = None;
        assert_eq!(percent(state.percent()), "? %");
    }

    #[test]
    fn several_files_are_counted() {
        let mut state = state();
        assert_eq!(heading(&state), "qwen3-8b-Q4_K_M.gguf");
        state.files.push(file("b.gguf", 7, 7));
        assert_eq!(heading(&state), "in all, 1 of 2 files");
        assert_eq!(state.moving().count(), 1);
    }
}
