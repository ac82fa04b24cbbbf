//! How files are read and found: prefixes of models, and the tool that reads pictures of text.

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

#[test]
fn a_tool_that_reads_pages_takes_a_pdf_and_a_page() {
    let tool = |command: &str, more: &str| {
        format!(
            "[knowledge]\nocr = \"scan\"\n[tools.scan]\ncommand = [{command}]\nmemory = \"200MB\"\n\
             serves = \"tool\"\ncontent_type = \"text/plain\"\n{more}"
        )
    };
    let whole = tool("\"read-page\", \"{page}\", \"{input}\"", "input = \"pdf\"\n");
    let ocr = from_text(&whole).knowledge.ocr.unwrap();
    assert_eq!((ocr.name.as_str(), ocr.output_bytes_max), ("scan", 1 << 20));
    assert_eq!(from_text("").knowledge.ocr, None);
    let refused = |text: &str| {
        resolve_text(&Place::default(), &Serving::default(), text).unwrap_err().to_string()
    };
    assert_eq!(
        refused("[knowledge]\nocr = \"scan\"\n"),
        "[knowledge] ocr: there is no tool 'scan'; make one: [tools.scan]"
    );
    assert_eq!(
        refused(&tool("\"read-page\", \"{page}\"", "")),
        "[knowledge] ocr: tool 'scan' takes no PDF; add {input} to its command, and input = \"pdf\""
    );
    assert_eq!(
        refused(&tool("\"read-page\", \"{input}\"", "input = \"pdf\"\n")),
        "[knowledge] ocr: tool 'scan' does not say which page it reads; add {page} to its command"
    );
}

#[test]
fn a_qdrant_has_an_address_and_may_have_a_key() {
    let qdrant = |text: &str| from_text(&format!("[knowledge.qdrant]\n{text}")).knowledge.qdrant;
    let url = "url = \"http://10.0.0.5:6334\"\n";
    let found = qdrant(url).unwrap();
    assert_eq!((found.url.as_str(), found.key), ("http://10.0.0.5:6334", None));
    assert_eq!(from_text("").knowledge.qdrant, None);
    let settings = from_text(&format!("[knowledge.qdrant]\n{url}key_variable = \"NOWHERE\""));
    let note = "the Qdrant at http://10.0.0.5:6334 is asked without a key: key_variable NOWHERE: it is not set";
    assert!(settings.served.notes.iter().any(|said| said == note), "{:?}", settings.served.notes);
    let refused = |text: &str| refused(&format!("[knowledge.qdrant]\n{text}"));
    assert!(refused("").starts_with("[knowledge.qdrant] url is missing"));
    for wrong in
        ["10.0.0.5:6334", "ftp://x", "http://", "http://a/b", "", "http://me:secret@lab:6334"]
    {
        let told = refused(&format!("url = \"{wrong}\""));
        assert!(told.starts_with("[knowledge.qdrant] url ") && !told.contains("secret"), "{told}");
    }
    let written = refused(&format!("{url}key = \"abc\""));
    assert!(written.starts_with("[knowledge.qdrant] key: a key does not belong"), "{written}");
}
