//! Ollama's store: `manifests/HOST/NAMESPACE/MODEL/TAG` names layers, and `blobs/sha256-…` holds them. Blobs are
//! renamed when they are whole, and never changed.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::{Map, Value};

use super::{Error, Offer, Offers};
use crate::{
    digest::{Hasher, Sha256},
    limits::{FILES_MAX, MANIFEST_BYTES_MAX, MANIFESTS_MAX},
    manifest::{Message, Role, Settings},
    name::Name,
    store::{error::io, garbage::entries, header, manifests::read_plain, take::Coming},
};

const HOST: &str = "registry.ollama.ai";
const NAMESPACE: &str = "library";
/// What the types of its layers begin with.
const KIND: &str = "application/vnd.ollama.image.";

/// Where it may be, best first: where the user says, the user's own, that of the service on Linux.
pub(super) fn usual(
    variable: &dyn Fn(&'static str) -> Option<PathBuf>,
    home: Option<&Path>,
) -> Vec<PathBuf> {
    // What the user says is where it is, and nowhere else.
    if let Some(place) = variable("OLLAMA_MODELS") {
        return vec![place];
    }
    let own = home.map(|home| home.join(".ollama/models"));
    let service = PathBuf::from("/usr/share/ollama/.ollama/models");
    let places = own.into_iter().chain([service]);
    places.filter(|place| place.join("manifests").is_dir()).collect()
}

#[derive(Debug, Deserialize)]
struct Image {
    #[serde(default)]
    config: Option<Layer>,
    #[serde(default)]
    layers: Vec<Layer>,
}

#[derive(Debug, Deserialize)]
struct Layer {
    #[serde(rename = "mediaType", default)]
    kind: String,
    #[serde(default)]
    digest: String,
    #[serde(default)]
    size: u64,
}

/// What the config layer says of it. What is missing, or of another kind, is nothing.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Config {
    file_type: Option<String>,
    remote_host: Option<String>,
    renderer: Option<String>,
    parser: Option<String>,
    requires: Option<String>,
}

pub(super) fn offers(top: &Path) -> Result<Offers, Error> {
    let manifests = top.join("manifests");
    std::fs::read_dir(&manifests).map_err(io("read", &manifests))?;
    let mut offers = Offers::default();
    for (host, path) in entries(&manifests) {
        for (namespace, path) in entries(&path) {
            for (model, path) in entries(&path) {
                for (tag, path) in entries(&path) {
                    if tag.starts_with('.') || offers.models.len() == MANIFESTS_MAX {
                        continue;
                    }
                    let name = shown(&host, &namespace, &model, &tag);
                    match offer(top, &path, &name, &format!("{model}-{tag}")) {
                        Ok(offer) => offers.models.push(offer),
                        Err(why) => {
                            offers.skipped.push(format!("ollama:{name} is left out: {why}"));
                        }
                    }
                }
            }
        }
    }
    Ok(offers)
}

/// What Ollama calls it, without what it leaves out itself.
fn shown(host: &str, namespace: &str, model: &str, tag: &str) -> String {
    let tag = if tag == "latest" { String::new() } else { format!(":{tag}") };
    if host != HOST {
        format!("{host}/{namespace}/{model}{tag}")
    } else if namespace != NAMESPACE {
        format!("{namespace}/{model}{tag}")
    } else {
        format!("{model}{tag}")
    }
}

fn offer(top: &Path, path: &Path, name: &str, stem: &str) -> Result<Offer, String> {
    let called = Name::new(name).map_err(|error| error.to_string())?;
    let bytes = read_plain(path, MANIFEST_BYTES_MAX)?;
    let image: Image = serde_json::from_slice(&bytes)
        .map_err(|error| format!("its manifest cannot be read: {error}"))?;
    if image.layers.len() > FILES_MAX {
        return Err(format!("it has {} layers, at most {FILES_MAX} can be", image.layers.len()));
    }
    let store = Blobs { folder: top.join("blobs") };
    let config = match &image.config {
        Some(layer) if !layer.digest.is_empty() => store.json(layer)?,
        Some(_) | None => Config::default(),
    };
    let settings = store.settings(&image, &config)?;
    let files = store.files(&image, stem)?;
    if files.iter().all(|file| file.role != Role::Model) {
        let is_remote = config.remote_host.is_some_and(|host| !host.is_empty());
        let has_tensors = image.layers.iter().any(|layer| layer.kind == format!("{KIND}tensor"));
        return Err(match (is_remote, has_tensors) {
            (true, _) => "it runs on Ollama's servers, and nothing of it is on this machine",
            (false, true) => {
                "it has no GGUF, only safetensors; `resident pull` a GGUF of the same model"
            }
            (false, false) => "it has no weights",
        }
        .to_owned());
    }
    let mut hasher = Hasher::new();
    hasher.update(&bytes);
    Ok(Offer {
        name: called,
        source: format!("ollama:{name}"),
        revision: Some(hasher.finish().to_string()),
        quantization: config.file_type.filter(|kind| !kind.is_empty()),
        files,
        settings,
    })
}

/// Its folder of contents.
struct Blobs {
    folder: PathBuf,
}

impl Blobs {
    fn path(&self, layer: &Layer) -> Result<(PathBuf, Sha256), String> {
        let digest: Sha256 = layer.digest.parse().map_err(|error| format!("{error}"))?;
        let path = self.folder.join(format!("sha256-{}", digest.hex()));
        let length = std::fs::metadata(&path)
            .map_err(|error| format!("{} cannot be read: {error}", path.display()))?
            .len();
        if length != layer.size {
            return Err(format!(
                "{} has {length} bytes, and its manifest says {}; pull it again",
                path.display(),
                layer.size
            ));
        }
        Ok((path, digest))
    }

    fn text(&self, layer: &Layer) -> Result<String, String> {
        let (path, _) = self.path(layer)?;
        let bytes = read_plain(&path, MANIFEST_BYTES_MAX);
        let text = bytes.and_then(|bytes| String::from_utf8(bytes).map_err(|e| e.to_string()));
        text.map_err(|error| format!("{} cannot be read: {error}", path.display()))
    }

    fn json<T: for<'a> Deserialize<'a>>(&self, layer: &Layer) -> Result<T, String> {
        serde_json::from_str(&self.text(layer)?)
            .map_err(|error| format!("its layer {} cannot be read: {error}", layer.digest))
    }

    /// Everything beside the weights.
    fn settings(&self, image: &Image, config: &Config) -> Result<Settings, String> {
        let some = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        let mut settings = Settings {
            renderer: some(&config.renderer),
            parser: some(&config.parser),
            requires: some(&config.requires),
            ..Settings::default()
        };
        for layer in &image.layers {
            match layer.kind.strip_prefix(KIND) {
                Some("template" | "prompt") => settings.template = Some(self.text(layer)?),
                Some("system") => settings.system = Some(self.text(layer)?),
                Some("params") => settings.parameters = self.json::<Map<String, Value>>(layer)?,
                Some("messages") => settings.messages = self.json::<Vec<Message>>(layer)?,
                Some("license") => settings.licenses.push(self.text(layer)?),
                _ => {}
            }
        }
        Ok(settings)
    }

    /// Files that a model is made of, by names that say what they are.
    fn files(&self, image: &Image, stem: &str) -> Result<Vec<Coming>, String> {
        let mut files = Vec::new();
        for layer in &image.layers {
            let role = match layer.kind.strip_prefix(KIND) {
                Some("model") => Role::Model,
                Some("projector") => Role::Projector,
                Some("adapter") => Role::Adapter,
                Some("draft") => Role::Draft,
                _ => continue,
            };
            let (path, digest) = self.path(layer)?;
            let header = header::read(&path).map_err(|why| format!("{} {why}", path.display()))?;
            // Early models have their projector as a further model.
            let role =
                if header::role(&header) == Role::Projector { Role::Projector } else { role };
            let name = String::new();
            let coming = Coming { role, name, path, digest: Some(digest), is_final: true };
            files.push((role, header::part(&header), coming));
        }
        files.sort_by_key(|(role, part, _)| (*role, *part));
        let count = |of: Role| files.iter().filter(|(role, ..)| *role == of).count();
        let counts =
            [Role::Model, Role::Projector, Role::Adapter, Role::Draft].map(|of| (of, count(of)));
        let mut numbers = std::collections::BTreeMap::new();
        let named = files.into_iter().map(|(role, _, file)| {
            let number = numbers.entry(role).or_insert(0);
            *number += 1;
            let count = counts.iter().find(|(of, _)| *of == role).map_or(1, |(_, count)| *count);
            Coming { name: file_name(role, stem, *number, count), ..file }
        });
        Ok(named.collect())
    }
}

/// What a file is called that had no name: engines find the parts of a model by theirs.
pub(in crate::store) fn file_name(role: Role, stem: &str, number: usize, count: usize) -> String {
    let begin = match role {
        Role::Model => "",
        Role::Projector => "mmproj-",
        Role::Adapter => "adapter-",
        Role::Draft => "draft-",
    };
    let end = if count > 1 { format!("-{number:05}-of-{count:05}") } else { String::new() };
    format!("{begin}{stem}{end}.gguf")
}
