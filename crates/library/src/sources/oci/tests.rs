//! Manifests as registries send them, and as nobody should.

use serde_json::json;

use super::*;

fn layer(media_type: &str, digit: char, size: u64) -> Value {
    json!({"mediaType": media_type, "digest": format!("sha256:{}", digit.to_string().repeat(64)), "size": size})
}

fn titled(title: &str) -> Value {
    let mut layer = layer("application/octet-stream", '1', 5);
    layer["annotations"] = json!({"org.opencontainers.image.title": title});
    layer
}

fn manifest(layers: &[Value]) -> Result<Contents, String> {
    read(json!({"schemaVersion": 2, "layers": layers}).to_string().as_bytes())
}

#[test]
fn a_model_of_ollama() {
    let of = |kind: &str, digit, size| layer(&format!("{OLLAMA}{kind}"), digit, size);
    let contents = manifest(&[
        of("license", '1', 10),
        of("projector", '2', 20),
        of("model", '3', 5_000_000_000),
        of("template", '4', 30),
        of("params", '5', 40),
        of("embed", '6', 50),
    ])
    .unwrap();
    let roles: Vec<Role> = contents.files.iter().map(|(role, _)| *role).collect();
    assert_eq!(roles, [Role::Model, Role::Projector]);
    let texts: Vec<Text> = contents.texts.iter().map(|(text, _)| *text).collect();
    assert_eq!(texts, [Text::License, Text::Template, Text::Parameters]);
}

#[test]
fn files_in_other_registries() {
    for (layer, expected) in [
        (layer("application/vnd.docker.ai.gguf.v3", '1', 5), Some(Role::Model)),
        (layer("application/vnd.docker.ai.gguf.v3.lora", '1', 5), Some(Role::Adapter)),
        (layer("application/vnd.docker.ai.gguf.v3+gzip", '1', 5), None),
        (layer("application/vnd.docker.ai.mmproj", '1', 5), Some(Role::Projector)),
        (titled("m-Q8_0.GGUF"), Some(Role::Model)),
        (titled("mmproj.gguf"), Some(Role::Projector)),
        (titled("README.md"), None),
        (layer("application/vnd.oci.image.layer.v1.tar+gzip", '1', 5), None),
    ] {
        let contents = manifest(std::slice::from_ref(&layer)).unwrap();
        assert_eq!(contents.files.first().map(|(role, _)| *role), expected, "{layer}");
    }
}

#[test]
fn what_cannot_be_used_is_said() {
    let model = |digest: &str, size: Value| json!({"mediaType": format!("{OLLAMA}model"), "digest": digest, "size": size});
    let digest = format!("sha256:{}", "a".repeat(64));
    for (layer, expected) in [
        (layer(&format!("{OLLAMA}tensor"), '1', 5), "tensor by tensor"),
        (layer("application/vnd.docker.ai.safetensors", '1', 5), "tensor by tensor"),
        (model("sha256:../../../etc/passwd", json!(5)), "is no digest"),
        (model("sha512:aaaa", json!(5)), "is no digest"),
        (model(&digest, json!(-1)), "expected u64"),
        (model(&digest, json!("5")), "expected u64"),
        (model(&digest, json!(1e300)), "expected u64"),
        (layer(&format!("{OLLAMA}system"), '1', SETTING_BYTES_MAX + 1), "bytes in one text"),
    ] {
        let message = manifest(std::slice::from_ref(&layer)).unwrap_err();
        assert!(message.contains(expected), "{layer}: {message}");
    }
    let license = || layer(&format!("{OLLAMA}license"), '1', 1);
    let message = manifest(&vec![license(); SETTINGS_MAX + 1]).unwrap_err();
    assert!(message.contains("33 texts"), "{message}");
    let message = manifest(&vec![titled("a.gguf"); MODEL_FILES_MAX + 1]).unwrap_err();
    assert!(message.contains("257 files"), "{message}");
    let message = manifest(&vec![titled("x"); LAYERS_MAX + 1]).unwrap_err();
    assert!(message.contains("more than 1000 entries"), "{message}");
    let message = read(br#"{"manifests":[{}]}"#).unwrap_err();
    assert_eq!(message, INDEX);
    for body in ["", "{", "<html>", &"[".repeat(100_000), r#"{"layers":{}}"#, r#"{"layers":[{}]}"#]
    {
        assert!(read(body.as_bytes()).is_err());
    }
    assert!(!read(b"{}").unwrap().has_model());
}

/// Ten million entries, each of three bytes: what is kept does not grow with them.
#[test]
fn a_manifest_without_end_is_left_at_the_bound() {
    let mut body = br#"{"layers":["#.to_vec();
    let entry = titled("x").to_string() + ",";
    while body.len() < 3_900_000 {
        body.extend_from_slice(entry.as_bytes());
    }
    let message = read(&body).unwrap_err();
    assert!(message.contains("more than 1000 entries"), "{message}");
}

#[test]
fn encodings_in_configurations() {
    for (config, expected) in [
        (r#"{"file_type":"Q4_K_M","model_format":"gguf"}"#, Ok(Some("Q4_K_M"))),
        (r#"{"file_type":"unknown"}"#, Ok(None)),
        (r#"{"config":{"quantization":"IQ2_XXS/Q4_K_M"}}"#, Ok(None)),
        (r#"{"config":{"quantization":"Q8_0"}}"#, Ok(Some("Q8_0"))),
        (r#"{"file_type":"\u001b[2J"}"#, Ok(None)),
        ("{}", Ok(None)),
        ("", Ok(None)),
        (r#"{"remote_host":"https://ollama.com"}"#, Err(CLOUD)),
        (r#"{"model_format":"safetensors"}"#, Err(TENSORS)),
    ] {
        let found = configure(config.as_bytes(), true, &mut Settings::default());
        assert_eq!(
            found,
            expected.map(|one| one.map(str::to_owned)).map_err(str::to_owned),
            "{config}"
        );
    }
    let mut settings = Settings::default();
    assert_eq!(configure(b"{}", false, &mut settings), Err(NOTHING.to_owned()));
    let config = br#"{"renderer":"qwen3-coder","parser":"a b","requires":"0.14.0"}"#;
    assert_eq!(configure(config, true, &mut settings), Ok(None));
    assert_eq!(settings.renderer.as_deref(), Some("qwen3-coder"));
    assert_eq!((settings.parser, settings.requires.as_deref()), (None, Some("0.14.0")));
}

#[test]
fn texts_become_settings() {
    let mut settings = Settings::default();
    for (text, body) in [
        (Text::Template, "{{ .Prompt }}"),
        (Text::System, "You are kind."),
        (Text::License, "one"),
        (Text::License, "two"),
        (Text::Parameters, r#"{"temperature":0.7,"stop":["<|im_end|>"],"num_ctx":4096}"#),
        (Text::Messages, r#"[{"role":"user","content":"Hi"}]"#),
    ] {
        take(text, body.as_bytes().to_vec(), &mut settings).unwrap();
    }
    assert_eq!(settings.template.as_deref(), Some("{{ .Prompt }}"));
    assert_eq!(settings.system.as_deref(), Some("You are kind."));
    assert_eq!(settings.licenses, ["one", "two"]);
    assert_eq!(settings.parameters["stop"], json!(["<|im_end|>"]));
    assert_eq!(settings.messages[0].content, "Hi");
    let deep = format!("{}1{}", "[".repeat(200), "]".repeat(200));
    let many: Map<String, Value> =
        (0..=PARAMETERS_MAX).map(|at| (at.to_string(), json!(1))).collect();
    for (text, body, expected) in [
        (Text::Parameters, "[]", "cannot be read"),
        (Text::Parameters, r#"{"a":{"b":1}}"#, "parameter 'a'"),
        (Text::Parameters, r#"{"a":[[1]]}"#, "parameter 'a'"),
        (Text::Parameters, &format!(r#"{{"a":{deep}}}"#), "recursion limit"),
        (Text::Parameters, &Value::Object(many).to_string(), "101 parameters"),
        (Text::Messages, r#"[{"role":"user"}]"#, "cannot be read"),
        (Text::Messages, "{}", "cannot be read"),
    ] {
        let message = take(text, body.as_bytes().to_vec(), &mut settings).unwrap_err();
        assert!(message.contains(expected), "{message}");
    }
    let message = take(Text::System, vec![0xff], &mut settings).unwrap_err();
    assert!(message.contains("is not text"), "{message}");
}
