//! The prompt of a model that fills in what stands between two texts.
//!
//! With a mark for the middle the order is before, after, gap (Qwen2.5-Coder, StarCoder, DeepSeek-Coder,
//! CodeGemma and others); without one it is after, before, gap (Codestral). Parts of other files stand in
//! front of both, as Qwen2.5-Coder's technical report has them. Source: the models' own descriptions.

use worker_protocol::{Failure, Infill, Snippet};

use crate::generation::invalid;
use crate::limits::INFILL_ANSWER_TOKENS;
use crate::model::{InfillMarks, Model};

/// The prompt as tokens. Of the snippets as many as fit beside an answer of `answer_tokens`, the last ones
/// first.
pub(crate) fn tokenize<M: Model>(
    model: &M,
    infill: &Infill,
    answer_tokens: Option<u32>,
) -> Result<Vec<u32>, Failure> {
    let Some(marks) = model.infill_marks() else {
        return Err(invalid(format!(
            "this model of architecture {} has no tokens for filling in what stands between two texts; \
             choose a code model that was trained for it, such as Qwen2.5-Coder, or leave the suffix out",
            model.facts().architecture
        )));
    };
    // What the model wants at the very beginning, if anything.
    let mut tokens = model.tokenize("", true, false);
    tokens.retain(|token| !model.ends(*token));
    let bare = around(model, &marks, infill, &[]);
    let answer_tokens = answer_tokens.unwrap_or(INFILL_ANSWER_TOKENS);
    let room = (model.facts().context_tokens as usize)
        .saturating_sub(tokens.len() + bare.len())
        .saturating_sub(answer_tokens as usize);
    match marks.files {
        Some(files) => {
            tokens.extend(other_files(model, files, &infill.snippets, room));
            tokens.extend(bare);
        }
        None => {
            let snippets = fitting(model, None, &infill.snippets, room);
            tokens.extend(around(model, &marks, infill, &snippets));
        }
    }
    Ok(tokens)
}

/// The two texts with their marks; `in_front` precedes the first of them.
fn around<M: Model>(model: &M, marks: &InfillMarks, infill: &Infill, in_front: &[u32]) -> Vec<u32> {
    let text = |text: &str| model.tokenize(text, false, false);
    let before = std::iter::once(marks.before).chain(in_front.iter().copied());
    let before = before.chain(text(&infill.before));
    let after = std::iter::once(marks.after).chain(text(&infill.after));
    let begun = text(&infill.begun);
    match marks.middle {
        Some(middle) => before.chain(after).chain([middle]).chain(begun).collect(),
        None => after.chain(before).chain(begun).collect(),
    }
}

/// Snippets with the marks that say so; nothing where none fits.
fn other_files<M: Model>(
    model: &M,
    (files, file): (u32, u32),
    snippets: &[Snippet],
    room: usize,
) -> Vec<u32> {
    let text = |text: &str| model.tokenize(text, false, false);
    // The names of the project and of the file at hand are not known, and the model wants some.
    let (project, at_hand) = (text("project\n"), text("file\n"));
    let room = room.saturating_sub(project.len() + at_hand.len() + 2);
    let snippets = fitting(model, Some(file), snippets, room);
    if snippets.is_empty() {
        return Vec::new();
    }
    [vec![files], project, snippets, vec![file], at_hand].concat()
}

/// The last snippets that fit, in their order, each behind its mark if there is one.
fn fitting<M: Model>(
    model: &M,
    mark: Option<u32>,
    snippets: &[Snippet],
    mut room: usize,
) -> Vec<u32> {
    let between = if mark.is_some() { "\n" } else { "\n\n" };
    let mut kept: Vec<Vec<u32>> = Vec::new();
    for snippet in snippets.iter().rev() {
        let text = [&*snippet.file, "\n", &*snippet.text, between].concat();
        let mut tokens: Vec<u32> = mark.into_iter().collect();
        tokens.extend(model.tokenize(&text, false, false));
        let Some(rest) = room.checked_sub(tokens.len()) else { break };
        room = rest;
        kept.push(tokens);
    }
    kept.into_iter().rev().flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::Fake;

    const MARKS: InfillMarks =
        InfillMarks { before: 201, after: 202, middle: Some(203), files: Some((204, 205)) };

    fn fake(marks: Option<InfillMarks>) -> Fake {
        let mut fake = Fake::new(100, 2, true);
        fake.infill_marks = marks;
        fake
    }

    fn infill(snippets: &[(&str, &str)]) -> Infill {
        let snippet = |(file, text): &(&str, &str)| Snippet {
            file: (*file).to_owned(),
            text: (*text).to_owned(),
        };
        let snippets = snippets.iter().map(snippet).collect();
        let [before, after, begun] = ["a(", ")", "b"].map(str::to_owned);
        Infill { before, after, begun, snippets }
    }

    /// Tokens as text, with the marks as letters in braces.
    fn shown(tokens: Result<Vec<u32>, Failure>) -> String {
        let one = |token: u32| match token {
            201 => "{before}".to_owned(),
            202 => "{after}".to_owned(),
            203 => "{middle}".to_owned(),
            204 => "{files}".to_owned(),
            205 => "{file}".to_owned(),
            1 => "{begin}".to_owned(),
            byte => char::from(u8::try_from(byte).unwrap()).to_string(),
        };
        tokens.unwrap().into_iter().map(one).collect()
    }

    #[test]
    fn the_gap_comes_last_in_the_order_that_the_model_knows() {
        let plain = tokenize(&fake(Some(MARKS)), &infill(&[]), Some(0));
        assert_eq!(shown(plain), "{before}a({after}){middle}b");
        let codestral = InfillMarks { middle: None, files: None, ..MARKS };
        let plain = tokenize(&fake(Some(codestral)), &infill(&[("b.rs", "fn b")]), Some(0));
        assert_eq!(shown(plain), "{after}){before}b.rs\nfn b\n\na(b");
        let mut framed = fake(Some(MARKS));
        framed.frames = true;
        // Its own end would end the prompt in its middle.
        assert_eq!(
            shown(tokenize(&framed, &infill(&[]), Some(0))),
            "{begin}{before}a({after}){middle}b"
        );
    }

    #[test]
    fn parts_of_other_files_come_first_as_many_as_fit() {
        let two = infill(&[("b.rs", "fn b"), ("c.rs", "fn c")]);
        let whole = tokenize(&fake(Some(MARKS)), &two, Some(0));
        let expected = "{files}project\n{file}b.rs\nfn b\n{file}c.rs\nfn c\n{file}file\n\
                        {before}a({after}){middle}b";
        assert_eq!(shown(whole), expected);
        let less = tokenize(&fake(Some(MARKS)), &two, Some(60));
        let expected = "{files}project\n{file}c.rs\nfn c\n{file}file\n{before}a({after}){middle}b";
        assert_eq!(shown(less), expected, "the last ones matter most");
        let none = tokenize(&fake(Some(MARKS)), &two, Some(90));
        assert_eq!(shown(none), "{before}a({after}){middle}b");
        // The same where they have no marks.
        let codestral = InfillMarks { middle: None, files: None, ..MARKS };
        let less = tokenize(&fake(Some(codestral)), &two, Some(80));
        assert_eq!(shown(less), "{after}){before}c.rs\nfn c\n\na(b");
    }

    #[test]
    fn a_model_that_was_not_trained_for_it_says_so() {
        let failure = tokenize(&fake(None), &infill(&[]), Some(0)).unwrap_err();
        assert!(failure.message.contains("Qwen2.5-Coder"), "{failure}");
    }
}
