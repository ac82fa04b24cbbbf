//! The walk over the bytes of a header. Whether the values make sense together is `check`'s part.

use std::collections::{BTreeMap, BTreeSet};

use super::{Array, ElementType, Error, Header, Tensor, TensorType, Value, cursor::Cursor, limits};

pub(super) const MAGIC: &[u8] = b"GGUF";
const ALIGNMENT_BYTES_DEFAULT: u64 = 32;
const ALIGNMENT_KEY: &str = "general.alignment";
pub(super) const ARRAY_TYPE_NUMBER: u32 = 9;
/// A key with one character and a value of one byte: length, character, type, value.
const METADATA_ENTRY_BYTES_MIN: u64 = 8 + 1 + 4 + 1;
/// A name of one character, one dimension, type and offset.
const TENSOR_ENTRY_BYTES_MIN: u64 = (8 + 1) + (4 + 8) + 4 + 8;

pub(super) fn header(prefix: &[u8], file_bytes: u64) -> Result<Header, Error> {
    let mut cursor = Cursor::new(prefix, file_bytes);
    let version = magic_and_version(&mut cursor)?;
    let tensor_count = count(&mut cursor, "the number of tensors", limits::TENSORS_MAX)?;
    let key_count = count(&mut cursor, "the number of metadata keys", limits::METADATA_KEYS_MAX)?;
    let metadata = metadata(&mut cursor, key_count)?;
    let alignment = alignment(&metadata)?;
    let tensors = tensors(&mut cursor, tensor_count)?;
    let data_offset = cursor.position().next_multiple_of(alignment);
    Ok(Header { version, metadata, tensors, alignment, data_offset })
}

fn magic_and_version(cursor: &mut Cursor<'_>) -> Result<u32, Error> {
    let magic = cursor.take(4, || "the magic number".to_owned())?;
    if magic != MAGIC {
        return Err(Error::NotGguf { found: looks_like(magic) });
    }
    let version = cursor.u32(|| "the version".to_owned())?;
    let way_out = match version {
        2 | 3 => return Ok(version),
        0 | 1 => "the file is older than September 2023, get a newer conversion of the model",
        // A small number in the wrong byte order has zeros in its low half.
        swapped if swapped & 0xffff == 0 => {
            "the file is big-endian, made for another kind of computer; get the usual little-endian \
             one"
        }
        _ => "the file is newer than this program, update the program",
    };
    Err(Error::Version { version, way_out })
}

/// What people most often have in place of a model.
fn looks_like(magic: &[u8]) -> String {
    let kind = match magic {
        b"lmgg" | b"fmgg" | b"tjgg" | b"algg" => "one of GGUF's predecessors",
        b"vers" => "a Git LFS pointer, which stands for a file that was not downloaded",
        b"<!DO" | b"<!do" | b"<htm" | b"<HTM" => "a web page, which was saved in place of the file",
        b"PK\x03\x04" => "a ZIP archive or PyTorch checkpoint",
        _ => return format!("the bytes {:02x?}", magic),
    };
    kind.to_owned()
}

fn count(cursor: &mut Cursor<'_>, what: &str, max: u64) -> Result<u64, Error> {
    let found = cursor.u64(|| what.to_owned())?;
    if found > max {
        return Err(Error::OverLimit { what: what.to_owned(), found, max });
    }
    Ok(found)
}

fn metadata(cursor: &mut Cursor<'_>, count: u64) -> Result<BTreeMap<String, Value>, Error> {
    cursor.require(count * METADATA_ENTRY_BYTES_MIN, || format!("metadata of {count} keys"))?;
    let mut metadata = BTreeMap::new();
    let mut kept_elements: u64 = 0;
    for number in 0..count {
        let what = || format!("the name of metadata key {number}");
        let key = name(cursor.text(limits::KEY_BYTES_MAX, what)?, what)?;
        cursor.count_kept(key.len() as u64, what)?;
        let value = value(cursor, key)?;
        if let Value::Array(Array { kept: Some(kept), .. }) = &value {
            kept_elements += kept.len() as u64;
            let max = limits::ARRAYS_KEPT_ELEMENTS_MAX;
            if kept_elements > max {
                let what = format!("the number of elements in small arrays up to `{key}`");
                return Err(Error::OverLimit { what, found: kept_elements, max });
            }
        }
        if metadata.insert(key.to_owned(), value).is_some() {
            return Err(Error::Invalid { what: format!("metadata key `{key}` appears twice") });
        }
    }
    Ok(metadata)
}

fn name(bytes: &[u8], what: impl Fn() -> String) -> Result<&str, Error> {
    match std::str::from_utf8(bytes) {
        Ok("") => Err(Error::Invalid { what: format!("{} is empty", what()) }),
        Ok(name) if name.contains(char::is_control) => {
            Err(Error::Invalid { what: format!("{} has control characters: {name:?}", what()) })
        }
        Ok(name) => Ok(name),
        Err(_) => Err(Error::Invalid { what: format!("{} is not UTF-8", what()) }),
    }
}

fn value(cursor: &mut Cursor<'_>, key: &str) -> Result<Value, Error> {
    let type_number = cursor.u32(|| format!("the type of `{key}`"))?;
    if type_number == ARRAY_TYPE_NUMBER {
        return array(cursor, key).map(Value::Array);
    }
    single(cursor, element_type(type_number, key)?, key)
}

fn element_type(number: u32, key: &str) -> Result<ElementType, Error> {
    ElementType::from_number(number).ok_or_else(|| Error::Invalid {
        what: format!("metadata key `{key}` has the unknown value type {number}"),
    })
}

fn single(cursor: &mut Cursor<'_>, element: ElementType, key: &str) -> Result<Value, Error> {
    let what = || format!("the value of `{key}`");
    Ok(match element {
        ElementType::U8 => Value::Unsigned(u8::from_le_bytes(cursor.array(what)?).into()),
        ElementType::U16 => Value::Unsigned(u16::from_le_bytes(cursor.array(what)?).into()),
        ElementType::U32 => Value::Unsigned(cursor.u32(what)?.into()),
        ElementType::U64 => Value::Unsigned(cursor.u64(what)?),
        ElementType::I8 => Value::Signed(i8::from_le_bytes(cursor.array(what)?).into()),
        ElementType::I16 => Value::Signed(i16::from_le_bytes(cursor.array(what)?).into()),
        ElementType::I32 => Value::Signed(i32::from_le_bytes(cursor.array(what)?).into()),
        ElementType::I64 => Value::Signed(i64::from_le_bytes(cursor.array(what)?)),
        ElementType::F32 => Value::Float(f32::from_le_bytes(cursor.array(what)?).into()),
        ElementType::F64 => Value::Float(f64::from_le_bytes(cursor.array(what)?)),
        ElementType::Bool => Value::Bool(cursor.array::<1>(what)? != [0]),
        ElementType::String => string(cursor, what)?,
    })
}

fn string(cursor: &mut Cursor<'_>, what: impl Fn() -> String) -> Result<Value, Error> {
    let bytes = cursor.text(u64::MAX, &what)?;
    let (len, end) = (bytes.len() as u64, cursor.position());
    if len > limits::STRING_KEPT_BYTES_MAX {
        return Ok(Value::LongString { place: end - len..end });
    }
    // A byte that is not UTF-8 becomes a replacement character, which takes three.
    let growth = if std::str::from_utf8(bytes).is_ok() { 1 } else { 3 };
    cursor.count_kept(len * growth, what)?;
    Ok(Value::String(String::from_utf8_lossy(bytes).into_owned()))
}

fn array(cursor: &mut Cursor<'_>, key: &str) -> Result<Array, Error> {
    let type_number = cursor.u32(|| format!("the element type of `{key}`"))?;
    if type_number == ARRAY_TYPE_NUMBER {
        let what = format!("metadata key `{key}` is an array of arrays, which no engine can read");
        return Err(Error::Invalid { what });
    }
    let element = element_type(type_number, key)?;
    let len = cursor.u64(|| format!("the length of `{key}`"))?;
    let what = || format!("the array `{key}` of {len} elements");
    let bytes_min = len.saturating_mul(element.bytes_min());
    cursor.require(bytes_min, what)?;
    let start = cursor.position();
    let mut kept = None;
    if len <= limits::ARRAY_KEPT_ELEMENTS_MAX {
        kept = Some((0..len).map(|_| single(cursor, element, key)).collect::<Result<_, _>>()?);
    } else if element == ElementType::String {
        cursor.skip_texts(len, what)?;
    } else {
        cursor.take(bytes_min, what)?;
    }
    Ok(Array { element, len, place: start..cursor.position(), kept })
}

fn alignment(metadata: &BTreeMap<String, Value>) -> Result<u64, Error> {
    let Some(value) = metadata.get(ALIGNMENT_KEY) else {
        return Ok(ALIGNMENT_BYTES_DEFAULT);
    };
    match value.as_u64() {
        Some(bytes) if bytes.is_power_of_two() && bytes <= limits::ALIGNMENT_BYTES_MAX => Ok(bytes),
        Some(bytes) => Err(Error::Invalid {
            what: format!(
                "`{ALIGNMENT_KEY}` is {bytes}, which is not a power of two up to {}",
                limits::ALIGNMENT_BYTES_MAX
            ),
        }),
        None => Err(Error::Invalid { what: format!("`{ALIGNMENT_KEY}` is not an integer") }),
    }
}

fn tensors(cursor: &mut Cursor<'_>, count: u64) -> Result<Vec<Tensor>, Error> {
    cursor.require(count * TENSOR_ENTRY_BYTES_MIN, || format!("the table of {count} tensors"))?;
    let mut names = BTreeSet::new();
    let mut tensors = Vec::new();
    for number in 0..count {
        let what = || format!("the name of tensor {number}");
        let name = name(cursor.text(limits::TENSOR_NAME_BYTES_MAX, what)?, what)?;
        if !names.insert(name) {
            return Err(Error::Invalid { what: format!("tensor `{name}` appears twice") });
        }
        tensors.push(tensor(cursor, name.to_owned())?);
    }
    Ok(tensors)
}

fn tensor(cursor: &mut Cursor<'_>, name: String) -> Result<Tensor, Error> {
    let what = || format!("the description of tensor `{name}`");
    let dimension_count = cursor.u32(what)?;
    if !(1..=limits::TENSOR_DIMENSIONS_MAX).contains(&dimension_count) {
        let what = format!(
            "tensor `{name}` has {dimension_count} dimensions, not 1 to {}",
            limits::TENSOR_DIMENSIONS_MAX
        );
        return Err(Error::Invalid { what });
    }
    let mut dimensions = [1; limits::TENSOR_DIMENSIONS_MAX as usize];
    for dimension in dimensions.iter_mut().take(dimension_count as usize) {
        *dimension = cursor.u64(what)?;
    }
    let type_number = cursor.u32(what)?;
    let offset = cursor.u64(what)?;
    let (kind, bytes) = encoding(&name, dimensions, type_number)?;
    Ok(Tensor { name, dimensions, kind, offset, bytes })
}

/// The type and the bytes of a tensor, when its shape is one that can exist.
fn encoding(
    name: &str,
    dimensions: [u64; 4],
    type_number: u32,
) -> Result<(TensorType, u64), Error> {
    let invalid = |what: String| Error::Invalid { what };
    let kind = TensorType::from_number(type_number).ok_or_else(|| {
        invalid(format!("tensor `{name}` has the unknown or removed type {type_number}"))
    })?;
    if dimensions.contains(&0) {
        return Err(invalid(format!("tensor `{name}` has an empty dimension in {dimensions:?}")));
    }
    if !dimensions[0].is_multiple_of(kind.block_elements()) {
        return Err(invalid(format!(
            "tensor `{name}` has rows of {} elements, which is not a multiple of the {} in a block \
             of {}",
            dimensions[0],
            kind.block_elements(),
            kind.name()
        )));
    }
    let elements = dimensions.iter().try_fold(1_u64, |product, dimension| {
        product.checked_mul(*dimension).filter(|elements| i64::try_from(*elements).is_ok())
    });
    let bytes = elements.and_then(|elements| kind.bytes(elements));
    let bytes = bytes.ok_or_else(|| {
        invalid(format!("tensor `{name}` has a shape too large to exist: {dimensions:?}"))
    })?;
    Ok((kind, bytes))
}
