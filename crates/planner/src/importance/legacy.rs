//! The form of matrices from before GGUF: no head, just how many entries there are and then, for each, its
//! name, the number of calls and the values. All numbers have 32 bits.

use std::collections::BTreeMap;

use super::{
    Error, Matrix, floats,
    limits::{ENTRIES_MAX, NAME_BYTES_MAX},
};

/// What the file says. What is behind the entries (the last call, the name of the text) is left out.
///
/// # Errors
/// [`Error`]; since nothing marks such a file, anything may be taken for one, and mostly says then that
/// it has more entries than any model.
pub(super) fn read(bytes: &[u8]) -> Result<Matrix, Error> {
    let mut rest = bytes;
    let count = number(&mut rest).unwrap_or(0);
    if count == 0 || count > ENTRIES_MAX {
        let found = "it begins neither as GGUF nor as one of the older form".to_owned();
        return Err(Error::NotAMatrix { found });
    }
    let mut entries = BTreeMap::new();
    for index in 0..count {
        let (name, values) = entry(&mut rest, index)?;
        if entries.contains_key(&name) {
            return Err(Error::Damaged { what: format!("`{name}` is in it twice") });
        }
        entries.insert(name, values);
    }
    Ok(Matrix { entries, chunks: None })
}

fn entry(rest: &mut &[u8], index: usize) -> Result<(String, Vec<f32>), Error> {
    let cut = || Error::Damaged { what: format!("it ends within entry {}", index + 1) };
    let length = number(rest).ok_or_else(cut)?;
    if length == 0 || length > NAME_BYTES_MAX {
        let what = format!("the name of entry {} has {length} bytes", index + 1);
        return Err(Error::Damaged { what });
    }
    let name = take(rest, length).ok_or_else(cut)?;
    let name = str::from_utf8(name).ok().filter(|name| !name.contains(char::is_control));
    let Some(name) = name else {
        return Err(Error::Damaged { what: format!("the name of entry {} is no text", index + 1) });
    };
    let calls = number(rest).ok_or_else(cut)?;
    let count = number(rest).ok_or_else(cut)?;
    if count == 0 {
        return Err(Error::Damaged { what: format!("`{name}` has no values") });
    }
    let mut values = floats(take(rest, count.checked_mul(4).ok_or_else(cut)?).ok_or_else(cut)?);
    // What is no sensible number of calls divides nothing, as in llama.cpp.
    if let Ok(calls @ 1..) = i32::try_from(calls) {
        values.iter_mut().for_each(|value| *value /= calls as f32);
    }
    Ok((name.to_owned(), values))
}

/// The next number. Those that would be negative are greater than any limit.
fn number(rest: &mut &[u8]) -> Option<usize> {
    let (number, behind) = rest.split_first_chunk::<4>()?;
    *rest = behind;
    usize::try_from(u32::from_le_bytes(*number)).ok()
}

fn take<'a>(rest: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (taken, behind) = rest.split_at_checked(length)?;
    *rest = behind;
    Some(taken)
}
