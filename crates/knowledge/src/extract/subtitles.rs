//! Subtitles (SRT, VTT): sentences with the times at which they are said.

use std::ops::Range;

use super::{
    collect::Collect,
    plain,
    spelled::{Source, Spelled},
};
use crate::{
    document::{Inside, Role},
    limits,
};

/// What is said, from when to when in milliseconds.
struct Said {
    time: Range<u64>,
    text: Spelled,
}

/// Reads subtitles.
pub(crate) fn read(source: &Source<'_>, collect: &mut Collect) {
    let mut sentence: Option<Said> = None;
    let mut time: Option<Range<u64>> = None;
    for line in plain::lines(source.text) {
        if collect.is_full() {
            return;
        }
        let text = &source.text[line.clone()];
        if let Some(times) = times(text) {
            time = Some(times);
        } else if text.trim().is_empty() {
            time = None;
        } else if let Some(time) = &time {
            // Numbers and notes stand before a time, so they are passed over.
            let said = without_marks(source.text, line);
            if let Some(before) = sentence.take_if(|before| !goes_on(before, time)) {
                add(source, before, collect);
            }
            match &mut sentence {
                Some(before) => {
                    before.time.end = time.end.max(before.time.end);
                    before.text.push_virtual("\n");
                    before.text.append(&said);
                }
                None => sentence = Some(Said { time: time.clone(), text: said }),
            }
        }
    }
    if let Some(last) = sentence {
        add(source, last, collect);
    }
}

fn add(source: &Source<'_>, said: Said, collect: &mut Collect) {
    collect.part(source, Role::Paragraph, Inside::Time(said.time), &said.text);
}

/// Whether what is said at this time may still belong to the sentence before.
fn goes_on(before: &Said, time: &Range<u64>) -> bool {
    if before.time == *time {
        return true;
    }
    let ended = before
        .text
        .text()
        .trim_end()
        .ends_with(['.', '!', '?', '。', '！', '？', '…', '"', '”', '♪']);
    let is_close =
        time.start <= before.time.end + limits::CUE_PAUSE_MS_MAX && time.start >= before.time.start;
    !ended && is_close && before.text.text().len() < limits::CUE_TEXT_BYTES_MAX
}

/// A line without `<i>` and `{\an8}`.
fn without_marks(text: &str, line: Range<usize>) -> Spelled {
    let mut said = Spelled::default();
    let mut at = line.start;
    while at < line.end {
        let rest = &text[at..line.end];
        let marked = match rest.find(['<', '{']) {
            Some(open) => {
                let close = if rest[open..].starts_with('<') { '>' } else { '}' };
                let is_mark = rest[open..].starts_with('<') || rest[open..].starts_with("{\\");
                rest[open..].find(close).filter(|_| is_mark).map(|length| open..open + length + 1)
            }
            None => None,
        };
        let Some(mark) = marked else {
            said.push_copy(rest, at);
            break;
        };
        said.push_copy(&rest[..mark.start], at);
        at += mark.end;
    }
    said
}

/// The times of a line such as `00:00:01,500 --> 00:00:04.000 align:start`.
fn times(line: &str) -> Option<Range<u64>> {
    let (from, to) = line.split_once("-->")?;
    let to = to.split_whitespace().next()?;
    Some(milliseconds(from.trim())?..milliseconds(to)?)
}

fn milliseconds(text: &str) -> Option<u64> {
    let (whole, fraction) = text.split_once([',', '.']).unwrap_or((text, "0"));
    let mut seconds = 0_u64;
    for part in whole.split(':') {
        seconds = seconds.checked_mul(60)?.checked_add(part.trim().parse().ok()?)?;
    }
    let fraction: u64 = format!("{:0<3}", fraction.get(..3).unwrap_or(fraction)).parse().ok()?;
    seconds.checked_mul(1_000)?.checked_add(fraction)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_both_formats() {
        assert_eq!(times("00:00:01,500 --> 00:01:04,000"), Some(1_500..64_000));
        assert_eq!(times("01:04.5 --> 1:00:00.000 align:start"), Some(64_500..3_600_000));
        assert_eq!(times("no --> time"), None);
        assert_eq!(times("99999999999999999999:00 --> 1"), None);
        let text = "{\\an8}<i>Hello</i> {there} <3";
        assert_eq!(without_marks(text, 0..text.len()).text(), "Hello {there} <3");
    }
}
