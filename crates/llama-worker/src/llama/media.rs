//! mtmd, llama.cpp's library for pictures and sounds: a projector, files laid out for it, and vectors.
//!
//! Its own reading of files is not used: it would hand what it cannot read to a program (ffmpeg, as a film), and
//! make room for what a sound says of itself. Not here: which files are read and how (`picture`, `sound`),
//! when vectors are computed (`engine`).

use std::ffi::CString;
use std::path::Path;
use std::ptr::NonNull;
use std::rc::Rc;

use engine::MediaPart;
use llama_cpp_sys_2 as sys;
use planner::batch::Cut;

use super::hidden::Batch;
use super::{BatchRow, Context, Weights, threads_of, token_of};

/// A loaded projector.
pub(crate) struct Eyes {
    context: NonNull<sys::mtmd_context>,
    // Its vocabulary is used until the projector is freed, which `drop` does before fields are dropped.
    weights: Rc<Weights>,
}

impl Eyes {
    /// Loads a projector for this model. Pictures that keep their size are scaled down to `rows_max` rows,
    /// where that is said. `None` when it is none or does not fit: the log says why.
    pub(crate) fn load(
        path: &Path,
        weights: &Rc<Weights>,
        threads: u32,
        flash_attention: bool,
        rows_max: Option<u32>,
    ) -> Option<Self> {
        let path = CString::new(path.to_str()?).ok()?;
        // SAFETY: plain values.
        let mut parameters = unsafe { sys::mtmd_context_params_default() };
        parameters.print_timings = false;
        parameters.n_threads = threads_of(threads);
        if let Some(rows) = rows_max {
            parameters.image_max_tokens = token_of(rows);
        }
        if !flash_attention {
            parameters.flash_attn_type = sys::LLAMA_FLASH_ATTN_TYPE_DISABLED;
        }
        let model = weights.pointer();
        // SAFETY: the path ends with NUL, and the weights are kept alive by what is made.
        let context = unsafe { sys::mtmd_init_from_file(path.as_ptr(), model, parameters) };
        Some(Self { context: NonNull::new(context)?, weights: Rc::clone(weights) })
    }

    pub(crate) fn sees(&self) -> bool {
        // SAFETY: a getter.
        unsafe { sys::mtmd_support_vision(self.context.as_ptr()) }
    }

    pub(crate) fn hears(&self) -> bool {
        // SAFETY: a getter.
        unsafe { sys::mtmd_support_audio(self.context.as_ptr()) }
    }

    /// Samples a second of the sounds that it hears.
    pub(crate) fn sound_rate(&self) -> Option<u32> {
        // SAFETY: a getter; -1 where it hears none.
        let rate = unsafe { sys::mtmd_get_audio_sample_rate(self.context.as_ptr()) };
        u32::try_from(rate).ok().filter(|rate| *rate > 0)
    }

    /// Whether the model gives the rows of a picture positions in several dimensions.
    pub(crate) fn has_own_positions(&self) -> bool {
        // SAFETY: a getter.
        unsafe { sys::mtmd_decode_use_mrope(self.context.as_ptr()) }
    }

    /// Lays a picture or a sound out. `None` when mtmd cannot: its log says why.
    pub(crate) fn lay_out(&self, bitmap: &Bitmap) -> Option<Chunks> {
        // SAFETY: plain; freed by `Chunks`.
        let chunks = Chunks(NonNull::new(unsafe { sys::mtmd_input_chunks_init() })?);
        let part = sys::mtmd_input_part { text: std::ptr::null(), bitmap: bitmap.0.as_ptr() };
        let parts = [&raw const part];
        // SAFETY: all are valid during the call, which copies what it needs.
        let code = unsafe {
            sys::mtmd_tokenize_from_parts(
                self.context.as_ptr(),
                chunks.0.as_ptr(),
                parts.as_ptr(),
                parts.len(),
                false,
            )
        };
        (code == 0).then_some(chunks)
    }

    /// What stands in a prompt for these.
    pub(crate) fn parts(&self, chunks: &Chunks) -> Vec<MediaPart> {
        let part = |chunk: *const sys::mtmd_input_chunk| {
            // SAFETY: the chunk belongs to `chunks`; its tokens stay as long.
            unsafe {
                if sys::mtmd_input_chunk_get_type(chunk) == sys::MTMD_INPUT_CHUNK_TYPE_TEXT {
                    let mut count = 0;
                    let first = sys::mtmd_input_chunk_get_tokens_text(chunk, &raw mut count);
                    let tokens = if first.is_null() {
                        &[]
                    } else {
                        std::slice::from_raw_parts(first, count)
                    };
                    return MediaPart::Tokens(tokens.iter().map(|id| id.unsigned_abs()).collect());
                }
                let rows = sys::mtmd_input_chunk_get_n_tokens(chunk);
                let rows = u32::try_from(rows).unwrap_or(u32::MAX);
                let cut = if sys::mtmd_decode_use_non_causal(self.context.as_ptr(), chunk) {
                    Cut::Nowhere
                } else if self.has_own_positions() {
                    Cut::BetweenSteps
                } else {
                    Cut::Anywhere
                };
                MediaPart::Rows { rows, cut }
            }
        };
        (0..chunks.len()).map(|index| part(chunks.get(index))).collect()
    }

    /// Vectors of the rows of one part, one behind the other. `None` when mtmd failed: its log says why.
    pub(crate) fn encode(&mut self, chunks: &Chunks, part: usize) -> Option<&[f32]> {
        let chunk = (part < chunks.len()).then(|| chunks.get(part))?;
        let context = self.context.as_ptr();
        // SAFETY: both are valid; a failure is told by its code.
        if unsafe { sys::mtmd_encode_chunk(context, chunk) } != 0 {
            return None;
        }
        // SAFETY: getters; mtmd made sure at loading that its vectors are as wide as the model's.
        let (rows, width, first) = unsafe {
            (
                sys::mtmd_input_chunk_get_n_tokens(chunk),
                sys::llama_model_n_embd_inp(self.weights.pointer()),
                sys::mtmd_get_output_embd(context),
            )
        };
        let count = rows.checked_mul(usize::try_from(width).ok()?)?;
        // SAFETY: `mtmd_get_output_embd` promises so many numbers, which stay until the next call; until
        // then this projector is borrowed.
        (!first.is_null()).then(|| unsafe { std::slice::from_raw_parts(first, count) })
    }
}

impl Eyes {
    /// The places of a part's rows, counted from its first position, and how many positions all of them
    /// take. `None` where there is no such part.
    pub(crate) fn places(&self, chunks: &Chunks, part: usize) -> Option<(Vec<Place>, u32)> {
        let count = |number| u32::try_from(number).unwrap_or(u32::MAX);
        let chunk = (part < chunks.len()).then(|| chunks.get(part))?;
        // SAFETY: the part is one of these chunks, so are its rows; a sound has no picture's rows.
        unsafe {
            let rows = sys::mtmd_input_chunk_get_n_tokens(chunk);
            let positions = u32::try_from(sys::mtmd_input_chunk_get_n_pos(chunk)).unwrap_or(0);
            let picture = sys::mtmd_input_chunk_get_tokens_image(chunk);
            let place = |row: usize| {
                if picture.is_null() {
                    return [count(row); 3];
                }
                let place = sys::mtmd_image_tokens_get_decoder_pos(picture, 0, row);
                [place.t, place.y, place.x]
            };
            Some(((0..rows).map(place).collect(), positions))
        }
    }
}

/// The place of a row: in time, from the top and from the left.
pub(crate) type Place = [u32; 3];

impl Drop for Eyes {
    fn drop(&mut self) {
        // SAFETY: owned and freed once.
        unsafe { sys::mtmd_free(self.context.as_ptr()) };
    }
}

/// A picture or a sound as numbers, or only its size, which is enough to lay it out.
pub(crate) struct Bitmap(NonNull<sys::mtmd_bitmap>);

impl Bitmap {
    /// A picture of which only the size is known.
    pub(crate) fn of_size(width: u32, height: u32) -> Option<Self> {
        // SAFETY: null says that there are no pixels.
        let bitmap = unsafe { sys::mtmd_bitmap_init(width, height, std::ptr::null()) };
        NonNull::new(bitmap).map(Self)
    }

    /// A picture; red, green and blue of each pixel, row by row.
    pub(crate) fn of_pixels(width: u32, height: u32, pixels: &[u8]) -> Option<Self> {
        let bytes = (width as usize).checked_mul(height as usize)?.checked_mul(3)?;
        if pixels.len() != bytes {
            return None;
        }
        // SAFETY: there are as many bytes as the size says, which are copied.
        NonNull::new(unsafe { sys::mtmd_bitmap_init(width, height, pixels.as_ptr()) }).map(Self)
    }

    /// A sound; samples of one channel at the projector's rate.
    pub(crate) fn of_sound(samples: &[f32]) -> Option<Self> {
        // mtmd ends the process for fewer, and counts in 32 bits.
        if samples.len() < 2 || u32::try_from(samples.len()).is_err() {
            return None;
        }
        // SAFETY: there are as many samples as said, which are copied.
        let bitmap = unsafe { sys::mtmd_bitmap_init_from_audio(samples.len(), samples.as_ptr()) };
        NonNull::new(bitmap).map(Self)
    }
}

impl Drop for Bitmap {
    fn drop(&mut self) {
        // SAFETY: owned and freed once.
        unsafe { sys::mtmd_bitmap_free(self.0.as_ptr()) };
    }
}

/// A file as it stands in a prompt, part by part.
pub(crate) struct Chunks(NonNull<sys::mtmd_input_chunks>);

impl Chunks {
    fn len(&self) -> usize {
        // SAFETY: a getter.
        unsafe { sys::mtmd_input_chunks_size(self.0.as_ptr()) }
    }

    /// One that there is; valid as long as all of them are.
    fn get(&self, index: usize) -> *const sys::mtmd_input_chunk {
        // SAFETY: callers count to `len`, and mtmd ends the process for others.
        unsafe { sys::mtmd_input_chunks_get(self.0.as_ptr(), index) }
    }
}

impl Drop for Chunks {
    fn drop(&mut self) {
        // SAFETY: owned and freed once.
        unsafe { sys::mtmd_input_chunks_free(self.0.as_ptr()) };
    }
}

/// A row of a run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RunRow<'a> {
    /// Its position is the first of its place's.
    pub(crate) row: BatchRow,
    pub(crate) place: Place,
    pub(crate) vector: &'a [f32],
}

impl Context {
    /// Computes rows of a run from their vectors, each of which looks at all others where they are whole.
    pub(crate) fn decode_run(&mut self, rows: &[RunRow<'_>], is_whole: bool) -> Result<(), String> {
        if rows.len() > self.batch_tokens {
            return Err(format!("a run of {} rows, at most {}", rows.len(), self.batch_tokens));
        }
        let batch = Batch::new(self).ok_or("no memory for a step")?;
        for RunRow { row, place, vector } in rows {
            batch.add_vector(row, *place, vector)?;
        }
        self.set_causal(!is_whole);
        let outcome = self.process(&batch);
        self.set_causal(true);
        outcome
    }

    fn set_causal(&mut self, is_causal: bool) {
        // SAFETY: a plain value, between steps.
        unsafe { sys::llama_set_causal_attn(self.context.as_ptr(), is_causal) };
    }
}

#[cfg(test)]
impl Context {
    /// mtmd's own way: a text with `<__media__>` in the places of pictures, into the first sequence. Gives
    /// the logits after the last token, and the position of the next one.
    pub(crate) fn evaluate(
        &mut self,
        eyes: &Eyes,
        text: &str,
        bitmaps: &[Bitmap],
    ) -> Option<(Vec<f32>, u32)> {
        // SAFETY: plain; freed by `Chunks`.
        let chunks = Chunks(NonNull::new(unsafe { sys::mtmd_input_chunks_init() })?);
        let text = sys::mtmd_input_text {
            text: text.as_ptr().cast(),
            text_len: text.len(),
            add_special: true,
            parse_special: true,
        };
        let mut bitmaps: Vec<*const sys::mtmd_bitmap> =
            bitmaps.iter().map(|bitmap| bitmap.0.as_ptr().cast_const()).collect();
        let context = eyes.context.as_ptr();
        let mut position = 0;
        // SAFETY: all are valid during the calls; the step is no longer than the context's.
        let logits = unsafe {
            let laid_out = sys::mtmd_tokenize(
                context,
                chunks.0.as_ptr(),
                &raw const text,
                bitmaps.as_mut_ptr(),
                bitmaps.len(),
            );
            let step = threads_of(u32::try_from(self.batch_tokens).ok()?);
            let computed = sys::mtmd_helper_eval_chunks(
                context,
                self.context.as_ptr(),
                chunks.0.as_ptr(),
                0,
                0,
                step,
                true,
                &raw mut position,
            );
            if laid_out != 0 || computed != 0 {
                return None;
            }
            sys::llama_get_logits_ith(self.context.as_ptr(), -1)
        };
        let width = self.weights.vocabulary_tokens() as usize;
        // SAFETY: not null means a row of `width` numbers that stays until the next step.
        let logits =
            unsafe { logits.as_ref().map(|first| std::slice::from_raw_parts(first, width)) };
        Some((logits?.to_vec(), u32::try_from(position).ok()?))
    }
}
