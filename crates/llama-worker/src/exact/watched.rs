//! A model that does what llama.cpp does, in short steps, and lets a lineage know.

use std::cell::RefCell;
use std::ops::Range;
use std::rc::Rc;

use engine::limits::SPEED_TOKENS_MIN;
use engine::{
    DecodeError, Guessing, InfillMarks, Keeps, MediaFile, MediaPart, Model, RankForm, Row,
    RunVectors, Wanted,
};
use planner::batch::Scales;
use worker_protocol::{Adapter, Loaded, Sampling};

use super::lineage::Lineage;
use crate::model::LlamaModel;
use crate::sampler::Sampler;

/// Tokens of a step. The engine measures the speed of longer ones, and with that decides how long they
/// are and what is worth having back: a clock would decide what is tested.
const STEP_TOKENS: u32 = SPEED_TOKENS_MIN - 1;

pub(super) struct Watched {
    pub(super) model: LlamaModel,
    pub(super) lineage: Rc<RefCell<Lineage>>,
    /// The rows of the last step.
    rows: Vec<Row>,
}

impl Watched {
    pub(super) fn new(model: LlamaModel, lineage: Rc<RefCell<Lineage>>) -> Self {
        Self { model, lineage, rows: Vec::new() }
    }
}

impl Model for Watched {
    type Sampler = Sampler;

    fn facts(&self) -> &Loaded {
        self.model.facts()
    }

    fn step_tokens_max(&self) -> u32 {
        STEP_TOKENS
    }

    fn outputs_max(&self) -> u32 {
        self.model.outputs_max()
    }

    fn trims(&self) -> bool {
        self.model.trims()
    }

    fn takes_back_max(&self) -> u32 {
        self.model.takes_back_max()
    }

    fn chat_template(&self) -> Option<&str> {
        self.model.chat_template()
    }

    fn boundary_texts(&self) -> (String, String) {
        self.model.boundary_texts()
    }

    fn tokenize(&self, text: &str, specials: bool, parse: bool) -> Vec<u32> {
        self.model.tokenize(text, specials, parse)
    }

    fn token_bytes(&self, token: u32, special: bool) -> Vec<u8> {
        self.model.token_bytes(token, special)
    }

    fn infill_marks(&self) -> Option<InfillMarks> {
        self.model.infill_marks()
    }

    fn ends(&self, token: u32) -> bool {
        self.model.ends(token)
    }

    fn sampler(&self, sampling: &Sampling) -> Result<Sampler, String> {
        self.model.sampler(sampling)
    }

    fn adapters(&self) -> &[Adapter] {
        self.model.adapters()
    }

    fn adapt(&mut self, scales: &Scales) -> Result<(), DecodeError> {
        self.model.adapt(scales)
    }

    fn projector_digest(&self) -> [u8; 32] {
        self.model.projector_digest()
    }

    fn lay_out(&mut self, file: &MediaFile) -> Result<Vec<MediaPart>, String> {
        self.model.lay_out(file)
    }

    fn encode(&mut self, file: &MediaFile, part: usize) -> Result<Vec<f32>, String> {
        self.model.encode(file, part)
    }

    fn decode_run(&mut self, rows: &[Row], run: &RunVectors<'_>) -> Result<(), DecodeError> {
        self.model.decode_run(rows, run)
    }

    fn decode(&mut self, rows: &[Row]) -> Result<(), DecodeError> {
        self.model.decode(rows)?;
        self.lineage.borrow_mut().decoded(rows);
        self.rows = rows.to_vec();
        Ok(())
    }

    fn logits(&self, row: usize) -> &[f32] {
        assert!(self.rows[row].output, "logits of a row that has none");
        let logits = self.model.logits(row);
        self.lineage.borrow_mut().gave(&self.rows[row], logits);
        logits
    }

    fn trim(&mut self, sequence: u32, tokens: u32) -> bool {
        let is_done = self.model.trim(sequence, tokens);
        self.lineage.borrow_mut().kept(sequence, if is_done { tokens as usize } else { 0 });
        is_done
    }

    fn copy(&mut self, from: u32, to: u32, tokens: u32) -> bool {
        let is_done = self.model.copy(from, to, tokens);
        self.lineage.borrow_mut().copied(from, to, if is_done { tokens as usize } else { 0 });
        is_done
    }

    fn clear(&mut self, sequence: u32) {
        self.model.clear(sequence);
        self.lineage.borrow_mut().cleared(sequence);
    }

    fn keeps(&self) -> Keeps {
        self.model.keeps()
    }

    fn save_cells(&mut self, sequence: u32, tokens: Range<u32>, to: &mut Vec<u8>) -> bool {
        let (end, before) = (tokens.end as usize, to.len());
        let is_saved = self.model.save_cells(sequence, tokens, to);
        if is_saved {
            // From a file they come back part by part, from memory together.
            for cells in [&to[before..], to] {
                self.lineage.borrow_mut().saved(sequence, end, cells);
            }
        }
        is_saved
    }

    fn load_cells(
        &mut self,
        sequence: u32,
        saved: Range<u32>,
        wanted: Range<u32>,
        cells: &[u8],
    ) -> bool {
        let places = |tokens: &Range<u32>| tokens.start as usize..tokens.end as usize;
        let (all, part) = (places(&saved), places(&wanted));
        let is_done = self.model.load_cells(sequence, saved, wanted, cells);
        assert!(is_done, "cells {part:?} of {all:?} were refused");
        self.lineage.borrow_mut().loaded_cells(sequence, all, part, cells);
        is_done
    }

    fn save_state(&mut self, sequence: u32) -> Option<Vec<u8>> {
        let state = self.model.save_state(sequence)?;
        let mut lineage = self.lineage.borrow_mut();
        let tokens = lineage.held_tokens(sequence);
        lineage.saved(sequence, tokens, &state);
        Some(state)
    }

    fn load_state(&mut self, sequence: u32, tokens: u32, state: &[u8]) -> bool {
        let is_done = self.model.load_state(sequence, tokens, state);
        assert!(is_done, "the state after {tokens} tokens was refused");
        self.lineage.borrow_mut().loaded_state(sequence, tokens as usize, state);
        is_done
    }

    fn guesses(&self) -> Guessing {
        self.model.guesses()
    }

    fn has_read(&self, stream: &Wanted<'_>) -> bool {
        self.model.has_read(stream)
    }

    fn read(&mut self, streams: &[Wanted<'_>]) {
        self.model.read(streams);
    }

    fn guess(&mut self, wanted: &[Wanted<'_>]) -> Vec<Vec<u32>> {
        self.model.guess(wanted)
    }

    fn give_back(&mut self) {
        self.model.give_back();
    }

    fn embed_tokens_max(&self) -> u32 {
        self.model.embed_tokens_max()
    }

    fn embed(&mut self, texts: &[&[u32]]) -> Result<Vec<Vec<f32>>, DecodeError> {
        self.model.embed(texts)
    }

    fn rank_form(&self) -> Option<RankForm> {
        self.model.rank_form()
    }

    fn rank(&mut self, texts: &[&[u32]]) -> Result<Vec<f32>, DecodeError> {
        self.model.rank(texts)
    }

    fn adapt_threads(&mut self) -> u32 {
        self.model.adapt_threads()
    }
}
