//! `[library]` and `offline`.

use super::*;

#[test]
fn nothing_is_said_of_pulls_unless_somebody_says_it() {
    assert_eq!(from_text("").library, Library::default());
}

#[test]
fn the_table_is_read() {
    let settings = from_text(
        "offline = true\n[library]\nhf_endpoint = \"http://127.0.0.1:9\"\nmirrors = \
         [\"https://hf-mirror.com\"]\nrate = \"10MB/s\"\nconnections = 4",
    );
    let expected = Library {
        offline: true,
        hf_endpoint: Some("http://127.0.0.1:9".into()),
        mirrors: vec!["https://hf-mirror.com".into()],
        rate_bytes_per_s: Some(10_000_000),
        connections: Some(4),
    };
    assert_eq!(settings.library, expected);
}

#[test]
fn a_flag_closes_the_way_out_whatever_the_file_says() {
    let serving = Serving { offline: true, ..Serving::default() };
    let settings = resolve_text(&Place::default(), &serving, "offline = false").unwrap();
    assert!(settings.library.offline);
    assert!(!from_text("offline = false").library.offline);
}

#[test]
fn what_cannot_be_is_named_with_the_way_out() {
    for (text, message) in [
        (
            "hf_endpoint = \"hf-mirror.com\"",
            "[library] hf_endpoint: 'hf-mirror.com' is no address of a server; write for example \
             https://hf-mirror.com",
        ),
        (
            "mirrors = [\"https://a\", \"https://\"]",
            "[library] mirrors: 'https://' is no address of a server; write for example \
             https://hf-mirror.com",
        ),
        ("connections = 0", "[library] connections is 0; write 1 to 32"),
        ("connections = 33", "[library] connections is 33; write 1 to 32"),
        (
            "rate = \"fast\"",
            "[library] rate: 'fast' does not start with a number; write for example 10MB/s",
        ),
        (
            "rate = \"0\"",
            "[library] rate: '0' lets nothing through; write for example 10MB/s, or leave it out",
        ),
    ] {
        let file = format!("[library]\n{text}");
        let error = resolve_text(&Place::default(), &Serving::default(), &file).unwrap_err();
        assert_eq!(error.to_string(), message);
    }
    let many = format!("[library]\nmirrors = [{}]", "\"https://a\",".repeat(9));
    let error = resolve_text(&Place::default(), &Serving::default(), &many).unwrap_err();
    assert_eq!(error.to_string(), "[library] mirrors are 9; the most are 8, so keep the nearest");
}
