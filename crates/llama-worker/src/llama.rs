//! llama.cpp's model and context, owned: what C gave is freed once, and no pointer leaves here.
//!
//! `llama-cpp-2` wraps the same API, but hides the pointers it would take to set threads between
//! steps, so this stands on the bindings.

mod adapter;
mod hidden;
mod media;
mod ranking;
mod threads;

use std::ffi::{CStr, CString, c_char, c_void};
use std::ops::Range;
use std::path::Path;
use std::ptr::NonNull;
use std::rc::Rc;

use engine::InfillMarks;
use llama_cpp_sys_2 as sys;
use planner::footprint::CacheType;

pub(crate) use adapter::Adapter;
pub(crate) use hidden::{HiddenRow, Told};
pub(crate) use media::{Bitmap, Chunks, Eyes, RunRow};
pub(crate) use threads::Threads;

/// Version of llama.cpp.
pub(crate) fn version() -> String {
    // SAFETY: a constant string of the library.
    unsafe { CStr::from_ptr(sys::llama_version()) }.to_string_lossy().into_owned()
}

/// Loaded weights and vocabulary.
pub(crate) struct Weights {
    model: NonNull<sys::llama_model>,
    vocabulary: *const sys::llama_vocab,
}

impl Weights {
    /// Loads a GGUF file, with its layers that guess ahead where `head` says so; `progress` hears the
    /// share that is loaded.
    ///
    /// `None` when llama.cpp cannot: its log says why.
    pub(crate) fn load(path: &Path, head: bool, mut progress: impl FnMut(f32)) -> Option<Self> {
        // SAFETY: no arguments; idempotent.
        unsafe { sys::llama_backend_init() };
        let path = CString::new(path.to_str()?).ok()?;
        let mut hear: &mut dyn FnMut(f32) = &mut progress;
        // SAFETY: plain values.
        let mut parameters = unsafe { sys::llama_model_default_params() };
        parameters.load_mtp = head;
        parameters.progress_callback = Some(forward_progress);
        parameters.progress_callback_user_data = (&raw mut hear).cast();
        // SAFETY: what the callback points to outlives the call.
        unsafe { Self::open(&path, parameters) }
    }

    /// Reads the header of a GGUF file and lays its weights out without allocating them; contexts
    /// made of it are laid out the same way and cannot compute.
    pub(crate) fn lay_out(path: &Path, head: bool) -> Option<Self> {
        // SAFETY: no arguments; idempotent.
        unsafe { sys::llama_backend_init() };
        let path = CString::new(path.to_str()?).ok()?;
        // SAFETY: plain values.
        let mut parameters = unsafe { sys::llama_model_default_params() };
        parameters.no_alloc = true;
        parameters.load_mtp = head;
        parameters.load_mode = sys::LLAMA_LOAD_MODE_NONE;
        // SAFETY: no callbacks.
        unsafe { Self::open(&path, parameters) }
    }

    /// # Safety
    /// What the parameters point to must outlive the call.
    unsafe fn open(path: &CStr, parameters: sys::llama_model_params) -> Option<Self> {
        // SAFETY: the path ends with NUL; the caller answers for the rest.
        let model = unsafe { sys::llama_model_load_from_file(path.as_ptr(), parameters) };
        let model = NonNull::new(model)?;
        // SAFETY: the model was just loaded.
        let vocabulary = unsafe { sys::llama_model_get_vocab(model.as_ptr()) };
        Some(Self { model, vocabulary })
    }

    fn pointer(&self) -> *const sys::llama_model {
        self.model.as_ptr()
    }

    /// The vocabulary, for samplers that read it; valid while the weights are.
    pub(crate) fn vocabulary(&self) -> *const sys::llama_vocab {
        self.vocabulary
    }

    /// A metadata value as text, if the file has it.
    pub(crate) fn metadata(&self, key: &str) -> Option<String> {
        let key = CString::new(key).ok()?;
        let mut buffer = vec![0_u8; 256];
        // SAFETY: the buffer's size is given; the key ends with NUL.
        let length = unsafe {
            sys::llama_model_meta_val_str(
                self.pointer(),
                key.as_ptr(),
                buffer.as_mut_ptr().cast(),
                buffer.len(),
            )
        };
        let length = usize::try_from(length).ok()?.min(buffer.len() - 1);
        Some(String::from_utf8_lossy(&buffer[..length]).into_owned())
    }

    /// `general.architecture`.
    pub(crate) fn architecture(&self) -> String {
        self.metadata("general.architecture").unwrap_or_default()
    }

    /// A metadata value of the architecture (`qwen3.context_length`).
    pub(crate) fn architecture_metadata(&self, suffix: &str) -> Option<String> {
        self.metadata(&format!("{}.{suffix}", self.architecture()))
    }

    /// The default chat template.
    pub(crate) fn chat_template(&self) -> Option<String> {
        self.template(None)
    }

    /// The template of this name, or the default one.
    fn template(&self, name: Option<&CStr>) -> Option<String> {
        let name = name.map_or(std::ptr::null(), CStr::as_ptr);
        // SAFETY: the name ends with NUL; a null one asks for the default template.
        let template = unsafe { sys::llama_model_chat_template(self.pointer(), name) };
        // SAFETY: not null, ends with NUL, owned by the model.
        let template = (!template.is_null()).then(|| unsafe { CStr::from_ptr(template) })?;
        Some(template.to_string_lossy().into_owned())
    }

    pub(crate) fn parameters(&self) -> u64 {
        // SAFETY: a getter.
        unsafe { sys::llama_model_n_params(self.pointer()) }
    }

    /// Bytes of all tensors.
    pub(crate) fn bytes(&self) -> u64 {
        // SAFETY: a getter.
        unsafe { sys::llama_model_size(self.pointer()) }
    }

    pub(crate) fn vocabulary_tokens(&self) -> u32 {
        // SAFETY: a getter.
        unsafe { sys::llama_vocab_n_tokens(self.vocabulary) }.unsigned_abs()
    }

    pub(crate) fn embedding_width(&self) -> u32 {
        // SAFETY: a getter.
        unsafe { sys::llama_model_n_embd_out(self.pointer()) }.unsigned_abs()
    }

    pub(crate) fn trained_context(&self) -> u32 {
        // SAFETY: a getter.
        unsafe { sys::llama_model_n_ctx_train(self.pointer()) }.unsigned_abs()
    }

    /// Whether it decodes at all, and without an encoder before it (as T5 has).
    pub(crate) fn is_decoder_only(&self) -> bool {
        // SAFETY: getters.
        unsafe {
            sys::llama_model_has_decoder(self.pointer())
                && !sys::llama_model_has_encoder(self.pointer())
        }
    }

    /// Whether its state is of the last token only, in all layers.
    pub(crate) fn is_recurrent(&self) -> bool {
        // SAFETY: a getter.
        unsafe { sys::llama_model_is_recurrent(self.pointer()) }
    }

    /// Whether its state is of the last token only in some layers, beside others with a cache.
    pub(crate) fn is_hybrid(&self) -> bool {
        // SAFETY: a getter.
        unsafe { sys::llama_model_is_hybrid(self.pointer()) }
    }

    /// Width of its sliding window in tokens, 0 without one.
    pub(crate) fn sliding_window(&self) -> u32 {
        // SAFETY: a getter.
        unsafe { sys::llama_model_n_swa(self.pointer()) }.unsigned_abs()
    }

    pub(crate) fn ends(&self, token: u32) -> bool {
        // SAFETY: llama.cpp answers `false` for a token that it does not know.
        unsafe { sys::llama_vocab_is_eog(self.vocabulary, token_of(token)) }
    }

    /// Begin-of-text and end-of-text tokens.
    pub(crate) fn boundaries(&self) -> (Option<u32>, Option<u32>) {
        // SAFETY: getters; -1 means "none".
        let (begin, end) = unsafe {
            (sys::llama_vocab_bos(self.vocabulary), sys::llama_vocab_eos(self.vocabulary))
        };
        (u32::try_from(begin).ok(), u32::try_from(end).ok())
    }

    /// The tokens by which it knows what to fill in, if it was trained for that.
    pub(crate) fn infill_marks(&self) -> Option<InfillMarks> {
        // SAFETY: getters; -1 means "none".
        let marks = unsafe {
            [
                sys::llama_vocab_fim_pre(self.vocabulary),
                sys::llama_vocab_fim_suf(self.vocabulary),
                sys::llama_vocab_fim_mid(self.vocabulary),
                sys::llama_vocab_fim_rep(self.vocabulary),
                sys::llama_vocab_fim_sep(self.vocabulary),
            ]
        };
        let [before, after, middle, files, file] = marks.map(|token| u32::try_from(token).ok());
        Some(InfillMarks { before: before?, after: after?, middle, files: files.zip(file) })
    }

    pub(crate) fn tokenize(&self, text: &str, specials: bool, parse: bool) -> Vec<u32> {
        let call = |tokens: &mut [i32]| {
            let length = i32::try_from(text.len()).unwrap_or(i32::MAX);
            let room = i32::try_from(tokens.len()).unwrap_or(i32::MAX);
            // SAFETY: both buffers' sizes are given.
            unsafe {
                sys::llama_tokenize(
                    self.vocabulary,
                    text.as_ptr().cast(),
                    length,
                    tokens.as_mut_ptr(),
                    room,
                    specials,
                    parse,
                )
            }
        };
        // A token is a byte at least, and a few specials may be added.
        let mut tokens = vec![0; text.len() + 8];
        let count = usize::try_from(call(&mut tokens)).unwrap_or_default();
        tokens.truncate(count);
        tokens.into_iter().map(i32::unsigned_abs).collect()
    }

    pub(crate) fn token_bytes(&self, token: u32, special: bool) -> Vec<u8> {
        let call = |bytes: &mut [u8]| {
            let room = i32::try_from(bytes.len()).unwrap_or(i32::MAX);
            let bytes = bytes.as_mut_ptr().cast::<c_char>();
            // SAFETY: the buffer's size is given; an unknown token yields nothing.
            unsafe {
                sys::llama_token_to_piece(self.vocabulary, token_of(token), bytes, room, 0, special)
            }
        };
        let mut bytes = vec![0; 64];
        let mut length = call(&mut bytes);
        if length < 0 {
            bytes.resize(length.unsigned_abs() as usize, 0);
            length = call(&mut bytes);
        }
        bytes.truncate(usize::try_from(length).unwrap_or(0));
        bytes
    }
}

impl Drop for Weights {
    fn drop(&mut self) {
        // SAFETY: owned, and contexts made from it are dropped before (see `Context`).
        unsafe { sys::llama_model_free(self.model.as_ptr()) };
    }
}

unsafe extern "C" fn forward_progress(fraction: f32, data: *mut c_void) -> bool {
    // SAFETY: `Weights::load` passes a pointer to its closure, alive during the call.
    let hear = unsafe { &mut *data.cast::<&mut dyn FnMut(f32)>() };
    hear(fraction);
    true
}

/// How a context is made.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ContextShape {
    pub(crate) cells: u32,
    pub(crate) sequences: u32,
    pub(crate) step_tokens: u32,
    /// Rows of a step whose logits or vectors are read, at most.
    pub(crate) outputs: u32,
    /// One pool of cells for all sequences, which lets sequences share prefixes.
    pub(crate) unified: bool,
    /// Fused attention where the device has it. Without it a CPU gives the same numbers whatever
    /// the shape of a step, and is slower.
    pub(crate) flash_attention: bool,
    /// Types of the numbers in the cache.
    pub(crate) cache: CacheTypes,
    /// Whether layers with a sliding window keep cells for the whole context, so that a sequence
    /// can be cut back to any earlier position.
    pub(crate) whole_windows: bool,
    /// Vectors instead of logits, pooled as the model says or by the mean.
    pub(crate) pooling: Option<sys::llama_pooling_type>,
    /// Tokens of a sequence that can be taken back at once where layers carry a state.
    pub(crate) taken_back_max: u32,
    /// Whether it computes the layers that guess ahead instead of the model.
    pub(crate) is_head: bool,
}

/// Types of the numbers in the cache of keys and in that of values.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CacheTypes {
    keys: sys::ggml_type,
    values: sys::ggml_type,
}

impl CacheTypes {
    /// Keys and values of the same type.
    pub(crate) fn both(kind: CacheType) -> Self {
        let kind = ggml_type(kind);
        Self { keys: kind, values: kind }
    }

    /// The types by ggml's names.
    ///
    /// # Errors
    /// A sentence with the names there are.
    pub(crate) fn from_names(keys: &str, values: &str) -> Result<Self, String> {
        let kind = |name| CacheType::from_name(name).map(ggml_type);
        Ok(Self { keys: kind(keys)?, values: kind(values)? })
    }
}

fn ggml_type(kind: CacheType) -> sys::ggml_type {
    match kind {
        CacheType::F32 => sys::GGML_TYPE_F32,
        CacheType::F16 => sys::GGML_TYPE_F16,
        CacheType::Bf16 => sys::GGML_TYPE_BF16,
        CacheType::Q8_0 => sys::GGML_TYPE_Q8_0,
        CacheType::Q5_1 => sys::GGML_TYPE_Q5_1,
        CacheType::Q5_0 => sys::GGML_TYPE_Q5_0,
        CacheType::Q4_1 => sys::GGML_TYPE_Q4_1,
        CacheType::Q4_0 => sys::GGML_TYPE_Q4_0,
        CacheType::Iq4Nl => sys::GGML_TYPE_IQ4_NL,
    }
}

/// A context: the cache of sequences, and steps.
pub(crate) struct Context {
    context: NonNull<sys::llama_context>,
    batch: sys::llama_batch,
    batch_tokens: usize,
    // Both are needed until the context is freed, which `drop` does before fields are dropped.
    threads: Rc<Threads>,
    weights: Rc<Weights>,
}

/// A row of a step for llama.cpp.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BatchRow {
    pub(crate) token: u32,
    pub(crate) position: u32,
    pub(crate) sequence: u32,
    pub(crate) output: bool,
}

impl Context {
    /// A context; `None` when memory was not enough.
    pub(crate) fn new(
        weights: Rc<Weights>,
        shape: ContextShape,
        threads: Rc<Threads>,
    ) -> Option<Self> {
        // SAFETY: plain values.
        let mut parameters = unsafe { sys::llama_context_default_params() };
        parameters.n_ctx = shape.cells;
        parameters.n_batch = shape.step_tokens;
        parameters.n_ubatch = shape.step_tokens;
        parameters.n_seq_max = shape.sequences;
        parameters.n_outputs_max = shape.outputs.min(shape.step_tokens);
        parameters.kv_unified = shape.unified;
        parameters.type_k = shape.cache.keys;
        parameters.type_v = shape.cache.values;
        parameters.swa_full = shape.whole_windows;
        if !shape.flash_attention {
            parameters.flash_attn_type = sys::LLAMA_FLASH_ATTN_TYPE_DISABLED;
        }
        parameters.n_rs_seq = shape.taken_back_max;
        if shape.is_head {
            parameters.ctx_type = sys::LLAMA_CONTEXT_TYPE_MTP;
        }
        parameters.embeddings = shape.pooling.is_some();
        // Unsaid, it is what the model was made with, and a generator gives no vectors of tokens then.
        parameters.pooling_type = shape.pooling.unwrap_or(sys::LLAMA_POOLING_TYPE_NONE);
        // SAFETY: the weights are kept alive by the context.
        let context = unsafe { sys::llama_init_from_model(weights.model.as_ptr(), parameters) };
        let context = NonNull::new(context)?;
        let batch_tokens = shape.step_tokens as usize;
        // SAFETY: plain values; freed in `drop`.
        let batch =
            unsafe { sys::llama_batch_init(i32::try_from(batch_tokens).unwrap_or(i32::MAX), 0, 1) };
        let mut made = Self { context, batch, batch_tokens, threads, weights };
        made.attach_threads();
        Some(made)
    }

    /// What it computes with.
    pub(crate) fn threads(&self) -> &Rc<Threads> {
        &self.threads
    }

    pub(crate) fn weights(&self) -> &Weights {
        &self.weights
    }

    /// Another context of the same weights, which computes in turns with this one; `None` when memory was
    /// not enough.
    pub(crate) fn beside(&self, shape: ContextShape) -> Option<Self> {
        Self::new(Rc::clone(&self.weights), shape, Rc::clone(&self.threads))
    }

    pub(crate) fn cells(&self) -> u32 {
        // SAFETY: a getter.
        unsafe { sys::llama_n_ctx(self.context.as_ptr()) }
    }

    /// Tokens of a sequence that can be taken back at once where layers carry a state; 0 where
    /// llama.cpp cannot.
    pub(crate) fn taken_back_max(&self) -> u32 {
        // SAFETY: a getter.
        unsafe { sys::llama_n_rs_seq(self.context.as_ptr()) }
    }

    /// Computes a step.
    pub(crate) fn decode(&mut self, rows: &[BatchRow]) -> Result<(), String> {
        if rows.len() > self.batch_tokens {
            return Err(format!("a step of {} tokens, at most {}", rows.len(), self.batch_tokens));
        }
        self.batch.n_tokens = i32::try_from(rows.len()).unwrap_or(i32::MAX);
        for (index, row) in rows.iter().enumerate() {
            // SAFETY: `llama_batch_init` allocated `batch_tokens` entries of each array and one
            // sequence id per entry, and `index` is below that.
            unsafe {
                *self.batch.token.add(index) = token_of(row.token);
                *self.batch.pos.add(index) = token_of(row.position);
                *self.batch.n_seq_id.add(index) = 1;
                **self.batch.seq_id.add(index) = token_of(row.sequence);
                *self.batch.logits.add(index) = i8::from(row.output);
            }
        }
        // SAFETY: the batch is filled as its length says.
        match unsafe { sys::llama_decode(self.context.as_ptr(), self.batch) } {
            0 => Ok(()),
            1 => Err("no free cells in the cache".to_owned()),
            code => Err(format!("llama_decode returned {code}")),
        }
    }

    /// Logits of a row of the last step, by its index in the step.
    ///
    /// # Panics
    /// When the row had no output, which is a bug of the caller.
    pub(crate) fn logits(&self, row: usize) -> &[f32] {
        let index = i32::try_from(row).unwrap_or(i32::MAX);
        let width = self.weights.vocabulary_tokens() as usize;
        // SAFETY: not null means a row of `width` numbers that stays until the next step.
        let logits = unsafe { sys::llama_get_logits_ith(self.context.as_ptr(), index) };
        assert!(!logits.is_null(), "row {row} of the step has no logits");
        // SAFETY: as above.
        unsafe { std::slice::from_raw_parts(logits, width) }
    }

    /// The vector of a row of the last step.
    pub(crate) fn row_vector(&self, row: usize) -> Option<&[f32]> {
        let index = i32::try_from(row).ok()?;
        // SAFETY: null when the row has no vector.
        self.vector(unsafe { sys::llama_get_embeddings_ith(self.context.as_ptr(), index) })
    }

    /// The pooled vector of a sequence of the last step.
    pub(crate) fn sequence_vector(&self, sequence: usize) -> Option<&[f32]> {
        let index = i32::try_from(sequence).ok()?;
        // SAFETY: null when the sequence has no vector.
        self.vector(unsafe { sys::llama_get_embeddings_seq(self.context.as_ptr(), index) })
    }

    fn vector(&self, start: *const f32) -> Option<&[f32]> {
        let width = self.weights.embedding_width() as usize;
        // SAFETY: not null means `width` numbers that stay until the next step.
        (!start.is_null()).then(|| unsafe { std::slice::from_raw_parts(start, width) })
    }

    /// Whether the next steps compute vectors beside logits.
    pub(crate) fn set_vectors(&mut self, wanted: bool) {
        // SAFETY: a plain value, between steps.
        unsafe { sys::llama_set_embeddings(self.context.as_ptr(), wanted) };
    }

    /// The cache, or `None` for models that have none.
    fn memory(&self) -> Option<sys::llama_memory_t> {
        // SAFETY: a getter; null for encoders.
        let memory = unsafe { sys::llama_get_memory(self.context.as_ptr()) };
        (!memory.is_null()).then_some(memory)
    }

    /// Forgets a sequence from a position on. `false` when the model cannot.
    pub(crate) fn remove(&mut self, sequence: u32, from: u32) -> bool {
        // SAFETY: the memory belongs to this context; -1 means "to the end".
        self.memory().is_none_or(|memory| unsafe {
            sys::llama_memory_seq_rm(memory, token_of(sequence), token_of(from), -1)
        })
    }

    /// Shares these positions of a sequence with another one; of a recurrent state always all.
    pub(crate) fn share(&mut self, from: u32, to: u32, positions: Range<u32>) {
        if let Some(memory) = self.memory() {
            let (from, to) = (token_of(from), token_of(to));
            let (begin, end) = (token_of(positions.start), token_of(positions.end));
            // SAFETY: the memory belongs to this context.
            unsafe { sys::llama_memory_seq_cp(memory, from, to, begin, end) };
        }
    }

    /// Shares all that a sequence holds with another one.
    pub(crate) fn share_all(&mut self, from: u32, to: u32) {
        if let Some(memory) = self.memory() {
            let (from, to) = (token_of(from), token_of(to));
            // SAFETY: the memory belongs to this context; -1 means "from the first" and "to the last".
            unsafe { sys::llama_memory_seq_cp(memory, from, to, -1, -1) };
        }
    }

    /// First position a sequence holds in every layer; `None` when it is empty.
    pub(crate) fn first_position(&self, sequence: u32) -> Option<u32> {
        let memory = self.memory()?;
        // SAFETY: a getter; -1 when the sequence is empty.
        u32::try_from(unsafe { sys::llama_memory_seq_pos_min(memory, token_of(sequence)) }).ok()
    }

    /// Last position a sequence holds in every layer; `None` when it is empty.
    pub(crate) fn last_position(&self, sequence: u32) -> Option<u32> {
        let memory = self.memory()?;
        // SAFETY: a getter; -1 when the sequence is empty.
        u32::try_from(unsafe { sys::llama_memory_seq_pos_max(memory, token_of(sequence)) }).ok()
    }

    /// A copy of what a sequence holds; `None` when llama.cpp cannot give it.
    pub(crate) fn state(&self, sequence: u32, part: StatePart) -> Option<Vec<u8>> {
        let mut state = Vec::with_capacity(self.state_bytes(sequence, part));
        self.append_state(sequence, part, &mut state).then_some(state)
    }

    /// Puts [`Self::state`] behind what the buffer holds; `false`, and nothing, when llama.cpp cannot
    /// give it.
    pub(crate) fn append_state(&self, sequence: u32, part: StatePart, to: &mut Vec<u8>) -> bool {
        let bytes = self.state_bytes(sequence, part);
        to.reserve_exact(bytes);
        let room = to.spare_capacity_mut().as_mut_ptr().cast();
        let (context, sequence) = (self.context.as_ptr(), token_of(sequence));
        // SAFETY: the room's size is given, and of it only what was written is taken as such.
        let written = unsafe {
            sys::llama_state_seq_get_data_ext(context, room, bytes, sequence, part.flags())
        };
        let is_whole = written == bytes && bytes > 0;
        if is_whole {
            // SAFETY: there was room for these bytes, and they were written.
            unsafe { to.set_len(to.len() + written) };
        }
        is_whole
    }

    /// Bytes of [`Self::state`].
    pub(crate) fn state_bytes(&self, sequence: u32, part: StatePart) -> usize {
        let (context, sequence) = (self.context.as_ptr(), token_of(sequence));
        // SAFETY: a getter; it writes nothing.
        unsafe { sys::llama_state_seq_get_size_ext(context, sequence, part.flags()) }
    }

    /// Puts what [`Self::state`] gave into a sequence, in place of what it held there. `false` when
    /// llama.cpp refuses it; what the sequence holds is unknown then. The bytes must be what a context
    /// of the same weights and shape gave: llama.cpp checks sizes and types, and not all of them
    /// gently.
    pub(crate) fn set_state(&mut self, sequence: u32, part: StatePart, state: &[u8]) -> bool {
        // SAFETY: the buffer's size is given, and it is only read.
        let read = unsafe {
            sys::llama_state_seq_set_data_ext(
                self.context.as_ptr(),
                state.as_ptr(),
                state.len(),
                token_of(sequence),
                part.flags(),
            )
        };
        read == state.len()
    }
}

/// What of a sequence's state is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StatePart {
    /// All of it.
    Whole,
    /// What exists for the last position only: recurrent state, and cells of sliding windows.
    Partial,
}

impl StatePart {
    /// `LLAMA_STATE_SEQ_FLAGS_NONE` and `LLAMA_STATE_SEQ_FLAGS_PARTIAL_ONLY`, macros that the bindings
    /// lack.
    fn flags(self) -> sys::llama_state_seq_flags {
        match self {
            Self::Whole => 0,
            Self::Partial => 1,
        }
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        // SAFETY: both are owned and freed once; the weights are dropped after.
        unsafe {
            sys::llama_batch_free(self.batch);
            sys::llama_free(self.context.as_ptr());
        }
    }
}

/// llama.cpp counts in signed integers; nothing of ours comes near their end.
fn token_of(value: u32) -> i32 {
    i32::try_from(value).unwrap_or(i32::MAX)
}

fn threads_of(threads: u32) -> i32 {
    token_of(threads.max(1))
}
