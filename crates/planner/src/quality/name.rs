//! Reads the names of quantizations.
//!
//! Repositories write them in several ways: `UD-` stands before Unsloth's dynamic ones, `i1-` before
//! those with an importance matrix, `_L` behind those whose embeddings keep more bits.

use super::table::{Improvement, LARGER_EMBEDDINGS, Row, TABLE, UNSLOTH_DYNAMIC};

/// A name, taken apart.
pub(super) struct Parsed {
    /// In capitals, without what stands around it.
    plain: String,
    dynamic: bool,
}

impl Parsed {
    pub(super) fn of(name: &str) -> Self {
        let upper = name.trim().to_ascii_uppercase().replace('-', "_");
        let upper = upper.strip_suffix(".GGUF").unwrap_or(&upper);
        let upper = upper.strip_prefix("I1_").unwrap_or(upper);
        let rest = upper.strip_prefix("UD_");
        Self { plain: rest.unwrap_or(upper).to_owned(), dynamic: rest.is_some() }
    }

    /// The row of the table that says most about it.
    pub(super) fn row(&self) -> Option<&'static Row> {
        let find = |name: &str| TABLE.iter().find(|row| row.name == name);
        let dynamic = format!("UD-{}", self.plain);
        // Everybody's "XL" is Unsloth's.
        find(&dynamic)
            .filter(|_| self.dynamic || self.plain.ends_with("_XL"))
            .or_else(|| find(&self.plain))
            .or_else(|| find(self.without_larger_embeddings()?))
    }

    /// When the row is that of another quantization: how much better this one is.
    pub(super) fn improved(&self) -> Option<&'static Improvement> {
        let row = self.row()?;
        if row.name.starts_with("UD-") {
            None
        } else if self.dynamic {
            Some(&UNSLOTH_DYNAMIC)
        } else if row.name == self.plain {
            None
        } else {
            Some(&LARGER_EMBEDDINGS)
        }
    }

    /// `Q6_K` for `Q6_K_L`, and `Q4_K_M` for `Q4_K_L`, which has no plain form.
    fn without_larger_embeddings(&self) -> Option<&'static str> {
        Some(match self.plain.as_str() {
            "Q6_K_L" => "Q6_K",
            "Q5_K_L" => "Q5_K_M",
            "Q4_K_L" => "Q4_K_M",
            "Q2_K_L" => "Q2_K",
            _ => return None,
        })
    }

    /// The number that the name begins with behind its letters: 4 in `IQ4_XS`, 16 in `BF16`.
    pub(super) fn digits(&self) -> Option<u32> {
        digits(&self.plain)
    }
}

/// See [`Parsed::digits`].
pub(super) fn digits(name: &str) -> Option<u32> {
    let digits: String = name
        .chars()
        .skip_while(|letter| !letter.is_ascii_digit())
        .take_while(char::is_ascii_digit)
        .collect();
    digits.parse().ok().filter(|bits| (1..=64).contains(bits))
}
