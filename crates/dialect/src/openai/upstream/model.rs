//! What a server says about itself.

use serde_json::Value;

/// The names in the answer to `GET /v1/models`. Empty when it lists none: `mlx_lm.server` without a
/// cache folder answers with an empty body, and that is no reason to call it broken.
#[must_use]
pub fn models(body: &[u8]) -> Vec<String> {
    let Ok(answer) = serde_json::from_slice::<Value>(body) else { return Vec::new() };
    let entries = answer.get("data").and_then(Value::as_array);
    let ids = entries.into_iter().flatten().filter_map(|entry| entry.get("id")?.as_str());
    ids.map(str::to_owned).collect()
}

/// The whole number at `keys` of a JSON body; a key may be the position in a list.
#[must_use]
pub fn figure<'k>(body: &[u8], keys: impl IntoIterator<Item = &'k str>) -> Option<u32> {
    let mut value = &serde_json::from_slice::<Value>(body).ok()?;
    for key in keys {
        let position = || value.get(key.parse::<usize>().ok()?);
        value = value.get(key).or_else(position)?;
    }
    u32::try_from(value.as_u64()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_listed_and_an_empty_body_has_none() {
        let list = br#"{"object":"list","data":[{"id":"a"},{"name":"b"},{"id":"c"}]}"#;
        assert_eq!(models(list), ["a", "c"]);
        assert!(models(b"").is_empty());
        assert!(models(br#"{"data":{}}"#).is_empty());
    }

    #[test]
    fn a_figure_is_found_by_its_keys() {
        let body = br#"{"context_window":4096,"data":[{"max":8192}],"word":"x"}"#;
        assert_eq!(figure(body, ["context_window"]), Some(4096));
        assert_eq!(figure(body, ["data", "0", "max"]), Some(8192));
        assert_eq!(figure(body, ["word"]), None);
        assert_eq!(figure(body, ["data", "x"]), None);
        assert_eq!(figure(b"", ["a"]), None);
    }
}
