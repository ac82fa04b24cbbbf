//! The engine's `Model` on llama.cpp: a generator with a cache of sequences, or an encoder that
//! embeds whole texts.

use std::ops::Range;
use std::path::Path;
use std::rc::Rc;
use std::time::Instant;

use engine::{
    DecodeError, Guessing, InfillMarks, Keeps, MediaFile, MediaPart, Pooling, RankForm, Row,
    RunVectors, Wanted,
};
use llama_cpp_sys_2 as sys;
use planner::batch::Scales;
use planner::footprint::CacheType;
use planner::gguf;
use worker_protocol::limits::INTERNAL_SEQUENCES;
use worker_protocol::{
    Adapter, Load, LoadFailure, LoadFailureKind, Loaded, Sampling, SpeculationSource,
};

use crate::adapters::Adapters;
use crate::cpu::Spare;
use crate::draft::DraftModel;
use crate::guesser::Guesser;
use crate::head::Head;
use crate::header;
use crate::kept::Keeper;
use crate::llama::{BatchRow, CacheTypes, Context, ContextShape, RunRow, Threads, Weights};
use crate::log;
use crate::pages;
use crate::places::{self, Places};
use crate::projector::Projector;
use crate::rank;
use crate::sampler::Sampler;

/// Tokens of a step. llama.cpp's own default for a physical batch: longer ones gain nothing on any
/// machine we know, and compute buffers grow with it.
pub(crate) const STEP_TOKENS: u32 = 512;

/// Context when nobody says how much: enough for long conversations, and small enough that its
/// cache does not surprise a small machine.
const CONTEXT_TOKENS_DEFAULT: u32 = 8192;

/// Token vectors of a step that are pooled by us. Each reserves a row of logits in the compute
/// buffer, so a full step of them would cost hundreds of megabytes.
const VECTOR_ROWS: u32 = 64;

/// Texts that an encoder takes in one step.
const ENCODER_TEXTS: u32 = 64;

/// A loaded model.
pub(crate) struct LlamaModel {
    context: Context,
    facts: Loaded,
    kv_type: CacheType,
    template: Option<String>,
    step_tokens: u32,
    trims: bool,
    keeper: Keeper,
    pooling: Pooling,
    spare: Spare,
    guesser: Option<Guesser>,
    projector: Option<Projector>,
    places: Places,
    adapters: Adapters,
}

/// What decides, beside the weights and the engine, what cells hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CacheFacts {
    /// How keys and values are encoded.
    pub(crate) kv_type: CacheType,
    /// Whether attention is fused.
    pub(crate) flash_attention: bool,
    /// Whether positions are stretched for a long context.
    pub(crate) is_stretched: bool,
}

impl LlamaModel {
    /// Loads a model as the hub asks; `progress` hears the share that is loaded.
    pub(crate) fn load(load: &Load, progress: impl FnMut(f32)) -> Result<Self, LoadFailure> {
        let begun = Instant::now();
        let path = &load.path;
        std::fs::File::open(path).map_err(|error| LoadFailure {
            kind: LoadFailureKind::Unreadable,
            message: format!("cannot open {}: {error}", path.display()),
        })?;
        let spare = Spare::watch(load.threads);
        let has_head = load.speculation.source == SpeculationSource::Head;
        let weights = Weights::load(path, has_head, progress).map(Rc::new);
        let weights = weights
            .ok_or_else(|| unusable(path, "llama.cpp cannot load it; the worker's log says why"))?;
        if !weights.is_decoder_only() && !is_encoder(&weights) {
            return Err(unusable(path, "encoder-decoder models are not supported"));
        }
        if weights.ranks() && !has_rank_head(path) {
            let why = "it says that it ranks, and has no head for that (cls.weight or \
                       cls.output.weight); another file of the model may have it";
            return Err(unusable(path, why));
        }
        let kv_type = kv_type(load).map_err(|why| unusable(path, &why))?;
        let projector = projector(&weights, load, &spare)?;
        let adapters = Adapters::load(load, &weights)?;
        let mut model = if is_encoder(&weights) {
            Self::encoder(weights, load, spare)
        } else {
            Self::generator(weights, load, kv_type, spare)
        }
        .ok_or_else(|| LoadFailure {
            kind: LoadFailureKind::OutOfMemory,
            message: format!(
                "no memory for the context of {}; a smaller --context needs less",
                path.display()
            ),
        })?;
        model.adapters = adapters;
        model.act_as_loaded().map_err(|why| unusable(path, &why.to_string()))?;
        pages::release(path);
        model.facts.sees = projector.as_ref().is_some_and(Projector::sees);
        model.facts.hears = projector.as_ref().is_some_and(Projector::hears);
        let projector_weights = projector.as_ref().map(Projector::buffer);
        model.projector = projector;
        model.load_guesser(load)?;
        model.facts.buffers = log::loaded_buffers();
        model.facts.buffers.extend(projector_weights);
        model.facts.load_ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        Ok(model)
    }

    fn generator(
        weights: Rc<Weights>,
        load: &Load,
        kv_type: CacheType,
        spare: Spare,
    ) -> Option<Self> {
        let cells = context_tokens(load, weights.trained_context());
        let sequences = load.sequences_max.max(1);
        let cache = CacheTypes::both(kv_type);
        let shape = generator_shape(cells, sequences, cache);
        let ranked_by = weights.ranks().then(|| pooling_kind(&weights));
        let pooled = ContextShape { pooling: ranked_by, ..shape };
        let shape = ContextShape { taken_back_max: load.taken_back_max, ..pooled };
        let context =
            Context::new(Rc::clone(&weights), shape, Threads::start(spare.threads_max()))?;
        let generates = !weights.ranks();
        let mut facts = facts(&weights, cells.min(context.cells()), sequences, generates);
        facts.chat_template |= generates && load.chat_template.is_some();
        let keeper = Keeper::new(&context, sequences);
        // What is ranked together is in the cells together.
        let step_tokens =
            if generates { STEP_TOKENS } else { STEP_TOKENS.min(facts.context_tokens) };
        Some(Self {
            context,
            facts,
            kv_type,
            template: load.chat_template.clone().or_else(|| weights.chat_template()),
            step_tokens,
            trims: keeper.keeps() == Keeps::Cells,
            keeper,
            pooling: pooling(&weights),
            spare,
            guesser: None,
            projector: None,
            places: Places::default(),
            adapters: Adapters::default(),
        })
    }

    /// Loads what guesses besides the text, where there is to be something.
    fn load_guesser(&mut self, load: &Load) -> Result<(), LoadFailure> {
        let model = load.path.display();
        let unusable = |message| LoadFailure { kind: LoadFailureKind::Unusable, message };
        if !self.facts.generates {
            return Ok(());
        }
        let Loaded { context_tokens, sequences_max, .. } = self.facts;
        let cache = CacheTypes::both(self.kv_type);
        let shape = generator_shape(context_tokens, sequences_max, cache);
        self.guesser = match &load.speculation.source {
            SpeculationSource::Off | SpeculationSource::Lookup => None,
            SpeculationSource::Draft(path) => {
                let draft = DraftModel::load(path, &self.context, shape);
                pages::release(path);
                let name = path.display();
                let why = |why| unusable(format!("{name} cannot guess for {model}: {why}"));
                Some(Guesser::Draft(draft.map_err(why)?))
            }
            SpeculationSource::Head => {
                let head = Head::new(&mut self.context, shape);
                let why = |why| unusable(format!("{model} cannot guess for itself: {why}"));
                Some(Guesser::Head(head.map_err(why)?))
            }
        };
        Ok(())
    }

    fn encoder(weights: Rc<Weights>, load: &Load, spare: Spare) -> Option<Self> {
        let trained = weights.trained_context().max(1);
        // An encoder looks at a whole text at once, so a step must hold the longest.
        let longest = load.context_tokens.map_or(trained, |tokens| tokens.clamp(1, trained));
        let step_tokens = longest.max(STEP_TOKENS);
        let shape = ContextShape {
            cells: step_tokens,
            sequences: ENCODER_TEXTS,
            step_tokens,
            outputs: step_tokens,
            unified: true,
            flash_attention: wants_flash_attention(),
            // It has no cache, and nothing must depend on how it would be kept.
            cache: CacheTypes::both(CacheType::F16),
            whole_windows: true,
            pooling: Some(pooling_kind(&weights)),
            taken_back_max: 0,
            is_head: false,
        };
        let context =
            Context::new(Rc::clone(&weights), shape, Threads::start(spare.threads_max()))?;
        let facts = facts(&weights, longest, ENCODER_TEXTS, false);
        Some(Self {
            context,
            facts,
            kv_type: CacheType::F16,
            template: None,
            step_tokens,
            trims: true,
            keeper: Keeper::nothing(),
            pooling: pooling(&weights),
            spare,
            guesser: None,
            projector: None,
            places: Places::default(),
            adapters: Adapters::default(),
        })
    }

    /// What decides, beside the weights and the engine, what its cells hold.
    pub(crate) fn cache_facts(&self) -> CacheFacts {
        let weights = self.context.weights();
        let original = weights.architecture_metadata("rope.scaling.original_context_length");
        let original = original.and_then(|tokens| tokens.parse::<u64>().ok());
        CacheFacts {
            kv_type: self.kv_type,
            flash_attention: wants_flash_attention(),
            is_stretched: is_stretched(self.facts.context_tokens, original),
        }
    }

    /// What is computed from now on is with the adapters as they were loaded.
    fn act_as_loaded(&mut self) -> Result<(), DecodeError> {
        self.adapters.act(&self.adapters.own(), &mut self.context)
    }

    /// These rows are computed.
    fn learn(&mut self, rows: &[BatchRow]) {
        if let Some(row) = rows.iter().find(|row| row.position == 1) {
            self.keeper.learn(&mut self.context, row.sequence);
        }
    }

    /// The sequence in which a generator embeds. Between two texts it is empty and serves the keeper.
    fn embedding_sequence(&self) -> u32 {
        self.facts.sequences_max
    }

    /// All texts in one step, pooled by llama.cpp.
    fn encode(&mut self, texts: &[&[u32]]) -> Result<Vec<Vec<f32>>, DecodeError> {
        let rows: Vec<BatchRow> = (0..)
            .zip(texts)
            .flat_map(|(sequence, text)| rows(sequence, 0, text, |_| true))
            .collect();
        self.context.decode(&rows).map_err(DecodeError)?;
        let vector = |index| self.context.sequence_vector(index).map(<[f32]>::to_vec);
        (0..texts.len()).map(|index| vector(index).ok_or_else(no_vector)).collect()
    }

    /// One text through the cache of a generator, pooled by us.
    fn embed_text(&mut self, text: &[u32]) -> Result<Vec<f32>, DecodeError> {
        let sequence = self.embedding_sequence();
        let pooling = self.pooling;
        let last = text.len().saturating_sub(1);
        let is_pooled = |position: usize| match pooling {
            Pooling::Mean => true,
            Pooling::First => position == 0,
            Pooling::Last => position == last,
        };
        // llama.cpp computes vectors of all rows, whichever are asked for.
        let step = VECTOR_ROWS as usize;
        let mut sum = vec![0.0_f32; self.facts.embedding_width as usize];
        let mut count = 0.0_f32;
        for (begin, part) in (0..).step_by(step).zip(text.chunks(step)) {
            let rows = rows(sequence, begin, part, is_pooled);
            self.context.decode(&rows).map_err(DecodeError)?;
            for (index, _) in rows.iter().enumerate().filter(|(_, row)| row.output) {
                let vector = self.context.row_vector(index).ok_or_else(no_vector)?;
                sum.iter_mut().zip(vector).for_each(|(sum, value)| *sum += value);
                count += 1.0;
            }
        }
        sum.iter_mut().for_each(|sum| *sum /= count.max(1.0));
        Ok(sum)
    }
}

impl engine::Model for LlamaModel {
    type Sampler = Sampler;

    fn facts(&self) -> &Loaded {
        &self.facts
    }

    fn step_tokens_max(&self) -> u32 {
        self.step_tokens
    }

    fn outputs_max(&self) -> u32 {
        VECTOR_ROWS.max(self.facts.sequences_max)
    }

    fn trims(&self) -> bool {
        self.trims
    }

    fn takes_back_max(&self) -> u32 {
        if self.trims { u32::MAX } else { self.context.taken_back_max() }
    }

    fn chat_template(&self) -> Option<&str> {
        self.template.as_deref()
    }

    fn boundary_texts(&self) -> (String, String) {
        let weights = self.context.weights();
        let text = |token: Option<u32>| {
            let bytes = token.map(|token| weights.token_bytes(token, true)).unwrap_or_default();
            String::from_utf8_lossy(&bytes).into_owned()
        };
        let (begin, end) = weights.boundaries();
        (text(begin), text(end))
    }

    fn tokenize(&self, text: &str, specials: bool, parse: bool) -> Vec<u32> {
        self.context.weights().tokenize(text, specials, parse)
    }

    fn token_bytes(&self, token: u32, special: bool) -> Vec<u8> {
        self.context.weights().token_bytes(token, special)
    }

    fn infill_marks(&self) -> Option<InfillMarks> {
        self.context.weights().infill_marks()
    }

    fn ends(&self, token: u32) -> bool {
        self.context.weights().ends(token)
    }

    fn sampler(&self, sampling: &Sampling) -> Result<Sampler, String> {
        Sampler::new(self.context.weights(), self.facts.context_tokens, sampling)
    }

    fn adapters(&self) -> &[Adapter] {
        self.adapters.all()
    }

    fn adapt(&mut self, scales: &Scales) -> Result<(), DecodeError> {
        self.adapters.act(scales, &mut self.context)
    }

    fn projector_digest(&self) -> [u8; 32] {
        self.projector.as_ref().map_or([0; 32], Projector::digest)
    }

    fn lay_out(&mut self, file: &MediaFile) -> Result<Vec<MediaPart>, String> {
        self.projector.as_mut().ok_or_else(no_projector)?.lay_out(file)
    }

    fn encode(&mut self, file: &MediaFile, part: usize) -> Result<Vec<f32>, String> {
        self.projector.as_mut().ok_or_else(no_projector)?.encode(file, part)
    }

    fn decode_run(&mut self, rows: &[Row], run: &RunVectors<'_>) -> Result<(), DecodeError> {
        let missing = || DecodeError("a picture has more rows than vectors".to_owned());
        let first = rows.first().ok_or_else(missing)?;
        let numbers = run.of(rows.len()).ok_or_else(missing)?;
        let start = first.position.saturating_sub(run.first);
        let begin = self.places.position(first.sequence, start);
        let (unpacked, positions) = places::unpack(numbers, rows.len()).ok_or_else(missing)?;
        let rows: Vec<RunRow<'_>> = rows
            .iter()
            .zip(unpacked)
            .map(|(row, (place, vector))| {
                let place = place.map(|at| begin + at);
                RunRow { row: BatchRow { position: place[0], ..batch_row(row) }, place, vector }
            })
            .collect();
        self.context.decode_run(&rows, run.is_whole).map_err(DecodeError)?;
        self.places.note(first.sequence, start, run.rows, positions);
        let rows: Vec<BatchRow> = rows.iter().map(|row| row.row).collect();
        self.learn(&rows);
        Ok(())
    }

    fn decode(&mut self, rows: &[Row]) -> Result<(), DecodeError> {
        let placed = |row: &Row| {
            let position = self.places.position(row.sequence, row.position);
            BatchRow { position, ..batch_row(row) }
        };
        let rows: Vec<BatchRow> = rows.iter().map(placed).collect();
        self.context.decode(&rows).map_err(DecodeError)?;
        self.learn(&rows);
        if let Some(guesser) = &mut self.guesser {
            guesser.follow(&self.context, &rows);
        }
        Ok(())
    }

    fn logits(&self, row: usize) -> &[f32] {
        self.context.logits(row)
    }

    fn trim(&mut self, sequence: u32, tokens: u32) -> bool {
        let end = self.places.position(sequence, tokens);
        let kept =
            self.context.remove(sequence, end) && self.keeper.covers(&self.context, sequence, end);
        if kept {
            self.places.cut(sequence, tokens);
        } else {
            self.clear(sequence);
        }
        kept
    }

    fn copy(&mut self, from: u32, to: u32, tokens: u32) -> bool {
        self.clear(to);
        // A state of which tokens were just taken back is put right with the next step of its own
        // sequence alone; another one would share what it was before.
        if !self.trims && self.context.taken_back_max() > 0 {
            return false;
        }
        let end = self.places.position(from, tokens);
        self.keeper.share(&mut self.context, from, to, end);
        let kept = self.keeper.covers(&self.context, to, end);
        if kept {
            self.places.copy(from, to, tokens);
        } else {
            self.clear(to);
        }
        kept
    }

    fn clear(&mut self, sequence: u32) {
        self.context.remove(sequence, 0);
        self.places.cut(sequence, 0);
        if let Some(guesser) = &mut self.guesser {
            guesser.forget(sequence);
        }
    }

    fn keeps(&self) -> Keeps {
        self.keeper.keeps()
    }

    fn save_cells(&mut self, sequence: u32, tokens: Range<u32>, to: &mut Vec<u8>) -> bool {
        // What stands behind rows that share positions is put back by nobody.
        self.places.is_plain(sequence, tokens.end)
            && self.keeper.save_cells(&mut self.context, sequence, tokens, to)
    }

    fn load_cells(
        &mut self,
        sequence: u32,
        saved: Range<u32>,
        wanted: Range<u32>,
        cells: &[u8],
    ) -> bool {
        self.keeper.load_cells(&mut self.context, sequence, saved, &wanted, cells)
    }

    fn save_state(&mut self, sequence: u32) -> Option<Vec<u8>> {
        let is_plain = self.places.is_plain(sequence, u32::MAX);
        is_plain.then(|| self.keeper.save_state(&self.context, sequence)).flatten()
    }

    fn load_state(&mut self, sequence: u32, tokens: u32, state: &[u8]) -> bool {
        self.keeper.load_state(&mut self.context, sequence, tokens, state)
    }

    fn guesses(&self) -> Guessing {
        self.guesser.as_ref().map_or(Guessing::Nothing, Guesser::guesses)
    }

    fn has_read(&self, stream: &Wanted<'_>) -> bool {
        self.guesser.as_ref().is_some_and(|guesser| guesser.has_read(stream))
    }

    fn read(&mut self, streams: &[Wanted<'_>]) {
        if let Some(guesser) = &mut self.guesser {
            guesser.read(streams);
        }
    }

    fn guess(&mut self, wanted: &[Wanted<'_>]) -> Vec<Vec<u32>> {
        match &mut self.guesser {
            Some(guesser) => guesser.guess(wanted),
            None => vec![Vec::new(); wanted.len()],
        }
    }

    fn give_back(&mut self) {
        if let Some(projector) = &mut self.projector {
            projector.give_back();
        }
        pages::give_back();
    }

    fn embed_tokens_max(&self) -> u32 {
        self.facts.context_tokens
    }

    fn embed(&mut self, texts: &[&[u32]]) -> Result<Vec<Vec<f32>>, DecodeError> {
        self.act_as_loaded()?;
        if !self.facts.generates {
            return self.encode(texts);
        }
        self.context.set_vectors(true);
        let mut vectors = Ok(Vec::new());
        for text in texts {
            let vector = self.embed_text(text);
            self.clear(self.embedding_sequence());
            vectors = vectors.and_then(|mut vectors| {
                vectors.push(vector?);
                Ok(vectors)
            });
        }
        self.context.set_vectors(false);
        vectors
    }

    fn rank_form(&self) -> Option<RankForm> {
        let weights = self.context.weights();
        weights.ranks().then(|| weights.rank_form())
    }

    fn rank(&mut self, texts: &[&[u32]]) -> Result<Vec<f32>, DecodeError> {
        self.act_as_loaded()?;
        if is_encoder(self.context.weights()) {
            return rank::at_once(&mut self.context, texts).map_err(DecodeError);
        }
        let (step, rows) = (self.step_tokens as usize, VECTOR_ROWS as usize);
        let scores = rank::from_left(&mut self.context, texts, step, rows);
        for (sequence, _) in (0..).zip(texts) {
            self.clear(sequence);
        }
        scores.map_err(DecodeError)
    }

    fn adapt_threads(&mut self) -> u32 {
        let threads = self.spare.threads();
        self.context.use_threads(threads);
        if let Some(guesser) = &mut self.guesser {
            guesser.use_threads(threads);
        }
        threads
    }
}

/// The context of a generator, and of the one that guesses for it.
fn generator_shape(cells: u32, sequences: u32, cache: CacheTypes) -> ContextShape {
    ContextShape {
        cells,
        sequences: sequences.saturating_add(INTERNAL_SEQUENCES),
        step_tokens: STEP_TOKENS,
        outputs: VECTOR_ROWS.max(sequences),
        unified: true,
        flash_attention: wants_flash_attention(),
        cache,
        whole_windows: true,
        pooling: None,
        taken_back_max: 0,
        is_head: false,
    }
}

fn facts(weights: &Weights, cells: u32, sequences: u32, generates: bool) -> Loaded {
    Loaded {
        architecture: weights.architecture(),
        parameters: weights.parameters(),
        vocabulary: weights.vocabulary_tokens(),
        embedding_width: weights.embedding_width(),
        context_tokens: cells,
        context_tokens_trained: weights.trained_context(),
        sequences_max: sequences,
        generates,
        ranks: weights.ranks(),
        chat_template: generates && weights.chat_template().is_some(),
        sees: false,
        hears: false,
        buffers: Vec::new(),
        load_ms: 0,
    }
}

/// What turns pictures and sounds into vectors, where there is to be something. What nobody named may have been
/// left beside the model by another one.
fn projector(
    weights: &Rc<Weights>,
    load: &Load,
    spare: &Spare,
) -> Result<Option<Projector>, LoadFailure> {
    // An encoder embeds, and nobody asks it about pictures.
    let path = load.projector.as_deref().filter(|_| !is_encoder(weights));
    let Some(path) = path else { return Ok(None) };
    match Projector::load(path, load, weights, spare.threads_max()) {
        Ok(projector) => Ok(Some(projector)),
        Err(failure) if load.projector_is_named => Err(failure),
        Err(failure) => {
            tracing::warn!("{}; the model takes text only", failure.message);
            Ok(None)
        }
    }
}

/// Nobody asks for it: `Loaded` says that it takes no files.
fn no_projector() -> String {
    "the model was loaded without a projector".to_owned()
}

fn batch_row(row: &Row) -> BatchRow {
    let Row { token, position, sequence, output } = *row;
    BatchRow { token, position, sequence, output }
}

/// Context of a generator that was trained with so many tokens.
pub(crate) fn context_tokens(load: &Load, trained_tokens: u32) -> u32 {
    load.context_tokens.unwrap_or(trained_tokens.clamp(1, CONTEXT_TOKENS_DEFAULT)).max(1)
}

/// Some models stretch positions by other factors in a context that is longer than the one they were first
/// trained with, which their metadata say.
pub(crate) fn is_stretched(context_tokens: u32, original_tokens: Option<u64>) -> bool {
    original_tokens.is_some_and(|tokens| u64::from(context_tokens) > tokens)
}

/// How keys and values are to be kept.
///
/// # Errors
/// A fragment that names the type and those there are.
pub(crate) fn kv_type(load: &Load) -> Result<CacheType, String> {
    CacheType::from_name(load.kv_type.as_deref().unwrap_or(CacheType::F16.name()))
}

/// Fused attention, unless a comparison with llama.cpp needs numbers that do not depend on the shape
/// of a step. Not a setting of the hub: it costs speed and memory and gains nobody anything else.
pub(crate) fn wants_flash_attention() -> bool {
    std::env::var_os("RESIDENT_WORKER_FLASH_ATTENTION").is_none_or(|value| value != "off")
}

/// BERT and its kin see a whole text at once and have no cache.
fn is_encoder(weights: &Weights) -> bool {
    weights.architecture_metadata("attention.causal").is_some_and(|causal| causal == "false")
}

/// Whether the file has what makes a score of a vector; without it llama.cpp gives a number of the vector
/// in place of a score. Of a split file only the first part is seen.
fn has_rank_head(path: &Path) -> bool {
    let is_head = |tensor: &gguf::Tensor| tensor.name.starts_with("cls.");
    header::read(path)
        .is_none_or(|file| file.split_files().is_some() || file.tensors.iter().any(is_head))
}

/// How the model's makers pool. Models that were not made for embeddings say nothing; the mean is
/// what the other hubs give for them.
fn pooling(weights: &Weights) -> Pooling {
    match weights.architecture_metadata("pooling_type").as_deref() {
        Some("2") => Pooling::First,
        Some("3") => Pooling::Last,
        _ => Pooling::Mean,
    }
}

/// As [`pooling`], in llama.cpp's words; of a model that ranks, its head.
pub(crate) fn pooling_kind(weights: &Weights) -> sys::llama_pooling_type {
    if weights.ranks() {
        return sys::LLAMA_POOLING_TYPE_RANK;
    }
    match pooling(weights) {
        Pooling::Mean => sys::LLAMA_POOLING_TYPE_MEAN,
        Pooling::First => sys::LLAMA_POOLING_TYPE_CLS,
        Pooling::Last => sys::LLAMA_POOLING_TYPE_LAST,
    }
}

fn rows(
    sequence: u32,
    begin: usize,
    tokens: &[u32],
    output: impl Fn(usize) -> bool,
) -> Vec<BatchRow> {
    (begin..)
        .zip(tokens)
        .map(|(position, token)| BatchRow {
            token: *token,
            position: u32::try_from(position).unwrap_or(u32::MAX),
            sequence,
            output: output(position),
        })
        .collect()
}

fn no_vector() -> DecodeError {
    DecodeError("llama.cpp computed no vector".to_owned())
}

pub(crate) fn unusable(path: &Path, why: &str) -> LoadFailure {
    let message = format!("cannot use {}: {why}", path.display());
    LoadFailure { kind: LoadFailureKind::Unusable, message }
}

#[cfg(test)]
mod tests {
    use engine::{Model as _, Row};

    use crate::exact::models;

    /// Other numbers of threads may add up in another order, by which results differ in their last bits.
    #[test]
    fn more_and_fewer_threads_go_on_where_others_ended() {
        let folder = tempfile::tempdir().unwrap();
        let path = models::made("qwen3", "q8_0", folder.path());
        let [mut changed, mut steady] = [4, 1].map(|threads| models::load_on(threads, &path));
        for (position, count) in (0..).zip([1, 3, 3, 2, 1, 4, 1]) {
            changed.context.use_threads(count);
            let row = Row { token: 3 + position * 7, position, sequence: 0, output: true };
            changed.decode(&[row]).unwrap();
            steady.decode(&[row]).unwrap();
            let pairs = changed.logits(0).iter().zip(steady.logits(0));
            let apart = pairs.map(|(one, other)| (one - other).abs()).fold(0.0, f32::max);
            assert!(apart < 1e-3, "{apart} apart with {count} threads at {position}");
        }
    }

    /// llama.cpp computes vectors of all rows of a step, of which there may be few.
    #[test]
    fn a_generator_that_pools_by_its_last_token_embeds_a_long_text() {
        let folder = tempfile::tempdir().unwrap();
        let path = models::made_like("tiny-embedding", "qwen3", "q8_0", folder.path());
        let mut model = models::load(&path, "f16", 2);
        let text: Vec<u32> = (0..700).map(|at| 3 + at % 900).collect();
        let mut other = text.clone();
        other[699] += 1;
        let vectors = model.embed(&[&text, &other, &text]).unwrap();
        assert_eq!(vectors[0].len(), 256);
        assert_eq!(vectors[0], vectors[2]);
        assert_ne!(vectors[0], vectors[1], "the last token counts");
    }

    /// The head of one that reads from left to right is asked in two steps, or more for a long text.
    #[test]
    fn scores_of_long_texts_do_not_depend_on_what_is_ranked_with_them() {
        let folder = tempfile::tempdir().unwrap();
        for architecture in ["bert", "qwen3"] {
            let path = models::made_like("tiny-reranker", architecture, "f32", folder.path());
            let mut model = models::load(&path, "f16", 4);
            assert!(model.facts().ranks && !model.facts().generates);
            let text = |length: u32, seed: u32| {
                (0..length).map(|at| 3 + (at * seed) % 900).collect::<Vec<u32>>()
            };
            let longest = model.embed_tokens_max().min(1500);
            let texts =
                [text(longest, 7), text(1, 3), text(64, 5), text(200, 11), text(longest, 9)];
            let mut alone = |text: &Vec<u32>| model.rank(&[text]).unwrap()[0];
            let alone: Vec<f32> = texts.iter().map(&mut alone).collect();
            assert!((alone[0] - alone[4]).abs() > 1e-3, "{architecture}: scores differ: {alone:?}");
            let together = model.rank(&[&texts[1], &texts[2], &texts[3]]).unwrap();
            for (one, other) in together.iter().zip(&alone[1..]) {
                // Fused attention adds up in 16 bits, in another order for another step.
                assert!((one - other).abs() < 5e-3, "{architecture}: {together:?} {alone:?}");
            }
        }
    }
}
