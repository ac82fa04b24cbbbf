//! Every input the fuzzer kept, and every one made by hand, once more.

use std::path::Path;

/// Replays a target's corpus; an empty one would prove nothing.
fn replay(target: &str, check: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
    let mut count = 0;
    for entry in std::fs::read_dir(&folder).expect("a corpus") {
        let path = entry.expect("an entry").path();
        let bytes = std::fs::read(&path).expect("a file");
        check(&bytes);
        // Cut anywhere, it is another input.
        for length in (0..bytes.len()).step_by(1 + bytes.len() / 64) {
            check(&bytes[..length]);
        }
        count += 1;
    }
    assert!(count >= 5, "{} holds only {count} inputs", folder.display());
}

#[test]
fn anthropic_count() {
    replay("anthropic_count", fuzz::anthropic_count);
}

#[test]
fn anthropic_messages() {
    replay("anthropic_messages", fuzz::anthropic_messages);
}

#[test]
fn answer() {
    replay("answer", fuzz::answer);
}

#[test]
fn gguf() {
    replay("gguf", fuzz::gguf);
}

#[test]
fn frame() {
    replay("frame", fuzz::frame);
}

#[test]
fn importance() {
    replay("importance", fuzz::importance);
}

#[test]
fn kv_entry() {
    replay("kv_entry", fuzz::kv_entry);
}

#[test]
fn infill() {
    replay("infill", fuzz::infill);
}

#[test]
fn modelfile() {
    replay("modelfile", fuzz::modelfile);
}

#[test]
fn ollama_embed() {
    replay("ollama_embed", fuzz::ollama_embed);
}

#[test]
fn ollama_chat() {
    replay("ollama_chat", fuzz::ollama_chat);
}

#[test]
fn ollama_generate() {
    replay("ollama_generate", fuzz::ollama_generate);
}

#[test]
fn openai_chat() {
    replay("openai_chat", fuzz::openai_chat);
}

#[test]
fn openai_completion() {
    replay("openai_completion", fuzz::openai_completion);
}

#[test]
fn openai_embedding() {
    replay("openai_embedding", fuzz::openai_embedding);
}

#[test]
fn openai_image() {
    replay("openai_image", fuzz::openai_image);
}

#[test]
fn openai_speech() {
    replay("openai_speech", fuzz::openai_speech);
}

#[test]
fn openai_transcription() {
    replay("openai_transcription", fuzz::openai_transcription);
}

#[test]
fn rerank() {
    replay("rerank", fuzz::rerank);
}

#[test]
fn responses_request() {
    replay("responses_request", fuzz::responses_request);
}

#[test]
fn responses_stream() {
    replay("responses_stream", fuzz::responses_stream);
}

#[test]
fn source() {
    replay("source", fuzz::source);
}

#[test]
fn upstream() {
    replay("upstream", fuzz::upstream);
}

#[test]
fn vector_store() {
    replay("vector_store", fuzz::vector_store);
}

/// A target without a test would never be replayed.
#[test]
fn every_corpus_has_a_test() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    let mut names: Vec<String> = std::fs::read_dir(folder)
        .expect("corpora")
        .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    assert_eq!(
        names,
        [
            "answer",
            "anthropic_count",
            "anthropic_messages",
            "frame",
            "gguf",
            "importance",
            "infill",
            "kv_entry",
            "modelfile",
            "ollama_chat",
            "ollama_embed",
            "ollama_generate",
            "openai_chat",
            "openai_completion",
            "openai_embedding",
            "openai_image",
            "openai_speech",
            "openai_transcription",
            "rerank",
            "responses_request",
            "responses_stream",
            "source",
            "upstream",
            "vector_store",
        ]
    );
}

/// Else a target could refuse everything at its first check, and all else in it would never run.
#[test]
fn the_valid_inputs_are_accepted() {
    let gguf = include_bytes!("../corpus/gguf/valid");
    planner::gguf::parse(gguf, gguf.len() as u64).expect("a header");
    let entries: [&[u8]; 3] = [
        include_bytes!("../corpus/kv_entry/cells"),
        include_bytes!("../corpus/kv_entry/segments-2"),
        include_bytes!("../corpus/kv_entry/segments-16"),
    ];
    for entry in entries {
        kv_store::format::decode(entry, entry.len() as u64, None).expect("an entry");
    }
    let modelfile = include_bytes!("../corpus/modelfile/valid");
    library::modelfile::Modelfile::parse(modelfile).expect("a Modelfile");
    let messages = include_bytes!("../corpus/anthropic_messages/valid");
    dialect::anthropic::messages::decode(messages).expect("messages");
    let count = include_bytes!("../corpus/anthropic_count/valid");
    dialect::anthropic::count::decode(count).expect("a count");
    let chat = include_bytes!("../corpus/ollama_chat/valid");
    dialect::ollama::chat::decode(chat).expect("a chat");
    let generate = include_bytes!("../corpus/ollama_generate/valid");
    dialect::ollama::generate::decode(generate).expect("a text");
    dialect::openai::chat::decode(include_bytes!("../corpus/openai_chat/valid")).expect("a chat");
    let completion = include_bytes!("../corpus/openai_completion/valid");
    dialect::openai::completion::decode(completion).expect("a completion");
    let embedding = include_bytes!("../corpus/openai_embedding/texts");
    dialect::openai::embedding::decode(embedding).expect("an embedding");
    let speech = include_bytes!("../corpus/openai_speech/valid");
    dialect::openai::speech::decode(speech).expect("a speech");
    dialect::openai::image::decode(include_bytes!("../corpus/openai_image/valid"))
        .expect("an image");
    let rank = include_bytes!("../corpus/rerank/valid");
    dialect::rerank::decode(dialect::rerank::Route::V1, rank).expect("something to rank");
    let search = include_bytes!("../corpus/vector_store/valid");
    dialect::openai::vector_store::decode(search).expect("a search");
    let scores = include_bytes!("../corpus/upstream/scores");
    dialect::openai::upstream::scores(scores, 2).expect("scores");
    let request = include_bytes!("../corpus/responses_request/valid");
    dialect::openai::responses::decode(request, &()).expect("a request");
    let list = &include_bytes!("../corpus/source/hugging-face")[1..];
    let models = library::sources::read_list(library::source::Hub::HuggingFace, list);
    assert_eq!(models.expect("a list").len(), 2);
    let list = &include_bytes!("../corpus/source/model-scope")[1..];
    let models = library::sources::read_list(library::source::Hub::ModelScope, list);
    assert_eq!(models.expect("a list").len(), 1);
    let manifest = &include_bytes!("../corpus/source/manifest")[1..];
    assert!(library::sources::oci::read(manifest).expect("a manifest").has_model());
    let vectors = include_bytes!("../corpus/upstream/embeddings");
    dialect::openai::upstream::vectors(vectors, 2).expect("vectors");
}
