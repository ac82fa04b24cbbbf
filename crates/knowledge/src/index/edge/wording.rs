//! What the engine is told, in the words of Qdrant's own interface.

use serde_json::{Value, json};

use super::{DENSE, TERMS};
use crate::index::{Filter, Labels};
use crate::limits::{
    EDGE_HNSW_LINKS, EDGE_HNSW_SEARCH_BUILDING, EDGE_INDEX_FROM_KB, EDGE_LOG_SEGMENT_BYTES,
    EDGE_SCAN_BELOW_KB, EDGE_SEGMENT_KB_MAX, EDGE_SEGMENTS_WANTED,
};

/// How an index is laid out: everything in mapped files, vectors in 4 bits for each number beside the whole ones.
pub(super) fn config(dimension: Option<usize>) -> Value {
    let vectors = match dimension {
        Some(size) => json!({ DENSE: { "size": size, "distance": "Cosine", "on_disk": true } }),
        None => json!({}),
    };
    json!({
        "on_disk_payload": true,
        "vectors": vectors,
        "sparse_vectors": { TERMS: { "modifier": "idf", "on_disk": true } },
        "hnsw_config": {
            "m": EDGE_HNSW_LINKS,
            "ef_construct": EDGE_HNSW_SEARCH_BUILDING,
            "full_scan_threshold": EDGE_SCAN_BELOW_KB,
            "max_indexing_threads": 1,
            "on_disk": true,
        },
        "quantization_config": { "turbo": { "bits": "bits4", "always_ram": false } },
        "optimizers": {
            "indexing_threshold": EDGE_INDEX_FROM_KB,
            "default_segment_number": EDGE_SEGMENTS_WANTED,
            "max_segment_size": EDGE_SEGMENT_KB_MAX,
        },
        "wal_options": { "segment_capacity": EDGE_LOG_SEGMENT_BYTES, "segment_queue_len": 0, "retain_closed": 1 },
    })
}

/// The labels that passages are chosen by. None gets links of its own in the graph.
pub(super) fn labels() -> Vec<Value> {
    let keyword = json!({ "type": "keyword", "on_disk": true, "enable_hnsw": false });
    let number = |lookup: bool| json!({ "type": "integer", "lookup": lookup, "range": !lookup, "on_disk": true, "enable_hnsw": false });
    let field = |name: &str, schema: Value| json!({ "field_name": name, "field_schema": schema });
    vec![
        field("collection", keyword.clone()),
        field("file", number(true)),
        field("folders", keyword.clone()),
        field("kind", keyword),
        field("modified_s", number(false)),
    ]
}

/// A passage's labels, its path as all the folders that it is in, and itself.
pub(super) fn payload(labels: &Labels) -> Value {
    let ends = labels.path.match_indices('/').map(|(at, _)| at).filter(|&at| at > 0);
    let folders: Vec<&str> =
        ends.chain([labels.path.len()]).map(|end| &labels.path[..end]).collect();
    json!({
        "collection": labels.collection,
        "file": labels.file,
        "folders": folders,
        "kind": labels.kind,
        "modified_s": labels.modified_s,
    })
}

/// The filter, or nothing if it lets everything through.
pub(super) fn filter(filter: &Filter) -> Value {
    let mut must = Vec::new();
    let mut any =
        |key: &str, values: Value| must.push(json!({ "key": key, "match": { "any": values } }));
    if !filter.collections.is_empty() {
        any("collection", json!(filter.collections));
    }
    if !filter.files.is_empty() {
        any("file", json!(filter.files));
    }
    let folders: Vec<&str> =
        filter.folders.iter().map(|folder| folder.trim_end_matches('/')).collect();
    if !folders.is_empty() && !folders.contains(&"") {
        any("folders", json!(folders));
    }
    if !filter.kinds.is_empty() {
        any("kind", json!(filter.kinds));
    }
    if let Some(range) = &filter.modified_s {
        must.push(json!({ "key": "modified_s", "range": { "gte": range.start, "lt": range.end } }));
    }
    if must.is_empty() { Value::Null } else { json!({ "must": must }) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::Labels;

    #[test]
    fn a_path_is_all_the_folders_it_is_in() {
        let mut labels = Labels {
            collection: String::new(),
            file: 1,
            kind: String::new(),
            modified_s: 0,
            path: "home/notes/a.md".to_owned(),
        };
        assert_eq!(payload(&labels)["folders"], json!(["home", "home/notes", "home/notes/a.md"]));
        labels.path = "/home/a.md".to_owned();
        assert_eq!(payload(&labels)["folders"], json!(["/home", "/home/a.md"]));
    }
}
