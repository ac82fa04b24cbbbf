//! Gathers the parts of a document as a reader finds them, within bounds; or looks for one quote among them.

use std::{ops::Range, time::Duration};

use super::{
    Limits,
    locate::Sought,
    spelled::{Source, Spelled},
};
use crate::{
    document::{Document, Gap, Inside, Part, Place, Role, Why},
    limits,
};

/// What readers write into.
pub(crate) struct Collect {
    document: Document,
    text_bytes: u64,
    text_bytes_max: u64,
    cpu_max: Duration,
    is_full: bool,
    /// Instead of a document, a quote is wanted.
    pub(crate) sought: Option<Sought>,
}

impl Collect {
    pub(crate) fn new(limits: &Limits, sought: Option<Sought>) -> Self {
        let cpu_max =
            Duration::from_secs(limits.cpu_seconds) * limits::CPU_SOFT_PERCENT as u32 / 100;
        Self {
            document: Document::default(),
            text_bytes: 0,
            text_bytes_max: limits.text_bytes,
            cpu_max,
            is_full: false,
            sought,
        }
    }

    pub(crate) fn finish(self) -> (Document, Option<Sought>) {
        (self.document, self.sought)
    }

    /// The first title that is one.
    pub(crate) fn title(&mut self, title: &str) {
        let title = title.split_whitespace().collect::<Vec<_>>().join(" ");
        if self.document.title.is_none() && !title.is_empty() {
            self.document.title = Some(title.chars().take(300).collect());
        }
    }

    pub(crate) fn has_title(&self) -> bool {
        self.document.title.is_some()
    }

    pub(crate) fn gap(&mut self, inside: Inside, why: Why) {
        if self.document.gaps.len() < limits::PAGES_MAX {
            self.text_bytes += name_bytes(&inside);
            self.document.gaps.push(Gap { inside, why });
        }
    }

    /// Whether more would only be thrown away, or time is almost up. The reader ends with what it has.
    pub(crate) fn is_full(&mut self) -> bool {
        if !self.is_full && cpu_time() > self.cpu_max {
            self.close();
        }
        self.is_full
    }

    /// Nothing more is taken, and the document says so.
    pub(crate) fn close(&mut self) {
        if !self.is_full {
            self.is_full = true;
            self.gap(Inside::Whole, Why::TooLong);
        }
    }

    /// Whether this place is looked at: all are, unless a quote is sought elsewhere.
    pub(crate) fn wants(&self, inside: &Inside) -> bool {
        self.sought.as_ref().is_none_or(|sought| sought.is_inside(inside))
    }

    /// A part without bytes of its own.
    pub(crate) fn plain(&mut self, role: Role, inside: Inside, text: &str) {
        let mut spelled = Spelled::default();
        spelled.push_virtual(text);
        self.divided(None, role, &inside, &spelled);
    }

    /// A part whose characters have places in what is read.
    pub(crate) fn part(&mut self, source: &Source<'_>, role: Role, inside: Inside, text: &Spelled) {
        self.divided(Some(source), role, &inside, text);
    }

    fn divided(
        &mut self,
        source: Option<&Source<'_>>,
        role: Role,
        inside: &Inside,
        text: &Spelled,
    ) {
        if self.is_full || !self.wants(inside) {
            return;
        }
        let text = match role {
            // The first line's indentation means something.
            Role::Code => {
                let body = text.text().trim_end();
                let blank = body.len() - body.trim_start().len();
                let start = body[..blank].rfind('\n').map_or(0, |at| at + 1);
                text.slice(start..body.len())
            }
            Role::Heading(_) | Role::Paragraph | Role::Item | Role::Row => text.trimmed(),
        };
        let mut from = 0;
        while from < text.text().len() {
            let length = division(&text.text()[from..]);
            let piece = text.slice(from..from + length);
            from += length;
            self.piece(
                source,
                role,
                inside,
                &if role == Role::Code { piece } else { piece.trimmed() },
            );
        }
    }

    fn piece(&mut self, source: Option<&Source<'_>>, role: Role, inside: &Inside, text: &Spelled) {
        if text.is_empty() || self.is_full {
            return;
        }
        let bytes = |range: Range<usize>| {
            text.source(range).and_then(|range| source.and_then(|source| source.bytes(range)))
        };
        if let Some(sought) = &mut self.sought {
            return sought.look(inside, text.text(), bytes);
        }
        self.text_bytes += text.text().len() as u64 + name_bytes(inside);
        if self.text_bytes > self.text_bytes_max
            || self.document.parts.len() >= limits::DOCUMENT_PARTS_MAX
        {
            return self.close();
        }
        let whole = 0..text.text().len();
        // Whoever finds a place as long as its text takes the file to hold it as it is, so a coincidence is left out.
        let is_coincidence = |range: &Range<u64>| {
            let is_copy = text.map().is_copy(whole.clone())
                && text
                    .source(whole.clone())
                    .zip(source)
                    .is_some_and(|(range, source)| source.is_copy(range));
            range.end - range.start == whole.len() as u64 && !is_copy
        };
        let bytes = bytes(whole.clone()).filter(|range| !is_coincidence(range));
        let place = Place { inside: inside.clone(), bytes };
        self.document.parts.push(Part { text: text.text().to_owned(), role, place });
    }
}

/// Names that a place carries count like text: a stranger chose them.
fn name_bytes(inside: &Inside) -> u64 {
    match inside {
        Inside::Entry(name) => name.len() as u64,
        Inside::Row { sheet, .. } => sheet.len() as u64,
        Inside::Whole
        | Inside::Page(_)
        | Inside::Slide(_)
        | Inside::Paragraph(_)
        | Inside::Time(_) => 0,
    }
}

/// How much of a text goes into one part: all of it, or up to the last end of a sentence, a line or a word.
fn division(text: &str) -> usize {
    if text.len() <= limits::PART_TEXT_BYTES_MAX {
        return text.len();
    }
    let window = &text[..text.floor_char_boundary(limits::PART_TEXT_BYTES_MAX)];
    let after_sentence = window.char_indices().rev().find_map(|(at, character)| {
        let after = at + character.len_utf8();
        let ends = match character {
            '。' | '！' | '？' | '；' | '\n' => true,
            '.' | '!' | '?' => text[after..].starts_with(char::is_whitespace),
            _ => false,
        };
        ends.then_some(after)
    });
    let half = window.len() / 2;
    let enough = |at: &usize| *at > half;
    after_sentence
        .filter(enough)
        .or_else(|| window.rfind(char::is_whitespace).filter(enough).map(|at| at + 1))
        .map_or(window.len(), |at| text.ceil_char_boundary(at))
}

/// Processor time of this process so far. Systems that do not say have the limit of the parent alone.
fn cpu_time() -> Duration {
    #[cfg(unix)]
    {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
        Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs() as u32)
    }
    #[cfg(not(unix))]
    Duration::ZERO
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_text_is_divided_where_a_sentence_ends() {
        let sentence = "这是一个很长的段落里的一句话。";
        let text = sentence.repeat(2_000);
        let mut collect = Collect::new(&Limits::default(), None);
        let mut spelled = Spelled::default();
        spelled.push_copy(&text, 100);
        let source = Source { text: &text, layers: &[] };
        collect.part(&source, Role::Paragraph, Inside::Whole, &spelled);
        let (document, _) = collect.finish();
        assert!(document.parts.len() > 10);
        let mut at = 100;
        for part in &document.parts {
            assert!(part.text.ends_with('。') && part.text.len() <= limits::PART_TEXT_BYTES_MAX);
            assert_eq!(part.place.bytes, Some(at..at + part.text.len() as u64));
            at += part.text.len() as u64;
        }
        assert_eq!(at, 100 + text.len() as u64, "nothing is lost");
    }

    #[test]
    fn what_is_too_much_becomes_a_gap() {
        let mut collect = Collect::new(&Limits { text_bytes: 10, ..Limits::default() }, None);
        collect.plain(Role::Paragraph, Inside::Page(1), "12345678");
        assert!(!collect.is_full());
        collect.plain(Role::Paragraph, Inside::Page(2), "12345678");
        assert!(collect.is_full());
        collect.plain(Role::Paragraph, Inside::Page(3), "1");
        let (document, _) = collect.finish();
        assert_eq!(document.parts.len(), 1);
        assert_eq!(document.gaps, [Gap { inside: Inside::Whole, why: Why::TooLong }]);
    }
}
