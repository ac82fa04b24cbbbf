//! Which scripts an embedder understands, seen from what it does with questions whose answers are known.
//!
//! An embedder that does not know a language gives its sentences vectors all the same, near to each other by the
//! characters they share. So for each script there are questions and passages that answer them in other words, and a
//! script counts as understood if each question is nearest to its own answer, with one mistake allowed. By chance
//! that happens once in 1,500 times. An English embedder (all-MiniLM-L6-v2) finds 6 of 6 in English and at most 3 of
//! 6 in any other of these scripts.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::{Embed, Failed, Purpose};
use crate::limits::{FOREIGN_SHARE_MAX, PROBES_MISSED_MAX};

mod sentences;

pub(crate) use sentences::probes;

/// A family of languages as an embedder may know it or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Script {
    /// English and others in Latin letters; probed in English.
    Latin,
    /// Chinese.
    Han,
    /// Japanese.
    Kana,
    /// Korean.
    Hangul,
    /// Russian and others.
    Cyrillic,
    /// Any other. It counts as known where all of the above are.
    Other,
}

/// The scripts that are probed.
const PROBED: [Script; 5] =
    [Script::Latin, Script::Han, Script::Kana, Script::Hangul, Script::Cyrillic];

/// The scripts that an embedder was seen to understand. It belongs beside the index that holds its vectors.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Known {
    scripts: BTreeSet<Script>,
}

impl Known {
    /// Asks the embedder. Takes two calls with thirty short texts each.
    ///
    /// # Errors
    ///
    /// When it cannot be asked.
    pub fn examine(embedder: &dyn Embed) -> Result<Known, Failed> {
        let all = || PROBED.iter().flat_map(|&script| probes(script));
        let queries: Vec<&str> = all().map(|&(query, _)| query).collect();
        let passages: Vec<&str> = all().map(|&(_, passage)| passage).collect();
        let query_vectors =
            whole(embedder, embedder.embed(&queries, Purpose::Query)?, queries.len())?;
        let passage_vectors =
            whole(embedder, embedder.embed(&passages, Purpose::Passage)?, passages.len())?;
        let mut scripts = BTreeSet::new();
        let mut from = 0;
        for script in PROBED {
            let range = from..from + probes(script).len();
            from = range.end;
            if misses(&query_vectors[range.clone()], &passage_vectors[range]) <= PROBES_MISSED_MAX {
                scripts.insert(script);
            }
        }
        if PROBED.iter().all(|script| scripts.contains(script)) {
            scripts.insert(Script::Other);
        }
        Ok(Known { scripts })
    }

    /// Whether texts in this script mean something to the embedder.
    pub fn knows(&self, script: Script) -> bool {
        self.scripts.contains(&script)
    }

    /// The script that makes a text foreign to the embedder, if one does: the most frequent of those that it does
    /// not know, where they make more than a tenth of the text. Passages that are foreign need no vector either.
    pub fn foreign(&self, text: &str) -> Option<Script> {
        let mut counts: Vec<(Script, f32)> = Vec::new();
        let has_kana = text.chars().any(|character| script(character) == Some(Script::Kana));
        for character in text.chars() {
            let Some(mut script) = script(character) else { continue };
            // Japanese is written in Han as well.
            if has_kana && script == Script::Han {
                script = Script::Kana;
            }
            let weight = letters(script);
            match counts.iter_mut().find(|(known, _)| *known == script) {
                Some((_, count)) => *count += weight,
                None => counts.push((script, weight)),
            }
        }
        let all: f32 = counts.iter().map(|&(_, count)| count).sum();
        counts.retain(|&(script, _)| !self.knows(script));
        let foreign: f32 = counts.iter().map(|&(_, count)| count).sum();
        if foreign <= all * FOREIGN_SHARE_MAX {
            return None;
        }
        counts.into_iter().max_by(|a, b| a.1.total_cmp(&b.1)).map(|(script, _)| script)
    }
}

/// How many Latin letters a character of a script stands for, roughly, so that a word in each counts the same.
fn letters(script: Script) -> f32 {
    match script {
        Script::Latin | Script::Cyrillic | Script::Other => 1.0,
        Script::Kana | Script::Hangul => 2.0,
        Script::Han => 3.0,
    }
}

/// A letter's script; digits, spaces and signs have none.
fn script(character: char) -> Option<Script> {
    match character {
        'ー' | '・' => Some(Script::Kana),
        _ if !character.is_alphabetic() => None,
        '\u{3040}'..='\u{30ff}' | '\u{31f0}'..='\u{31ff}' | '\u{ff66}'..='\u{ff9f}' => {
            Some(Script::Kana)
        }
        '\u{3005}'..='\u{3007}'
        | '\u{3100}'..='\u{312f}'
        | '\u{3400}'..='\u{4dbf}'
        | '\u{4e00}'..='\u{9fff}'
        | '\u{f900}'..='\u{faff}'
        | '\u{20000}'..='\u{323af}' => Some(Script::Han),
        '\u{1100}'..='\u{11ff}' | '\u{3130}'..='\u{318f}' | '\u{ac00}'..='\u{d7ff}' => {
            Some(Script::Hangul)
        }
        '\u{400}'..='\u{52f}' => Some(Script::Cyrillic),
        'a'..='z'
        | 'A'..='Z'
        | '\u{aa}'..='\u{2af}'
        | '\u{1e00}'..='\u{1eff}'
        | '\u{ff21}'..='\u{ff5a}' => Some(Script::Latin),
        _ => Some(Script::Other),
    }
}

/// The vectors, if they are as many and as long as they should be.
fn whole(
    embedder: &dyn Embed,
    vectors: Vec<Vec<f32>>,
    count: usize,
) -> Result<Vec<Vec<f32>>, Failed> {
    let dimension = embedder.dimension();
    if vectors.len() == count && vectors.iter().all(|vector| vector.len() == dimension) {
        return Ok(vectors);
    }
    let name = embedder.name();
    Err(Failed(format!(
        "{name} was to give {count} vectors of {dimension} numbers, and gave others"
    )))
}

/// How many of the questions are nearest to another answer than their own.
fn misses(queries: &[Vec<f32>], passages: &[Vec<f32>]) -> usize {
    let is_missed = |(own, query): &(usize, &Vec<f32>)| {
        let near: Vec<f32> = passages.iter().map(|passage| cosine(query, passage)).collect();
        // What is no number is nearest to nothing.
        !near.iter().enumerate().all(|(at, &cosine)| at == *own || cosine < near[*own])
    };
    queries.iter().enumerate().filter(is_missed).count()
}

fn cosine(one: &[f32], other: &[f32]) -> f32 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
    dot(one, other) / (dot(one, one) * dot(other, other)).sqrt()
}
