//! What a worker that keeps prefixes takes of memory for them: the memory tier, and what it reads files
//! into.

use planner::footprint::{self, Layout};
use planner::gguf::Header;
use worker_protocol::limits::{
    KEPT_BLOCK_TOKENS, KEPT_READ_AHEAD_BYTES, KEPT_SEGMENT_BYTES, KEPT_SEGMENTS_MAX,
};

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
            bytes: reading_bytes(header, layout, keep),
            why: "what is read ahead from files, what is waited for and what is being taken; no more \
                  than the whole context"
                .to_owned(),
        }),
    }
    needs
}

/// What restores of all sequences read into. It is kept for the next ones. What is compressed or encrypted is
/// of use only block by block, and a state whole.
fn reading_bytes(header: &Header, layout: &Layout, keep: &KeepSettings) -> u64 {
    let context = footprint::predict_state(header, layout);
    let context_bytes = context.total_bytes();
    let blocks = u64::from(layout.context_tokens).div_ceil(KEPT_BLOCK_TOKENS).max(1);
    let block_bytes = context_bytes.div_ceil(blocks);
    let sequences = u64::from(layout.sequences_max).max(1);
    let state_bytes = context.bytes_of(footprint::RECURRENT) / sequences;
    let part_bytes = if keep.compress || keep.encryption_key.is_some() {
        block_bytes
    } else {
        KEPT_SEGMENT_BYTES.max(block_bytes.div_ceil(KEPT_SEGMENTS_MAX)).min(block_bytes)
    };
    let part_bytes = part_bytes.max(state_bytes);
    let ahead_bytes = part_bytes.max(KEPT_READ_AHEAD_BYTES);
    let one_bytes = ahead_bytes.saturating_add(part_bytes.saturating_mul(2));
    one_bytes.saturating_mul(sequences).min(context_bytes)
}

#[cfg(test)]
mod tests {
    use planner::catalogue;
    use planner::footprint::CacheType;

    use super::*;

    #[test]
    fn reading_takes_what_is_ahead_and_two_parts_and_no_more_than_the_context() {
        let header = catalogue::builtin().find("qwen3-8b").unwrap().header("Q4_K_M").unwrap();
        // 36 layers × 8 heads × 128 numbers × 2 bytes, for keys and for values.
        let block_bytes = 36 * 8 * 128 * 2 * 2 * KEPT_BLOCK_TOKENS;
        let keep = KeepSettings {
            mode: KeepMode::Ssd,
            folder: "kv".into(),
            ram_bytes: 0,
            ssd_bytes: 0,
            free_floor_bytes: 0,
            day_write_bytes: 0,
            compress: false,
            encryption_key: None,
        };
        let reading = |tokens, keep| reading_bytes(&header, &Layout::new(tokens, 1), keep);
        assert_eq!(reading(8192, &keep), KEPT_READ_AHEAD_BYTES + 2 * KEPT_SEGMENT_BYTES);
        let small =
            Layout { keys: CacheType::Q4_0, values: CacheType::Q4_0, ..Layout::new(256, 1) };
        let context_bytes = footprint::predict_state(&header, &small).total_bytes();
        assert_eq!(reading_bytes(&header, &small, &keep), context_bytes);
        let packed = KeepSettings { compress: true, ..keep.clone() };
        assert_eq!(reading(8192, &packed), 3 * block_bytes);
    }
}
