//! Modelfiles as people and Ollama write them, and whatever bytes there may be.

use expect_test::{Expect, expect};
use proptest::prelude::*;

use super::{Error, Modelfile, parameter};
use crate::manifest::{Message, Settings};

fn read(text: &str) -> Modelfile {
    Modelfile::parse(text.as_bytes()).unwrap()
}

#[track_caller]
fn check(text: &str, expected: &Expect) {
    let read = read(text);
    let written = read.to_string();
    expected.assert_eq(&written);
    assert_eq!(self::read(&written), Modelfile { ignored: Vec::new(), ..read });
}

#[test]
fn everything_that_a_modelfile_can_say() {
    let text = r##"
# What it is made from; commands in any capitals.
from ./model.gguf
FROM mmproj.gguf
Adapter ./lora.gguf
DRAFT "draft model.gguf"
PARAMETER temperature 0.7
parameter num_ctx	4096
PARAMETER num_ctx 8192
PARAMETER use_mmap T
PARAMETER stop <|im_end|>
PARAMETER stop "# no comment "
PARAMETER mirostat 2
TEMPLATE """{{ if .System }}<|system|>
{{ .System }}{{ end }}"""
SYSTEM You are "Mario" from Super Mario Bros.   # no comment either
RENDERER qwen3-coder
PARSER qwen3-coder
REQUIRES v0.14.0
LICENSE "one line"
LICENSE """
many
"lines"
"""
MESSAGE user Is Sardegna in Italy?
MESSAGE assistant """yes,
indeed"""
"##;
    check(
        text,
        &expect![[r##"
            FROM ./model.gguf
            FROM mmproj.gguf
            ADAPTER ./lora.gguf
            DRAFT draft model.gguf
            TEMPLATE "{{ if .System }}<|system|>
            {{ .System }}{{ end }}"
            SYSTEM You are "Mario" from Super Mario Bros.   # no comment either
            RENDERER qwen3-coder
            PARSER qwen3-coder
            REQUIRES 0.14.0
            PARAMETER temperature 0.7
            PARAMETER num_ctx 8192
            PARAMETER use_mmap true
            PARAMETER stop <|im_end|>
            PARAMETER stop "# no comment "
            LICENSE one line
            LICENSE """
            many
            "lines"
            """
            MESSAGE user Is Sardegna in Italy?
            MESSAGE assistant "yes,
            indeed"
        "##]],
    );
    assert_eq!(read(text).ignored, ["mirostat"]);
}

#[test]
fn values_in_and_out_of_quotes() {
    for (written, value) in [
        ("plain", "plain"),
        ("  trimmed \t", "trimmed"),
        ("\"quoted\"", "quoted"),
        ("\" kept \"", " kept "),
        ("\"\"", ""),
        ("\"\"\"\"\"\"", ""),
        ("\"\"\"three\"\"\"", "three"),
        ("\"\"\"four\"\"\"\"", "four\""),
        ("\"in \"the\" middle\"", "in \"the\" middle"),
        ("\"a\"\n", "a"),
        ("\"two\nlines\"", "two\nlines"),
        ("\"\"\"\"\"\nfive\"\"\"", "\"\"\nfive"),
        ("\"\"\"a \"\"\" b\nc\"\"\"", "a \"\"\" b\nc"),
        ("\"closed in the next line\n\" \t", "closed in the next line\n"),
        ("'single' are none", "'single' are none"),
        (
            "bell \u{7}, tab \t, joined \u{200d} stay or go",
            "bell , tab \t, joined \u{200d} stay or go",
        ),
    ] {
        let read = read(&format!("FROM x\nSYSTEM {written}"));
        assert_eq!(read.settings.system.as_deref(), Some(value), "{written:?}");
    }
}

#[test]
fn line_ends_of_all_systems_and_both_widths() {
    for text in [
        "FROM x\nSYSTEM y\n",
        "FROM x\r\nSYSTEM y",
        "\n\rFROM x\rSYSTEM y\r",
        "FROM x\n\t SYSTEM  y",
    ] {
        let expected = read("FROM x\nSYSTEM y");
        assert_eq!(read(text), expected, "{text:?}");
        let wide = |unit: fn(u16) -> [u8; 2]| {
            let units = "\u{feff}".encode_utf16().chain(text.encode_utf16());
            units.flat_map(unit).collect::<Vec<u8>>()
        };
        for bytes in
            [wide(u16::to_le_bytes), wide(u16::to_be_bytes), format!("\u{feff}{text}").into()]
        {
            assert_eq!(Modelfile::parse(&bytes).as_ref(), Ok(&expected), "{bytes:?}");
        }
    }
    assert_eq!(Modelfile::parse(b"FROM \xff\n").unwrap().from, ["\u{fffd}"]);
    assert_eq!(Modelfile::parse(b"\xff\xfeF\0R\0O\0M\0 \0x\0y").unwrap().from, ["x\u{fffd}"]);
}

#[test]
fn what_cannot_be_read_is_told_with_its_line_and_word() {
    for (text, expected) in [
        ("", "there is no FROM; begin with a line"),
        ("# FROM x", "there is no FROM"),
        ("PARAMETER temperature 1", "there is no FROM"),
        ("FROM", "line 1: FROM needs a value behind it"),
        ("FROM \n", "line 1: FROM needs a name or a path"),
        ("\n\nFORM x", "line 3: 'FORM' is no command"),
        ("FROM x\r\n\r\n!", "line 3: '!' is no command"),
        ("FROM x\nSYSTEM two\nlines", "line 3: 'lines' is no command"),
        ("FROM: x", "line 1: 'FROM:' is no command"),
        ("FROM x\nSYSTEM", "line 2: SYSTEM needs a value"),
        ("FROM x\nSYSTEM \"\"\"a\nb\n\"", "line 2: the quotes that are opened here"),
        ("FROM x\nSYSTEM \"a", "line 2: the quotes that are opened here"),
        (
            "FROM x\nPARAMETER temperatur 1",
            "line 2: there is no parameter 'temperatur'; did you mean 'temperature'?",
        ),
        ("FROM x\nPARAMETER zzz 1", "line 2: there is no parameter 'zzz'"),
        (
            "FROM x\nPARAMETER top_k 1.5",
            "line 2: parameter top_k is '1.5', and should be a whole number",
        ),
        ("FROM x\nPARAMETER top_p inf", "line 2: parameter top_p is 'inf', and should be a number"),
        ("FROM x\nPARAMETER use_mmap yes", "and should be true or false"),
        ("FROM x\nPARAMETER top_k", "line 2: PARAMETER needs a name and a value"),
        ("FROM x\nPARAMETER top-k 1", "line 2: PARAMETER needs a name and a value"),
        ("FROM x\nMESSAGE robot hi", "line 2: 'robot' says nothing"),
        ("FROM x\nMESSAGE User hi", "line 2: 'User' says nothing"),
        ("FROM x\nMESSAGE user", "line 2: MESSAGE needs system, user or assistant"),
        ("FROM x\nREQUIRES new", "line 2: REQUIRES names a version"),
        ("FROM x\nREQUIRES 1.02", "line 2: REQUIRES names a version"),
    ] {
        let error = Modelfile::parse(text.as_bytes()).unwrap_err().to_string();
        assert!(error.starts_with(expected) || error.ends_with(expected), "{text:?}: {error}");
    }
    let large = vec![b'#'; (crate::limits::MANIFEST_BYTES_MAX + 1) as usize];
    assert!(matches!(Modelfile::parse(&large), Err(Error::Large { .. })));
}

#[test]
fn parameters_have_their_kinds() {
    let value = |name, text| parameter(name, text).unwrap().map(|value| value.to_string());
    assert_eq!(value("temperature", "1").as_deref(), Some("1.0"));
    assert_eq!(value("seed", "-1").as_deref(), Some("-1"));
    assert_eq!(value("use_mmap", "False").as_deref(), Some("false"));
    assert_eq!(value("stop", "a b").as_deref(), Some("[\"a b\"]"));
    assert_eq!(value("f16_kv", "anything"), None);
}

#[test]
fn parameters_of_other_kinds_are_printed_as_they_are() {
    let parameters = serde_json::json!({ "temperature": 1, "x": null, "stop": ["a", "b\n"] });
    let settings =
        Settings { parameters: parameters.as_object().unwrap().clone(), ..Settings::default() };
    let modelfile = Modelfile { from: vec!["x".to_owned()], settings, ..Modelfile::default() };
    expect![[r#"
        FROM x
        PARAMETER temperature 1
        PARAMETER x null
        PARAMETER stop a
        PARAMETER stop "b
        "
    "#]]
    .assert_eq(&modelfile.to_string());
}

/// Texts of what matters to the parser.
fn text() -> impl Strategy<Value = String> {
    proptest::collection::vec(
        prop_oneof![
            Just("\"".to_owned()),
            Just("\n".to_owned()),
            Just("\r".to_owned()),
            Just(" ".to_owned()),
            Just("\"\"\"".to_owned()),
            Just("FROM ".to_owned()),
            Just("#".to_owned()),
            "[a-z\\t\u{a0}\u{3000}]{1,3}",
        ],
        0..12,
    )
    .prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn what_is_read_is_written_and_read_again(texts in proptest::collection::vec(text(), 1..6)) {
        let commands = ["SYSTEM", "TEMPLATE", "LICENSE", "MESSAGE user", "PARAMETER stop", "ADAPTER"];
        let lines = commands.iter().zip(&texts).map(|(command, text)| format!("{command} {text}\n"));
        let file = format!("FROM x\n{}", lines.collect::<String>());
        if let Ok(read) = Modelfile::parse(file.as_bytes()) {
            let written = read.to_string();
            prop_assert_eq!(Modelfile::parse(written.as_bytes()), Ok(read), "{}", written);
        }
    }

    #[test]
    fn a_text_that_can_be_written_comes_back(content in text()) {
        let ends_early = content.contains(['\n', '\r'])
            && content.split(['\n', '\r']).any(|line| line.trim_end().ends_with("\"\"\""));
        prop_assume!(!ends_early);
        let message = Message { role: "user".to_owned(), content };
        let settings = Settings { messages: vec![message], ..Settings::default() };
        let file = Modelfile { from: vec!["x".to_owned()], settings, ..Modelfile::default() };
        prop_assert_eq!(Modelfile::parse(file.to_string().as_bytes()), Ok(file));
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(read) = Modelfile::parse(&bytes) {
            prop_assert!(!read.from.is_empty());
        }
    }
}
