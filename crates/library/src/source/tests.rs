//! What is understood, what is a name or a path instead, and what is refused with words.

use super::*;

#[track_caller]
fn check(text: &str, repository: &str, pick: Option<&str>) {
    let Some(Ok(Source::Repository { repository: found, pick: picked })) = Source::parse(text)
    else {
        panic!("{text} is a repository");
    };
    assert_eq!((found.to_string().as_str(), picked.as_deref()), (repository, pick));
}

#[test]
fn repositories() {
    check("hf:Qwen/Qwen3-8B-GGUF", "hf:Qwen/Qwen3-8B-GGUF", None);
    check("hf:a/b:Q4_K_M", "hf:a/b", Some("Q4_K_M"));
    check(
        "hf:a_1/b.2:Q8_0/x-00001-of-00002.gguf",
        "hf:a_1/b.2",
        Some("Q8_0/x-00001-of-00002.gguf"),
    );
    check("ms:Qwen/Qwen3-8B-GGUF:Q4_K_M", "ms:Qwen/Qwen3-8B-GGUF", Some("Q4_K_M"));
}

#[test]
fn repositories_as_users_of_ollama_write_them() {
    check("hf.co/a/b", "hf:a/b", None);
    check("hf.co/a/b:latest", "hf:a/b", None);
    check("HF.co/a/b:Q8_0", "hf:a/b", Some("Q8_0"));
    check("huggingface.co/a/b:Q8_0", "hf:a/b", Some("Q8_0"));
    check("ollama:hf.co/a/b:Q8_0", "hf:a/b", Some("Q8_0"));
}

#[track_caller]
fn check_image(text: &str, server: Option<&str>, repository: &str, tag: &str, shown: &str) {
    let Some(Ok(Source::Registry(image))) = Source::parse(text) else {
        panic!("{text} is of a registry");
    };
    let steps: Vec<&str> = image.steps().collect();
    let found = image.server().map(Url::as_str);
    assert_eq!((found, steps.join("/").as_str(), image.tag()), (server, repository, tag), "{text}");
    assert_eq!(image.to_string(), shown, "{text}");
    assert_eq!(Source::parse(shown).unwrap().unwrap(), Source::Registry(image), "{text}");
}

#[test]
fn models_of_registries() {
    check_image("ollama:qwen3", None, "library/qwen3", "latest", "ollama:qwen3");
    check_image("ollama:qwen3:8b", None, "library/qwen3", "8b", "ollama:qwen3:8b");
    check_image("ollama:me/mine:q4_K_M", None, "me/mine", "q4_K_M", "ollama:me/mine:q4_K_M");
    check_image("ollama:registry.ollama.ai/a/b:c", None, "a/b", "c", "ollama:a/b:c");
    check_image("registry.ollama.ai/library/b:c", None, "library/b", "c", "ollama:b:c");
    check_image(
        "ollama:ghcr.io/a/b/c:v1.0",
        Some("https://ghcr.io/"),
        "a/b/c",
        "v1.0",
        "ollama:ghcr.io/a/b/c:v1.0",
    );
    let here = Some("http://127.0.0.1:5000/");
    check_image("ollama:127.0.0.1:5000/a/b", here, "a/b", "latest", "ollama:127.0.0.1:5000/a/b");
    check_image("ollama:http://127.0.0.1:5000/b:c", here, "b", "c", "ollama:127.0.0.1:5000/b:c");
    let here = Some("http://localhost:5000/");
    check_image("ollama:localhost:5000/a/b", here, "a/b", "latest", "ollama:localhost:5000/a/b");
    check_image(
        "ollama:https://localhost:5000/a/b:c",
        Some("https://localhost:5000/"),
        "a/b",
        "c",
        "ollama:https://localhost:5000/a/b:c",
    );
    let sixth = Some("http://[::1]:5000/");
    check_image("ollama:[::1]:5000/a/b", sixth, "a/b", "latest", "ollama:[::1]:5000/a/b");
}

#[test]
fn an_address_is_shown_without_what_may_be_secret() {
    let Some(Ok(source @ Source::Address(_))) = Source::parse("https://me:pw@h/a.gguf?key=s#x")
    else {
        panic!("an address");
    };
    assert_eq!(source.to_string(), "https://h/a.gguf");
}

#[test]
fn names_and_paths_are_not_from_elsewhere() {
    for text in [
        "qwen3-8b",
        "qwen3:8b",
        "a/b.gguf",
        "",
        "httpx://x",
        "https:",
        "hf.com/a/b",
        "msx:a/b",
        "hf.co",
        "me/mine:latest",
        "常驻常驻常",
    ] {
        assert!(Source::parse(text).is_none(), "{text}");
    }
}

#[test]
fn what_begins_right_and_goes_wrong_is_named() {
    for text in [
        "hf:",
        "hf:a",
        "hf:a/",
        "hf:/b",
        "hf:a/b/c",
        "hf:../b",
        "hf:a/b:",
        "hf:a /b",
        "hf:a/b?x",
        "hf:a/b:x\u{1b}y",
        "ms:a",
        "hf.co/",
        "hf.co/a",
        "hf.co/../b",
        "ollama:",
        "ollama:/",
        "ollama:a/",
        "ollama:../a",
        "ollama:a:",
        "ollama:a/b/c",
        "ollama:a b",
        "ollama:.a",
        "ollama:a@sha256:b",
        "ollama:ftp://h/a/b",
        "ollama:http://a",
        "ollama:h.example/../b",
        "ollama:h.example:x/a/b",
        "ollama:me:pw@h.example/a/b",
        "ollama:http://h.example/a/b",
        "https://",
        "http://[",
        "https://a b/c",
        "http://h.example/a.gguf",
        "http://192.168.1.2/a.gguf",
    ] {
        let message = Source::parse(text).unwrap().unwrap_err().to_string();
        assert!(message.starts_with(&format!("'{text}' ")), "{message}");
    }
}
