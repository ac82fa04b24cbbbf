//! Units of a document, packed into passages.

use std::{collections::VecDeque, rc::Rc};

use super::{
    Error, Passage, Piece, Sizes, Tokens, count, narrow,
    split::{Unit, body_max, cut, text_of},
};
use crate::{
    document::{Document, Role},
    limits::{CONTEXT_CHARACTERS_MAX, HEADING_CHARACTERS_MAX},
};

/// Packs `units` and sees that each passage fits, whatever the counts of its units promised.
pub(super) fn passages(
    document: &Document,
    units: &[Unit],
    sizes: Sizes,
    tokens: &dyn Tokens,
) -> Result<Vec<Passage>, Error> {
    let drafts = pack(document, units, sizes);
    let mut pending: VecDeque<(usize, Passage)> = drafts
        .iter()
        .enumerate()
        .map(|(number, draft)| (number, passage(document, draft)))
        .collect();
    // Passages that had to be divided stay in their order: each carries the number of its draft.
    let mut done: Vec<(usize, Passage)> = Vec::with_capacity(pending.len());
    while !pending.is_empty() {
        let texts: Vec<String> = pending.iter().map(|(_, passage)| passage.embedded()).collect();
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let counts = count(tokens, &texts)?;
        let mut over = VecDeque::new();
        for ((number, mut passage), tokens) in pending.into_iter().zip(counts) {
            passage.tokens = tokens;
            if tokens <= sizes.cap {
                done.push((number, passage));
            } else if !passage.context.is_empty() {
                // The innermost heading says most about a passage; after that, the text alone.
                let inner = passage.context.rsplit_once(" > ").map(|(_, inner)| inner.to_owned());
                passage.context = inner.unwrap_or_default();
                over.push_back((number, passage));
            } else {
                match halves(&passage) {
                    Some(parts) => over.extend(parts.into_iter().map(|part| (number, part))),
                    None => done.push((number, passage)),
                }
            }
        }
        pending = over;
    }
    done.sort_by_key(|(number, passage)| {
        (*number, passage.pieces.first().map(|piece| (piece.part, piece.at)))
    });
    Ok(done.into_iter().map(|(_, passage)| passage).collect())
}

/// Units that go into one passage.
struct Draft {
    units: Vec<Unit>,
    tokens: u32,
    /// The headings above its first unit.
    above: Rc<Vec<String>>,
    /// The headings above its first unit that is none.
    headings: Rc<Vec<String>>,
}

/// Units that are not parted: a heading with what comes first below it, a table or a piece of code that fits.
struct Block {
    units: Vec<Unit>,
    tokens: u32,
    opens_section: bool,
    above: Rc<Vec<String>>,
    headings: Rc<Vec<String>>,
}

fn pack(document: &Document, units: &[Unit], sizes: Sizes) -> Vec<Draft> {
    let mut drafts: Vec<Draft> = Vec::new();
    for block in blocks(document, units, sizes) {
        let joins = drafts.last().is_some_and(|draft| {
            let fits = draft.tokens.saturating_add(block.tokens) <= sizes.target;
            // A section begins a passage of its own unless what is before it is too little to be one.
            fits && (!block.opens_section || draft.tokens < sizes.target / 3)
        });
        match drafts.last_mut() {
            Some(draft) if joins => {
                draft.tokens += block.tokens;
                draft.units.extend(block.units);
            }
            Some(_) | None => drafts.push(Draft {
                units: block.units,
                tokens: block.tokens,
                above: block.above,
                headings: block.headings,
            }),
        }
    }
    drafts
}

fn blocks(document: &Document, units: &[Unit], sizes: Sizes) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    let mut stack: Vec<(u8, String)> = Vec::new();
    let mut path = Rc::new(Vec::new());
    let mut at = 0;
    // A block that so far holds headings alone, or too little of one to stand by itself.
    let mut open: Option<Block> = None;
    while at < units.len() {
        let part = &document.parts[units[at].part];
        let end = run(document, units, at, sizes);
        let tokens = units[at..end].iter().map(|unit| unit.tokens).fold(0, u32::saturating_add);
        let mut above = Rc::clone(&path);
        let heading = match part.role {
            Role::Heading(level) if units[at].range.start == 0 => Some(level),
            Role::Heading(_) | Role::Paragraph | Role::Item | Role::Row | Role::Code => None,
        };
        if let Some(level) = heading {
            stack.retain(|(above, _)| *above < level);
            above = Rc::new(stack.iter().map(|(_, name)| name.clone()).collect());
            stack.push((level, short(&part.text, HEADING_CHARACTERS_MAX)));
            path = Rc::new(stack.iter().map(|(_, name)| name.clone()).collect());
        }
        // Headings that together fill a passage are text like any other.
        let fits = |block: &Block| block.tokens.saturating_add(tokens) <= body_max(sizes);
        let mut block = match open.take() {
            Some(mut block) if fits(&block) => {
                block.units.extend_from_slice(&units[at..end]);
                block.tokens += tokens;
                block.headings = Rc::clone(&path);
                block
            }
            other => {
                blocks.extend(other);
                let units = units[at..end].to_vec();
                let headings = Rc::clone(&path);
                Block { units, tokens, opens_section: heading.is_some(), above, headings }
            }
        };
        at = end;
        if matches!(part.role, Role::Heading(_)) {
            block.opens_section = true;
            open = Some(block);
        } else {
            blocks.push(block);
        }
    }
    blocks.extend(open);
    blocks
}

/// Where the units end that stay together with the one at `at`: rows of one table that fits, or that one alone.
fn run(document: &Document, units: &[Unit], at: usize, sizes: Sizes) -> usize {
    let is_row = |unit: &Unit| document.parts[unit.part].role == Role::Row;
    let rows = units[at..].iter().take_while(|unit| is_row(unit));
    let mut tokens = 0_u32;
    let mut end = at;
    for row in rows {
        tokens = tokens.saturating_add(row.tokens);
        if tokens > body_max(sizes) {
            return at + 1;
        }
        end += 1;
    }
    end.max(at + 1)
}

fn passage(document: &Document, draft: &Draft) -> Passage {
    let mut text = String::new();
    let mut pieces: Vec<Piece> = Vec::new();
    for unit in &draft.units {
        let part = &document.parts[unit.part];
        let mut words = text_of(document, unit);
        let mut at = unit.range.start;
        if let Some(last) = pieces.last_mut() {
            if last.part as usize == unit.part {
                // Pieces of one part that stand in one passage are one piece, without what they share.
                let known = (last.at + (last.text.end - last.text.start)) as usize;
                at = at.max(known);
                words = words.get(at - unit.range.start..).unwrap_or_default();
                text.push_str(words);
                last.text.end = text.len() as u32;
                last.place =
                    narrow(&part.place, part.text.len(), last.at as usize..at + words.len());
                continue;
            }
            text.push_str(between(last.role, part.role));
        }
        let start = text.len();
        text.push_str(words);
        pieces.push(Piece {
            text: start as u32..text.len() as u32,
            part: unit.part as u32,
            at: at as u32,
            role: part.role,
            place: narrow(&part.place, part.text.len(), at..at + words.len()),
        });
    }
    let headings = draft.headings.to_vec();
    Passage {
        text,
        context: context(document.title.as_deref(), &draft.above),
        headings,
        pieces,
        tokens: 0,
    }
}

/// What stands between two parts in a passage.
fn between(before: Role, after: Role) -> &'static str {
    match (before, after) {
        (Role::Row, Role::Row) | (Role::Item, Role::Item) | (Role::Heading(_), _) => "\n",
        (Role::Paragraph | Role::Item | Role::Row | Role::Code, _) => "\n\n",
    }
}

/// `title > heading > heading`, no longer than what is worth embedding each time; the innermost say most.
fn context(title: Option<&str>, headings: &[String]) -> String {
    let title =
        title.map(|title| short(title, HEADING_CHARACTERS_MAX)).filter(|title| !title.is_empty());
    // A document whose first heading is its title would say it twice.
    let headings = match (&title, headings) {
        (Some(title), [first, rest @ ..]) if title == first => rest,
        (_, headings) => headings,
    };
    let mut budget = CONTEXT_CHARACTERS_MAX.saturating_sub(title.as_deref().map_or(0, characters));
    let mut names: Vec<&str> = Vec::new();
    for heading in headings.iter().rev() {
        let length = characters(heading);
        if length > budget && !names.is_empty() {
            break;
        }
        budget = budget.saturating_sub(length);
        names.push(heading);
    }
    names.extend(title.as_deref());
    names.reverse();
    names.join(" > ")
}

fn characters(text: &str) -> usize {
    text.chars().count()
}

/// The beginning of a heading, in one line.
fn short(text: &str, characters_max: usize) -> String {
    let words: Vec<&str> = text.split_whitespace().take(characters_max).collect();
    let line = words.join(" ");
    match line.char_indices().nth(characters_max) {
        Some((end, _)) => line[..end].to_owned(),
        None => line,
    }
}

/// Two passages or more of one that is too long; none if it is a single character.
fn halves(passage: &Passage) -> Option<Vec<Passage>> {
    let half = passage.text.len() / 2;
    // Between two pieces where there are any, the nearest to the middle.
    let nearest = (1..passage.pieces.len())
        .min_by_key(|&at| half.abs_diff(passage.pieces[at].text.start as usize));
    if let Some(at) = nearest {
        let (first, second) = passage.pieces.split_at(at);
        return Some(vec![part_of(passage, first), part_of(passage, second)]);
    }
    let piece = passage.pieces.first()?;
    let text = &passage.text[piece.text.start as usize..piece.text.end as usize];
    let ranges = cut(text, passage.tokens, (passage.tokens / 2).max(1), 0);
    let ranges = if ranges.len() > 1 {
        ranges
    } else {
        // Nothing where a reader would pause: in the middle of a word, then.
        let middle = text.floor_char_boundary(text.len() / 2);
        let middle = if middle == 0 { text.chars().next()?.len_utf8() } else { middle };
        if middle >= text.len() {
            return None;
        }
        vec![0..middle, middle..text.len()]
    };
    let piece_of = |range: std::ops::Range<usize>| Piece {
        text: piece.text.start + range.start as u32..piece.text.start + range.end as u32,
        part: piece.part,
        at: piece.at + range.start as u32,
        role: piece.role,
        place: narrow(&piece.place, text.len(), range),
    };
    Some(ranges.into_iter().map(|range| part_of(passage, &[piece_of(range)])).collect())
}

/// The passage that holds `pieces` of another one alone.
fn part_of(passage: &Passage, pieces: &[Piece]) -> Passage {
    let start = pieces.first().map_or(0, |piece| piece.text.start);
    let end = pieces.last().map_or(start, |piece| piece.text.end);
    let moved = |piece: &Piece| Piece {
        text: piece.text.start - start..piece.text.end - start,
        ..piece.clone()
    };
    Passage {
        text: passage.text[start as usize..end as usize].to_owned(),
        context: passage.context.clone(),
        headings: passage.headings.clone(),
        pieces: pieces.iter().map(moved).collect(),
        tokens: 0,
    }
}
