//! Models that are split over several files: the names of all parts, and one header out of many.
//!
//! The rules are those of llama.cpp's `llama-gguf-split` and `llama-model-loader.cpp`: parts are
//! named `STEM-00001-of-00003.gguf` (numbers by `%05d`), the first one carries the metadata, and each says its number
//! from 0 and how many there are. Not here: finding and reading the files.

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use super::{
    Error as HeaderError, Header, check,
    limits::{PARTS_MAX, TENSORS_MAX},
};

const ENDING: &str = ".gguf";
/// Digits that numbers in names have, with zeros in front; only greater numbers have more.
const DIGITS: usize = 5;
const NUMBER_KEY: &str = "split.no";
const COUNT_KEY: &str = "split.count";
const TENSORS_KEY: &str = "split.tensors.count";

/// Why parts do not make one model.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A name whose numbers cannot be true.
    #[error(
        "`{name}` says that it is part {number} of {count}, which cannot be; parts are numbered \
         from 1, and a model has at most {PARTS_MAX}"
    )]
    Name {
        /// Name of the file.
        name: String,
        /// The part it says it is.
        number: u64,
        /// How many there are by its name.
        count: u64,
    },
    /// A name that llama.cpp writes otherwise, and so does not find the other parts by.
    #[error(
        "`{name}` numbers its parts otherwise than llama.cpp, which would name it `{expected}`; \
         rename all parts so"
    )]
    Digits {
        /// Name of the file.
        name: String,
        /// What llama.cpp calls it.
        expected: String,
    },
    /// Headers were given, but not of every part.
    #[error("part {number} of {count} is missing; put all parts of the model side by side")]
    Missing {
        /// The part, from 1.
        number: u64,
        /// How many there are.
        count: u64,
    },
    /// More headers than parts, or two of the same.
    #[error("there are two of part {number} of {count}; keep the one that belongs to the others")]
    Twice {
        /// The part, from 1.
        number: u64,
        /// How many there are.
        count: u64,
    },
    /// A part of something else.
    #[error(
        "part {number} says that there are {found} parts and the first says {count}; they are not \
         parts of one model, download all of them from one source"
    )]
    Count {
        /// The part, from 1.
        number: u64,
        /// What it says.
        found: u64,
        /// What the first says.
        count: u64,
    },
    /// The tensors do not add up.
    #[error(
        "the parts have {found} tensors together and should have {expected}; a part is damaged or \
         belongs to another model, download all of them from one source"
    )]
    Tensors {
        /// How many there are.
        found: u64,
        /// What the parts say.
        expected: u64,
    },
    /// One tensor in two parts.
    #[error(
        "tensor `{tensor}` is in two parts; a part belongs to another model, download all of them \
         from one source"
    )]
    Tensor {
        /// Its name.
        tensor: String,
    },
    /// Together they are no usable model.
    #[error(transparent)]
    Header(#[from] HeaderError),
}

/// A part's place among all, as the name of its file says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part<'a> {
    /// What all parts' names begin with, folders included.
    pub stem: &'a str,
    /// Which part it is, from 1.
    pub number: u64,
    /// How many there are.
    pub count: u64,
}

impl<'a> Part<'a> {
    /// What `name` says; `None` when it is not named like a part. Whether llama.cpp would write it
    /// so is for [`names`] to say.
    #[must_use]
    pub fn of(name: &'a str) -> Option<Self> {
        let (rest, count) = name.strip_suffix(ENDING)?.rsplit_once("-of-")?;
        let (stem, number) = rest.rsplit_once('-')?;
        Some(Self { stem, number: digits(number)?, count: digits(count)? })
    }

    /// The name of part `number` of the same model.
    #[must_use]
    pub fn name(&self, number: u64) -> String {
        format!("{}-{number:0DIGITS$}-of-{:0DIGITS$}{ENDING}", self.stem, self.count)
    }
}

fn digits(text: &str) -> Option<u64> {
    let are_digits = text.len() >= DIGITS && text.bytes().all(|byte| byte.is_ascii_digit());
    // A number that is too long to be read is as impossible as the greatest that can be.
    are_digits.then(|| text.parse().unwrap_or(u64::MAX))
}

/// Names of all parts of the model that the file `name` is a part of, in order; only `name` itself
/// when it is not named like a part. A name may have folders in front.
///
/// # Errors
/// [`Error::Name`] when the numbers in the name cannot be true, [`Error::Digits`] when llama.cpp
/// writes them otherwise.
pub fn names(name: &str) -> Result<Vec<String>, Error> {
    let Some(part) = Part::of(name) else { return Ok(vec![name.to_owned()]) };
    let Part { number, count, .. } = part;
    if number == 0 || number > count || count > PARTS_MAX {
        return Err(Error::Name { name: name.to_owned(), number, count });
    }
    let expected = part.name(number);
    if expected != name {
        return Err(Error::Digits { name: name.to_owned(), expected });
    }
    Ok((1..=count).map(|number| part.name(number)).collect())
}

/// One header of a whole model: the metadata of the first part and the tensors of all. Parts may
/// come in any order; the header of a model that is not split comes back as it is.
///
/// [`Tensor::offset`](super::Tensor::offset) still counts from the data of the part that the tensor
/// lies in.
///
/// # Errors
/// [`Error`], which names the part that is missing or does not belong.
pub fn join(mut parts: Vec<Header>) -> Result<Header, Error> {
    parts.sort_by_key(part_index);
    let mut parts = parts.into_iter();
    let Some(mut whole) = parts.next() else { return Err(Error::Missing { number: 1, count: 1 }) };
    let count = part_count(&whole);
    if part_index(&whole) != 0 {
        return Err(Error::Missing { number: 1, count });
    }
    let mut next: u64 = 1;
    for part in parts {
        let index = part_index(&part);
        // Sorted, so an index that is too small is one that was there before.
        if index < next {
            return Err(Error::Twice { number: index.saturating_add(1), count });
        }
        if part_count(&part) != count {
            let number = index.saturating_add(1);
            return Err(Error::Count { number, found: part_count(&part), count });
        }
        if index > next {
            break;
        }
        whole.tensors.extend(part.tensors);
        next += 1;
    }
    if next < count {
        return Err(Error::Missing { number: next + 1, count });
    }
    check_tensors(&whole)?;
    check::metadata_is_usable(&whole)?;
    Ok(whole)
}

fn check_tensors(whole: &Header) -> Result<(), Error> {
    let found = whole.tensors.len() as u64;
    if found > TENSORS_MAX {
        let what = "the number of tensors in all parts".to_owned();
        return Err(HeaderError::OverLimit { what, found, max: TENSORS_MAX }.into());
    }
    if let Some(expected) = whole.u64(TENSORS_KEY)
        && expected != found
    {
        return Err(Error::Tensors { found, expected });
    }
    let mut names = BTreeSet::new();
    for tensor in &whole.tensors {
        if !names.insert(&tensor.name) {
            return Err(Error::Tensor { tensor: tensor.name.clone() });
        }
    }
    Ok(())
}

/// Which part it is by its own account, from 0. A file that does not say is whole, which is to say
/// the first of one.
pub(super) fn part_index(header: &Header) -> u64 {
    header.u64(NUMBER_KEY).unwrap_or(0)
}

/// Of how many parts, by its own account.
fn part_count(header: &Header) -> u64 {
    header.u64(COUNT_KEY).unwrap_or(0).max(1)
}
