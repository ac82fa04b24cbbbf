//! `[kv]`: where prefixes are kept besides the live cells, and how much they may take.

use std::path::{Path, PathBuf};

use planner::footprint::CacheType;
use supervisor::{KeepMode, KeepSettings};

use super::super::raw::{Kv, KvCache};
use crate::{
    limits::{
        KV_DAILY_WRITES_BYTES, KV_FREE_FLOOR_BYTES, KV_RAM_BUDGET_PARTS, KV_RAM_BYTES, KV_SSD_BYTES,
    },
    size,
};

/// The folder of the files in the data folder.
const FOLDER: &str = "kv";

/// The key's file in the data folder. It is not in the folder of the files, so that whoever copies
/// those has no key.
const KEY_FILE: &str = "kv.key";

/// What is known when the table is read.
pub(super) struct Known<'a> {
    /// What the flag says.
    pub(super) flag: Option<KvCache>,
    /// Where the program keeps its files.
    pub(super) data_dir: &'a Path,
    /// Memory for models.
    pub(super) budget_bytes: u64,
}

/// How keys and values are encoded in caches: what the flag says, else the table.
///
/// # Errors
/// A sentence that begins with the table and the key.
pub(super) fn kv_type(flag: Option<CacheType>, raw: &Kv) -> Result<CacheType, String> {
    match (flag, raw.kv_type.as_deref()) {
        (Some(kv_type), _) => Ok(kv_type),
        (None, Some(text)) => CacheType::from_name(text).map_err(|why| format!("[kv] type: {why}")),
        (None, None) => Ok(CacheType::default()),
    }
}

/// Reads the table. `from_file` makes a path of the file whole.
///
/// # Errors
/// A sentence that begins with the table and the key.
pub(super) fn read(
    raw: Kv,
    known: &Known<'_>,
    from_file: impl Fn(PathBuf) -> PathBuf,
) -> Result<KeepSettings, String> {
    let bytes = |key: &str, text: Option<&str>, default_bytes: u64| match text.map(size::parse) {
        None => Ok(default_bytes),
        Some(Ok(bytes)) => Ok(bytes),
        Some(Err(error)) => Err(format!("[kv] {key}: {error}")),
    };
    let not_zero = |key: &str, text: Option<&str>, default_bytes: u64| {
        bytes(key, text, default_bytes).and_then(|bytes| match bytes {
            0 => Err(format!("[kv] {key} is 0; write cache = \"off\" to keep nothing")),
            bytes => Ok(bytes),
        })
    };
    let ram_bytes = KV_RAM_BYTES.min((known.budget_bytes / KV_RAM_BUDGET_PARTS).max(1));
    let is_encrypted = raw.encrypt.unwrap_or(false);
    Ok(KeepSettings {
        mode: known.flag.or(raw.cache).map_or(KeepMode::Ssd, KvCache::mode),
        folder: raw.folder.map_or_else(|| known.data_dir.join(FOLDER), from_file),
        ram_bytes: not_zero("ram", raw.ram.as_deref(), ram_bytes)?,
        ssd_bytes: not_zero("ssd", raw.ssd.as_deref(), KV_SSD_BYTES)?,
        free_floor_bytes: bytes("free_floor", raw.free_floor.as_deref(), KV_FREE_FLOOR_BYTES)?,
        day_write_bytes: not_zero(
            "daily_writes",
            raw.daily_writes.as_deref(),
            KV_DAILY_WRITES_BYTES,
        )?,
        compress: raw.compress.unwrap_or(false),
        encryption_key: is_encrypted.then(|| known.data_dir.join(KEY_FILE)),
    })
}
