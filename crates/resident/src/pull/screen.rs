//! Shows how far a pull is: bars where a person looks, lines where none does, JSON for programs.
//!
//! Bars and lines go to stderr, JSON to stdout. Not here: the words (`words`).

use std::time::Instant;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use serde::Serialize;

use super::{state::State, words};
use crate::{
    limits::{BARS_MAX, LINE_INTERVAL, LINE_PERCENT, PULL_LOOK_INTERVAL},
    plan::taken::Taken,
    terminal,
};

/// A bar between what it is of and how far it is.
const BAR: &str = "{prefix} {wide_bar} {msg}";

/// Cells of a bar: full, at the edge, empty.
const CELLS: &str = "━╸ ";

/// Where a pull is shown.
pub(super) enum Screen {
    /// A terminal.
    Bars(Box<Bars>),
    /// A file or a pipe.
    Lines(Lines),
    /// A program.
    Json(Json),
}

/// One line of what programs read.
#[derive(Debug, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(super) enum Event<'a> {
    /// What will be pulled, and why.
    Plan {
        /// Where from.
        source: &'a str,
        /// What is taken, why, and what it needs.
        plan: &'a Taken,
    },
    /// How far it is.
    Progress(&'a State),
    /// It was paused: so far it is.
    Paused(&'a State),
    /// It failed.
    Failed {
        /// Why, and the way out.
        error: &'a str,
    },
    /// The model is here.
    Done {
        /// What it is called.
        model: &'a str,
        /// Where it is from.
        source: Option<&'a str>,
        /// Length of its files.
        bytes: Option<u64>,
        /// Memory that it will take.
        memory_bytes: Option<u64>,
    },
}

impl Screen {
    /// The screen of this process.
    pub(super) fn choose(json: bool) -> Self {
        if json {
            Self::Json(Json::default())
        } else if terminal::stderr_is_screen() {
            Self::Bars(Box::new(Bars::new(MultiProgress::new())))
        } else {
            Self::Lines(Lines::default())
        }
    }

    /// Shows how far it is.
    ///
    /// # Errors
    /// When it has no JSON form.
    pub(super) fn show(&mut self, state: &State) -> anyhow::Result<()> {
        match self {
            Self::Bars(bars) => bars.show(state),
            Self::Lines(lines) => {
                if let Some(line) = lines.next(state, Instant::now()) {
                    terminal::note(line);
                }
            }
            Self::Json(json) => return json.show(state),
        }
        Ok(())
    }

    /// Whether a program reads it, which sentences would only confuse.
    pub(super) fn is_for_programs(&self) -> bool {
        matches!(self, Self::Json(_))
    }

    /// Leaves nothing on the screen that moves.
    pub(super) fn end(&mut self) {
        if let Self::Bars(bars) = self {
            bars.end();
        }
    }
}

/// Bars under each other: files on their way, all of them, and what is waited for.
pub(super) struct Bars {
    all: MultiProgress,
    files: Vec<ProgressBar>,
    sum: ProgressBar,
    note: ProgressBar,
}

impl Bars {
    fn new(all: MultiProgress) -> Self {
        let bar = || ProgressBar::new(1).with_style(style(BAR));
        let (sum, note) = (all.add(bar()), all.add(ProgressBar::new(1)));
        note.set_style(style("{wide_msg}"));
        Self { all, files: Vec::new(), sum, note }
    }

    fn show(&mut self, state: &State) {
        // Of a single file all figures stand in one line.
        let is_one = state.files.len() <= 1;
        let moving: Vec<_> =
            if is_one { Vec::new() } else { state.moving().take(BARS_MAX).collect() };
        while self.files.len() > moving.len() {
            if let Some(bar) = self.files.pop() {
                bar.finish_and_clear();
                self.all.remove(&bar);
            }
        }
        while self.files.len() < moving.len() {
            let bar = ProgressBar::new(1).with_style(style(BAR));
            self.files.push(self.all.insert_before(&self.sum, bar));
        }
        for (bar, file) in self.files.iter().zip(moving) {
            set(bar, file.done_bytes, file.whole_bytes);
            bar.set_prefix(padded(&words::name(&file.name)));
            bar.set_message(words::file_figures(file));
        }
        set(&self.sum, state.done_bytes, state.whole_bytes);
        self.sum.set_prefix(padded(&words::heading(state)));
        self.sum.set_message(words::figures(state));
        let note = state.note.as_deref().map(terminal::inert);
        let note = note.or_else(|| words::stage(state).map(str::to_owned));
        self.note.set_message(note.unwrap_or_default());
    }

    fn end(&mut self) {
        for bar in self.files.iter().chain([&self.sum, &self.note]) {
            bar.finish_and_clear();
        }
    }
}

fn style(template: &str) -> ProgressStyle {
    let style =
        ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    style.progress_chars(CELLS)
}

fn set(bar: &ProgressBar, done_bytes: u64, whole_bytes: Option<u64>) {
    bar.set_length(whole_bytes.unwrap_or(done_bytes).max(1));
    bar.set_position(if whole_bytes.is_some() { done_bytes } else { 0 });
}

fn padded(text: &str) -> String {
    format!("{text:<width$}", width = words::NAME_CHARACTERS)
}

/// Now and then a line.
#[derive(Debug, Default)]
pub(super) struct Lines {
    said: Option<(Instant, u64, Option<String>)>,
}

impl Lines {
    /// What there is to say now: at the beginning, then every ten seconds or ten percent, and when something else
    /// is waited for.
    fn next(&mut self, state: &State, now: Instant) -> Option<String> {
        let percent = state.percent().unwrap_or(0);
        let is_news = match &self.said {
            None => state.whole_bytes.is_some() || state.done_bytes > 0 || state.note.is_some(),
            Some((at, said_percent, note)) => {
                now.duration_since(*at) >= LINE_INTERVAL
                    || percent / LINE_PERCENT > said_percent / LINE_PERCENT
                    || state.note.is_some() && kind(note) != kind(&state.note)
            }
        };
        is_news.then(|| {
            self.said = Some((now, percent, state.note.clone()));
            words::line(state)
        })
    }
}

/// A note without its figures: a wait that gets shorter is no news.
fn kind(note: &Option<String>) -> Option<String> {
    let note = note.as_ref()?;
    Some(note.chars().filter(|c| !c.is_ascii_digit()).collect())
}

/// A line for each change, but not more than a program can take.
#[derive(Debug, Default)]
pub(super) struct Json {
    said: Option<(Instant, State)>,
}

impl Json {
    fn show(&mut self, state: &State) -> anyhow::Result<()> {
        let is_news = self.said.as_ref().is_none_or(|(at, said)| {
            said != state && (said.stage != state.stage || at.elapsed() >= PULL_LOOK_INTERVAL)
        });
        if is_news {
            self.said = Some((Instant::now(), state.clone()));
            terminal::line(serde_json::to_string(&Event::Progress(state))?);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io,
        sync::{Arc, Mutex},
        time::Duration,
    };

    use expect_test::expect;
    use indicatif::{ProgressDrawTarget, TermLike};

    use super::*;
    use crate::pull::state::{FileState, Stage};

    fn file(name: &str, done_bytes: u64, whole_bytes: u64) -> FileState {
        FileState { name: name.to_owned(), done_bytes, whole_bytes: Some(whole_bytes) }
    }

    fn state(files: Vec<FileState>) -> State {
        let sum = |of: fn(&FileState) -> u64| files.iter().map(of).sum::<u64>();
        State {
            stage: Some(Stage::Files),
            done_bytes: sum(|file| file.done_bytes),
            whole_bytes: Some(sum(|file| file.whole_bytes.unwrap())),
            bytes_per_s: 52 << 20,
            left_s: Some(62),
            connections: 8,
            note: None,
            files,
        }
    }

    /// A screen as far as bars use it: lines that are cleared before they are written again.
    #[derive(Debug, Clone)]
    struct Paper {
        width: u16,
        lines: Arc<Mutex<(Vec<String>, usize)>>,
    }

    impl Paper {
        fn write(&self, text: &str) -> io::Result<()> {
            let mut held = self.lines.lock().unwrap();
            let (lines, row) = &mut *held;
            for c in text.chars() {
                let line = lines.get(*row).map_or(0, |line| line.chars().count());
                // What goes over the edge goes on in the next line.
                *row += usize::from(line == usize::from(self.width));
                lines.resize((*row + 1).max(lines.len()), String::new());
                lines[*row].push(c);
            }
            Ok(())
        }

        fn turn(&self, to: impl FnOnce(usize) -> usize) -> io::Result<()> {
            let mut held = self.lines.lock().unwrap();
            held.1 = to(held.1);
            Ok(())
        }

        fn contents(&self) -> String {
            let held = self.lines.lock().unwrap();
            let lines: Vec<&str> = held.0.iter().map(|line| line.trim_end()).collect();
            lines.join("\n").trim_end().to_owned()
        }
    }

    impl TermLike for Paper {
        fn width(&self) -> u16 {
            self.width
        }

        fn move_cursor_up(&self, lines: usize) -> io::Result<()> {
            self.turn(|row| row.saturating_sub(lines))
        }

        fn move_cursor_down(&self, lines: usize) -> io::Result<()> {
            self.turn(|row| row + lines)
        }

        fn move_cursor_right(&self, _columns: usize) -> io::Result<()> {
            Ok(())
        }

        fn move_cursor_left(&self, _columns: usize) -> io::Result<()> {
            Ok(())
        }

        fn write_line(&self, text: &str) -> io::Result<()> {
            self.write(text)?;
            self.turn(|row| row + 1)
        }

        fn write_str(&self, text: &str) -> io::Result<()> {
            self.write(text)
        }

        fn clear_line(&self) -> io::Result<()> {
            let mut held = self.lines.lock().unwrap();
            let (lines, row) = &mut *held;
            if let Some(line) = lines.get_mut(*row) {
                line.clear();
            }
            Ok(())
        }

        fn flush(&self) -> io::Result<()> {
            Ok(())
        }
    }

    fn shown(width: u16, states: &[State]) -> String {
        let screen = Paper { width, lines: Arc::default() };
        let target = ProgressDrawTarget::term_like(Box::new(screen.clone()));
        let mut bars = Bars::new(MultiProgress::with_draw_target(target));
        for state in states {
            bars.show(state);
        }
        bars.sum.tick();
        screen.contents()
    }

    #[test]
    fn one_file_is_one_line_on_any_screen() {
        let state = state(vec![file("Qwen3-8B-Q4_K_M.gguf", 2 << 30, 5 << 30)]);
        expect!["Qwen3-8B-Q4_K_M.gguf     ━━━━╸         40 %      2.0/5.0 GiB  52.0 MiB/s   1m 2s"]
            .assert_eq(&shown(80, std::slice::from_ref(&state)));
        let wide = shown(120, &[state]);
        assert_eq!(wide.chars().count(), 120, "{wide}");
        assert!(wide.ends_with("52.0 MiB/s   1m 2s"), "{wide}");
    }

    #[test]
    fn several_files_have_a_line_each_while_they_come() {
        let before = state(vec![
            file("m-00001-of-00003.gguf", 5 << 30, 5 << 30),
            file("m-00002-of-00003.gguf", 1 << 30, 5 << 30),
            file("m-00003-of-00003.gguf", 1 << 20, 5 << 30),
        ]);
        let mut after = before.clone();
        after.files[1].done_bytes = 5 << 30;
        after.note = Some("waiting 12 s: the server has too many requests".to_owned());
        expect![[r"
            m-00002-of-00003.gguf    ━━╸           20 %      1.0/5.0 GiB
            m-00003-of-00003.gguf    ╸              0 %  1.0 MiB/5.0 GiB
            in all, 1 of 3 files     ━━━━╸         40 %     6.0/15.0 GiB  52.0 MiB/s   1m 2s
        "]]
        .assert_eq(&(shown(80, std::slice::from_ref(&before)) + "\n"));
        expect![[r"
            m-00003-of-00003.gguf    ╸              0 %  1.0 MiB/5.0 GiB
            in all, 2 of 3 files     ━━━━╸         40 %     6.0/15.0 GiB  52.0 MiB/s   1m 2s
            waiting 12 s: the server has too many requests
        "]]
        .assert_eq(&(shown(80, &[before, after]) + "\n"));
    }

    #[test]
    fn lines_come_now_and_then_and_with_news() {
        let mut lines = Lines::default();
        let begun = Instant::now();
        let mut said = |done: u64, note: Option<&str>, after_s: u64| {
            let mut state = state(vec![file("a", done, 1000)]);
            state.note = note.map(str::to_owned);
            lines.next(&state, begun + Duration::from_secs(after_s)).is_some()
        };
        assert!(said(0, None, 0), "the beginning");
        assert!(!said(90, None, 1));
        assert!(said(100, None, 2), "ten percent");
        assert!(!said(150, None, 11));
        assert!(said(151, None, 12), "ten seconds");
        assert!(said(151, Some("waiting 12 s"), 13), "something is waited for");
        assert!(!said(151, Some("waiting 11 s"), 14));
    }
}
