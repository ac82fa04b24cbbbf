//! Servers as others made them, pulled from: a container registry with a model of Ollama's media types, and nginx with
//! a repository laid out as Hugging Face has it.

use library::{manifest::Role, sources::Options, store::Store};
use serde_json::json;

use crate::{
    hub::{COMMIT, entry},
    peer,
    pulls::{content, digest},
    whole::Here,
};

/// Several ranges long.
const WEIGHTS_BYTES: usize = 5_000_000;

/// Options with which nothing but what is named is reached.
fn options() -> Options {
    let nowhere = "http://127.0.0.1:1".to_owned();
    Options {
        hugging_face: nowhere.clone(),
        model_scope: nowhere.clone(),
        ollama: nowhere,
        proxies: false,
        ..Options::default()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_model_in_a_container_registry() {
    let Some(peer) = peer::registry() else { return };
    let (weights, eyes) = (content(WEIGHTS_BYTES), content(70_000));
    let of = |kind: &str| format!("application/vnd.ollama.image.{kind}");
    let kinds = ["model", "projector", "template", "params"].map(of);
    let contents: [&[u8]; 4] = [&weights, &eyes, b"{{ .Prompt }}", br#"{"num_ctx":2048}"#];
    let layers: Vec<(&str, &[u8])> = kinds.iter().map(String::as_str).zip(contents).collect();
    peer.push(("team/m", "8b"), &layers, |content| digest(content).to_string());
    let here = Here::new();
    let access = library::sources::Access::new(&options()).unwrap();
    let text = format!("ollama:{}/team/m:8b", peer.address);
    let manifest = here.pull(&access, &text).await.unwrap();
    assert_eq!(here.contents(&manifest), [weights.to_vec(), eyes.to_vec()]);
    assert_eq!(manifest.files_for(Role::Projector).count(), 1);
    assert_eq!(manifest.settings.template.as_deref(), Some("{{ .Prompt }}"));
    assert_eq!(manifest.settings.parameters["num_ctx"], 2048);
    assert_eq!(manifest.quantization.as_deref(), Some("Q8_0"));
    // The same again is there; another tag is not.
    assert_eq!(here.pull(&access, &text).await.unwrap(), manifest);
    let other = format!("ollama:{}/team/m:70b", peer.address);
    let message = here.pull(&access, &other).await.unwrap_err().to_string();
    assert!(message.contains("404: it does not exist; check the name"), "{message}");
    println!("{} bytes lie in {}", manifest.bytes(), peer.folder().display());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repository_on_nginx() {
    let (one, two) = (content(WEIGHTS_BYTES), content(WEIGHTS_BYTES / 2));
    let names = ["m-Q8_0-00001-of-00002.gguf", "m-Q8_0-00002-of-00002.gguf"];
    let list = json!([entry(names[0], one.len(), &one), entry(names[1], two.len(), &two)]);
    let file = |name: &str| format!("/o/r/resolve/{COMMIT}/{name}");
    let files = [
        (
            "/api/models/o/r/revision/main".to_owned(),
            json!({"sha": COMMIT}).to_string().into_bytes(),
        ),
        (format!("/api/models/o/r/tree/{COMMIT}"), list.to_string().into_bytes()),
        (file(names[0]), one.to_vec()),
        (file(names[1]), two.to_vec()),
    ];
    let Some(peer) = peer::web(&files) else { return };
    let here = Here::new();
    let options = Options { hugging_face: format!("http://{}", peer.address), ..options() };
    let access = library::sources::Access::new(&options).unwrap();
    let manifest = here.pull(&access, "hf:o/r:Q8_0").await.unwrap();
    assert_eq!(here.contents(&manifest), [one.to_vec(), two.to_vec()]);
    assert_eq!(manifest.revision.as_deref(), Some(COMMIT));
    // Another store has it with nothing but what lies there.
    let again = Store::open(&here.library()).unwrap();
    assert_eq!(again.models().models, [manifest]);
}
