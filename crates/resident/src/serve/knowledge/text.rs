//! What stands in no file, as a client gives it.

use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use dialect::Error;
use gateway::NewText;

use crate::limits::TEXT_NAME_BYTES_MAX;

/// Its name and its bytes.
///
/// # Errors
/// The name is none, or there is nothing.
pub(super) fn content(text: &NewText) -> Result<(&str, Vec<u8>), Error> {
    let name = text.name.as_str();
    let refused = |why: String| Error::invalid(format!("the text '{name}': {why}")).at("texts");
    let is_path = name.contains(['/', '\\']) || matches!(name.trim(), "" | "." | "..");
    if is_path || name.contains(char::is_control) || name.len() > TEXT_NAME_BYTES_MAX {
        let why = format!(
            "that is no name; write one such as minutes.md, without folders and of at most {TEXT_NAME_BYTES_MAX} bytes"
        );
        return Err(refused(why));
    }
    let bytes = match (&text.text, &text.base64) {
        (Some(text), None) => text.clone().into_bytes(),
        (None, Some(base64)) => {
            STANDARD.decode(base64).map_err(|error| refused(format!("no base64: {error}")))?
        }
        _ => return Err(refused("it has either text or base64".to_owned())),
    };
    if bytes.is_empty() {
        return Err(refused("it is empty".to_owned()));
    }
    Ok((name, bytes))
}

/// Now, in nanoseconds since 1970.
pub(super) fn now_ns() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(name: &str, text: Option<&str>, base64: Option<&str>) -> NewText {
        let [text, base64] = [text, base64].map(|content| content.map(str::to_owned));
        NewText { name: name.to_owned(), text, base64 }
    }

    #[test]
    fn a_text_has_a_name_and_something_in_it() {
        let minutes = text("minutes.md", Some("We met."), None);
        assert_eq!(content(&minutes).unwrap(), ("minutes.md", b"We met.".to_vec()));
        let bytes = text("a.bin", None, Some("AP8="));
        assert_eq!(content(&bytes).unwrap(), ("a.bin", vec![0, 255]));
        for (wrong, why) in [
            (text("", Some("x"), None), "no name"),
            (text("..", Some("x"), None), "no name"),
            (text("/etc/passwd", Some("x"), None), "without folders"),
            (text("a\\b", Some("x"), None), "without folders"),
            (text("a\nb", Some("x"), None), "no name"),
            (text(&"x".repeat(300), Some("x"), None), "at most 255 bytes"),
            (text("a.md", None, None), "either text or base64"),
            (text("a.md", Some("x"), Some("eA==")), "either text or base64"),
            (text("a.md", Some(""), None), "empty"),
            (text("a.md", None, Some("*")), "no base64"),
        ] {
            let refused = content(&wrong).unwrap_err().to_string();
            assert!(refused.contains(why), "{refused}");
        }
    }
}
