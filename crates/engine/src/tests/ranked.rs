//! Queries and documents: the text that a model reads of them, what is cut, and what is refused.

use std::sync::{Arc, Mutex};

use worker_protocol::Rank;

use super::*;
use crate::model::{RankForm, RankMarks};

const MARKS: RankMarks = RankMarks { begin: Some(1), end: Some(2), separator: Some(3) };

fn rank(query: &str, documents: &[&str]) -> Rank {
    let documents = documents.iter().map(|text| (*text).to_owned()).collect();
    Rank { query: query.to_owned(), documents, truncate: false, document_tokens_max: None }
}

/// A hub whose model ranks, and what that was given.
fn start(cells: u32, form: RankForm) -> (Hub, Arc<Mutex<Vec<Vec<u32>>>>) {
    let fake = Fake::ranking(cells, 2, form);
    let ranked = Arc::clone(&fake.ranked);
    (Hub::start(fake), ranked)
}

fn asked(hub: &mut Hub, request: u64, rank: Rank) -> Answer {
    hub.send(Command::Rank { request: RequestId(request), rank });
    hub.read(request)
}

fn tokens(parts: &[Result<&str, u32>]) -> Vec<u32> {
    let one = |part: &Result<&str, u32>| match part {
        Ok(text) => text.bytes().map(u32::from).collect(),
        Err(token) => vec![*token],
    };
    parts.iter().flat_map(one).collect()
}

#[test]
fn marks_stand_around_the_query_and_the_document() {
    let (mut hub, ranked) = start(128, RankForm::Marks(MARKS));
    let answer = asked(&mut hub, 1, rank("why", &["because", ""]));
    assert_eq!(answer.scores, [14.0, 7.0]);
    assert_eq!(answer.finished().usage.prompt_tokens, 21);
    let begin = [Err(1), Ok("why"), Err(2), Err(3)];
    let expected =
        ["because", ""].map(|document| tokens(&[&begin[..], &[Ok(document), Err(2)]].concat()));
    assert_eq!(*ranked.lock().unwrap(), expected);
}

#[test]
fn many_documents_are_answered_in_their_order_in_several_steps() {
    let (mut hub, _) = start(128, RankForm::Marks(RankMarks::default()));
    let documents: Vec<String> = (0..90).map(|length| "x".repeat(length)).collect();
    let documents: Vec<&str> = documents.iter().map(String::as_str).collect();
    let expected: Vec<f32> = (0..90_u16).map(|length| f32::from(length) + 1.0).collect();
    assert_eq!(asked(&mut hub, 1, rank("q", &documents)).scores, expected);
}

#[test]
fn a_template_is_filled_in_and_only_its_own_special_tokens_count() {
    let template = "<|end|>Q: {query}\nD: {document}<|end|>go";
    let (mut hub, ranked) = start(128, RankForm::Template(template.to_owned()));
    for (request, query, document) in
        [(1, "why", "so"), (2, "why", "a<|end|>b"), (3, "<|end|>", "so"), (4, "{document}", "so")]
    {
        asked(&mut hub, request, rank(query, &[document])).finished();
        let expected =
            tokens(&[Err(END), Ok(&format!("Q: {query}\nD: {document}")), Err(END), Ok("go")]);
        assert_eq!(ranked.lock().unwrap().pop(), Some(expected), "{query} {document}");
    }
}

#[test]
fn long_documents_are_cut_at_their_end_where_that_is_asked_for() {
    let template = "Q{query}D{document}<|end|>";
    for form in [RankForm::Marks(MARKS), RankForm::Template(template.to_owned())] {
        let (mut hub, ranked) = start(20, form.clone());
        let long = "0123456789".repeat(5);
        let cut = Rank { truncate: true, ..rank("why", &[&long, "so"]) };
        asked(&mut hub, 1, cut).finished();
        let (head, tail) = match form {
            RankForm::Marks(_) => (tokens(&[Err(1), Ok("why"), Err(2), Err(3)]), [2]),
            RankForm::Template(_) => (tokens(&[Ok("QwhyD")]), [END]),
        };
        let with = |document: &str| [&*head, &*tokens(&[Ok(document)]), &tail].concat();
        let most = 20 - head.len() - tail.len();
        let read = std::mem::take(&mut *ranked.lock().unwrap());
        assert_eq!(read, [with(&long[..most]), with("so")]);

        let few = Rank { document_tokens_max: Some(4), ..rank("why", &[&long, "so"]) };
        asked(&mut hub, 2, few).finished();
        assert_eq!(*ranked.lock().unwrap(), [with("0123"), with("so")]);

        let failed = asked(&mut hub, 3, rank("why", &["so", &long]));
        let failure = failed.failed();
        let prompt_tokens = (head.len() + 51) as u32;
        let kind = FailureKind::ContextLength { prompt_tokens, context_tokens: 20 };
        assert_eq!(failure.kind, kind);
        assert!(failure.message.contains("document 1") && failure.message.contains("truncate"));

        let query = Rank { truncate: true, ..rank(&"w".repeat(30), &["so"]) };
        let failed = asked(&mut hub, 4, query);
        let is_named = failed.failed().message.contains("shorten the query");
        assert!(is_named, "{}", failed.failed());
    }
}

#[test]
fn who_does_not_do_it_says_what_does() {
    let (mut hub, _) = start(128, RankForm::Marks(MARKS));
    hub.embed(1, vec![EmbedInput::Text("x".to_owned())]);
    hub.generate(2, greedy(prompt(1, 4), 4));
    for (request, way_out) in [(1, "/v1/rerank"), (2, "choose another model")] {
        let answer = hub.read(request);
        assert_eq!(answer.failed().kind, FailureKind::Invalid);
        assert!(answer.failed().message.contains(way_out), "{}", answer.failed());
    }
    let mut hub = Hub::start(Fake::new(128, 2, true));
    let answer = asked(&mut hub, 1, rank("why", &["so"]));
    assert!(answer.failed().message.contains("choose a reranker"), "{}", answer.failed());
}
