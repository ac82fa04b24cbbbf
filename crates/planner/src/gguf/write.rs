//! Writes the header of a GGUF file: everything in front of the tensor data.
//!
//! For files that are made (header-only files of real shapes, joined parts, tests). Reading is
//! `read`'s part, and writing tensor data is the caller's.

use super::{Array, ElementType, Header, Tensor, Value, read};

/// Why a header cannot be written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A value that the reader passed over, so that its content is not known here.
    #[error("the value of `{key}` was not kept when the header was read; copy its bytes instead")]
    NotKept {
        /// The key of the value.
        key: String,
    },
    /// An array with an element of another type than the array says.
    #[error("`{key}` is an array of {element:?}, but its element {index} is {found}")]
    Element {
        /// The key of the array.
        key: String,
        /// What the array says its elements are.
        element: ElementType,
        /// Which element is not.
        index: usize,
        /// That element.
        found: String,
    },
}

/// The bytes in front of the tensor data of `header`, padded to its alignment.
///
/// Reading them again gives the same header, except for the places of arrays and of the data, which
/// are those in the new bytes. Metadata comes in the order of the keys.
///
/// # Errors
/// When a value was not kept by the reader, or an array contradicts itself.
pub fn write(header: &Header) -> Result<Vec<u8>, Error> {
    let keys = header.metadata.iter().map(|(key, value)| (key.as_str(), value));
    ordered(header.version, keys, &header.tensors, header.alignment)
}

/// The same for keys in an order of the caller's choice.
///
/// # Errors
/// As for [`write()`].
pub fn ordered<'a>(
    version: u32,
    keys: impl IntoIterator<Item = (&'a str, &'a Value)>,
    tensors: &[Tensor],
    alignment: u64,
) -> Result<Vec<u8>, Error> {
    let mut metadata = Vec::new();
    let mut key_count: u64 = 0;
    for (key, value) in keys {
        text(&mut metadata, key);
        pair(&mut metadata, key, value)?;
        key_count += 1;
    }
    let mut bytes = read::MAGIC.to_vec();
    bytes.extend(version.to_le_bytes());
    bytes.extend((tensors.len() as u64).to_le_bytes());
    bytes.extend(key_count.to_le_bytes());
    bytes.append(&mut metadata);
    for tensor in tensors {
        description(&mut bytes, tensor);
    }
    let padded = (bytes.len() as u64).next_multiple_of(alignment);
    bytes.resize(usize::try_from(padded).unwrap_or(bytes.len()), 0);
    Ok(bytes)
}

/// Trailing dimensions of one are not written, as in every converter's files.
fn description(bytes: &mut Vec<u8>, tensor: &Tensor) {
    text(bytes, &tensor.name);
    let last = tensor.dimensions.iter().rposition(|dimension| *dimension != 1).unwrap_or(0);
    let dimensions = &tensor.dimensions[..=last];
    bytes.extend((dimensions.len() as u32).to_le_bytes());
    dimensions.iter().for_each(|dimension| bytes.extend(dimension.to_le_bytes()));
    bytes.extend(tensor.kind.number().to_le_bytes());
    bytes.extend(tensor.offset.to_le_bytes());
}

/// The type of a value and the value.
fn pair(bytes: &mut Vec<u8>, key: &str, value: &Value) -> Result<(), Error> {
    if let Value::Array(found) = value {
        bytes.extend(read::ARRAY_TYPE_NUMBER.to_le_bytes());
        return array(bytes, key, found);
    }
    let element = element_type(key, value)?;
    bytes.extend(element.number().to_le_bytes());
    // The type was chosen so that the value has it.
    single(bytes, element, value).ok_or_else(|| Error::NotKept { key: key.to_owned() })
}

fn array(bytes: &mut Vec<u8>, key: &str, array: &Array) -> Result<(), Error> {
    let Some(kept) = &array.kept else {
        return Err(Error::NotKept { key: key.to_owned() });
    };
    bytes.extend(array.element.number().to_le_bytes());
    bytes.extend((kept.len() as u64).to_le_bytes());
    for (index, value) in kept.iter().enumerate() {
        single(bytes, array.element, value).ok_or_else(|| Error::Element {
            key: key.to_owned(),
            element: array.element,
            index,
            found: format!("{value:?}"),
        })?;
    }
    Ok(())
}

/// The type that llama.cpp expects of a single value: it refuses a number of another width than the
/// one it asks for, which is 32 bits everywhere but for the counts of parts.
fn element_type(key: &str, value: &Value) -> Result<ElementType, Error> {
    Ok(match value {
        Value::Unsigned(_) if matches!(key, "split.no" | "split.count") => ElementType::U16,
        Value::Unsigned(number) if u32::try_from(*number).is_ok() => ElementType::U32,
        Value::Unsigned(_) => ElementType::U64,
        Value::Signed(number) if i32::try_from(*number).is_ok() => ElementType::I32,
        Value::Signed(_) => ElementType::I64,
        Value::Float(number) if narrow(*number).is_some() => ElementType::F32,
        Value::Float(_) => ElementType::F64,
        Value::Bool(_) => ElementType::Bool,
        Value::String(_) => ElementType::String,
        Value::LongString { .. } | Value::Array(_) => {
            return Err(Error::NotKept { key: key.to_owned() });
        }
    })
}

/// Appends `value` as an `element`; `None` when it is none.
fn single(bytes: &mut Vec<u8>, element: ElementType, value: &Value) -> Option<()> {
    match element {
        ElementType::U8 => bytes.extend(unsigned::<u8>(value)?.to_le_bytes()),
        ElementType::U16 => bytes.extend(unsigned::<u16>(value)?.to_le_bytes()),
        ElementType::U32 => bytes.extend(unsigned::<u32>(value)?.to_le_bytes()),
        ElementType::U64 => bytes.extend(unsigned::<u64>(value)?.to_le_bytes()),
        ElementType::I8 => bytes.extend(signed::<i8>(value)?.to_le_bytes()),
        ElementType::I16 => bytes.extend(signed::<i16>(value)?.to_le_bytes()),
        ElementType::I32 => bytes.extend(signed::<i32>(value)?.to_le_bytes()),
        ElementType::I64 => bytes.extend(signed::<i64>(value)?.to_le_bytes()),
        ElementType::F32 => bytes.extend(narrow(float(value)?)?.to_le_bytes()),
        ElementType::F64 => bytes.extend(float(value)?.to_le_bytes()),
        ElementType::Bool => bytes.push(value.as_bool()?.into()),
        ElementType::String => text(bytes, value.as_str()?),
    }
    Some(())
}

fn unsigned<T: TryFrom<u64>>(value: &Value) -> Option<T> {
    let Value::Unsigned(number) = value else { return None };
    T::try_from(*number).ok()
}

fn signed<T: TryFrom<i64>>(value: &Value) -> Option<T> {
    let Value::Signed(number) = value else { return None };
    T::try_from(*number).ok()
}

fn float(value: &Value) -> Option<f64> {
    let Value::Float(number) = value else { return None };
    Some(*number)
}

/// The same number in 32 bits, when it has room there.
fn narrow(number: f64) -> Option<f32> {
    #[expect(clippy::cast_possible_truncation, reason = "whether it was is the question")]
    let narrowed = number as f32;
    let same = f64::from(narrowed).to_bits() == number.to_bits() || number.is_nan();
    same.then_some(narrowed)
}

fn text(bytes: &mut Vec<u8>, text: &str) {
    bytes.extend((text.len() as u64).to_le_bytes());
    bytes.extend(text.as_bytes());
}

#[cfg(test)]
mod tests;
