//! A model whose text can be predicted: the next token is a hash of everything its sequence holds,
//! so one wrong token in the cache changes every later one.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use std::sync::mpsc::Receiver;

use planner::batch::{Cut, Scales, is_media};
use worker_protocol::{Adapter, Loaded, Sampling, Scale};

use crate::model::{
    DecodeError, Guessing, InfillMarks, Keeps, MediaFile, MediaPart, Model, RankForm, Row,
    RunVectors, Sampler, Wanted,
};

/// Token ids 0..256 are bytes; this one ends the text.
pub(crate) const END: u32 = 256;
const VOCABULARY: u32 = 257;
/// What stands around a text where the model wants that.
const AROUND: [u32; 2] = [1, END];
/// A token of the prompt that makes the step fail.
pub(crate) const POISON: u32 = 0;

pub(crate) struct Fake {
    facts: Loaded,
    cache: BTreeMap<u32, Vec<u32>>,
    outputs: Vec<Vec<f32>>,
    trims: bool,
    pub(crate) step_tokens: u32,
    /// Tokens that a sequence can be cut back by where it cannot be trimmed.
    pub(crate) takes_back_max: u32,
    /// Tokens that the last step added to each sequence.
    added: BTreeMap<u32, usize>,
    /// What it guesses itself.
    pub(crate) guessing: Guessing,
    pub(crate) speech: Speech,
    /// Whether it wants tokens of its own around a text.
    pub(crate) frames: bool,
    pub(crate) infill_marks: Option<InfillMarks>,
    /// How it is asked to rank; with it, it does nothing else.
    pub(crate) rank_form: Option<RankForm>,
    /// All texts that it was given to rank.
    pub(crate) ranked: Arc<Mutex<Vec<Vec<u32>>>>,
    /// Its chat template.
    pub(crate) template: &'static str,
    /// Tokens of several letters, behind the one that ends the text, and whether they are control tokens.
    words: Vec<(&'static str, bool)>,
    /// What it has read of each sequence for guessing.
    read: BTreeMap<u32, usize>,
    /// How often it was asked to give memory back.
    pub(crate) given_back: Arc<AtomicUsize>,
    /// How often cells or a state were copied out.
    pub(crate) saved: Arc<AtomicUsize>,
    /// How often vectors of a file were computed.
    pub(crate) encoded: Arc<AtomicUsize>,
    /// Computing vectors waits for this.
    pub(crate) gate: Option<Receiver<()>>,
    /// What can change what it computes.
    pub(crate) adapters: Vec<Adapter>,
    /// With which scales it computes now.
    scales: Scales,
}

/// What a file that the fake sees does, by its second byte. Its first one says how many rows it has, and
/// the others what is in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Look {
    /// A run that can be divided.
    Plain,
    /// A run whose rows look at each other.
    Whole,
    /// A run that steps may divide, and prefixes may not.
    Steps,
    /// Two runs one behind the other.
    Parts,
    /// It cannot be read.
    NoHead,
    /// Its head can be read, and the rest cannot.
    NoBody,
}

/// A file that the fake sees.
pub(crate) fn picture(rows: u8, look: Look, content: &str) -> Vec<u8> {
    let mut bytes = vec![rows, look as u8];
    bytes.extend(content.as_bytes());
    bytes
}

/// What the fake's cache holds of a file, with what stands around its rows.
pub(crate) fn seen_tokens(file: &[u8]) -> Vec<u32> {
    let parts = if file[1] == Look::Parts as u8 { 2 } else { 1 };
    let mut tokens = vec![u32::from(b'<')];
    for part in 0..parts {
        tokens.extend((0..file[0]).map(|row| 1000 + vector(file, part * 2 + 1, row) as u32));
        tokens.push(u32::from(if part + 1 == parts { b'>' } else { b'|' }));
    }
    tokens
}

/// The vector of a row, which has one number.
fn vector(file: &[u8], part: usize, row: u8) -> f32 {
    let content: Vec<u32> = file.iter().map(|byte| u32::from(*byte)).collect();
    (hash(&[content, vec![part as u32, u32::from(row)]].concat()) % 65_536) as f32
}

impl Fake {
    /// One that ranks and does nothing else.
    pub(crate) fn ranking(cells: u32, sequences: u32, form: RankForm) -> Self {
        let mut fake = Self::new(cells, sequences, true);
        (fake.facts.generates, fake.facts.ranks) = (false, true);
        Self { rank_form: Some(form), ..fake }
    }

    pub(crate) fn new(cells: u32, sequences: u32, trims: bool) -> Self {
        let facts = Loaded {
            architecture: "fake".to_owned(),
            parameters: 0,
            vocabulary: VOCABULARY,
            embedding_width: 4,
            context_tokens: cells,
            context_tokens_trained: cells,
            sequences_max: sequences,
            generates: true,
            ranks: false,
            chat_template: true,
            sees: false,
            hears: false,
            buffers: Vec::new(),
            load_ms: 0,
        };
        let (given_back, saved) = (Arc::default(), Arc::default());
        Self {
            facts,
            cache: BTreeMap::new(),
            outputs: Vec::new(),
            trims,
            step_tokens: 32,
            takes_back_max: if trims { u32::MAX } else { 0 },
            added: BTreeMap::new(),
            guessing: Guessing::Nothing,
            speech: Speech::Hash,
            frames: false,
            infill_marks: None,
            rank_form: None,
            ranked: Arc::default(),
            template: "{% for m in messages %}[{{ m.role }}]{{ m.content }}{% endfor %}",
            words: Vec::new(),
            read: BTreeMap::new(),
            given_back,
            saved,
            encoded: Arc::default(),
            gate: None,
            adapters: Vec::new(),
            scales: Scales::default(),
        }
    }

    /// One with so many adapters, which act with these scales where nobody says otherwise.
    pub(crate) fn adapted(cells: u32, sequences: u32, trims: bool, scales: &[f32]) -> Self {
        let adapter = |(place, scale): (usize, &f32)| Adapter {
            name: format!("adapter-{place}"),
            path: format!("{place}.gguf").into(),
            scale: Scale(*scale),
        };
        let adapters = scales.iter().enumerate().map(adapter).collect();
        Self { adapters, ..Self::new(cells, sequences, trims) }
    }

    /// One that takes pictures.
    pub(crate) fn seeing(cells: u32, sequences: u32, trims: bool) -> Self {
        let mut fake = Self::new(cells, sequences, trims);
        fake.facts.sees = true;
        fake
    }

    /// The same model with control tokens.
    pub(crate) fn with_marks(self, marks: &[&'static str]) -> Self {
        self.with(marks, true)
    }

    /// The same model with tokens of several letters, in which it writes its script.
    pub(crate) fn with_words(self, words: &[&'static str]) -> Self {
        self.with(words, false)
    }

    fn with(mut self, words: &[&'static str], is_control: bool) -> Self {
        self.words.extend(words.iter().map(|word| (*word, is_control)));
        self.facts.vocabulary = VOCABULARY + self.words.len() as u32;
        self
    }

    /// What it thinks of each token as the next.
    fn thinks(&self, tokens: &[u32]) -> Vec<f32> {
        let Speech::Script(script) = self.speech else {
            return self.speech.logits(tokens, self.facts.vocabulary);
        };
        let said = said(tokens);
        let mut script = script.split(APART).flat_map(|part| self.tokenize(part, false, true));
        let next = script.nth(said).unwrap_or(END);
        let mut logits = noise(tokens, self.facts.vocabulary);
        logits[next as usize] = 10.0;
        logits
    }
}

/// How many tokens stand behind the beginning of the script.
fn said(tokens: &[u32]) -> usize {
    let begin = tokens.iter().rposition(|token| *token == u32::from(SCRIPT));
    tokens.len() - begin.map_or(0, |begin| begin + 1)
}

/// How the next token follows from those before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Speech {
    /// A hash of all of them.
    Hash,
    /// For the most part the token that stood so many places before, so that the text goes round.
    Round(usize),
    /// Anything at all, from noise. It ends now and then.
    Noise,
    /// This text behind the last [`SCRIPT`] of the prompt, whatever was said instead, then its end; and
    /// noise for second best.
    Script(&'static str),
}

/// Keeps apart in a script what would be one token.
const APART: char = '\u{3}';

/// The byte behind which a script begins.
pub(crate) const SCRIPT: char = '\u{2}';

impl Speech {
    /// What the model says after these tokens, until it ends or `tokens_max` is reached.
    pub(crate) fn expected_tokens(self, prompt: &[u32], tokens_max: usize) -> Vec<u32> {
        let mut tokens = prompt.to_vec();
        let mut answer = Vec::new();
        while answer.len() < tokens_max {
            let token = self.next_token(&tokens);
            if token == END {
                break;
            }
            tokens.push(token);
            answer.push(token);
        }
        answer
    }

    fn next_token(self, tokens: &[u32]) -> u32 {
        let hash = hash(tokens);
        match self {
            Self::Noise | Self::Script(_) => {
                let logits = self.logits(tokens, VOCABULARY);
                let best = (0..VOCABULARY)
                    .max_by(|a, b| logits[*a as usize].total_cmp(&logits[*b as usize]));
                best.unwrap()
            }
            // Letters, so that texts are easy to compare, and an end now and then.
            Self::Hash | Self::Round(_) if hash.is_multiple_of(97) => END,
            Self::Round(places) if tokens.len() >= places && !hash.is_multiple_of(19) => {
                tokens[tokens.len() - places]
            }
            Self::Hash | Self::Round(_) => u32::from(b'a') + (hash % 26) as u32,
        }
    }

    /// What it thinks of each of so many tokens as the next.
    fn logits(self, tokens: &[u32], count: u32) -> Vec<f32> {
        match self {
            Self::Hash | Self::Round(_) => {
                let mut logits = vec![0.0; count as usize];
                logits[self.next_token(tokens) as usize] = 10.0;
                logits
            }
            Self::Noise => noise(tokens, count),
            Self::Script(script) => {
                let mut logits = noise(tokens, count);
                let next = script.as_bytes().get(said(tokens)).map_or(END, |byte| u32::from(*byte));
                logits[next as usize] = 10.0;
                logits
            }
        }
    }
}

/// What a token is in the cache when it was computed with these scales.
fn adapted(token: u32, scales: &Scales) -> u32 {
    let bits: Vec<u32> = scales.iter().map(f32::to_bits).collect();
    let mark = if bits.iter().all(|bits| *bits == 0) { 0 } else { hash(&bits) as u32 };
    token ^ ((mark & 0xFFFF) << 12)
}

/// What the model says by default with these scales.
pub(crate) fn expected_adapted(prompt: &[u32], scales: &[f32], tokens_max: usize) -> Vec<u32> {
    let scales = Scales::new(scales.iter().copied());
    let mut held: Vec<u32> = prompt.iter().map(|token| adapted(*token, &scales)).collect();
    let mut answer = Vec::new();
    while answer.len() < tokens_max {
        let token = Speech::Hash.next_token(&held);
        if token == END {
            break;
        }
        held.push(adapted(token, &scales));
        answer.push(token);
    }
    answer
}

/// What the model says by default.
pub(crate) fn expected_tokens(prompt: &[u32], tokens_max: usize) -> Vec<u32> {
    Speech::Hash.expected_tokens(prompt, tokens_max)
}

/// A logit below 1 for each token, another after each text.
fn noise(tokens: &[u32], count: u32) -> Vec<f32> {
    let mut state = hash(tokens) | 1;
    let mut next = || {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1_u64 << 24) as f32
    };
    // Where white space may come, it is most of what may come.
    let is_blank = |token| u8::try_from(token).is_ok_and(|byte| byte.is_ascii_whitespace());
    let mut logits: Vec<f32> =
        (0..count).map(|token| next() - if is_blank(token) { 0.6 } else { 0.0 }).collect();
    logits[POISON as usize] = -1.0;
    logits
}

fn hash(tokens: &[u32]) -> u64 {
    let mut hasher = DefaultHasher::new();
    tokens.hash(&mut hasher);
    hasher.finish()
}

impl Model for Fake {
    type Sampler = Greedy;

    fn facts(&self) -> &Loaded {
        &self.facts
    }

    fn step_tokens_max(&self) -> u32 {
        self.step_tokens
    }

    fn outputs_max(&self) -> u32 {
        self.facts.sequences_max + 16
    }

    fn trims(&self) -> bool {
        self.trims
    }

    fn takes_back_max(&self) -> u32 {
        self.takes_back_max
    }

    fn chat_template(&self) -> Option<&str> {
        Some(self.template)
    }

    fn boundary_texts(&self) -> (String, String) {
        (String::new(), String::new())
    }

    /// A byte is a token, but for the words that the model knows.
    fn tokenize(&self, text: &str, specials: bool, parse: bool) -> Vec<u32> {
        let words = (VOCABULARY..).zip(&self.words).filter(|_| parse);
        let first =
            words.filter_map(|(token, (word, _))| Some((text.find(word)?, token, word.len())));
        if let Some((at, token, bytes)) = first.min() {
            let mut tokens = self.tokenize(&text[..at], specials, false);
            tokens.push(token);
            tokens.extend(self.tokenize(&text[at + bytes..], false, true));
            return tokens;
        }
        // Where special tokens are read, the text of [`END`] is that.
        let parts = if parse { text.split("<|end|>").collect() } else { vec![text] };
        let tokens = |part: &str| part.bytes().map(u32::from).collect::<Vec<_>>();
        let bytes = parts.into_iter().map(tokens).collect::<Vec<_>>().join(&END).into_iter();
        if !(specials && self.frames) {
            return bytes.collect();
        }
        let [begin, end] = AROUND;
        std::iter::once(begin).chain(bytes).chain([end]).collect()
    }

    fn token_bytes(&self, token: u32, special: bool) -> Vec<u8> {
        match u8::try_from(token) {
            Ok(byte) => vec![byte],
            Err(_) if token == END && special => b"<|end|>".to_vec(),
            Err(_) if token == END => Vec::new(),
            Err(_) => match self.words[(token - VOCABULARY) as usize] {
                (_, true) if !special => Vec::new(),
                (word, _) => word.into(),
            },
        }
    }

    fn infill_marks(&self) -> Option<InfillMarks> {
        self.infill_marks
    }

    fn ends(&self, token: u32) -> bool {
        token == END
    }

    fn sampler(&self, sampling: &Sampling) -> Result<Greedy, String> {
        if sampling.top_p < 0.0 { Err("top_p is negative".to_owned()) } else { Ok(Greedy) }
    }

    fn adapters(&self) -> &[Adapter] {
        &self.adapters
    }

    fn adapt(&mut self, scales: &Scales) -> Result<(), DecodeError> {
        assert_eq!(scales.iter().len(), self.adapters.len(), "a scale for each adapter");
        self.scales = scales.clone();
        Ok(())
    }

    fn projector_digest(&self) -> [u8; 32] {
        [7; 32]
    }

    fn lay_out(&mut self, file: &MediaFile) -> Result<Vec<MediaPart>, String> {
        let mark = |byte: u8| MediaPart::Tokens(vec![u32::from(byte)]);
        let rows = u32::from(file.bytes()[0]);
        let is = |look: Look| file.bytes()[1] == look as u8;
        if is(Look::NoHead) {
            return Err("it has no head".to_owned());
        }
        let cut = match () {
            () if is(Look::Whole) => Cut::Nowhere,
            () if is(Look::Steps) => Cut::BetweenSteps,
            () => Cut::Anywhere,
        };
        let run = MediaPart::Rows { rows, cut };
        Ok(if is(Look::Parts) {
            vec![mark(b'<'), run.clone(), mark(b'|'), run, mark(b'>')]
        } else {
            vec![mark(b'<'), run, mark(b'>')]
        })
    }

    fn encode(&mut self, file: &MediaFile, part: usize) -> Result<Vec<f32>, String> {
        if let Some(gate) = &self.gate {
            // Whoever has the other end may be gone, and then nobody waits.
            gate.recv().ok();
        }
        self.encoded.fetch_add(1, Ordering::Relaxed);
        if file.bytes()[1] == Look::NoBody as u8 {
            return Err("it ends in its middle".to_owned());
        }
        Ok((0..file.bytes()[0]).map(|row| vector(file.bytes(), part, row)).collect())
    }

    /// The cache holds what the vectors say, and not what the rows are called.
    fn decode_run(&mut self, rows: &[Row], run: &RunVectors<'_>) -> Result<(), DecodeError> {
        assert!(rows.len() <= self.step_tokens_max() as usize);
        assert!(!run.is_whole || rows.len() == run.rows as usize, "a run is divided");
        self.outputs.clear();
        let vectors = run.of(rows.len()).expect("a run has as many vectors as rows");
        for (row, vector) in rows.iter().zip(vectors) {
            assert!(is_media(row.token) && !row.output);
            let held = self.cache.entry(row.sequence).or_default();
            assert_eq!(held.len(), row.position as usize, "a hole in the cache");
            held.push(adapted(1000 + *vector as u32, &self.scales));
        }
        Ok(())
    }

    fn decode(&mut self, rows: &[Row]) -> Result<(), DecodeError> {
        assert!(rows.len() <= self.step_tokens_max() as usize);
        assert!(rows.iter().all(|row| !is_media(row.token)), "a picture is no token");
        self.outputs.clear();
        self.added.clear();
        for row in rows {
            *self.added.entry(row.sequence).or_default() += 1;
            if row.token == POISON {
                return Err(DecodeError("poisoned".to_owned()));
            }
            let held = self.cache.entry(row.sequence).or_default();
            assert_eq!(held.len(), row.position as usize, "a hole in the cache");
            held.push(adapted(row.token, &self.scales));
            let held = held.clone();
            let nothing = vec![0.0; self.facts.vocabulary as usize];
            self.outputs.push(if row.output { self.thinks(&held) } else { nothing });
        }
        let used: usize = self.cache.values().map(Vec::len).sum();
        assert!(used <= self.facts.context_tokens as usize, "{used} cells used");
        Ok(())
    }

    fn logits(&self, row: usize) -> &[f32] {
        &self.outputs[row]
    }

    fn trim(&mut self, sequence: u32, tokens: u32) -> bool {
        let held = self.cache.entry(sequence).or_default();
        let back = held.len().checked_sub(tokens as usize);
        let added = self.added.get(&sequence).copied().unwrap_or(0);
        let takes_back = added.min(self.takes_back_max as usize);
        let kept = self.trims || back.is_some_and(|back| back <= takes_back);
        if back != Some(0) {
            // It is taken back once, and not again before the next step.
            self.added.remove(&sequence);
        }
        held.truncate(if kept { tokens as usize } else { 0 });
        kept
    }

    fn copy(&mut self, from: u32, to: u32, tokens: u32) -> bool {
        let prefix = self.cache[&from][..tokens as usize].to_vec();
        self.cache.insert(to, prefix);
        true
    }

    fn clear(&mut self, sequence: u32) {
        self.cache.remove(&sequence);
    }

    fn keeps(&self) -> Keeps {
        if self.trims { Keeps::Cells } else { Keeps::CellsAndState }
    }

    fn save_cells(&mut self, sequence: u32, tokens: Range<u32>, to: &mut Vec<u8>) -> bool {
        self.saved.fetch_add(1, Ordering::Relaxed);
        let held = self.cache.get(&sequence);
        let held = held.and_then(|held| held.get(tokens.start as usize..tokens.end as usize));
        to.extend(held.into_iter().flatten().flat_map(|token| token.to_le_bytes()));
        held.is_some()
    }

    fn load_cells(
        &mut self,
        sequence: u32,
        saved: Range<u32>,
        wanted: Range<u32>,
        cells: &[u8],
    ) -> bool {
        let (cells, rest) = cells.as_chunks::<4>();
        let held = self.cache.entry(sequence).or_default();
        assert_eq!(held.len(), wanted.start as usize, "a hole in the cache");
        assert!(saved.start <= wanted.start && wanted.end <= saved.end, "{wanted:?} of {saved:?}");
        let is_whole = rest.is_empty() && cells.len() == saved.len();
        if is_whole {
            let part = (wanted.start - saved.start) as usize..(wanted.end - saved.start) as usize;
            held.extend(cells[part].iter().map(|cell| u32::from_le_bytes(*cell)));
        }
        is_whole
    }

    /// A hash of what the sequence holds, so that a state of another text is told.
    fn save_state(&mut self, sequence: u32) -> Option<Vec<u8>> {
        self.saved.fetch_add(1, Ordering::Relaxed);
        let held = self.cache.get(&sequence)?;
        Some(hash(held).to_le_bytes().to_vec())
    }

    fn load_state(&mut self, sequence: u32, tokens: u32, state: &[u8]) -> bool {
        let held = self.cache.entry(sequence).or_default();
        let is_its = held.len() == tokens as usize && *state == hash(held).to_le_bytes();
        if !is_its {
            held.clear();
        }
        is_its
    }

    fn guesses(&self) -> Guessing {
        self.guessing
    }

    fn has_read(&self, stream: &Wanted<'_>) -> bool {
        self.read.get(&stream.sequence).is_some_and(|read| read + 5 >= stream.tokens.len())
    }

    fn read(&mut self, streams: &[Wanted<'_>]) {
        for stream in streams {
            let read = self.read.entry(stream.sequence).or_default();
            *read = (*read + 20).min(stream.tokens.len());
        }
    }

    /// What it will say, with a wrong token now and then.
    fn guess(&mut self, wanted: &[Wanted<'_>]) -> Vec<Vec<u32>> {
        let guess = |wanted: &Wanted<'_>| {
            let mut tokens = wanted.tokens.to_vec();
            for _ in 0..wanted.count {
                let is_wrong = hash(&tokens).is_multiple_of(5);
                let token =
                    if is_wrong { u32::from(b'!') } else { self.speech.next_token(&tokens) };
                tokens.push(token);
            }
            tokens.split_off(wanted.tokens.len())
        };
        wanted.iter().map(guess).collect()
    }

    fn give_back(&mut self) {
        self.given_back.fetch_add(1, Ordering::Relaxed);
    }

    fn embed_tokens_max(&self) -> u32 {
        self.facts.context_tokens
    }

    fn embed(&mut self, texts: &[&[u32]]) -> Result<Vec<Vec<f32>>, DecodeError> {
        let used: usize = self.cache.values().map(Vec::len).sum();
        let needed: usize = texts.iter().map(|text| text.len()).sum();
        assert!(used + needed <= self.facts.context_tokens as usize, "no free cells");
        let last = |text: &[u32]| text.last().map_or(0.0, |token| *token as f32);
        Ok(texts.iter().map(|text| vec![3.0, text.len() as f32, last(text), 4.0]).collect())
    }

    fn rank_form(&self) -> Option<RankForm> {
        self.rank_form.clone()
    }

    /// How many tokens a text has.
    fn rank(&mut self, texts: &[&[u32]]) -> Result<Vec<f32>, DecodeError> {
        let needed: usize = texts.iter().map(|text| text.len()).sum();
        assert!(needed <= self.step_tokens as usize || texts.len() == 1, "too much for a step");
        let mut ranked = self.ranked.lock().unwrap();
        ranked.extend(texts.iter().map(|text| text.to_vec()));
        Ok(texts.iter().map(|text| text.len() as f32).collect())
    }

    fn adapt_threads(&mut self) -> u32 {
        1
    }
}

#[derive(Debug)]
pub(crate) struct Greedy;

impl Sampler for Greedy {
    fn sample(&mut self, logits: &[f32]) -> u32 {
        let tokens = 0..logits.len();
        tokens.max_by(|a, b| logits[*a].total_cmp(&logits[*b])).unwrap() as u32
    }

    fn accept(&mut self, token: u32) {
        assert!(!is_media(token), "penalties look at a picture");
    }
}
