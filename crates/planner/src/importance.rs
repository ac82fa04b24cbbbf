//! Importance matrices: how much each column of a model's weights matters, measured on text, so that
//! a quantizer errs where it hurts least.
//!
//! Both forms that llama.cpp's `llama-imatrix` writes are read: GGUF (`general.type` is `imatrix`; sums
//! of squares and how many were added, for each tensor) and the older one without a head (a name, a
//! number of calls and the values, for each tensor). Source: `tools/imatrix/imatrix.cpp` and
//! `tools/quantize/quantize.cpp` there. Not here: making one, and what the quantizer does with it.

mod legacy;
mod limits;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use crate::{
    gguf::{self, Header, Tensor, TensorType},
    recipe::{Recipe, embeds, needs_matrix},
};

/// The importance of the columns of a model's tensors.
#[derive(Debug, Clone, PartialEq)]
pub struct Matrix {
    /// For each tensor one value a column; of stacked experts those of the first expert, of the second,
    /// and so on. Finite and not negative.
    pub entries: BTreeMap<String, Vec<f32>>,
    /// Of how many pieces of text they were measured, where the file says so.
    pub chunks: Option<u64>,
}

/// Why bytes are not an importance matrix that can be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Something else.
    #[error("is no importance matrix: {found}; llama.cpp's llama-imatrix makes one")]
    NotAMatrix {
        /// What it is, or how one can tell that it is none.
        found: String,
    },
    /// GGUF, but broken.
    #[error("cannot be read: {0}")]
    Gguf(#[from] gguf::Error),
    /// A tensor or an entry that contradicts itself.
    #[error("is damaged: {what}; get it anew, or make it anew with llama.cpp's llama-imatrix")]
    Damaged {
        /// What is wrong, with its name and value.
        what: String,
    },
}

/// Why a matrix was not measured on a model, or is not enough for it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Misfit {
    /// The model has no such tensor.
    #[error(
        "is the matrix of another model: it has `{tensor}`, which this one has not; measure this \
         model with llama.cpp's llama-imatrix"
    )]
    Foreign {
        /// The first tensor that is not there.
        tensor: String,
    },
    /// The tensor has another shape.
    #[error(
        "is the matrix of another model: it has {found} values for `{tensor}`, which has \
         {expected} columns here; measure this model with llama.cpp's llama-imatrix"
    )]
    Shape {
        /// Which tensor.
        tensor: String,
        /// Values in the matrix.
        found: u64,
        /// Columns of the model's tensor, those of all experts together.
        expected: u64,
    },
    /// A tensor that would be garbage without a value for each column.
    #[error(
        "says nothing of `{tensor}`, which {recipe} would encode as {kind} and so make garbage of; \
         measure on more text, or choose a type that needs no matrix, such as Q2_K or IQ4_XS"
    )]
    Silent {
        /// Which tensor.
        tensor: String,
        /// What it would be encoded as.
        kind: &'static str,
        /// What was asked for.
        recipe: &'static str,
    },
}

impl Matrix {
    /// What the file says whose bytes these are. The result is no larger than the file.
    ///
    /// # Errors
    /// [`Error`], a fragment to follow the file's name.
    pub fn read(bytes: &[u8]) -> Result<Self, Error> {
        let matrix =
            if bytes.starts_with(b"GGUF") { read_gguf(bytes) } else { legacy::read(bytes) };
        let matrix = matrix?;
        if matrix.entries.is_empty() {
            return Err(Error::Damaged { what: "it has no entries".to_owned() });
        }
        for (name, values) in &matrix.entries {
            if let Some(value) = values.iter().find(|value| !(value.is_finite() && **value >= 0.0))
            {
                let what = format!("an importance of `{name}` is {value}");
                return Err(Error::Damaged { what });
            }
        }
        Ok(matrix)
    }

    /// Holds it against a model whose tensors are to be `made`, as [`crate::recipe::rewrite`] says, and
    /// counts those that are quantized without it.
    ///
    /// # Errors
    /// [`Misfit`], a fragment to follow the file's name.
    pub fn check(&self, made: &[Tensor], recipe: Recipe) -> Result<usize, Misfit> {
        let by_name: BTreeMap<&str, &Tensor> =
            made.iter().map(|tensor| (tensor.name.as_str(), tensor)).collect();
        for (name, values) in &self.entries {
            let Some(tensor) = by_name.get(name.as_str()) else {
                return Err(Misfit::Foreign { tensor: name.clone() });
            };
            let [columns, _, experts, _] = tensor.dimensions;
            let expected = columns.saturating_mul(experts);
            // The quantizer leaves those of an input table out that do not fit, and so does this.
            let is_input = embeds(name) && name != "output.weight";
            if values.len() as u64 != expected && !is_input {
                let found = values.len() as u64;
                return Err(Misfit::Shape { tensor: name.clone(), found, expected });
            }
        }
        let silent = made.iter().filter(|tensor| !self.entries.contains_key(&tensor.name));
        let silent: Vec<&Tensor> = silent.collect();
        if let Some(tensor) = silent.iter().find(|tensor| needs_matrix(tensor, recipe)) {
            let tensor_name = tensor.name.clone();
            let (kind, recipe) = (tensor.kind.name(), recipe.name());
            return Err(Misfit::Silent { tensor: tensor_name, kind, recipe });
        }
        let unheard = |tensor: &&&Tensor| tensor.kind.is_quantized() && !embeds(&tensor.name);
        Ok(silent.iter().filter(unheard).count())
    }
}

/// What the names of tensors end in that hold sums of squares.
const SUMS: &str = ".in_sum2";
/// What the names of tensors end in that hold how many were added.
const COUNTS: &str = ".counts";

fn read_gguf(bytes: &[u8]) -> Result<Matrix, Error> {
    let header = gguf::parse(bytes, bytes.len() as u64)?;
    if !header.is_importance_matrix() {
        let found = format!("a GGUF file of the architecture '{}'", header.architecture());
        return Err(Error::NotAMatrix { found });
    }
    let (sums, counts) = (ending_in(SUMS, &header), ending_in(COUNTS, &header));
    if let Some(name) = counts.keys().find(|name| !sums.contains_key(*name)) {
        return Err(Error::Damaged { what: format!("`{name}` has counts and no sums") });
    }
    let mut entries = BTreeMap::new();
    for (name, sums) in sums {
        let Some(counts) = counts.get(name) else {
            return Err(Error::Damaged { what: format!("`{name}` has sums and no counts") });
        };
        let values = numbers(&header, sums, bytes)?;
        let values = means(name, values, sums, &numbers(&header, counts, bytes)?)?;
        entries.insert(name.to_owned(), values);
    }
    Ok(Matrix { entries, chunks: header.u64("imatrix.chunk_count") })
}

/// Tensors whose names end so, by the rest of the name.
fn ending_in<'a>(ending: &str, header: &'a Header) -> BTreeMap<&'a str, &'a Tensor> {
    let tensors = header.tensors.iter();
    tensors.filter_map(|tensor| Some((tensor.name.strip_suffix(ending)?, tensor))).collect()
}

/// The mean of each column. What no text ever reached, such as an expert that was never chosen, counts
/// everywhere alike, as in llama.cpp.
fn means(
    name: &str,
    mut sums: Vec<f32>,
    tensor: &Tensor,
    counts: &[f32],
) -> Result<Vec<f32>, Error> {
    let [columns, rows, ..] = tensor.dimensions;
    let columns = usize::try_from(columns).unwrap_or(usize::MAX);
    if columns == 0 || counts.len() as u64 != rows || sums.len() / columns != counts.len() {
        let what = format!("`{name}` has {} sums and {} counts", sums.len(), counts.len());
        return Err(Error::Damaged { what });
    }
    for (row, count) in sums.chunks_exact_mut(columns).zip(counts) {
        for sum in row {
            *sum = if *count > 0.0 { *sum / *count } else { 1.0 };
        }
    }
    Ok(sums)
}

/// The numbers of a tensor, which lies within `bytes` since the header was held against their length.
fn numbers(header: &Header, tensor: &Tensor, bytes: &[u8]) -> Result<Vec<f32>, Error> {
    if tensor.kind != TensorType::F32 {
        let what = format!("`{}` is {} and must be F32", tensor.name, tensor.kind.name());
        return Err(Error::Damaged { what });
    }
    let begin = usize::try_from(header.data_offset.saturating_add(tensor.offset));
    let length = usize::try_from(tensor.bytes);
    let within = begin
        .ok()
        .zip(length.ok())
        .and_then(|(begin, length)| bytes.get(begin..begin.checked_add(length)?));
    let Some(within) = within else {
        let what = format!("`{}` lies outside of the file", tensor.name);
        return Err(Error::Damaged { what });
    };
    Ok(floats(within))
}

/// The whole little-endian numbers of `bytes`.
fn floats(bytes: &[u8]) -> Vec<f32> {
    let (numbers, _) = bytes.as_chunks::<4>();
    numbers.iter().map(|number| f32::from_le_bytes(*number)).collect()
}
