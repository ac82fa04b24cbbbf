//! States of sequences on llama.cpp, by random models of each kind: what is taken out of one context
//! goes into another.

use std::collections::BTreeSet;
use std::path::Path;

use engine::{Model, Row};

use super::*;
use crate::exact::models::{ARCHITECTURES, load, made};
use crate::model::LlamaModel;

/// Tokens of an answer.
const ANSWER_TOKENS: usize = 16;

/// A random model in a context for three sequences.
fn model(architecture: &str, folder: &Path) -> LlamaModel {
    load(&made(architecture, "f16", folder), "f16", 3)
}

/// Decodes tokens from `begin` on, and gives the logits after the last.
fn decode(model: &mut LlamaModel, sequence: u32, begin: usize, tokens: &[u32]) -> Vec<f32> {
    let mut logits = Vec::new();
    for (at, chunk) in (begin..).step_by(100).zip(tokens.chunks(100)) {
        let row = |(position, token): (usize, &u32)| Row {
            token: *token,
            position: u32::try_from(position).unwrap(),
            sequence,
            output: position + 1 == begin + tokens.len(),
        };
        let rows: Vec<Row> = (at..).zip(chunk).map(row).collect();
        model.decode(&rows).unwrap();
        if rows.last().is_some_and(|row| row.output) {
            logits = model.logits(rows.len() - 1).to_vec();
        }
    }
    logits
}

/// What follows the last of these tokens, all but which the sequence holds.
fn greedy(model: &mut LlamaModel, sequence: u32, tokens: &[u32]) -> Vec<u32> {
    let mut tokens = tokens.to_vec();
    for _ in 0..ANSWER_TOKENS {
        let end = tokens.len() - 1;
        let logits = decode(model, sequence, end, &tokens[end..]);
        tokens.push((0..).zip(&logits).max_by(|one, other| one.1.total_cmp(other.1)).unwrap().0);
    }
    tokens.split_off(tokens.len() - ANSWER_TOKENS)
}

fn prompt(length: u32, seed: u32, vocabulary: u32) -> Vec<u32> {
    (0..length).map(|at| (at * at * 31 + at * seed + seed) % vocabulary).collect()
}

/// What was taken out of a sequence.
struct Taken {
    cells: Vec<(Range<u32>, Vec<u8>)>,
    state: Option<Vec<u8>>,
}

/// Takes all that a sequence of so many tokens holds.
fn take(model: &mut LlamaModel, sequence: u32, tokens: u32) -> Taken {
    let keeps = model.keeps();
    let blocks = pieces(0..tokens, 256).filter(|_| keeps != Keeps::State);
    let mut cells = |block: Range<u32>| {
        let mut cells = Vec::new();
        assert!(model.save_cells(sequence, block.clone(), &mut cells), "cells can be saved");
        (block, cells)
    };
    let cells = blocks.map(&mut cells).collect();
    let has_state = matches!(keeps, Keeps::State | Keeps::CellsAndState);
    let state = has_state.then(|| model.save_state(sequence).expect("a state can be saved"));
    Taken { cells, state }
}

/// Puts it into an empty sequence.
fn put(model: &mut LlamaModel, sequence: u32, tokens: u32, taken: &Taken) {
    for (block, cells) in &taken.cells {
        let is_done = model.load_cells(sequence, block.clone(), block.clone(), cells);
        assert!(is_done, "{block:?} of {tokens}");
    }
    if let Some(state) = &taken.state {
        assert!(model.load_state(sequence, tokens, state), "the state after {tokens}");
    }
}

/// What was saved comes back in another context, into another sequence, beside other text; the same
/// text follows.
#[test]
fn a_prefix_that_comes_back_is_continued_as_if_it_had_never_gone() {
    let folder = tempfile::tempdir().unwrap();
    for architecture in ARCHITECTURES {
        let mut one = model(architecture, folder.path());
        let vocabulary = one.facts().vocabulary;
        // How large a cell is shows when a sequence has two.
        decode(&mut one, 0, 0, &[1, 2]);
        one.clear(0);
        for length in [2_u32, 64, 255, 256, 257, 700] {
            let tokens = prompt(length, 7, vocabulary);
            decode(&mut one, 0, 0, &tokens[..tokens.len() - 1]);
            let taken = take(&mut one, 0, length - 1);
            let expected = greedy(&mut one, 0, &tokens);
            one.clear(0);

            let mut other = model(architecture, folder.path());
            decode(&mut other, 0, 0, &prompt(300, 3, vocabulary));
            put(&mut other, 2, length - 1, &taken);
            assert_eq!(greedy(&mut other, 2, &tokens), expected, "{architecture}: {length} tokens");
            // Who was there before is not disturbed.
            let beside = prompt(301, 3, vocabulary);
            let after = greedy(&mut other, 0, &beside);
            decode(&mut one, 1, 0, &beside[..300]);
            assert_eq!(greedy(&mut one, 1, &beside), after, "{architecture}: beside {length}");
            one.clear(1);
        }
    }
}

/// A text that repeats one token says nothing about what it was computed from.
#[test]
fn answers_of_made_models_are_of_several_tokens_and_depend_on_the_first_of_the_prompt() {
    const PROMPTS: u32 = 6;
    let folder = tempfile::tempdir().unwrap();
    for architecture in ARCHITECTURES {
        let mut model = model(architecture, folder.path());
        let vocabulary = model.facts().vocabulary;
        let (mut varied, mut remembered) = (0, 0);
        for seed in 0..PROMPTS {
            let mut answer = |first: u32| {
                let mut tokens = prompt(60, 5 + seed, vocabulary);
                tokens[..30].fill(first);
                decode(&mut model, 0, 0, &tokens[..59]);
                let answer = greedy(&mut model, 0, &tokens);
                model.clear(0);
                answer
            };
            let (one, other) = (answer(1), answer(2));
            let distinct: BTreeSet<&u32> = one.iter().collect();
            varied += u32::from(distinct.len() > 3);
            remembered += u32::from(one != other);
        }
        assert!(
            varied >= PROMPTS / 2,
            "{architecture}: {varied} of {PROMPTS} are of several tokens"
        );
        assert!(remembered >= PROMPTS / 2, "{architecture}: {remembered} of {PROMPTS} remember");
    }
}

#[test]
fn a_part_of_a_block_joins_what_is_there_and_nonsense_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    for architecture in ARCHITECTURES {
        let mut model = model(architecture, folder.path());
        if model.keeps() != Keeps::Cells {
            continue;
        }
        let tokens = prompt(256, 5, model.facts().vocabulary);
        decode(&mut model, 0, 0, &tokens[..199]);
        let expected = greedy(&mut model, 0, &tokens[..200]);
        model.clear(0);
        decode(&mut model, 0, 0, &tokens);
        let mut saved = Vec::new();
        assert!(model.save_cells(0, 0..256, &mut saved));

        decode(&mut model, 1, 0, &tokens[..100]);
        for broken in [&saved[..saved.len() / 2], &saved[..10], &[]] {
            assert!(!model.load_cells(1, 0..256, 100..199, broken), "{architecture}");
        }
        assert!(model.load_cells(1, 0..256, 100..199, &saved), "{architecture}");
        assert_eq!(greedy(&mut model, 1, &tokens[..200]), expected, "{architecture}");
    }
}

#[test]
fn a_state_that_is_cut_or_of_another_moment_is_refused_and_the_sequence_is_empty() {
    let folder = tempfile::tempdir().unwrap();
    for architecture in ARCHITECTURES {
        let mut model = model(architecture, folder.path());
        if model.keeps() == Keeps::Cells {
            continue;
        }
        let tokens = prompt(200, 5, model.facts().vocabulary);
        decode(&mut model, 0, 0, &tokens[..199]);
        let taken = take(&mut model, 0, 199);
        let state = taken.state.as_deref().unwrap();
        let expected = greedy(&mut model, 0, &tokens);
        for broken in [&state[..state.len() - 1], &state[..state.len() / 2], &state[..9], &[]] {
            for (block, cells) in &taken.cells {
                assert!(model.load_cells(1, block.clone(), block.clone(), cells));
            }
            assert!(!model.load_state(1, 199, broken), "{architecture}");
        }
        assert!(!model.load_state(1, 198, state), "{architecture}: of another moment");
        put(&mut model, 1, 199, &taken);
        assert_eq!(greedy(&mut model, 1, &tokens), expected, "{architecture}");
    }
}

/// A state may be as large as the cells of thousands of tokens, and is not in each of their blocks.
#[test]
fn cells_of_a_hybrid_carry_no_state() {
    let folder = tempfile::tempdir().unwrap();
    let hybrids = ["qwen35", "lfm2", "granitehybrid"];
    for architecture in hybrids {
        let mut model = model(architecture, folder.path());
        assert_eq!(model.keeps(), Keeps::CellsAndState, "{architecture}");
        let tokens = prompt(8, 5, model.facts().vocabulary);
        decode(&mut model, 0, 0, &tokens);
        let (mut one, mut two) = (Vec::new(), Vec::new());
        assert!(model.save_cells(0, 3..4, &mut one) && model.save_cells(0, 3..5, &mut two));
        let cell = two.len() - one.len();
        let state = model.save_state(0).unwrap();
        assert!(one.len() - cell < 400, "{architecture}: {} bytes beside a cell", one.len() - cell);
        assert!(state.len() > 4000, "{architecture}: a state of {} bytes", state.len());
    }
}
