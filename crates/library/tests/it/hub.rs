//! What hubs and registries have, as pages of one server: lists, manifests and contents, which a test can make wrong.

use std::{collections::BTreeMap, sync::Arc};

use serde_json::{Value, json};

use crate::{
    model,
    pulls::{digest, ranged},
    server::{Answer, Request, Server},
};

/// The commit that every repository here is at.
pub(crate) const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// Pages by their paths.
#[derive(Clone, Default)]
pub(crate) struct Hub(BTreeMap<String, Arc<Vec<u8>>>);

impl Hub {
    /// Adds a page.
    pub(crate) fn page(mut self, path: &str, content: impl Into<Vec<u8>>) -> Self {
        self.0.insert(path.to_owned(), Arc::new(content.into()));
        self
    }

    /// Adds a repository as Hugging Face has it.
    pub(crate) fn hugging_face(self, repository: &str, files: &[(&str, &[u8])]) -> Self {
        let entries: Vec<Value> =
            files.iter().map(|(path, content)| entry(path, content.len(), content)).collect();
        let list = Value::Array(entries).to_string();
        let api = format!("/api/models/{repository}");
        let mut hub = self
            .page(&format!("{api}/revision/main"), json!({"sha": COMMIT}).to_string())
            .page(&format!("{api}/tree/{COMMIT}"), list.clone())
            .page(&format!("{api}/tree/main"), list);
        for (path, content) in files {
            for revision in [COMMIT, "main"] {
                hub = hub.page(&format!("/{repository}/resolve/{revision}/{path}"), *content);
            }
        }
        hub
    }

    /// Adds a repository as ModelScope has it, below `/ms`.
    pub(crate) fn model_scope(mut self, repository: &str, files: &[(&str, &[u8])]) -> Self {
        let entries = files.iter().map(|(path, content)| {
            json!({"Path": path, "Type": "blob", "Size": content.len(), "Sha256": digest(content).hex()})
        });
        let entries: Vec<Value> = entries.collect();
        let list = json!({"Code": 200, "Success": true, "Data": {"Files": entries}});
        for (path, content) in files {
            self = self.page(&format!("/ms/models/{repository}/resolve/master/{path}"), *content);
        }
        self.page(&format!("/ms/api/v1/models/{repository}/repo/files"), list.to_string())
    }

    /// Adds an image as Ollama's registry has it, below `/ollama`, of layers by their kinds.
    pub(crate) fn image(self, name: &str, tag: &str, layers: &[(&str, &[u8])]) -> Self {
        let config = br#"{"model_format":"gguf","file_type":"Q8_0"}"#;
        let described: Vec<Value> = layers
            .iter()
            .map(|(kind, content)| layer(&format!("application/vnd.ollama.image.{kind}"), content))
            .collect();
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
            "config": layer("application/vnd.docker.container.image.v1+json", config),
            "layers": described,
        });
        let contents: Vec<&[u8]> = layers.iter().map(|(_, content)| *content).collect();
        self.blobs(name, &contents)
            .blobs(name, &[config])
            .page(&format!("/ollama/v2/{name}/manifests/{tag}"), manifest.to_string())
    }

    fn blobs(mut self, name: &str, contents: &[&[u8]]) -> Self {
        for content in contents {
            let path = format!("/ollama/v2/{name}/blobs/{}", digest(content));
            self = self.page(&path, *content);
        }
        self
    }

    /// What it answers: a page, whatever was asked behind a `?`, or that there is none.
    pub(crate) fn answer(&self, request: &Request) -> Answer {
        let path = request.path.split('?').next().unwrap_or_default();
        match self.0.get(path) {
            Some(content) => ranged(content, request, ""),
            None => Answer::new("404 Not Found", "", b"Entry not found"),
        }
    }

    /// Serves it.
    pub(crate) async fn serve(self) -> Server {
        self.serve_unless(|_| None).await
    }

    /// Serves it, but for what `other` answers.
    pub(crate) async fn serve_unless(
        self,
        other: impl Fn(&Request) -> Option<Answer> + Send + Sync + 'static,
    ) -> Server {
        Server::start(move |request| other(request).unwrap_or_else(|| self.answer(request))).await
    }
}

/// A line of Hugging Face's list.
pub(crate) fn entry(path: &str, bytes: usize, content: &[u8]) -> Value {
    let lfs = json!({"oid": digest(content).hex(), "size": bytes, "pointerSize": 134});
    json!({"type": "file", "path": path, "size": bytes, "oid": "0", "lfs": lfs})
}

/// A layer of a manifest.
pub(crate) fn layer(media_type: &str, content: &[u8]) -> Value {
    json!({"mediaType": media_type, "digest": digest(content).to_string(), "size": content.len()})
}

/// A small model, whole, that differs from those with other numbers.
pub(crate) fn weights(number: u8) -> Vec<u8> {
    let file = model::small();
    let mut content = file.header;
    content.resize(usize::try_from(file.bytes).unwrap(), number);
    content
}
