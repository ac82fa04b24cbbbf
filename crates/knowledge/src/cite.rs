//! What an answer rests on: the passages whose numbers it names, and the sentence of each that says it.
//!
//! A model is asked to put the number of a passage behind each statement, as in `[2]`. Which words of the passage it
//! means it does not say, so they are looked for: the statement itself where the passage holds it word for word,
//! else the sentence that shares most of its terms, and of the question's. Nothing here believes the model: a number
//! that no passage has is no citation.

use std::{
    collections::{HashMap, HashSet},
    ops::Range,
};

use crate::{
    limits::{CITATIONS_MAX, CITED_STATEMENT_BYTES_MAX, QUESTION_TERM_WEIGHT},
    words,
};

/// What a statement of an answer rests on.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Cited {
    /// The passage, by its place in the order in which the model saw them, from 1.
    pub number: usize,
    /// Bytes of the passage's text: one sentence, or those that hold the statement.
    pub span: Range<usize>,
}

/// What `answer` cites of `passages`, in the order in which it does, each span once.
pub fn cited(question: &str, answer: &str, passages: &[&str]) -> Vec<Cited> {
    let asked: HashSet<String> = words::terms(question).into_iter().collect();
    let mut seen = HashSet::new();
    let mut all = Vec::new();
    for mark in marks(answer) {
        let before = before(answer, mark.at);
        for number in mark.numbers {
            let Some(passage) = number.checked_sub(1).and_then(|at| passages.get(at)) else {
                continue;
            };
            let cited = Cited { number, span: span(passage, before, &asked) };
            if all.len() < CITATIONS_MAX && seen.insert(cited.clone()) {
                all.push(cited);
            }
        }
    }
    all
}

/// Numbers in brackets.
struct Mark {
    /// The byte at which the bracket opens.
    at: usize,
    numbers: Vec<usize>,
}

const OPENING: [char; 2] = ['[', '【'];
const CLOSING: [char; 2] = [']', '】'];

fn marks(answer: &str) -> Vec<Mark> {
    let mut marks = Vec::new();
    for (at, opening) in answer.match_indices(OPENING) {
        let inside = &answer[at + opening.len()..];
        let Some(end) = inside.find(CLOSING) else { continue };
        if let Some(numbers) = numbers(&inside[..end]) {
            marks.push(Mark { at, numbers });
        }
    }
    marks
}

/// The numbers of `2`, `1, 3` or `passage 2`; nothing where there is anything else.
fn numbers(text: &str) -> Option<Vec<usize>> {
    let is_between = |letter: char| letter.is_whitespace() || ",;，、；^†".contains(letter);
    let words = text.split(is_between).filter(|word| !word.is_empty());
    let said = words.filter(|word| {
        !matches!(word.to_lowercase().as_str(), "passage" | "passages" | "and" | "&")
    });
    let numbers: Option<Vec<usize>> = said.map(|word| word.parse().ok()).collect();
    numbers.filter(|numbers| !numbers.is_empty())
}

/// What stands before the mark at `at`, back to the mark before, or a few sentences. The last of them is what is cited.
fn before(answer: &str, at: usize) -> &str {
    let mut before = &answer[..at];
    loop {
        let trimmed =
            before.trim_end().trim_end_matches(['.', '。', '!', '！', '?', '？', ':', '：']);
        let open = trimmed.ends_with(CLOSING).then(|| trimmed.rfind(OPENING)).flatten();
        // Several marks may stand behind one statement.
        match open {
            Some(open) => before = &trimmed[..open],
            None => {
                before = trimmed;
                break;
            }
        }
    }
    let from = before.len() - before.len().min(CITED_STATEMENT_BYTES_MAX);
    let near = &before[before.ceil_char_boundary(from)..];
    near.rfind(CLOSING)
        .map_or(near, |mark| &near[mark + near[mark..].chars().next().map_or(1, char::len_utf8)..])
}

/// A statement without what lists and headings begin with.
fn bare(statement: &str) -> &str {
    statement.trim_matches(|letter: char| letter.is_whitespace() || "-*•#>".contains(letter))
}

/// The bytes of `passage` that say what the last sentence of `before` does, or more of it, word for word.
fn span(passage: &str, before: &str, asked: &HashSet<String>) -> Range<usize> {
    let stated = sentences(before);
    let statement = stated.last().map_or("", |last| bare(&before[last.clone()]));
    let sentences = sentences(passage);
    let Some(first) = sentences.first().cloned() else { return 0..passage.len() };
    let said: HashSet<String> = words::terms(statement).into_iter().collect();
    let terms: Vec<HashSet<String>> = sentences
        .iter()
        .map(|range| words::terms(&passage[range.clone()]).into_iter().collect())
        .collect();
    // A term that every sentence has tells none from another.
    let mut frequency: HashMap<&str, f32> = HashMap::new();
    for term in terms.iter().flatten() {
        *frequency.entry(term).or_default() += 1.0;
    }
    let weight = |term: &String| 1.0 / frequency.get(term.as_str()).copied().unwrap_or(1.0);
    let score = |at: usize| -> f32 {
        let shared =
            |wanted: &HashSet<String>| -> f32 { terms[at].intersection(wanted).map(weight).sum() };
        shared(&said) + QUESTION_TERM_WEIGHT * shared(asked)
    };
    let is_within = |range: &Range<usize>, byte: usize| range.start <= byte && byte < range.end;
    // Word for word comes first, as much of it as there is; where that stands several times, the question decides.
    let literal = |words: &str| {
        let held =
            passage.match_indices(words).filter(|_| !words.is_empty()).filter_map(|(at, held)| {
                let from = sentences.iter().position(|range| is_within(range, at))?;
                let to =
                    sentences.iter().position(|range| is_within(range, at + held.len() - 1))?;
                Some((from, to))
            });
        held.max_by(|a, b| score(a.0).total_cmp(&score(b.0)).then(b.0.cmp(&a.0)))
    };
    if let Some((from, to)) = stated.iter().find_map(|range| literal(bare(&before[range.start..])))
    {
        return sentences[from].start..sentences[to].end;
    }
    let best = (0..sentences.len()).max_by(|&a, &b| score(a).total_cmp(&score(b)).then(b.cmp(&a)));
    best.map_or(first, |at| sentences[at].clone())
}

/// The sentences and lines of a text, without the space around them. A point ends one only where what is before it looks
/// like a word: cutting `St. Louis` or `No. 5` in two would be worse than a quotation of two sentences.
fn sentences(text: &str) -> Vec<Range<usize>> {
    let mut ends = Vec::new();
    let mut letters = text.char_indices().peekable();
    while let Some((at, letter)) = letters.next() {
        let end = at + letter.len_utf8();
        let is_end = match letter {
            '。' | '！' | '？' | '\n' => true,
            '!' | '?' | ';' => letters.peek().is_none_or(|(_, next)| next.is_whitespace()),
            '.' => {
                letters.peek().is_none_or(|(_, next)| next.is_whitespace())
                    && ends_a_word(&text[..at])
            }
            _ => false,
        };
        if is_end {
            // What closes a quotation belongs to it.
            let mut end = end;
            while let Some((_, closing)) =
                letters.next_if(|(_, next)| "”’」』）\"')".contains(*next))
            {
                end += closing.len_utf8();
            }
            ends.push(end);
        }
    }
    ends.push(text.len());
    let mut from = 0;
    let mut sentences = Vec::with_capacity(ends.len());
    for end in ends {
        let sentence = &text[from..end];
        let start = from + (sentence.len() - sentence.trim_start().len());
        let stop = start + sentence.trim().len();
        if start < stop {
            sentences.push(start..stop);
        }
        from = end;
    }
    sentences
}

/// Whether a point behind this ends a sentence rather than an abbreviation.
fn ends_a_word(before: &str) -> bool {
    let word = before
        .rsplit(|letter: char| letter.is_whitespace() || letter == '(')
        .next()
        .unwrap_or_default();
    let is_name = |letter: char| letter.is_alphabetic() && letter.is_lowercase();
    !word.contains('.')
        && (word.chars().filter(|&letter| is_name(letter)).count() > 3
            || !word.ends_with(char::is_alphabetic))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SKY: &str =
        "The sky is blue. St. Louis lies on the Mississippi. Grass is green, as Dr. Who said.";

    #[track_caller]
    fn check(question: &str, answer: &str, passages: &[&str], expected: &[(usize, &str)]) {
        let found: Vec<(usize, &str)> = cited(question, answer, passages)
            .into_iter()
            .map(|cited| (cited.number, &passages[cited.number - 1][cited.span]))
            .collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn the_sentence_that_says_it_is_cited() {
        check(
            "Where is it?",
            "It lies on the Mississippi [1].",
            &[SKY],
            &[(1, "St. Louis lies on the Mississippi.")],
        );
        check(
            "",
            "Blue is the sky. [1] Grass is green.[1]",
            &[SKY],
            &[(1, "The sky is blue."), (1, "Grass is green, as Dr. Who said.")],
        );
        let chinese = "天空是蓝色的。草是绿色的。“雪是白的。”他说。";
        check("", "草是绿的【2】。", &[SKY, chinese], &[(2, "草是绿色的。")]);
    }

    #[test]
    fn the_question_decides_where_the_answer_does_not() {
        let text = "In 1999 the bridge was built.\nIn 1999 the mill burnt down.";
        check(
            "When did the mill burn?",
            "1999 [1]",
            &[text],
            &[(1, "In 1999 the mill burnt down.")],
        );
    }

    #[test]
    fn an_answer_over_two_sentences_is_cited_whole() {
        check(
            "",
            "sky is blue. St. Louis lies [1]",
            &[SKY],
            &[(1, "The sky is blue. St. Louis lies on the Mississippi.")],
        );
    }

    #[test]
    fn marks_come_in_many_forms_and_others_are_none() {
        let passages = ["One.", "Two.", "Three."];
        check(
            "",
            "a [1, 2], b [passage 3] c [4] d [x] e [0] f [] g [2",
            &passages,
            &[(1, "One."), (2, "Two."), (3, "Three.")],
        );
        check("", "[1][1] [1]", &passages, &[(1, "One.")]);
        check("", "[1]", &[""], &[(1, "")]);
    }

    #[test]
    fn a_number_of_a_list_of_citations_is_bounded() {
        let text: String = (0..1000).map(|number| format!("Fact{number} is so.\n")).collect();
        let answer: String = (0..1000).map(|number| format!("Fact{number} is so [1].\n")).collect();
        assert_eq!(cited("", &answer, &[&text]).len(), CITATIONS_MAX);
    }
}
