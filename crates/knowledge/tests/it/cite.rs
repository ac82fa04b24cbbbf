//! Whether what is cited holds the answer: questions of XQuAD in English and Chinese, whose answers are known.

use std::fs;

use knowledge::cite::cited;
use knowledge::index::exact::Exact;
use knowledge::index::{Filter, Index, Labels, Point};
use knowledge::words;
use serde_json::Value;

use crate::sets;

/// Questions of each language, spread over all.
const QUESTIONS: usize = 150;

/// Passages that a model is given for a question.
const GIVEN: usize = 8;

/// What was found and cited in one language: questions, of them with the right passage among those given, and of those
/// the ones whose citation lacks the answer.
fn asked(language: &str) -> Option<(usize, usize, Vec<String>)> {
    let text = fs::read_to_string(sets::folder()?.join(format!("xquad.{language}.json"))).unwrap();
    let all: Value = serde_json::from_str(&text).unwrap();
    let articles = all["data"].as_array().unwrap();
    let paragraphs: Vec<&Value> =
        articles.iter().flat_map(|article| article["paragraphs"].as_array().unwrap()).collect();
    let context = |at: usize| paragraphs[at]["context"].as_str().unwrap();
    let index = Exact::in_memory(None);
    let point = |at: usize| Point {
        id: at as u64 + 1,
        dense: None,
        sparse: words::passage(context(at)),
        labels: Labels {
            collection: language.to_owned(),
            file: at as u64 + 1,
            kind: "txt".to_owned(),
            modified_s: 0,
            path: format!("{at}.txt"),
        },
    };
    index.upsert((0..paragraphs.len()).map(point).collect()).unwrap();
    let questions: Vec<(usize, &Value)> = (0..paragraphs.len())
        .flat_map(|at| {
            paragraphs[at]["qas"].as_array().unwrap().iter().map(move |asked| (at, asked))
        })
        .collect();
    let step = questions.len() / QUESTIONS;
    let (mut given, mut lacking) = (0, Vec::new());
    for (right, asked) in questions.iter().step_by(step).take(QUESTIONS) {
        let question = asked["question"].as_str().unwrap();
        let answer = asked["answers"][0]["text"].as_str().unwrap();
        let hits = index.lexical(&words::query(question), &Filter::default(), GIVEN).unwrap();
        let order: Vec<usize> =
            hits.iter().map(|hit| usize::try_from(hit.id - 1).unwrap()).collect();
        let Some(place) = order.iter().position(|at| at == right) else { continue };
        given += 1;
        let passages: Vec<&str> = order.iter().map(|at| context(*at)).collect();
        // A model that answers rightly, in as few words as there are.
        let said = format!("{answer} [{}].", place + 1);
        let found = cited(question, &said, &passages);
        let holds = |span: std::ops::Range<usize>| passages[place][span].contains(answer);
        if !found.into_iter().any(|cited| cited.number == place + 1 && holds(cited.span)) {
            lacking.push(format!("{question} {answer}"));
        }
    }
    Some((QUESTIONS, given, lacking))
}

#[test]
fn a_citation_holds_the_answer_whenever_the_right_passage_was_found() {
    for language in ["en", "zh"] {
        let Some((questions, given, lacking)) = asked(language) else { return };
        println!(
            "{language}: {questions} questions, {given} with the right passage, {} not cited",
            lacking.len()
        );
        assert!(given * 100 >= questions * 95, "{language}: only {given} of {questions}");
        assert_eq!(lacking, Vec::<String>::new());
    }
}
