//! How files are read and found: prefixes of models.

use super::*;

#[test]
fn what_stands_before_texts_is_said_of_a_model() {
    let settings = from_text(
        "[models.tiny]\nquery_prefix = \"query: \"\npassage_prefix = \"\"\n[models.chat]\npin = true\n",
    );
    let prefixes = &settings.knowledge.prefixes;
    assert_eq!(prefixes.len(), 1);
    let tiny = Prefixes { query: Some("query: ".to_owned()), passage: Some(String::new()) };
    assert_eq!(prefixes["tiny"], tiny);
    let text = format!("[models.tiny]\npassage_prefix = \"{}\"\n", "x".repeat(2000));
    let refused = resolve_text(&Place::default(), &Serving::default(), &text).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "[models.tiny] passage_prefix has 2000 bytes; it stands before each text, and may have 1024"
    );
}
