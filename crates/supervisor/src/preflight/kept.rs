//! What a worker that keeps prefixes takes of memory for them: the memory tier, and what it reads files
//! into.

use planner::footprint::{self, Layout};
use planner::gguf::Header;
use worker_protocol::limits::{KEPT_BLOCK_TOKENS, KEPT_READ_AHEAD_BYTES};

use crate::config::{KeepMode, KeepSettings};
use crate::limits::{KEPT_RAM_BYTES_MIN, KEPT_RAM_PARTS};
use crate::model::Need;

/// With memory that is in proportion to a model that needs so many bytes.
pub(super) fn fitting(keep: KeepSettings, needed_bytes: u64) -> KeepSettings {
    let share_bytes = (needed_bytes / KEPT_RAM_PARTS).max(KEPT_RAM_BYTES_MIN);
    KeepSettings { ram_bytes: keep.ram_bytes.min(share_bytes), ..keep }
}

/// What is booked for it.
pub(super) fn needs(keep: &KeepSettings, header: &Header, layout: &Layout) -> Vec<Need> {
    let mut needs = vec![Need {
        what: "kept prefixes in RAM".to_owned(),
        bytes: keep.ram_bytes,
        why: "what [kv] ram allows, at most an eighth of what the model needs without it"
            .to_owned(),
    }];
    match keep.mode {
        KeepMode::Off | KeepMode::Ram => {}
        KeepMode::Ssd => needs.push(Need {
            what: "reading kept prefixes".to_owned(),
            bytes: reading_bytes(header, layout),
            why: "the blocks that are read ahead from files, and the one that is being taken; no \
                  more than the whole context"
                .to_owned(),
        }),
    }
    needs
}

/// What one restore reads into. It is kept for the next one.
fn reading_bytes(header: &Header, layout: &Layout) -> u64 {
    let context_bytes = footprint::predict_state(header, layout).total_bytes();
    let blocks = u64::from(layout.context_tokens).div_ceil(KEPT_BLOCK_TOKENS).max(1);
    let block_bytes = context_bytes.div_ceil(blocks);
    block_bytes.max(KEPT_READ_AHEAD_BYTES).saturating_add(block_bytes).min(context_bytes)
}

#[cfg(test)]
mod tests {
    use planner::catalogue;

    use super::*;

    #[test]
    fn reading_takes_what_is_ahead_and_a_block_and_no_more_than_the_context() {
        let header = catalogue::builtin().find("qwen3-8b").unwrap().header("Q4_K_M").unwrap();
        // 36 layers × 8 heads × 128 numbers × 2 bytes, for keys and for values.
        let block_bytes = 36 * 8 * 128 * 2 * 2 * KEPT_BLOCK_TOKENS;
        let reading = |tokens| reading_bytes(&header, &Layout::new(tokens, 1));
        assert_eq!(reading(8192), KEPT_READ_AHEAD_BYTES + block_bytes);
        assert_eq!(reading(256), block_bytes);
    }
}
