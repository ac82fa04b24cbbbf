//! Rules of thumb that people plan by, beside the right figure, so that whoever knows the rule sees
//! why the plan differs.

use planner::gguf::Header;
use serde::Serialize;

use super::row::Row;
use crate::size;

/// A popular rule, and what is true.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Claim {
    rule: &'static str,
    rule_bytes: u64,
    right_bytes: u64,
    why: String,
}

impl Claim {
    /// It in one line for people.
    pub(crate) fn line(&self) -> String {
        format!(
            "\"{}\" says {}; right is {}: {}",
            self.rule,
            size::format(self.rule_bytes),
            size::format(self.right_bytes),
            self.why
        )
    }
}

/// What popular rules say of the model in `row`.
pub(crate) fn claims(header: &Header, row: &Row) -> Vec<Claim> {
    cache(header, row).into_iter().chain(quantization(row)).collect()
}

/// It forgets that keys and values are both kept, and takes the width of the model for that of its
/// cached heads. The two errors seldom cancel.
fn cache(header: &Header, row: &Row) -> Option<Claim> {
    let width = header.arch_u64("embedding_length")?;
    let bytes = [header.layers(), row.context_tokens.into(), width, 2]
        .into_iter()
        .fold(1, |product: u64, factor| product.saturating_mul(factor));
    (row.kv_bytes > 0 && row.kv_type == "f16").then(|| Claim {
        rule: "cache = layers × context × width × 2 bytes",
        rule_bytes: bytes,
        right_bytes: row.kv_bytes,
        why: "keys and values are both kept, and count by cached heads, not by the model's width"
            .to_owned(),
    })
}

/// llama.cpp computes with weights as the file encodes them, so that every factor is one.
fn quantization(row: &Row) -> Option<Claim> {
    let (rule, tenths) = match row.bits_class {
        2 => ("2-bit files take 1.5 times their size in memory", 15),
        4 => ("4-bit files take 1.2 times their size in memory", 12),
        _ => return None,
    };
    let file_bytes = row.file_bytes?;
    let rule_bytes = u64::try_from(u128::from(file_bytes) * tenths / 10).unwrap_or(u64::MAX);
    Some(Claim {
        rule,
        rule_bytes,
        right_bytes: row.weights_bytes,
        why:
            "weights stay as they are in the file; what comes on top does not depend on their bits"
                .to_owned(),
    })
}
