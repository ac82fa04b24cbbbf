//! Hidden vectors of a context, and steps that begin from them: what layers that guess ahead need.

use std::ptr::NonNull;

use llama_cpp_sys_2 as sys;

use super::{BatchRow, Context, token_of};

// Part of llama.cpp's library and not of its C header (`src/llama-ext.h`), so that the names are those
// of C++, as its compilers spell them.
unsafe extern "C" {
    #[cfg_attr(
        target_env = "msvc",
        link_name = "?llama_set_embeddings_nextn@@YAXPEAUllama_context@@_N1@Z"
    )]
    #[cfg_attr(
        not(target_env = "msvc"),
        link_name = "_Z26llama_set_embeddings_nextnP13llama_contextbb"
    )]
    fn llama_set_embeddings_nextn(context: *mut sys::llama_context, value: bool, masked: bool);

    #[cfg_attr(
        target_env = "msvc",
        link_name = "?llama_get_embeddings_nextn_ith@@YAPEAMPEAUllama_context@@H@Z"
    )]
    #[cfg_attr(
        not(target_env = "msvc"),
        link_name = "_Z30llama_get_embeddings_nextn_ithP13llama_contexti"
    )]
    fn llama_get_embeddings_nextn_ith(context: *mut sys::llama_context, row: i32) -> *const f32;
}

/// Which rows of a step have their hidden vectors told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Told {
    /// All of them.
    All,
    /// Those with an output.
    Outputs,
}

/// A row of a step that begins from a hidden vector beside its token.
#[derive(Debug, Clone, Copy)]
pub(crate) struct HiddenRow<'a> {
    pub(crate) row: BatchRow,
    pub(crate) hidden: &'a [f32],
}

impl Context {
    /// Whether the model's file has layers that guess ahead, loaded or not.
    pub(crate) fn has_head(&self) -> bool {
        // SAFETY: a getter.
        unsafe { sys::llama_model_n_layer_nextn(self.weights.pointer()) > 0 }
    }

    /// Has the next steps tell the last hidden vectors of these rows.
    pub(crate) fn tell_hidden(&mut self, told: Told) {
        // SAFETY: plain values, between steps.
        unsafe {
            llama_set_embeddings_nextn(self.context.as_ptr(), true, told == Told::Outputs);
        }
    }

    /// The last hidden vector of a row of the last step, by its index in the step; none when it was not
    /// to be told.
    pub(crate) fn hidden(&self, row: usize) -> Option<&[f32]> {
        let row = i32::try_from(row).ok()?;
        // SAFETY: null when the row has none.
        self.vector(unsafe { llama_get_embeddings_nextn_ith(self.context.as_ptr(), row) })
    }

    /// Computes a step of the layers that guess ahead.
    pub(crate) fn decode_hidden(&mut self, rows: &[HiddenRow<'_>]) -> Result<(), String> {
        let batch = Batch::new(self).ok_or("no memory for a step")?;
        for HiddenRow { row, hidden } in rows {
            batch.add(row, hidden)?;
        }
        self.process(&batch)
    }

    pub(super) fn process(&mut self, batch: &Batch) -> Result<(), String> {
        let kind = sys::LLAMA_PROCESS_TYPE_DECODE;
        // SAFETY: both are valid; the batch is filled.
        match unsafe { sys::llama_process(self.context.as_ptr(), kind, batch.0.as_ptr()) } {
            0 => Ok(()),
            1 => Err("no free cells in the cache".to_owned()),
            code => Err(format!("llama_process returned {code}")),
        }
    }
}

/// A step with vectors, which llama.cpp copies.
pub(super) struct Batch(NonNull<sys::llama_batch_ext>);

impl Batch {
    pub(super) fn new(context: &mut Context) -> Option<Self> {
        // SAFETY: the context outlives the batch, which no call lets leave this file.
        NonNull::new(unsafe { sys::llama_batch_ext_init(context.context.as_ptr()) }).map(Self)
    }

    fn add(&self, row: &BatchRow, hidden: &[f32]) -> Result<(), String> {
        let batch = self.0.as_ptr();
        let vector = sys::llama_embd { data: hidden.as_ptr(), n_rows: 1, n_embd: hidden.len() };
        let position = token_of(row.position);
        // SAFETY: llama.cpp checks the sequence, the token and the vector's length, and copies what the
        // pointers point to.
        let is_added = unsafe {
            let sequence = token_of(row.sequence);
            let index = sys::llama_batch_ext_add_token(batch, sequence, token_of(row.token));
            index >= 0
                && sys::llama_batch_ext_set_pos(batch, index, &raw const position)
                && sys::llama_batch_ext_set_embd_token(batch, index, vector)
                && sys::llama_batch_ext_set_output_logits(batch, index, row.output)
        };
        is_added.then_some(()).ok_or_else(|| format!("llama.cpp refuses the row {row:?}"))
    }

    /// Adds a row that is computed from a vector in place of a token.
    pub(super) fn add_vector(
        &self,
        row: &BatchRow,
        place: [u32; 3],
        vector: &[f32],
    ) -> Result<(), String> {
        let batch = self.0.as_ptr();
        let vector = sys::llama_embd { data: vector.as_ptr(), n_rows: 1, n_embd: vector.len() };
        // Models with positions in one dimension read the first, others all four.
        let [time, top, left] = place.map(token_of);
        let position = [time, top, left, 0];
        // SAFETY: llama.cpp checks the sequence and the vector's length, reads at most four positions, and
        // copies what the pointers point to.
        let is_added = unsafe {
            let index = sys::llama_batch_ext_add_embd(batch, token_of(row.sequence), vector);
            index >= 0
                && sys::llama_batch_ext_set_pos(batch, index, position.as_ptr())
                && sys::llama_batch_ext_set_output_logits(batch, index, row.output)
        };
        is_added.then_some(()).ok_or_else(|| format!("llama.cpp refuses the row {row:?}"))
    }
}

impl Drop for Batch {
    fn drop(&mut self) {
        // SAFETY: owned, and freed once.
        unsafe { sys::llama_batch_ext_free(self.0.as_ptr()) };
    }
}
