//! What is kept and found, in the gateway's words.

use gateway::{Citation, Collection, Passage, Place, Reading, Stretch, Unread};
use knowledge::{
    base::{self, Found, Status},
    document::{self, Inside},
    ingest::Progress,
    store::{self, File, JobState, State},
};

use super::work::At;

/// A collection, and what goes on with it now.
pub(super) fn collection(status: Status, at: Option<At>) -> Collection {
    let Status { collection, sources, counts, job } = status;
    let (mut state, mut progress) = (word(job.state).to_owned(), Progress::default());
    match at {
        Some(At::Waiting) => "waiting".clone_into(&mut state),
        Some(At::Paused(paused)) => {
            "paused".clone_into(&mut state);
            progress = paused;
        }
        Some(At::Running(running)) => {
            "running".clone_into(&mut state);
            progress = running;
        }
        None => {}
    }
    Collection {
        name: collection.name,
        sources: sources.iter().map(|source| source.path.display().to_string()).collect(),
        embedder: collection.embedder.map(|(name, _)| name),
        files: counts.files,
        skipped: counts.skipped,
        with_gaps: counts.with_gaps,
        bytes: counts.bytes,
        passages: counts.passages.saturating_sub(counts.due),
        state,
        error: job.error,
        files_to_read: progress.files,
        files_done: progress.files_done,
        bytes_to_read: progress.bytes,
        bytes_done: progress.bytes_done,
        bytes_per_s: progress.bytes_per_second() as u64,
        left_s: progress.left().map(|left| left.as_secs()),
        current: progress.current.map(|path| path.display().to_string()),
    }
}

fn word(state: JobState) -> &'static str {
    match state {
        JobState::Idle => "waiting",
        // Nobody is at it: a process ended without a word.
        JobState::Running | JobState::Paused | JobState::Stopped => "stopped",
        JobState::Done => "done",
        JobState::Failed => "failed",
    }
}

/// A file that was not read, or not all of it.
pub(super) fn unread(file: File) -> Unread {
    let (skipped, mut reasons) = match file.state {
        State::Skipped(reason) => (true, vec![reason]),
        State::Stored | State::Indexed => (false, Vec::new()),
    };
    reasons.extend(file.gaps.iter().map(ToString::to_string));
    Unread { path: file.path.display().to_string(), skipped, reasons }
}

pub(super) fn passage(found: Found) -> Passage {
    let Found { passage, score, neighbours } = found;
    let first = passage.pieces.first().map(|piece| &piece.place);
    Passage {
        id: passage.id,
        collection: passage.collection,
        path: passage.path.display().to_string(),
        file: passage.file,
        kind: passage.kind,
        changed: passage.modified_ns.div_euclid(1_000_000_000),
        headings: passage.headings,
        place: first.map(place).unwrap_or_default(),
        text: passage.text,
        score,
        neighbours,
    }
}

pub(super) fn reading(reading: base::Reading) -> Reading {
    let base::Reading { passages, text, of } = reading;
    let mut row = Reading { text, of, ..Reading::default() };
    if let Some(first) = passages.first() {
        row.collection.clone_from(&first.collection);
        row.path = first.path.display().to_string();
        row.kind.clone_from(&first.kind);
        row.title.clone_from(&first.title);
        row.from = first.ordinal.saturating_add(1);
    }
    let behind = passages.last().map_or(0, |last| last.ordinal.saturating_add(1));
    row.next = (behind < of).then(|| behind.saturating_add(1));
    let stretch = |passage: store::Found| Stretch {
        place: passage.pieces.first().map(|piece| place(&piece.place)).unwrap_or_default(),
        id: passage.id,
        headings: passage.headings,
    };
    row.passages = passages.into_iter().map(stretch).collect();
    row
}

pub(super) fn citation(cited: base::Citation) -> Citation {
    Citation {
        // There are at most some tens.
        number: u32::try_from(cited.number).unwrap_or(u32::MAX),
        path: cited.path.display().to_string(),
        place: cited.places.first().map(place).unwrap_or_default(),
        quote: cited.quote,
    }
}

fn place(place: &document::Place) -> Place {
    let mut row = Place { said: place.to_string(), ..Place::default() };
    match &place.inside {
        Inside::Whole => {}
        Inside::Page(page) => row.page = Some(*page),
        Inside::Slide(slide) => row.slide = Some(*slide),
        Inside::Paragraph(paragraph) => row.paragraph = Some(*paragraph),
        Inside::Row { sheet, row: number, column: _ } => {
            (row.sheet, row.row) = (Some(sheet.clone()), Some(*number));
        }
        Inside::Entry(entry) => row.entry = Some(entry.clone()),
        Inside::Time(range) => row.from_ms = Some(range.start),
    }
    if let Some(bytes) = &place.bytes {
        (row.first_byte, row.end_byte) = (Some(bytes.start), Some(bytes.end));
    }
    row
}
