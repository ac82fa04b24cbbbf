//! What the KV cache may take, from defaults to refusals.

use planner::footprint::CacheType;
use supervisor::{KeepMode, KeepSettings};

use super::*;
use crate::config::raw::KvCache;

#[test]
fn defaults_keep_files_in_the_data_folder() {
    let keep = from_text("").keep;
    let expected = KeepSettings {
        mode: KeepMode::Ssd,
        folder: "/data/resident/kv".into(),
        ram_bytes: 256 << 20,
        ssd_bytes: 20 << 30,
        free_floor_bytes: 10 << 30,
        day_write_bytes: 50_000_000_000,
        compress: false,
        encryption_key: None,
    };
    assert_eq!(keep, expected);
    let small = from_text("budget = \"3200MB\"").keep;
    assert_eq!(small.ram_bytes, 100_000_000, "a small budget gives a small part");
}

#[test]
fn every_key_counts_and_the_flag_wins() {
    let text = "data_dir = \"d\"\n[kv]\ncache = \"off\"\nfolder = \"~/k\"\nram = \"1GB\"\n\
                ssd = \"2GB\"\nfree_floor = \"0\"\ndaily_writes = \"4GB\"\ncompress = true\n\
                encrypt = true";
    let expected = KeepSettings {
        mode: KeepMode::Off,
        folder: "/home/me/k".into(),
        ram_bytes: 1_000_000_000,
        ssd_bytes: 2_000_000_000,
        free_floor_bytes: 0,
        day_write_bytes: 4_000_000_000,
        compress: true,
        encryption_key: Some("/etc/r/d/kv.key".into()),
    };
    assert_eq!(from_text(text).keep, expected);
    let serving = Serving { kv_cache: Some(KvCache::Ram), ..Serving::default() };
    let flagged = resolve_text(&Place::default(), &serving, text).unwrap().keep;
    assert_eq!(flagged, KeepSettings { mode: KeepMode::Ram, ..expected });
}

#[test]
fn types_of_numbers_come_from_the_flag_the_table_and_the_model() {
    assert_eq!(from_text("").kv_type, CacheType::F16);
    let text =
        "[kv]\ntype = \"Q8_0\"\n[models.tiny]\nkv_type = \"q4_0\"\n[models.chat]\npin = true";
    let settings = from_text(text);
    assert_eq!(settings.kv_type, CacheType::Q8_0);
    assert_eq!(settings.served.treatments["tiny"].kv_type, Some(CacheType::Q4_0));
    assert_eq!(settings.served.treatments["chat"].kv_type, None);
    let serving = Serving { kv_type: Some(CacheType::Bf16), ..Serving::default() };
    let flagged = resolve_text(&Place::default(), &serving, text).unwrap();
    assert_eq!(flagged.kv_type, CacheType::Bf16);
    assert_eq!(flagged.served.treatments["tiny"].kv_type, Some(CacheType::Q4_0));
}

#[test]
fn what_makes_no_sense_is_refused_with_the_key() {
    let refused = |text: &str| {
        resolve_text(&Place::default(), &Serving::default(), text).unwrap_err().to_string()
    };
    let why = refused("[kv]\nssd = \"much\"");
    assert!(why.starts_with("[kv] ssd: "), "{why}");
    assert_eq!(
        refused("[kv]\nram = \"0\""),
        "[kv] ram is 0; write cache = \"off\" to keep nothing"
    );
    let there_are = "use f32, f16, bf16, q8_0, q5_1, q5_0, q4_1, q4_0, iq4_nl";
    assert_eq!(
        refused("[kv]\ntype = \"q9\""),
        format!("[kv] type: 'q9' is no type of cache; {there_are}")
    );
    assert_eq!(
        refused("[models.tiny]\nkv_type = \"8\""),
        format!("[models.tiny] kv_type: '8' is no type of cache; {there_are}")
    );
    assert_eq!(
        refused("[models.a]\nengine = \"apfel\"\nkv_type = \"q8_0\""),
        "[models.a] kv_type is for the hub's own worker; a program that is started keeps its cache \
         itself"
    );
    assert_eq!(
        refused("[models.a]\nengine = \"apfel\"\nkv_cache = \"ram\""),
        "[models.a] kv_cache is for the hub's own worker; a program that is started keeps its cache \
         itself"
    );
}
