//! The batch planner against a cache that keeps its own books.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::limits::TURN_STEPS;
use super::prefixes::shared_prefix;
use super::*;

const SHAPE: Shape = Shape {
    cells: 256,
    sequences: 4,
    step_tokens_max: 64,
    trims: true,
    keeps_states: false,
    outputs_max: 20,
    takes_back_max: 16,
};

/// A cache and clients that know nothing of the planner's sums: every sequence holds real tokens.
struct World {
    batch: Batch,
    shape: Shape,
    cache: BTreeMap<u32, Vec<u32>>,
    /// Tokens each live request should have: its prompt and what was sampled.
    expected: BTreeMap<Key, Vec<u32>>,
    paused: BTreeMap<Key, bool>,
    left: BTreeMap<Key, usize>,
    finished: Vec<Key>,
    decoded: usize,
    /// What lies outside the context: prefixes of which every part comes back, or where the tail of a
    /// sequence cannot be removed, only the whole.
    stored: Vec<Vec<u32>>,
    /// What is on its way back: the sequence and the tokens it is to hold.
    restoring: BTreeMap<Key, (u32, Vec<u32>)>,
    /// Tokens that came back.
    restored: usize,
    /// How many guesses there are of each stream, and how many of them come true.
    guesses: Guesses,
    /// Guesses that had a row, and those of them that came true.
    drafted: usize,
    guessed: usize,
    /// Runs of each live request.
    runs: BTreeMap<Key, Vec<Run>>,
    /// With which scales each request that was ever there is computed.
    scales: BTreeMap<Key, Scales>,
    /// With which scales the cells of each sequence were computed.
    computed: BTreeMap<u32, Scales>,
    /// Steps that those who could go on have been waiting for, each since it got its sequence.
    waited: BTreeMap<(Key, u64), u32>,
    /// Whether what the runs are computed from can be had.
    has_vectors: bool,
}

/// Where guesses come from, of the position they are for: how many, and which of them is the first
/// that is wrong.
type Guesses = fn(Key, u32) -> (u32, u32);

fn no_guesses(_: Key, _: u32) -> (u32, u32) {
    (0, 0)
}

/// Any number, right and wrong.
fn some_guesses(key: Key, position: u32) -> (u32, u32) {
    let mixed = (position ^ (key as u32).wrapping_mul(77)).wrapping_mul(2_654_435_761) >> 8;
    (mixed % 25, mixed / 32 % 25)
}

impl World {
    fn new(shape: Shape) -> Self {
        Self {
            batch: Batch::new(shape),
            shape,
            cache: (0..shape.sequences).map(|sequence| (sequence, Vec::new())).collect(),
            expected: BTreeMap::new(),
            paused: BTreeMap::new(),
            left: BTreeMap::new(),
            finished: Vec::new(),
            decoded: 0,
            stored: Vec::new(),
            restoring: BTreeMap::new(),
            restored: 0,
            guesses: no_guesses,
            drafted: 0,
            guessed: 0,
            runs: BTreeMap::new(),
            scales: BTreeMap::new(),
            computed: BTreeMap::new(),
            waited: BTreeMap::new(),
            has_vectors: true,
        }
    }

    fn submit(&mut self, key: Key, prompt: Vec<u32>, tokens_max: usize) -> Result<(), Refusal> {
        self.submit_seen(key, (prompt, Vec::new()), tokens_max)
    }

    fn submit_seen(
        &mut self,
        key: Key,
        seen: (Vec<u32>, Vec<Run>),
        tokens_max: usize,
    ) -> Result<(), Refusal> {
        self.submit_as(key, seen, &Scales::default(), tokens_max)
    }

    fn submit_as(
        &mut self,
        key: Key,
        (prompt, runs): (Vec<u32>, Vec<Run>),
        scales: &Scales,
        tokens_max: usize,
    ) -> Result<(), Refusal> {
        self.batch.submit_as(key, prompt.clone(), runs.clone(), scales.clone())?;
        self.scales.insert(key, scales.clone());
        self.runs.insert(key, runs);
        self.expected.insert(key, prompt);
        self.left.insert(key, tokens_max.max(1));
        Ok(())
    }

    fn pause(&mut self, key: Key, paused: bool) {
        if self.expected.contains_key(&key) {
            self.batch.set_paused(key, paused);
            self.paused.insert(key, paused);
        }
    }

    fn release(&mut self, key: Key) {
        if let Some((sequence, _)) = self.restoring.remove(&key) {
            self.cache.insert(sequence, Vec::new());
        }
        self.batch.release(key);
        self.expected.remove(&key);
        self.paused.remove(&key);
        self.left.remove(&key);
        self.runs.remove(&key);
    }

    fn admit(&mut self) {
        let (stored, trims) = (self.stored.clone(), self.shape.trims);
        let wanted = self.scales.clone();
        let mut look = |key, scales: &Scales, tokens: &[u32]| {
            assert_eq!(*scales, wanted[&key], "it is looked for with other scales");
            longest(&stored, tokens, trims)
        };
        for admission in self.batch.admit(Rates::default(), &mut look) {
            for lost in &admission.lost {
                self.lose(lost, lost.sequence != admission.sequence);
            }
            let kept = admission.cached as usize;
            for tokens in [Some(admission.cached), admission.restore].into_iter().flatten() {
                let is_cut = |run: &&Run| {
                    run.cut != Cut::Anywhere && run.start < tokens && tokens < run.end()
                };
                let cut = self.runs[&admission.key].iter().find(is_cut);
                assert_eq!(cut, None, "a prefix of {tokens} tokens cuts a run");
            }
            let scales = &self.scales[&admission.key];
            let held = match admission.source {
                Some(source) => {
                    assert_eq!(self.computed[&source], *scales, "cells of other scales");
                    self.cache[&source][..kept].to_vec()
                }
                None => Vec::new(),
            };
            self.computed.insert(admission.sequence, scales.clone());
            if admission.source == Some(admission.sequence) && !self.shape.trims {
                assert_eq!(self.cache[&admission.sequence].len(), kept, "trimmed what cannot be");
            }
            assert_eq!(held[..], self.expected[&admission.key][..held.len()], "a foreign prefix");
            if let Some(tokens) = admission.restore {
                assert!(trims || held.is_empty(), "a state was joined to what was there");
                let wanted = self.expected[&admission.key][..tokens as usize].to_vec();
                self.restoring.insert(admission.key, (admission.sequence, wanted));
            }
            self.cache.insert(admission.sequence, held);
        }
        let reserved: usize = self
            .cache
            .iter()
            .map(|(sequence, held)| {
                let coming = self.restoring.values().find(|(other, _)| other == sequence);
                coming.map_or(held.len(), |(_, wanted)| wanted.len())
            })
            .sum();
        assert!(reserved <= self.shape.cells as usize, "{reserved} cells promised");
    }

    /// What is given up is still there when it is said.
    fn lose(&mut self, lost: &Lost, is_cleared: bool) {
        let held = self.cache.get_mut(&lost.sequence).unwrap();
        assert_eq!(*held, lost.tokens, "something else is lost");
        let is_told = lost.tokens.is_empty() || self.computed[&lost.sequence] == lost.scales;
        assert!(is_told, "it was computed with other scales");
        if is_cleared {
            held.clear();
        }
    }

    /// What is on its way comes back, all of it or as much as was there before.
    fn arrive(&mut self, is_whole: bool) {
        for (key, (sequence, wanted)) in std::mem::take(&mut self.restoring) {
            let held = self.cache.get_mut(&sequence).unwrap();
            if is_whole {
                self.restored += wanted.len() - held.len();
                *held = wanted;
            }
            self.batch.restored(key, u32::try_from(held.len()).unwrap());
        }
    }

    /// One turn of the engine's loop; the sampled token is a hash of what is in the cache.
    fn turn(&mut self) -> Step {
        self.admit();
        self.guess();
        let next_run = self.batch.next_run().filter(|_| self.has_vectors);
        if let Some(next) = next_run {
            self.batch.allow_run(next.key);
        }
        let could_go_on = self.could_go_on();
        let step = self.batch.step(None);
        for lost in &step.lost {
            self.lose(lost, true);
        }
        self.check_turn(&step, &could_go_on);
        self.check_runs(&step, next_run);
        for row in &step.rows {
            let held = self.cache.get_mut(&row.sequence).unwrap();
            assert_eq!(held.len(), row.position as usize, "a hole in sequence {}", row.sequence);
            if row.is_draft {
                held.push(row.token);
                assert!(row.output, "a guess that cannot come true");
                self.drafted += 1;
                continue;
            }
            assert_eq!(self.expected[&row.key][row.position as usize], row.token);
            assert_ne!(self.paused.get(&row.key), Some(&true), "a paused request ran");
            assert!(!self.restoring.contains_key(&row.key), "it ran before it was whole");
            held.push(row.token);
            assert_eq!(held[..], self.expected[&row.key][..held.len()]);
            self.decoded += 1;
        }
        let used: usize = self.cache.values().map(Vec::len).sum();
        assert!(used <= self.shape.cells as usize, "{used} cells used");
        let outputs = step.rows.iter().filter(|row| row.output).count();
        assert!(outputs <= self.shape.outputs_max as usize, "{outputs} outputs");
        assert_eq!(step.drafted_rows as usize, step.rows.iter().filter(|row| row.is_draft).count());
        if !self.shape.trims && step.drafted_rows > 0 {
            let sequence = step.rows[0].sequence;
            assert!(step.rows.iter().all(|row| row.sequence == sequence), "a state is not alone");
        }
        for (index, row) in step.rows.iter().enumerate() {
            if row.output && !row.is_draft {
                self.sample(&step.rows[index..]);
            }
        }
        step
    }

    /// Who has tokens for the next step and waits for nothing but a turn, and since when. Whoever had to give
    /// way to others and came back begins anew.
    fn could_go_on(&self) -> Vec<(Key, u64)> {
        if !self.restoring.is_empty() {
            return Vec::new();
        }
        let slots = self.batch.slots.iter().enumerate();
        let could = slots.filter(|(index, slot)| {
            slot.is_running() && slot.pending() > 0 && self.batch.run_at(*index).is_none()
        });
        could.filter_map(|(_, slot)| slot.owner.map(|owner| (owner.key, owner.since))).collect()
    }

    /// A step is of one set of scales, and nobody who could go on waits for more than a turn of each other
    /// set.
    fn check_turn(&mut self, step: &Step, could_go_on: &[(Key, u64)]) {
        let alike = |row: &Row| self.scales[&row.key] == step.scales;
        assert!(step.rows.iter().all(alike), "rows of several sets of scales");
        // Cells may have run out, so that the step took the sequence from some.
        let owners = self.batch.slots.iter().filter_map(|slot| slot.owner);
        let owners: Vec<(Key, u64)> = owners.map(|owner| (owner.key, owner.since)).collect();
        let could_go_on = could_go_on.iter().filter(|one| owners.contains(one));
        let could_go_on: Vec<(Key, u64)> = could_go_on.copied().collect();
        self.waited.retain(|one, _| could_go_on.contains(one));
        for one in could_go_on.iter().filter(|_| !step.rows.is_empty()) {
            let waited = self.waited.entry(*one).or_default();
            *waited = if self.scales[&one.0] == step.scales { 0 } else { *waited + 1 };
            let steps_max = (SETS - 1) * TURN_STEPS;
            assert!(*waited <= steps_max, "{one:?} waited for {waited} steps");
        }
    }

    /// A step has rows of the one run that may be computed, all of them where they look at each other, and
    /// of no sequence rows of two kinds.
    fn check_runs(&self, step: &Step, next_run: Option<NextRun>) {
        let (rows, texts): (Vec<&Row>, Vec<&Row>) =
            step.rows.iter().partition(|row| is_media(row.token));
        assert!(texts.len() <= self.shape.step_tokens_max as usize);
        assert!(rows.len() <= self.shape.step_tokens_max as usize);
        let Some(first) = rows.first() else { return };
        let next = next_run.expect("rows of a run that has no vectors");
        assert!(rows.iter().all(|row| row.key == next.key && !row.output && !row.is_draft));
        assert!(texts.iter().all(|row| row.key != next.key), "both at once");
        let run = self.runs[&next.key][next.run];
        let end = first.position + u32::try_from(rows.len()).unwrap();
        assert!(run.start <= first.position && end <= run.end(), "{run:?} {first:?}");
        if run.cut == Cut::Nowhere {
            assert_eq!((first.position, end), (run.start, run.end()), "a run is divided");
        }
    }

    fn guess(&mut self) {
        let streams = self.batch.streams();
        let guesses: Vec<(Key, Vec<u32>)> = streams
            .iter()
            .map(|stream| {
                let position = u32::try_from(stream.tokens.len()).unwrap();
                let (count, wrong) = (self.guesses)(stream.key, position);
                let guess = |at| if at == wrong { 7 } else { 1000 + position - 1 + at };
                (stream.key, (0..count).map(guess).collect())
            })
            .collect();
        guesses.into_iter().for_each(|(key, tokens)| self.batch.draft(key, tokens));
    }

    /// Samples from the first of these rows, and from those behind it as far as guesses came true.
    fn sample(&mut self, rows: &[Row]) {
        let key = rows[0].key;
        for row in rows {
            assert_eq!(row.key, key, "its guesses are not behind it");
            let token = 1000 + row.position;
            let accepted = self.batch.accept(key, token);
            self.expected.get_mut(&key).unwrap().push(token);
            self.guessed += usize::from(row.is_draft);
            let left = self.left.get_mut(&key).unwrap();
            *left -= 1;
            if *left > 0 && accepted == Accepted::Guessed {
                continue;
            }
            let is_over = *left == 0 || accepted == Accepted::Full;
            self.settle(key, row.position as usize + 1);
            if is_over {
                self.release(key);
                self.finished.push(key);
            }
            return;
        }
        panic!("a guess came true that had no row");
    }

    /// Only the cells of tokens that hold stay, and none of those is lost.
    fn settle(&mut self, key: Key, expected: usize) {
        let Some(Settled { sequence, tokens }) = self.batch.settle(key) else { return };
        let held = self.cache.get_mut(&sequence).unwrap();
        assert!(held.len() - tokens as usize <= self.shape.takes_back_max as usize);
        held.truncate(tokens as usize);
        assert_eq!(held[..], self.expected[&key][..held.len()], "a wrong guess stayed");
        assert!(held.len() >= expected.min(held.len()), "a right one was lost");
        assert_eq!(self.batch.settle(key), None, "it is settled once");
    }

    fn run_to_end(&mut self) {
        for _ in 0..20_000 {
            if self.expected.is_empty() {
                return;
            }
            self.turn();
            self.arrive(true);
        }
        panic!("these requests never end: {:?}", self.expected.keys());
    }
}

fn longest(stored: &[Vec<u32>], tokens: &[u32], trims: bool) -> Option<Stored> {
    let fits = |one: &Vec<u32>| {
        let shared = shared_prefix(one, tokens);
        if trims || shared == one.len() { shared } else { 0 }
    };
    let tokens = u32::try_from(stored.iter().map(fits).max()?).unwrap();
    Some(Stored { tokens, bytes: 0 })
}

/// A prompt with runs: where each begins, how many rows it has, and where it may be divided. What they are
/// of follows from the seed.
fn seen(seed: u32, length: u32, runs: &[(u32, u32, Cut)]) -> (Vec<u32>, Vec<Run>) {
    let mut tokens = prompt(seed, length);
    let run = |(start, rows, cut): &(u32, u32, Cut)| Run { start: *start, rows: *rows, cut: *cut };
    let runs: Vec<Run> = runs.iter().map(run).collect();
    for run in &runs {
        let places = run.start as usize..run.end() as usize;
        tokens[places].iter_mut().for_each(|token| *token |= MEDIA_TOKEN_MIN);
    }
    (tokens, runs)
}

/// Sets of scales in random histories.
const SETS: u32 = 3;

/// One of them. The first is of a model as it is.
fn scales_of(set: u32) -> Scales {
    match set {
        0 => Scales::default(),
        set => Scales::new([set as f32, 0.5]),
    }
}

fn nothing(_: Key, _: &Scales, _: &[u32]) -> Option<Stored> {
    None
}

fn prompt(seed: u32, length: u32) -> Vec<u32> {
    (0..length).map(|position| seed * 10_000 + position).collect()
}

#[test]
fn one_request_runs_from_prompt_to_end() {
    let mut world = World::new(SHAPE);
    world.submit(1, prompt(1, 100), 5).unwrap();
    world.run_to_end();
    assert_eq!(world.finished, [1]);
    assert_eq!(world.decoded, 104, "100 of the prompt and 4 of the 5 sampled");
}

#[test]
fn a_prompt_that_leaves_no_cell_is_refused_with_its_size() {
    let mut batch = Batch::new(SHAPE);
    assert!(matches!(
        batch.submit(1, prompt(1, 256)),
        Err(Refusal::TooLong { prompt_tokens: 256, cells: 256 })
    ));
    assert_eq!(batch.submit(2, Vec::new()), Err(Refusal::Empty));
    assert_eq!(batch.submit(3, prompt(1, 255)), Ok(()));
}

#[test]
fn a_long_prompt_beside_a_stream_is_chunked_and_the_stream_moves_in_every_step() {
    let mut world = World::new(Shape { cells: 4096, step_tokens_max: 512, ..SHAPE });
    world.submit(1, prompt(1, 4), 1000).unwrap();
    world.turn();
    world.submit(2, prompt(2, 1000), 1).unwrap();
    let mut steps = 0;
    while world.expected.contains_key(&2) {
        let step = world.turn();
        assert!(step.rows.iter().any(|row| row.key == 1), "the stream stood still");
        let prompt_rows = step.rows.iter().filter(|row| row.key == 2).count();
        assert!(prompt_rows <= PREFILL_TOKENS_FIRST as usize);
        steps += 1;
    }
    assert_eq!(
        steps,
        1000_usize.div_ceil(PREFILL_TOKENS_FIRST as usize - 1),
        "a tile with the stream"
    );
}

#[test]
fn no_single_token_is_left_for_a_step_of_its_own() {
    for length in 2..200 {
        let mut world = World::new(SHAPE);
        world.submit(1, prompt(1, length), 1).unwrap();
        while world.expected.contains_key(&1) {
            assert_ne!(world.turn().rows.len(), 1, "a prompt of {length} tokens");
        }
    }
}

#[test]
fn the_measured_speed_sets_the_chunk() {
    let chunk = |speed| {
        let mut batch = Batch::new(Shape { cells: 4096, step_tokens_max: 512, ..SHAPE });
        batch.submit(1, prompt(1, 3)).unwrap();
        let _ = batch.admit(Rates::default(), &mut nothing);
        let _ = batch.step(None);
        let _ = batch.accept(1, 7);
        batch.submit(2, prompt(2, 2000)).unwrap();
        let _ = batch.admit(Rates::default(), &mut nothing);
        batch.step(Some(speed)).prefill_rows
    };
    let tile = STEP_TOKENS_TILE;
    assert_eq!(chunk(1000.0), 3 * tile - 1, "200 ms at 1,000 tokens a second, in whole tiles");
    assert_eq!(chunk(1.0), tile - 1);
    assert_eq!(chunk(1e9), 511, "the step is full");
    assert_eq!(chunk(f32::NAN), tile - 1);
}

#[test]
fn a_step_beside_streams_is_of_whole_tiles() {
    for streams in [1, 20, 32, 33, 63, 64, 100] {
        let shape = Shape { cells: 65_536, step_tokens_max: 512, sequences: 128, ..SHAPE };
        let mut batch = Batch::new(shape);
        for key in 0..streams {
            let first = u32::try_from(key).unwrap() * 10;
            batch.submit(key, vec![first, first + 1, first + 2]).unwrap();
        }
        let _ = batch.admit(Rates::default(), &mut nothing);
        while batch.step(Some(1e9)).prefill_rows > 0 {}
        for key in 0..streams {
            let _ = batch.accept(key, 7);
        }
        batch.submit(streams, prompt(200, 2000)).unwrap();
        let _ = batch.admit(Rates::default(), &mut nothing);
        let step = batch.step(Some(1.0));
        assert_eq!(step.rows.len() % STEP_TOKENS_TILE as usize, 0, "{streams} streams");
        let tiles = PREFILL_TOKENS_MIN..PREFILL_TOKENS_MIN + STEP_TOKENS_TILE;
        assert!(tiles.contains(&step.prefill_rows), "{streams} streams: {}", step.prefill_rows);
    }
}

#[test]
fn the_next_turn_of_a_conversation_keeps_its_prefix() {
    let mut world = World::new(SHAPE);
    world.submit(1, prompt(1, 50), 10).unwrap();
    world.run_to_end();
    let before = world.decoded;
    let mut next = prompt(1, 50);
    next.extend((50..59).map(|position| 999 + position));
    next.extend(prompt(7, 5));
    world.submit(2, next, 1).unwrap();
    world.run_to_end();
    assert_eq!(world.decoded - before, 5, "only what is new was computed");
}

#[test]
fn the_same_prompt_again_computes_one_token() {
    let mut world = World::new(SHAPE);
    world.submit(1, prompt(1, 50), 1).unwrap();
    world.run_to_end();
    world.submit(2, prompt(1, 50), 1).unwrap();
    let before = world.decoded;
    world.run_to_end();
    assert_eq!(world.decoded - before, 1);
}

#[test]
fn equal_prompts_at_once_are_computed_once() {
    let mut world = World::new(Shape { cells: 4096, ..SHAPE });
    for key in 0..4 {
        world.submit(key, prompt(1, 200), 3).unwrap();
    }
    world.run_to_end();
    assert_eq!(world.finished.len(), 4);
    let own = 4 * (3 + SHARED_PREFIX_TOKENS_MIN as usize);
    assert!(world.decoded < 200 + own, "{} tokens were computed", world.decoded);
}

#[test]
fn a_short_shared_prefix_does_not_cost_another_conversation_its_cache() {
    let mut world = World::new(SHAPE);
    let system = prompt(9, 40);
    let conversation = |seed| [system.clone(), prompt(seed, 60)].concat();
    world.submit(1, conversation(1), 1).unwrap();
    world.run_to_end();
    world.submit(2, conversation(2), 1).unwrap();
    world.run_to_end();
    let before = world.decoded;
    world.submit(3, conversation(1), 1).unwrap();
    world.run_to_end();
    assert_eq!(world.decoded - before, 1, "the first conversation is still there");
    assert_eq!(before, 100 + 60, "and the second copied the system prompt");
}

#[test]
fn recurrent_models_reuse_a_prefix_whole_or_not_at_all() {
    let mut world = World::new(Shape { trims: false, ..SHAPE });
    world.submit(1, prompt(1, 50), 3).unwrap();
    world.run_to_end();
    let before = world.decoded;
    world.submit(2, prompt(1, 50), 1).unwrap();
    world.run_to_end();
    assert_eq!(world.decoded - before, 50, "the state is past the prompt, so it starts again");
    let before = world.decoded;
    world.submit(3, prompt(1, 80), 1).unwrap();
    world.run_to_end();
    assert_eq!(world.decoded - before, 30, "the state at 50 is continued");
}

#[test]
fn readers_that_stopped_hold_up_nobody() {
    let mut world = World::new(SHAPE);
    for key in 0..4 {
        world.submit(key, prompt(key as u32, 20), 50).unwrap();
        world.turn();
        world.pause(key, true);
    }
    world.submit(9, prompt(9, 20), 5).unwrap();
    for _ in 0..100 {
        world.turn();
    }
    assert_eq!(world.finished, [9]);
    for key in 0..4 {
        world.pause(key, false);
    }
    world.run_to_end();
    assert_eq!(world.finished.len(), 5);
}

#[test]
fn readers_that_stopped_give_their_cells_to_whoever_reads() {
    let mut world = World::new(SHAPE);
    for key in 0..2 {
        world.submit(key, prompt(key as u32, 100), 50).unwrap();
        while world.expected[&key].len() < 110 {
            world.turn();
        }
        world.pause(key, true);
    }
    world.submit(9, prompt(9, 100), 5).unwrap();
    for _ in 0..50 {
        world.turn();
    }
    assert_eq!(world.finished, [9], "it waits for somebody who does not read");
    for key in 0..2 {
        world.pause(key, false);
    }
    world.run_to_end();
    assert_eq!(world.finished.len(), 3);
}

#[test]
fn when_cells_run_out_the_youngest_gives_way_and_still_finishes() {
    let mut world = World::new(Shape { cells: 128, ..SHAPE });
    world.submit(1, prompt(1, 10), 100).unwrap();
    world.submit(2, prompt(2, 10), 100).unwrap();
    world.run_to_end();
    assert_eq!(world.finished, [1, 2]);
}

#[test]
fn a_full_context_ends_the_request() {
    let mut world = World::new(Shape { cells: 64, ..SHAPE });
    world.submit(1, prompt(1, 10), usize::MAX).unwrap();
    world.run_to_end();
    assert_eq!(world.finished, [1]);
}

#[test]
fn kept_prefixes_are_given_up_on_demand() {
    let mut world = World::new(SHAPE);
    world.submit(1, prompt(1, 50), 1).unwrap();
    world.run_to_end();
    assert_eq!(world.batch.counts().cells_used, 50);
    let lost = world.batch.free_unused();
    let scales = Scales::default();
    assert_eq!(lost, [Lost { sequence: 0, tokens: prompt(1, 50), scales }]);
    assert_eq!(world.batch.counts(), Counts::default());
}

#[test]
fn what_lies_outside_comes_back_and_the_rest_is_computed() {
    let mut world = World::new(SHAPE);
    world.stored.push([prompt(1, 80), prompt(2, 20)].concat());
    world.submit(1, prompt(1, 100), 3).unwrap();
    assert!(world.turn().rows.is_empty(), "it waits for what comes back");
    assert_eq!(world.batch.counts().cells_used, 80, "its cells are promised");
    world.arrive(true);
    world.run_to_end();
    assert_eq!((world.restored, world.decoded), (80, 22));
}

#[test]
fn what_does_not_come_back_is_computed() {
    let mut world = World::new(SHAPE);
    world.stored.push(prompt(1, 80));
    world.submit(1, prompt(1, 100), 3).unwrap();
    world.turn();
    world.arrive(false);
    world.run_to_end();
    assert_eq!((world.restored, world.decoded), (0, 102));
}

#[test]
fn what_comes_back_joins_what_is_still_there() {
    let mut world = World::new(SHAPE);
    world.submit(1, prompt(1, 50), 1).unwrap();
    world.run_to_end();
    world.stored.push(prompt(1, 120));
    world.submit(2, prompt(1, 150), 1).unwrap();
    world.run_to_end();
    assert_eq!((world.restored, world.decoded), (70, 50 + 30));
}

#[test]
fn one_prompt_comes_back_once_for_all_who_share_it() {
    let mut world = World::new(SHAPE);
    world.stored.push(prompt(1, 60));
    for (key, tail) in [(1, 2), (2, 3), (3, 4)] {
        world.submit(key, [prompt(1, 60), prompt(tail, 5)].concat(), 1).unwrap();
    }
    world.run_to_end();
    assert_eq!((world.restored, world.decoded), (60, 15));
}

#[test]
fn older_prefixes_make_room_for_what_comes_back() {
    let mut world = World::new(SHAPE);
    for seed in 1..4 {
        world.submit(u64::from(seed), prompt(seed, 80), 1).unwrap();
        world.run_to_end();
    }
    world.stored.push(prompt(9, 100));
    world.submit(9, prompt(9, 101), 1).unwrap();
    world.run_to_end();
    assert_eq!(world.restored, 100);
    let held: Vec<usize> = world.batch.held().iter().map(|held| held.tokens.len()).collect();
    assert_eq!(held, [101, 80], "the youngest of the others stayed");
}

#[test]
fn a_stream_waits_for_cells_that_are_promised_to_what_comes_back() {
    let mut world = World::new(Shape { cells: 128, ..SHAPE });
    world.stored.push(prompt(2, 50));
    world.submit(1, prompt(1, 10), 100).unwrap();
    world.turn();
    world.submit(2, prompt(2, 51), 2).unwrap();
    for _ in 0..100 {
        world.turn();
    }
    assert_eq!(world.cache[&0].len(), 128 - 50, "as far as there are cells");
    world.arrive(true);
    world.run_to_end();
    assert_eq!(world.finished, [1, 2]);
}

#[test]
fn a_state_comes_back_whole_and_is_kept_before_the_last_token() {
    let shape = Shape { trims: false, keeps_states: true, ..SHAPE };
    let mut world = World::new(shape);
    world.submit(1, prompt(1, 50), 2).unwrap();
    let step = world.turn();
    assert_eq!((step.rows.len(), &step.states[..]), (49, &[0][..]));
    world.stored.push(prompt(1, 49));
    assert!(world.turn().states.is_empty());
    world.run_to_end();
    let _ = world.batch.free_unused();
    let before = world.decoded;
    world.submit(2, prompt(1, 50), 2).unwrap();
    world.run_to_end();
    assert_eq!((world.restored, world.decoded - before), (49, 2));
}

#[test]
fn states_of_long_prompts_are_kept_on_the_way() {
    let cells = CHECKPOINT_TOKENS * 3;
    let shape = Shape { cells, step_tokens_max: 512, trims: false, keeps_states: true, ..SHAPE };
    let mut world = World::new(shape);
    world.submit(1, prompt(1, CHECKPOINT_TOKENS * 2 + 100), 1).unwrap();
    let mut kept = Vec::new();
    while kept.len() < 3 {
        let step = world.turn();
        kept.extend(step.states.iter().map(|sequence| world.cache[sequence].len()));
    }
    let round = CHECKPOINT_TOKENS as usize;
    assert_eq!(kept, [round, 2 * round, 2 * round + 99]);
}

#[test]
fn guesses_that_come_true_save_steps_and_those_that_do_not_leave_nothing_behind() {
    for (wrong, steps) in [(9, 10), (8, 12), (3, 25), (0, 100)] {
        let mut world = World::new(SHAPE);
        world.guesses = match wrong {
            9 => |_, _| (9, 9),
            8 => |_, _| (9, 8),
            3 => |_, _| (9, 3),
            _ => |_, _| (9, 0),
        };
        world.submit(1, prompt(1, 50), 101).unwrap();
        world.turn();
        for step in 0..steps {
            assert!(world.expected.contains_key(&1), "{wrong}: it ended after {step} steps");
            world.turn();
        }
        assert_eq!(world.finished, [1], "{wrong}");
        let held = world.batch.held();
        assert_eq!(held[0].tokens, world.cache[&0], "{wrong}");
        assert!(held[0].tokens.len() <= 151, "{wrong}: nothing behind the last token stays");
    }
}

#[test]
fn guesses_take_nothing_from_anybody() {
    let mut world = World::new(Shape { cells: 4096, step_tokens_max: 512, ..SHAPE });
    world.guesses = |_, _| (16, 16);
    for key in 1..4 {
        world.submit(key, prompt(key as u32, 4), 500).unwrap();
    }
    world.turn();
    let step = world.turn();
    let of = |key| step.rows.iter().filter(|row| row.key == key).count();
    assert_eq!([of(1), of(2), of(3)], [17, 1, 1], "16 outputs are not anybody's own");
    world.submit(4, prompt(4, 1000), 1).unwrap();
    let step = world.turn();
    assert_eq!(step.drafted_rows, 16);
    assert!(step.prefill_rows >= PREFILL_TOKENS_MIN, "the prompt goes on");
    assert!((1..4).all(|key| step.rows.iter().any(|row| row.key == key)), "and so do all streams");
}

#[test]
fn no_prefix_is_given_up_for_a_guess() {
    let mut world = World::new(SHAPE);
    world.submit(1, prompt(1, 150), 1).unwrap();
    world.run_to_end();
    world.submit(2, prompt(2, 100), 7).unwrap();
    world.turn();
    world.turn();
    world.guesses = |_, _| (16, 16);
    let step = world.turn();
    assert!(step.lost.is_empty());
    assert_eq!(step.drafted_rows as usize, 256 - 150 - 100 - 1, "what was free");
}

#[test]
fn a_request_can_end_or_fill_the_context_among_its_guesses() {
    for tokens_max in 1..40 {
        let mut world = World::new(Shape { cells: 64, ..SHAPE });
        world.guesses = |_, _| (16, 16);
        world.submit(1, prompt(1, 30), tokens_max).unwrap();
        world.run_to_end();
        assert_eq!(world.finished, [1]);
        let held = world.cache[&0].len();
        // The last token has a cell only if it was guessed.
        let least = (30 + tokens_max - 1).min(63);
        assert!((least..=(least + 1).min(63)).contains(&held), "{tokens_max}: {held}");
        assert_eq!(world.batch.counts().cells_used as usize, held);
    }
}

#[test]
fn what_is_guessed_and_not_settled_is_not_held() {
    let mut batch = Batch::new(SHAPE);
    batch.submit(1, prompt(1, 10)).unwrap();
    let _ = batch.admit(Rates::default(), &mut nothing);
    let _ = batch.step(None);
    assert_eq!(batch.accept(1, 5), Accepted::Continues);
    batch.draft(1, vec![6, 7, 8]);
    assert_eq!(batch.step(None).rows.len(), 4);
    assert!(batch.held().is_empty());
    assert_eq!(batch.counts().cells_used, 14);
    assert_eq!(batch.accept(1, 6), Accepted::Guessed);
    assert_eq!(batch.accept(1, 9), Accepted::Continues);
    assert_eq!(batch.accept(1, 7), Accepted::Continues, "nothing counts behind a wrong guess");
    assert_eq!(batch.settle(1), Some(Settled { sequence: 0, tokens: 12 }));
    assert_eq!(batch.held()[0].tokens, [&prompt(1, 10)[..], &[5, 6]].concat());
    batch.draft(1, vec![6, 7, 8]);
    batch.set_paused(1, true);
    assert!(batch.step(None).rows.is_empty(), "nor is a paused one drafted");
}

#[test]
fn a_run_waits_for_its_vectors_and_streams_do_not() {
    let mut world = World::new(SHAPE);
    world.has_vectors = false;
    world.submit(1, prompt(1, 4), 20).unwrap();
    world.submit_seen(2, seen(2, 60, &[(10, 40, Cut::Nowhere)]), 3).unwrap();
    for _ in 0..5 {
        assert!(world.turn().rows.iter().all(|row| !is_media(row.token)));
    }
    assert_eq!(world.batch.next_run(), Some(NextRun { key: 2, run: 0 }));
    let streamed = world.expected[&1].len();
    world.has_vectors = true;
    let step = world.turn();
    assert_eq!(step.rows.iter().filter(|row| is_media(row.token)).count(), 40);
    assert_eq!(world.expected[&1].len(), streamed + 1, "the stream moves beside it");
    world.run_to_end();
    assert_eq!(world.finished, [2, 1]);
}

#[test]
fn a_run_that_need_not_be_whole_is_computed_in_bearable_steps() {
    let shape = Shape { cells: 4096, step_tokens_max: 512, ..SHAPE };
    let bearable = PREFILL_TOKENS_FIRST as usize;
    for (cut, most) in
        [(Cut::Nowhere, 400), (Cut::BetweenSteps, bearable), (Cut::Anywhere, bearable)]
    {
        let mut world = World::new(shape);
        world.submit(1, prompt(1, 4), 1000).unwrap();
        world.turn();
        world.submit_seen(2, seen(2, 500, &[(50, 400, cut)]), 1).unwrap();
        let mut longest = 0;
        while world.expected.contains_key(&2) {
            let step = world.turn();
            longest = longest.max(step.rows.iter().filter(|row| is_media(row.token)).count());
        }
        assert!(longest <= most && longest + 1 >= most, "{longest}");
    }
}

#[test]
fn the_same_picture_is_found_and_another_one_is_not() {
    for (cut, again) in [(Cut::Nowhere, 50), (Cut::BetweenSteps, 50), (Cut::Anywhere, 40)] {
        let mut world = World::new(SHAPE);
        let (tokens, runs) = seen(1, 100, &[(50, 30, cut)]);
        world.submit_seen(1, (tokens.clone(), runs.clone()), 1).unwrap();
        world.run_to_end();
        assert_eq!(world.decoded, 100);
        world.submit_seen(2, (tokens.clone(), runs.clone()), 1).unwrap();
        world.run_to_end();
        assert_eq!(world.decoded, 101, "all but its last token");
        let mut other = tokens;
        // It is another picture from its eleventh row on.
        other[60..80].iter_mut().for_each(|token| *token += 1_000_000);
        world.submit_seen(3, (other, runs), 1).unwrap();
        world.run_to_end();
        assert_eq!(world.decoded, 101 + again, "{cut:?}");
    }
}

#[test]
fn what_lies_outside_comes_back_up_to_a_run_that_is_not_whole() {
    for (cut, restored) in [(Cut::Nowhere, 20), (Cut::BetweenSteps, 20), (Cut::Anywhere, 40)] {
        let mut world = World::new(SHAPE);
        let (tokens, runs) = seen(1, 80, &[(20, 30, cut)]);
        world.stored.push(tokens[..40].to_vec());
        world.submit_seen(1, (tokens, runs), 1).unwrap();
        world.run_to_end();
        assert_eq!((world.restored, world.decoded), (restored, 80 - restored));
    }
}

#[test]
fn what_cannot_be_computed_is_refused() {
    let mut batch = Batch::new(SHAPE);
    let mut submit = |key, (tokens, runs)| batch.submit_as(key, tokens, runs, Scales::default());
    assert_eq!(submit(1, seen(1, 40, &[(20, 20, Cut::Anywhere)])), Err(Refusal::EndsInRun));
    assert_eq!(
        submit(2, seen(1, 140, &[(20, 65, Cut::Nowhere)])),
        Err(Refusal::LongRun { rows: 65, step_tokens_max: 64 })
    );
    assert_eq!(submit(3, seen(1, 140, &[(20, 65, Cut::BetweenSteps)])), Ok(()));
    assert!(matches!(
        submit(4, seen(1, 300, &[(20, 270, Cut::Anywhere)])),
        Err(Refusal::TooLong { prompt_tokens: 300, .. })
    ));
}

#[test]
fn a_run_gets_its_cells_from_kept_prefixes_and_younger_requests() {
    let mut world = World::new(SHAPE);
    world.submit(1, prompt(1, 150), 1).unwrap();
    world.run_to_end();
    world.submit_seen(2, seen(2, 80, &[(5, 60, Cut::Nowhere)]), 30).unwrap();
    world.submit(3, prompt(3, 60), 60).unwrap();
    world.run_to_end();
    assert_eq!(world.finished, [1, 2, 3]);
}

#[test]
fn requests_with_other_scales_share_neither_steps_nor_prefixes() {
    let mut world = World::new(Shape { cells: 4096, ..SHAPE });
    for (key, set) in [(1, 0), (2, 1), (3, 0), (4, 1)] {
        world.submit_as(key, (prompt(1, 60), Vec::new()), &scales_of(set), 8).unwrap();
    }
    world.run_to_end();
    assert_eq!(world.finished.len(), 4);
    assert_eq!(world.decoded, 2 * (60 + 1) + 4 * 7, "a prompt is computed once for each set");
}

#[test]
fn streams_of_two_sets_take_turns_of_some_steps_and_a_prompt_ends_a_turn() {
    let mut world = World::new(Shape { cells: 4096, step_tokens_max: 512, ..SHAPE });
    for set in 0..2 {
        let seen = (prompt(set + 1, 4), Vec::new());
        world.submit_as(set.into(), seen, &scales_of(set), 1000).unwrap();
    }
    let sets = |world: &mut World, steps: usize| {
        (0..steps).map(|_| u32::from(world.turn().scales != scales_of(0))).collect::<Vec<u32>>()
    };
    assert_eq!(sets(&mut world, 2), [0, 1], "each computes its prompt");
    assert_eq!(sets(&mut world, 12), [0, 0, 0, 0, 1, 1, 1, 1, 0, 0, 0, 0]);
    world.submit_as(7, (prompt(7, 500), Vec::new()), &scales_of(1), 1).unwrap();
    assert_eq!(sets(&mut world, 10), [1, 0, 0, 0, 0, 1, 0, 0, 0, 0]);
    let rows = world.turn().rows;
    assert!(rows.len() <= PREFILL_TOKENS_FIRST as usize, "streams of others wait for it too");
}

/// Requests of one set that come and end all the time keep nobody of another set waiting; `turn` sees to it.
#[test]
fn those_who_come_all_the_time_starve_nobody() {
    let mut world = World::new(SHAPE);
    world.submit_as(1, (prompt(1, 20), Vec::new()), &scales_of(1), 60).unwrap();
    let mut key = 10;
    while world.expected.contains_key(&1) {
        let seen = (prompt(key as u32, 3), Vec::new());
        world.submit_as(key, seen, &scales_of(2), 2).unwrap();
        world.turn();
        key += 1;
        assert!(key < 1000, "it does not get on");
    }
}

#[derive(Debug, Clone)]
enum Act {
    Submit {
        set: u32,
        seed: u32,
        length: u32,
        tokens_max: usize,
    },
    /// With two runs, if they fit.
    SubmitSeen {
        seed: u32,
        length: u32,
        rows: u32,
        cut: Cut,
    },
    Vectors(bool),
    Pause {
        key: Key,
        paused: bool,
    },
    Release {
        key: Key,
    },
    Forget {
        sequence: u32,
    },
    Store {
        seed: u32,
        length: u32,
    },
    Arrive {
        is_whole: bool,
    },
    Turns(u8),
}

const CUTS: [Cut; 3] = [Cut::Anywhere, Cut::BetweenSteps, Cut::Nowhere];

fn act() -> impl Strategy<Value = Act> {
    let length = prop_oneof![4 => 1..60u32, 1 => 60..300u32];
    prop_oneof![
        4 => (0..SETS, 0..3u32, length, 1..80usize)
            .prop_map(|(set, seed, length, tokens_max)| Act::Submit { set, seed, length, tokens_max }),
        2 => (0..30u64, any::<bool>()).prop_map(|(key, paused)| Act::Pause { key, paused }),
        1 => (0..30u64).prop_map(|key| Act::Release { key }),
        1 => (0..4u32).prop_map(|sequence| Act::Forget { sequence }),
        1 => (0..3u32, 1..200u32).prop_map(|(seed, length)| Act::Store { seed, length }),
        2 => any::<bool>().prop_map(|is_whole| Act::Arrive { is_whole }),
        4 => (1..20u8).prop_map(Act::Turns),
        3 => (0..3u32, 1..200u32, 1..60u32, any::<u8>())
            .prop_map(|(seed, length, rows, cut)| {
                let cut = CUTS[usize::from(cut) % CUTS.len()];
                Act::SubmitSeen { seed, length, rows, cut }
            }),
        1 => any::<bool>().prop_map(Act::Vectors),
    ]
}

proptest! {
    /// Random histories: the cache always holds what the rows assume, cells are never exceeded,
    /// paused requests never run, and once everyone reads again every request ends.
    #[test]
    fn every_history_ends_well(
        trims: bool,
        is_guessed: bool,
        is_adapted: bool,
        acts in prop::collection::vec(act(), 1..60),
    ) {
        let takes_back_max = if trims { 16 } else { 3 };
        let mut world = World::new(Shape { trims, keeps_states: !trims, takes_back_max, ..SHAPE });
        if is_guessed {
            world.guesses = some_guesses;
        }
        let mut keys = 0;
        for act in acts {
            match act {
                Act::Submit { set, seed, length, tokens_max } => {
                    let set = if is_adapted { set } else { 0 };
                    let seen = (prompt(seed, length), Vec::new());
                    let _ = world.submit_as(keys, seen, &scales_of(set), tokens_max);
                    keys += 1;
                }
                Act::SubmitSeen { seed, length, rows, cut } => {
                    let runs = [(5, rows, cut), (rows + 8, rows, CUTS[rows as usize % 3])];
                    let length = length.max(2 * rows + 9);
                    let scales = scales_of(if is_adapted { seed % SETS } else { 0 });
                    let _ = world.submit_as(keys, seen(seed, length, &runs), &scales, 10);
                    keys += 1;
                }
                Act::Vectors(has_vectors) => world.has_vectors = has_vectors,
                Act::Pause { key, paused } => world.pause(key, paused),
                Act::Release { key } => world.release(key),
                Act::Store { seed, length } => world.stored.push(prompt(seed, length)),
                Act::Arrive { is_whole } => world.arrive(is_whole),
                Act::Forget { sequence }
                    if world.restoring.values().any(|(other, _)| *other == sequence) => {}
                Act::Forget { sequence } => {
                    world.batch.forget(sequence);
                    world.cache.insert(sequence, Vec::new());
                }
                Act::Turns(turns) => (0..turns).for_each(|_| { world.turn(); }),
            }
        }
        world.has_vectors = true;
        for key in 0..keys {
            world.pause(key, false);
        }
        world.run_to_end();
        prop_assert_eq!(world.batch.counts().running + world.batch.counts().waiting, 0);
    }
}
