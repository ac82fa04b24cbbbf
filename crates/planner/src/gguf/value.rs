//! The values that metadata can have.
//!
//! Widths are not kept: what a reader wants to know is the number. How the values lie in the file
//! is `read`'s business.

use std::ops::Range;

/// One metadata value.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// An unsigned integer of any width.
    Unsigned(u64),
    /// A signed integer of any width.
    Signed(i64),
    /// A float of either width.
    Float(f64),
    /// A truth value.
    Bool(bool),
    /// A string. Bytes that are not UTF-8 became replacement characters.
    String(String),
    /// A string too long to keep.
    LongString {
        /// Where its bytes lie in the file.
        place: Range<u64>,
    },
    /// Several values of one type.
    Array(Array),
}

/// Several values of one type. Arrays of arrays do not exist: llama.cpp refuses them.
#[derive(Debug, Clone, PartialEq)]
pub struct Array {
    /// The type of each element.
    pub element: ElementType,
    /// How many elements there are.
    pub len: u64,
    /// Where the elements lie in the file, in bytes from its start.
    pub place: Range<u64>,
    /// The elements, when there are few. Vocabularies are not kept.
    pub kept: Option<Vec<Value>>,
}

/// The type of a single value in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ElementType {
    /// 8 bits.
    U8,
    /// 8 bits, signed.
    I8,
    /// 16 bits.
    U16,
    /// 16 bits, signed.
    I16,
    /// 32 bits.
    U32,
    /// 32 bits, signed.
    I32,
    /// 32 bits, floating.
    F32,
    /// One byte.
    Bool,
    /// A length of 8 bytes and that many bytes.
    String,
    /// 64 bits.
    U64,
    /// 64 bits, signed.
    I64,
    /// 64 bits, floating.
    F64,
}

impl ElementType {
    /// What `number` means in a file. The number of the array type, 9, is not among them.
    pub(super) fn from_number(number: u32) -> Option<Self> {
        Some(match number {
            0 => Self::U8,
            1 => Self::I8,
            2 => Self::U16,
            3 => Self::I16,
            4 => Self::U32,
            5 => Self::I32,
            6 => Self::F32,
            7 => Self::Bool,
            8 => Self::String,
            10 => Self::U64,
            11 => Self::I64,
            12 => Self::F64,
            _ => return None,
        })
    }

    /// The number that means this type in a file.
    pub(super) fn number(self) -> u32 {
        match self {
            Self::U8 => 0,
            Self::I8 => 1,
            Self::U16 => 2,
            Self::I16 => 3,
            Self::U32 => 4,
            Self::I32 => 5,
            Self::F32 => 6,
            Self::Bool => 7,
            Self::String => 8,
            Self::U64 => 10,
            Self::I64 => 11,
            Self::F64 => 12,
        }
    }

    /// Bytes of one element; of a string the least it can have, its length.
    pub(super) fn bytes_min(self) -> u64 {
        match self {
            Self::U8 | Self::I8 | Self::Bool => 1,
            Self::U16 | Self::I16 => 2,
            Self::U32 | Self::I32 | Self::F32 => 4,
            Self::U64 | Self::I64 | Self::F64 | Self::String => 8,
        }
    }
}

impl Value {
    /// As an integer that is not negative.
    #[must_use]
    pub fn as_u64(&self) -> Option<u64> {
        match self {
            Self::Unsigned(value) => Some(*value),
            Self::Signed(value) => u64::try_from(*value).ok(),
            Self::Float(_)
            | Self::Bool(_)
            | Self::String(_)
            | Self::LongString { .. }
            | Self::Array(_) => None,
        }
    }

    /// As an integer of layer `layer`: one for all layers, or an array with one for each.
    #[must_use]
    pub fn of_layer(&self, layer: u64) -> Option<u64> {
        match self {
            Self::Array(array) => array.kept.as_ref()?.get(usize::try_from(layer).ok()?)?.as_u64(),
            Self::Unsigned(_)
            | Self::Signed(_)
            | Self::Float(_)
            | Self::Bool(_)
            | Self::String(_)
            | Self::LongString { .. } => self.as_u64(),
        }
    }

    /// As a float. Integers beyond 2^53 lose their last digits.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "documented, and no model has such numbers")]
    pub fn as_f64(&self) -> Option<f64> {
        match self {
            Self::Unsigned(value) => Some(*value as f64),
            Self::Signed(value) => Some(*value as f64),
            Self::Float(value) => Some(*value),
            Self::Bool(_) | Self::String(_) | Self::LongString { .. } | Self::Array(_) => None,
        }
    }

    /// As a truth value.
    #[must_use]
    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Self::Bool(value) => Some(*value),
            Self::Unsigned(_)
            | Self::Signed(_)
            | Self::Float(_)
            | Self::String(_)
            | Self::LongString { .. }
            | Self::Array(_) => None,
        }
    }

    /// As a string.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(value) => Some(value),
            Self::Unsigned(_)
            | Self::Signed(_)
            | Self::Float(_)
            | Self::Bool(_)
            | Self::LongString { .. }
            | Self::Array(_) => None,
        }
    }
}
