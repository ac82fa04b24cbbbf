//! `resident replay [FILE]`: what a hub was told and decided, in words, and decided once more.
//!
//! Not here: the journal itself, and the second decision (`supervisor::journal`).

mod story;

use std::{
    fs::File,
    io::{BufReader, Read as _},
    path::{Path, PathBuf},
};

use planner::fleet::Event;
use serde::Serialize;
use supervisor::{
    Happening,
    journal::{self, Verdict},
    limits::JOURNAL_READ_BYTES_MAX,
};

use crate::{
    cli,
    config::{self, Settings},
    exit::{self, Code},
    terminal,
};
use story::Story;

/// What `--json` prints.
#[derive(Debug, Serialize)]
struct Document<'a> {
    file: &'a Path,
    entries: &'a [Happening],
    /// `same`, `unknown` or `differs`.
    verdict: &'static str,
    /// What that means here.
    message: String,
}

/// Tells and decides once more.
///
/// # Errors
/// When there is no journal, it cannot be read, or something else is decided now.
pub(crate) fn replay(arguments: &cli::Replay) -> anyhow::Result<()> {
    let file = match &arguments.file {
        Some(file) => file.clone(),
        None => newest(&config::load(&arguments.place, &cli::Serving::default())?)?,
    };
    let opened = File::open(&file).map_err(|error| {
        let message = format!(
            "cannot read the journal {}: {error}; without a name `resident replay` tells the newest one",
            file.display()
        );
        exit::error(Code::Failure, message)
    })?;
    // A hub never writes more.
    let entries = journal::read(BufReader::new(opened.take(JOURNAL_READ_BYTES_MAX)));
    let entries =
        entries.map_err(|why| exit::error(Code::Failure, format!("{}: {why}", file.display())))?;
    let verdict = journal::replay(&entries);
    let (word, message) = judged(&entries, &verdict);
    if arguments.json {
        let message = message.clone();
        let document = Document { file: &file, entries: &entries, verdict: word, message };
        terminal::json(&document)?;
    } else {
        terminal::note(format_args!("{}", file.display()));
        Story::default().lines(&entries).into_iter().for_each(terminal::line);
        terminal::line(format_args!("\n{message} {}", ending(&entries)));
    }
    match verdict {
        // Some other file, which the sentence above says.
        Verdict::Unknown(_) if entries.is_empty() => {
            let message = format!("{} is no journal of a hub", file.display());
            Err(exit::error(Code::Failure, message))
        }
        Verdict::Same | Verdict::Unknown(_) => Ok(()),
        Verdict::Differs { entry, .. } => Err(exit::error(
            Code::Failure,
            format!("{}: line {entry} is decided otherwise now", file.display()),
        )),
    }
}

fn newest(settings: &Settings) -> anyhow::Result<PathBuf> {
    let folder = settings.journals_dir();
    let newest = journal::files(&folder).ok().and_then(|mut files| files.pop());
    newest.ok_or_else(|| {
        let message = format!(
            "there is no journal in {}; a hub writes one as soon as it runs",
            folder.display()
        );
        exit::error(Code::Failure, message)
    })
}

/// Where the file ends, and why as far as it can be told.
fn ending(entries: &[Happening]) -> String {
    let is_down =
        |entry: &Happening| matches!(entry, Happening::Told { event: Event::ShutdownAsked, .. });
    let line = entries.len();
    match entries.last() {
        Some(Happening::Ended { reason }) => format!("It ends with line {line}: {reason}."),
        Some(_) if entries.iter().any(is_down) => format!("It ends with the hub, at line {line}."),
        Some(_) | None => format!(
            "It ends with line {line} and without the hub's end: the hub still runs, goes on in the \
             next file, or was killed."
        ),
    }
}

/// The verdict as a word, and as a sentence.
fn judged(entries: &[Happening], verdict: &Verdict) -> (&'static str, String) {
    match verdict {
        Verdict::Same => {
            let told = |entry: &&Happening| matches!(entry, Happening::Told { .. });
            let told = entries.iter().filter(told).count();
            ("same", format!("Decided once more: the same, {told} times."))
        }
        Verdict::Unknown(why) => ("unknown", format!("It cannot be decided once more: {why}.")),
        Verdict::Differs { entry, now } => {
            let mut story = Story::default();
            story.lines(&entries[..*entry]);
            let now = story.decided(now);
            let writer = entries.iter().find_map(|entry| match entry {
                Happening::Began { version, .. } | Happening::Continues { version, .. } => {
                    Some(version.as_str())
                }
                Happening::Told { .. } | Happening::Lost { .. } | Happening::Ended { .. } => None,
            });
            let message = format!(
                "Line {entry} is decided otherwise now: {now}. It was written by version {}, and \
                 this is {}.",
                writer.unwrap_or("unknown"),
                env!("CARGO_PKG_VERSION")
            );
            ("differs", message)
        }
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;
    use jiff::tz::TimeZone;
    use planner::fleet::{Action, Event, Fleet, Policy, Pressure, Priority, Terms, When};
    use planner::fleet::{Model, RequestId, WorkerId};
    use std::time::Duration;

    use super::*;

    fn wanted(request: u64, name: &str, bytes: u64) -> Event {
        let terms = Terms {
            bytes: bytes << 30,
            group: None,
            pinned: false,
            idle_unload: None,
            load_time: Duration::from_secs(1),
            once: false,
        };
        let model = Model { name: name.into(), version: 1 };
        let (request, keep_alive) = (RequestId(request), None);
        Event::Wanted { request, model, terms, priority: Priority::Interactive, keep_alive }
    }

    /// A run as a hub writes it: 8 GiB, and whatever the fleet decides.
    fn run() -> Vec<Happening> {
        let policy = Policy {
            budget_bytes: 8 << 30,
            idle_unload: Duration::from_secs(600),
            exclusive: Default::default(),
        };
        let mut fleet = Fleet::new(policy.clone());
        let version = "0.0.0".to_owned();
        let began = Happening::Began { version, policy, unix_s: 1_700_000_000 };
        let ready = |worker, gib: u64| Event::Ready { worker, measured_bytes: gib << 30 };
        let exited = |worker, reason: &str| Event::Exited { worker, reason: reason.to_owned() };
        let events = [
            (0, wanted(0, "small", 3)),
            (2, ready(WorkerId(0), 3)),
            (5, Event::Released { request: RequestId(0) }),
            (90, wanted(1, "big", 6)),
            (91, exited(WorkerId(0), "it ended")),
            (97, ready(WorkerId(1), 6)),
            (98, Event::Measured { worker: WorkerId(1), bytes: 7 << 30 }),
            (99, wanted(2, "huge", 9)),
            (100, Event::Pressure { level: Pressure::Some }),
            (101, Event::PinAsked { name: "big".into(), pinned: Some(true) }),
            (102, Event::StopAsked { name: "big".into() }),
            (103, Event::Tick),
            (104, Event::ShutdownAsked),
        ];
        let told = events.into_iter().map(|(second, event)| {
            let at = Duration::from_secs(second);
            let mut actions = Vec::new();
            fleet.handle(When(at), event.clone(), &mut actions);
            Happening::Told { at, event, actions }
        });
        [began].into_iter().chain(told).collect()
    }

    #[test]
    fn a_run_as_people_read_it() {
        // A mark before each line, because what all lines begin with is not compared.
        let lines = Story::in_zone(TimeZone::UTC).lines(&run()).join("\n|");
        let lines = format!("|{lines}");
        expect![[r#"
            |      0.000 s  a hub of version 0.0.0 began on 2023-11-14 22:13:20 UTC, with 8.0 GiB for models
            |      0.000 s  request 0 wants small (3.0 GiB): load small
            |      2.000 s  small is loaded and holds 3.0 GiB: let in request 0 (small)
            |      5.000 s  request 0 (small) is done: nothing to do
            |     90.000 s  request 1 wants big (6.0 GiB): stop small, because another model needs its memory
            |     91.000 s  small is gone (it ended): load big
            |     97.000 s  big is loaded and holds 6.0 GiB: let in request 1 (big)
            |     98.000 s  big holds 7.0 GiB: nothing to do
            |     99.000 s  request 2 wants huge (9.0 GiB): refuse request 2 (huge): It needs 9.0 GiB, and all models together may take 8.0 GiB: 1.0 GiB too much even alone. Take a smaller quantization or a shorter context, or raise the budget.
            |    100.000 s  the machine begins to be short of memory: ask big for what it can do without
            |    101.000 s  the operator pins big: nothing to do
            |    102.000 s  the operator stops big: stop big, because the operator stopped it
            |    103.000 s  time has passed: nothing to do
            |    104.000 s  the hub is to stop: nothing to do"#]].assert_eq(&lines);
    }

    #[test]
    fn a_file_that_begins_in_the_middle_knows_who_is_there() {
        let entries = run();
        let mut fleet = Fleet::new(Policy {
            budget_bytes: 8 << 30,
            idle_unload: Duration::from_secs(600),
            exclusive: Default::default(),
        });
        for entry in &entries[1..5] {
            let Happening::Told { at, event, .. } = entry else { panic!() };
            fleet.handle(When(*at), event.clone(), &mut Vec::new());
        }
        let (version, at) = ("0.0.0".to_owned(), Duration::from_secs(90));
        let fleet = Box::new(fleet);
        let continues = Happening::Continues { version, unix_s: 1_700_000_090, at, fleet };
        let reason = "no space left on device".to_owned();
        let entries = [&[continues], &entries[5..8], &[Happening::Ended { reason }]].concat();
        // As the file gives it back.
        let read = entries.iter().map(|entry| serde_json::to_string(entry).unwrap() + "\n");
        let entries = journal::read(read.collect::<String>().as_bytes()).unwrap();
        let lines = Story::in_zone(TimeZone::UTC).lines(&entries).join("\n|");
        expect![[r#"
            |     90.000 s  a hub of version 0.0.0 goes on at 2023-11-14 22:14:50 UTC: 3.0 GiB of 8.0 GiB are booked, 1 request waits
            |     91.000 s  small is gone (it ended): load big
            |     97.000 s  big is loaded and holds 6.0 GiB: let in request 1 (big)
            |     98.000 s  big holds 7.0 GiB: nothing to do
            |               nothing is written after this: no space left on device"#]].assert_eq(&format!("|{lines}"));
        assert_eq!(journal::replay(&entries), Verdict::Same);
        expect!["It ends with line 5: no space left on device."].assert_eq(&ending(&entries));
        expect!["It ends with line 2 and without the hub's end: the hub still runs, goes on in the next file, or was killed."].assert_eq(&ending(&entries[..2]));
        expect!["It ends with the hub, at line 14."].assert_eq(&ending(&run()));
    }

    #[test]
    fn the_verdict_is_a_sentence() {
        let same = run();
        assert_eq!(
            judged(&same, &journal::replay(&same)),
            ("same", "Decided once more: the same, 13 times.".to_owned())
        );
        let mut other = run();
        let Happening::Told { actions, .. } = &mut other[4] else { panic!() };
        actions.retain(|action| !matches!(action, Action::Stop { .. }));
        let (word, message) = judged(&other, &journal::replay(&other));
        assert_eq!(word, "differs");
        expect!["Line 5 is decided otherwise now: stop small, because another model needs its memory. It was written by version 0.0.0, and this is 0.0.0."].assert_eq(&message);
        let (word, message) = judged(&same[1..], &journal::replay(&same[1..]));
        assert_eq!(word, "unknown");
        expect!["It cannot be decided once more: it does not begin with a hub's beginning."]
            .assert_eq(&message);
    }
}
