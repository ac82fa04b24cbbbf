//! What is found is the longest prefix that can be restored, by the standard of a plain list of
//! everything that was put.

use proptest::prelude::*;

use super::*;

/// A plain list of prefixes, and the definition of what can be restored from it.
#[derive(Default)]
struct Naive(Vec<(Kind, Vec<u32>)>);

impl Naive {
    fn longest(&self, need: Need, tokens: &[u32]) -> usize {
        let can = |length: &usize| {
            let prefix = &tokens[..*length];
            match need {
                Need::Cells => self.has_cells(prefix),
                Need::CellsAndState => self.has_cells(prefix) && self.has(Kind::State, prefix),
                Need::State => self.has(Kind::State, prefix),
            }
        };
        (1..=tokens.len()).rev().find(can).unwrap_or(0)
    }

    fn has(&self, kind: Kind, prefix: &[u32]) -> bool {
        self.0.iter().any(|(other, tokens)| *other == kind && tokens == prefix)
    }

    /// Whether the cells of every full block are there, and some entry begins with the rest.
    fn has_cells(&self, prefix: &[u32]) -> bool {
        let full = prefix.len() / BLOCK_TOKENS;
        let blocks = (1..=full).all(|n| self.has(Kind::Cells, &prefix[..n * BLOCK_TOKENS]));
        let begins = |(kind, tokens): &(Kind, Vec<u32>)| {
            let same_parent = (tokens.len() - 1) / BLOCK_TOKENS == full;
            *kind == Kind::Cells && same_parent && tokens.starts_with(prefix)
        };
        let rest = prefix.len().is_multiple_of(BLOCK_TOKENS)
            || self.0.iter().filter(|(_, tokens)| !tokens.is_empty()).any(begins);
        blocks && rest
    }
}

#[derive(Debug, Clone)]
enum Act {
    /// Puts the entry that ends so far into a run.
    Put(Kind, Vec<u32>),
    /// Does what an engine does after a request.
    Keep(Vec<u32>),
    Ask(Vec<u32>),
}

/// Runs of few different words, so that many begin alike and part inside a block.
fn tokens() -> impl Strategy<Value = Vec<u32>> {
    let word = (0..2_u32, prop::sample::select(vec![1_usize, 100, 156, 255, 256, 300]));
    let cut = 0..40_usize;
    (prop::collection::vec(word, 1..5), cut).prop_map(|(words, cut)| {
        let mut tokens = run(&words);
        tokens.truncate((tokens.len() - cut.min(tokens.len() - 1)).max(1));
        tokens
    })
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        2 => (any::<bool>(), tokens()).prop_map(|(cells, tokens)| {
            Act::Put(if cells { Kind::Cells } else { Kind::State }, tokens)
        }),
        2 => tokens().prop_map(Act::Keep),
        3 => tokens().prop_map(Act::Ask),
    ]
}

fn play(mode: Mode, need: Need, acts: &[Act]) {
    let place = Place::new();
    let settings = Settings { mode, ..place.settings() };
    let tiers = place.open_with(settings.clone(), need);
    let (mut naive, mut known) = (Naive::default(), Known::default());
    for act in acts {
        match act {
            Act::Put(kind, tokens) => {
                let bytes = known.add(*kind, tokens);
                let was_known = match kind {
                    Kind::Cells => naive.has_cells_entry(tokens),
                    Kind::State => naive.has(Kind::State, tokens),
                };
                let put = tiers.put(*kind, tokens, bytes);
                assert_eq!(put, if was_known { Put::Known } else { Put::Taken });
                naive.0.push((*kind, tokens.clone()));
            }
            Act::Keep(tokens) => {
                known.add_all(tokens);
                for range in tiers.missing(tokens) {
                    naive.0.push((Kind::Cells, tokens[..range.end].to_vec()));
                }
                if need != Need::Cells {
                    naive.0.push((Kind::State, tokens.clone()));
                }
                keep(&tiers, tokens);
                assert_eq!(tiers.missing(tokens), []);
                assert!(need == Need::Cells || tiers.has_state(tokens));
                assert_eq!(tiers.find(tokens).tokens, tokens.len());
            }
            Act::Ask(tokens) => {
                assert_eq!(tiers.find(tokens).tokens, naive.longest(need, tokens));
                assert_eq!(tiers.has_state(tokens), naive.has(Kind::State, tokens));
            }
        }
    }
    if mode != Mode::Ssd {
        return;
    }
    // Written, and read again by another process, it is the same.
    tiers.flush(LONG);
    drop(tiers);
    let tiers = place.open_with(settings, need);
    for act in acts {
        let (Act::Put(_, tokens) | Act::Keep(tokens) | Act::Ask(tokens)) = act;
        assert_eq!(restore(&tiers, tokens, &known), Ok(naive.longest(need, tokens)));
    }
}

impl Naive {
    /// Whether some entry of the same parent begins with the last block of this prefix.
    fn has_cells_entry(&self, prefix: &[u32]) -> bool {
        let blocks = (prefix.len() - 1) / BLOCK_TOKENS;
        self.0.iter().any(|(kind, tokens)| {
            *kind == Kind::Cells
                && (tokens.len() - 1) / BLOCK_TOKENS == blocks
                && tokens.starts_with(prefix)
        })
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..Default::default() })]

    #[test]
    fn the_longest_prefix_is_found_in_memory(acts in prop::collection::vec(act(), 1..24)) {
        for need in [Need::Cells, Need::CellsAndState, Need::State] {
            play(Mode::Ram, need, &acts);
        }
    }

    #[test]
    fn the_longest_prefix_is_found_again_after_a_restart(acts in prop::collection::vec(act(), 1..16)) {
        for need in [Need::Cells, Need::CellsAndState, Need::State] {
            play(Mode::Ssd, need, &acts);
        }
    }
}

#[test]
fn all_but_the_last_token_come_back_of_prompts_of_any_length() {
    let place = Place::new();
    let tiers = place.open(Need::Cells);
    for length in (2..1000).step_by(83).chain([364, 255, 256, 257, 512, 513]) {
        let tokens = run(&[(length as u32, length)]);
        keep(&tiers, &tokens);
        let known = Known::of(&[&tokens]);
        assert_eq!(restore(&tiers, &tokens[..length - 1], &known), Ok(length - 1));
    }
}
