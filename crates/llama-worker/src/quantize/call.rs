//! The call of llama.cpp's quantizer, with what C wants to be told in its own form.

use std::ffi::{CString, c_char};
use std::path::Path;

use llama_cpp_sys_2 as sys;
use planner::importance::Matrix;
use planner::recipe::Recipe;

use super::progress;
use crate::limits::QUANTIZE_BYTES_MAX;

/// What llama.cpp is asked.
pub(super) struct Call<'a> {
    pub(super) source: &'a Path,
    pub(super) target: &'a Path,
    pub(super) recipe: Recipe,
    /// The matrix, and the file that it is from.
    pub(super) matrix: Option<(&'a Matrix, &'a Path)>,
    pub(super) may_requantize: bool,
}

impl Call<'_> {
    /// Writes the target.
    ///
    /// # Errors
    /// What llama.cpp says.
    pub(super) fn run(&self) -> Result<(), String> {
        let (source, target) = (text(self.source)?, text(self.target)?);
        let importance = self.matrix.map(|(matrix, _)| Importance::of(matrix)).transpose()?;
        let notes = self.notes();
        progress::follow();
        // SAFETY: no arguments.
        unsafe { sys::llama_backend_init() };
        // SAFETY: plain values.
        let mut parameters = unsafe { sys::llama_model_quantize_default_params() };
        // The recipes are numbered as llama.cpp numbers them.
        parameters.ftype = self.recipe.file_type();
        parameters.allow_requantize = self.may_requantize;
        parameters.max_buf_size = QUANTIZE_BYTES_MAX;
        if let Some(importance) = &importance {
            parameters.imatrix = importance.entries.as_ptr();
            parameters.kv_overrides = notes.as_ptr();
        }
        // SAFETY: the strings end with NUL; both lists end with an entry without a name. All of it, and
        // what the entries point to, outlives the call.
        let code = unsafe {
            sys::llama_model_quantize(source.as_ptr(), target.as_ptr(), &raw const parameters)
        };
        if code == 0 { Ok(()) } else { Err(progress::last_complaint()) }
    }

    /// What the file says about the matrix, under the keys of `llama-quantize`. Ends with an entry that
    /// has no key.
    fn notes(&self) -> Vec<sys::llama_model_kv_override> {
        let mut notes = Vec::new();
        if let Some((matrix, path)) = self.matrix {
            // Where it lies is nobody's business.
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            notes.push(note("quantize.imatrix.file", Fact::Text(&name)));
            let count = matrix.entries.len() as u64;
            notes.push(note("quantize.imatrix.entries_count", Fact::Number(count)));
            if let Some(chunks) = matrix.chunks {
                notes.push(note("quantize.imatrix.chunks_count", Fact::Number(chunks)));
            }
        }
        notes.push(note("", Fact::Number(0)));
        notes
    }
}

/// A matrix as llama.cpp takes it.
struct Importance {
    /// Ends with an entry that has no name. Points into `names` and the matrix.
    entries: Vec<sys::llama_model_imatrix_data>,
    /// Only pointed to.
    _names: Vec<CString>,
}

impl Importance {
    fn of(matrix: &Matrix) -> Result<Self, String> {
        let names = matrix.entries.keys().map(|name| CString::new(name.as_str()));
        let names: Vec<CString> =
            names.collect::<Result<_, _>>().map_err(|_| "a name holds a NUL byte".to_owned())?;
        let mut entries: Vec<_> = names
            .iter()
            .zip(matrix.entries.values())
            .map(|(name, values)| sys::llama_model_imatrix_data {
                name: name.as_ptr(),
                data: values.as_ptr(),
                size: values.len(),
            })
            .collect();
        let end = sys::llama_model_imatrix_data {
            name: std::ptr::null(),
            data: std::ptr::null(),
            size: 0,
        };
        entries.push(end);
        Ok(Self { entries, _names: names })
    }
}

/// What a note says.
enum Fact<'a> {
    Text(&'a str),
    Number(u64),
}

fn note(key: &str, fact: Fact<'_>) -> sys::llama_model_kv_override {
    // SAFETY: numbers alone, for which zero is a value.
    let mut note: sys::llama_model_kv_override = unsafe { std::mem::zeroed() };
    copy(key, &mut note.key);
    match fact {
        Fact::Text(text) => {
            note.tag = sys::LLAMA_KV_OVERRIDE_TYPE_STR;
            let mut value = [0; 128];
            copy(text, &mut value);
            note.__bindgen_anon_1.val_str = value;
        }
        Fact::Number(number) => {
            note.tag = sys::LLAMA_KV_OVERRIDE_TYPE_INT;
            note.__bindgen_anon_1.val_i64 = i64::try_from(number).unwrap_or(i64::MAX);
        }
    }
    note
}

/// As many whole characters as there is room for before a closing zero.
fn copy(text: &str, room: &mut [c_char; 128]) {
    let end = text.floor_char_boundary(room.len() - 1);
    for (to, from) in room.iter_mut().zip(text[..end].bytes()) {
        *to = c_char::from_ne_bytes([from]);
    }
}

fn text(path: &Path) -> Result<CString, String> {
    let text = path.to_str().ok_or_else(|| format!("{} is not Unicode", path.display()))?;
    CString::new(text).map_err(|_| "a path holds a NUL byte".to_owned())
}
