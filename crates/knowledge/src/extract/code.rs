//! Source code: items, divided where a blank line is followed by one that is not indented.

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

/// Reads source code.
pub(crate) fn read(source: &Source<'_>, collect: &mut Collect) {
    let mut part: Option<Range<usize>> = None;
    let mut is_after_blank = false;
    for line in plain::lines(source.text) {
        let text = &source.text[line.clone()];
        if text.trim().is_empty() {
            is_after_blank = true;
            continue;
        }
        let begins_item = is_after_blank && is_item(text);
        let is_long = part.as_ref().is_some_and(|part| {
            line.end - part.start > limits::CODE_PART_BYTES && (is_after_blank || is_item(text))
        });
        let is_item_of_its_own = begins_item
            && part.as_ref().is_some_and(|part| part.len() > limits::CODE_PART_BYTES / 8);
        if (is_long || is_item_of_its_own)
            && let Some(range) = part.take()
        {
            add(source, range, collect);
        }
        part = Some(part.map_or(line.start, |before| before.start)..line.end);
        is_after_blank = false;
        if collect.is_full() {
            return;
        }
    }
    if let Some(range) = part {
        add(source, range, collect);
    }
}

/// Whether a line may begin something: it is not indented and closes nothing.
fn is_item(line: &str) -> bool {
    !line.starts_with([' ', '\t', '}', ')', ']']) && !line.starts_with("end")
}

fn add(source: &Source<'_>, range: Range<usize>, collect: &mut Collect) {
    let mut text = Spelled::default();
    text.push_copy(&source.text[range.clone()], range.start);
    collect.part(source, Role::Code, Inside::Whole, &text);
}
