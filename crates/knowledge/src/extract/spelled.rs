//! Text that knows where each of its characters comes from.
//!
//! A character may be one byte of the file, two of GBK, or `&amp;`; text may have characters that are not in the file at
//! all (the name of a column before its value). The map is stored as runs of equal steps, so that it costs nothing for
//! UTF-8 and little for others.

use std::ops::Range;

/// Where the bytes of something decoded come from.
#[derive(Debug, Clone, Default)]
pub(crate) struct Map {
    runs: Vec<Run>,
    bytes: u32,
}

/// Units of equal size, from here to the next run.
#[derive(Debug, Clone, Copy)]
struct Run {
    text: u32,
    source: u32,
    text_step: u32,
    /// 0 where the bytes are not in the source.
    source_step: u32,
}

/// The sizes of texts are bounded far below this by `limits`.
fn small(value: usize) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}

impl Map {
    /// So many bytes, each of which is a byte of the source, from here.
    pub(crate) fn push_copy(&mut self, bytes: usize, source: usize) {
        self.push(bytes, source, 1, 1);
    }

    /// So many bytes that come from all of these as a whole.
    pub(crate) fn push_unit(&mut self, bytes: usize, source: Range<usize>) {
        self.push(bytes, source.start, small(bytes), small(source.len()));
    }

    /// So many bytes that are not in the source.
    fn push_virtual(&mut self, bytes: usize) {
        let at = self.runs.last().map_or(0, |run| run.source);
        self.push(bytes, at as usize, 1, 0);
    }

    fn push(&mut self, bytes: usize, source: usize, text_step: u32, source_step: u32) {
        if bytes == 0 {
            return;
        }
        let goes_on = self.runs.last().is_some_and(|run| {
            let units = u64::from((self.bytes - run.text) / run.text_step);
            run.text_step == text_step
                && run.source_step == source_step
                && (source_step == 0
                    || u64::from(run.source) + units * u64::from(source_step) == source as u64)
        });
        if !goes_on {
            let run = Run { text: self.bytes, source: small(source), text_step, source_step };
            self.runs.push(run);
        }
        self.bytes = self.bytes.saturating_add(small(bytes));
    }

    fn append(&mut self, other: &Self) {
        let at = self.bytes;
        self.runs.extend(other.runs.iter().map(|run| Run { text: run.text + at, ..*run }));
        self.bytes += other.bytes;
    }

    fn slice(&self, range: &Range<usize>) -> Self {
        let (start, end) = (small(range.start), small(range.end));
        let mut part = Self { runs: Vec::new(), bytes: end - start };
        for (run, from, to) in self.within(start, end) {
            let skipped = (from - run.text) / run.text_step;
            let source = run.source + skipped * run.source_step;
            // A unit that is cut stays one.
            let text_step = run.text_step.min(to - from);
            part.runs.push(Run { text: from - start, source, text_step, ..run });
        }
        part
    }

    /// Where these bytes stand in the source: the smallest range that holds them. Nothing where none of them is in it.
    pub(crate) fn source(&self, range: Range<usize>) -> Option<Range<usize>> {
        let mut found: Option<Range<usize>> = None;
        for (run, from, to) in self.within(small(range.start), small(range.end)) {
            if run.source_step == 0 {
                continue;
            }
            let first = (from - run.text) / run.text_step;
            let last = (to - 1 - run.text) / run.text_step;
            let begin = (run.source + first * run.source_step) as usize;
            let after = (run.source + (last + 1) * run.source_step) as usize;
            found = Some(match found {
                Some(before) => before.start.min(begin)..before.end.max(after),
                None => begin..after,
            });
        }
        found
    }

    /// Whether these bytes stand in the source one after the other as they are, up to white space.
    pub(crate) fn is_copy(&self, range: Range<usize>) -> bool {
        let mut goes_on_at = None;
        self.within(small(range.start), small(range.end)).all(|(run, from, to)| {
            let begin = run.source + (from - run.text);
            let goes_on = goes_on_at.is_none_or(|at| at == begin);
            goes_on_at = Some(begin + (to - from));
            run.text_step == 1 && run.source_step == 1 && goes_on
        })
    }

    /// The runs that hold bytes of this range, with the part of it that each holds.
    fn within(&self, start: u32, end: u32) -> impl Iterator<Item = (Run, u32, u32)> {
        let first = self.runs.partition_point(|run| run.text <= start).saturating_sub(1);
        (first..self.runs.len()).map_while(move |index| {
            let run = self.runs[index];
            let run_end = self.runs.get(index + 1).map_or(self.bytes, |next| next.text);
            let (from, to) = (run.text.max(start), run_end.min(end));
            (from < to).then_some((run, from, to))
        })
    }
}

/// A text and the places of its characters in what it was read from.
#[derive(Debug, Clone, Default)]
pub(crate) struct Spelled {
    text: String,
    map: Map,
}

impl Spelled {
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    pub(crate) fn map(&self) -> &Map {
        &self.map
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    /// Text that stands in the source byte by byte.
    pub(crate) fn push_copy(&mut self, text: &str, source: usize) {
        self.map.push_copy(text.len(), source);
        self.text.push_str(text);
    }

    /// Text that stands in the source as these bytes, as a whole.
    pub(crate) fn push_unit(&mut self, text: &str, source: Range<usize>) {
        self.map.push_unit(text.len(), source);
        self.text.push_str(text);
    }

    /// Text that is not in the source.
    pub(crate) fn push_virtual(&mut self, text: &str) {
        self.map.push_virtual(text.len());
        self.text.push_str(text);
    }

    pub(crate) fn append(&mut self, other: &Self) {
        self.map.append(&other.map);
        self.text.push_str(&other.text);
    }

    /// A part of it, by bytes of its text at character boundaries.
    pub(crate) fn slice(&self, range: Range<usize>) -> Self {
        Self { map: self.map.slice(&range), text: self.text[range].to_owned() }
    }

    /// Without white space at both ends.
    pub(crate) fn trimmed(&self) -> Self {
        let start = self.text.len() - self.text.trim_start().len();
        self.slice(start..start + self.text.trim().len())
    }

    /// Where these bytes of its text stand in the source.
    pub(crate) fn source(&self, range: Range<usize>) -> Option<Range<usize>> {
        self.map.source(range)
    }
}

/// A text to be read, and the way back from it to the bytes of the file through everything it was decoded from.
#[derive(Clone, Copy)]
pub(crate) struct Source<'a> {
    /// What is read.
    pub(crate) text: &'a str,
    /// The outermost first: of the text into the bytes it was decoded from, of those into the file.
    pub(crate) layers: &'a [&'a Map],
}

impl Source<'_> {
    /// The bytes of the file that hold this range of the text.
    pub(crate) fn bytes(&self, range: Range<usize>) -> Option<Range<u64>> {
        let mut range = range;
        for layer in self.layers {
            range = layer.source(range)?;
        }
        Some(range.start as u64..range.end as u64)
    }

    /// Whether the file holds this range of the text as it is, up to white space.
    pub(crate) fn is_copy(&self, range: Range<usize>) -> bool {
        let mut range = range;
        self.layers.iter().all(|layer| {
            let is_copy = layer.is_copy(range.clone());
            range = layer.source(range.clone()).unwrap_or_default();
            is_copy
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Spelled {
        let mut spelled = Spelled::default();
        spelled.push_virtual("name: ");
        spelled.push_copy("b", 10);
        spelled.push_unit("&", 11..16);
        spelled.push_unit("中", 16..18);
        spelled.push_unit("文", 18..20);
        spelled.push_copy("zz", 30);
        spelled
    }

    #[test]
    fn places_of_characters_are_kept() {
        let spelled = sample();
        let text = spelled.text().to_owned();
        let place = |what: &str| {
            let at = text.find(what).unwrap();
            spelled.source(at..at + what.len())
        };
        assert_eq!(place("b"), Some(10..11));
        assert_eq!(place("&"), Some(11..16));
        assert_eq!(place("中"), Some(16..18));
        assert_eq!(place("文"), Some(18..20));
        assert_eq!(place("文zz"), Some(18..32));
        assert_eq!(place("name: "), None);
        assert_eq!(place("name: b"), Some(10..11));
        assert!(spelled.map.is_copy(6..7), "b");
        assert!(!spelled.map.is_copy(6..8), "b&");
        assert!(!spelled.map.is_copy(0..7), "name: b");
        assert_eq!(spelled.map.runs.len(), 5, "equal neighbours share a run");
    }

    #[test]
    fn every_slice_agrees_with_the_whole() {
        let spelled = sample();
        let text = spelled.text().to_owned();
        let ends: Vec<usize> = text.char_indices().map(|(at, _)| at).chain([text.len()]).collect();
        for (index, &from) in ends.iter().enumerate() {
            for &to in &ends[index + 1..] {
                let part = spelled.slice(from..to);
                assert_eq!(part.text(), &text[from..to]);
                assert_eq!(part.source(0..to - from), spelled.source(from..to), "{from}..{to}");
                let mut joined = spelled.slice(0..from);
                joined.append(&part);
                joined.append(&spelled.slice(to..text.len()));
                assert_eq!(joined.source(from..to), spelled.source(from..to), "{from}..{to}");
            }
        }
    }

    #[test]
    fn layers_lead_back_to_the_file() {
        let mut inner = Spelled::default();
        inner.push_unit("é", 0..1);
        inner.push_copy("x", 1);
        let mut outer = Map::default();
        outer.push_unit(1, 5..8);
        outer.push_copy(1, 8);
        let source = Source { text: inner.text(), layers: &[inner.map(), &outer] };
        assert_eq!(source.bytes(0..2), Some(5..8));
        assert_eq!(source.bytes(2..3), Some(8..9));
        assert_eq!(source.bytes(0..3), Some(5..9));
    }
}
