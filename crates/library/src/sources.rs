//! Where models are: what a source has under a name, file by file, with lengths and digests where it says them.
//!
//! Everything a server says is doubted. Lists are bounded in bytes and in entries, digests must be digests, and
//! a name is never a path: what becomes the name of a file here is made plain first. Not here: bringing files
//! (`transfer`), keeping them (`store`), and both of a whole model (`pull`).

pub(crate) mod address;
mod body;
mod bounded;
mod error;
mod hugging_face;
mod model_scope;
pub mod oci;
mod options;
mod plain;
mod registry;
mod repository;
mod search;

use std::{sync::Arc, time::Duration};

use planner::gguf::split;
use reqwest::Url;

pub(crate) use body::Budget;
pub use error::Error;
pub use options::Options;
pub use repository::{File, Kind, Model};
pub use search::Hit;

use crate::{
    limits,
    manifest::{Role, Settings},
    name::Name,
    outside::{self, Credential, Outside},
    source::{Hub, Image, Repository, Source},
    wanted::Wanted,
};

/// What a source has: a model, not yet here.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    /// Where it is from, as the user would write it again.
    pub source: String,
    /// What the source calls this state of it: a commit, or the digest of its manifest.
    pub revision: Option<String>,
    /// How its weights are encoded, as the source says: `Q4_K_M`.
    pub quantization: Option<String>,
    /// What it could be called here.
    pub suggested_name: Name,
    /// Its files: those of the model first, in the order of their parts.
    pub files: Vec<FoundFile>,
    /// What goes with the weights.
    pub settings: Settings,
}

/// One file of a model that a source has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundFile {
    /// What it is for.
    pub role: Role,
    /// What people call it: a plain file name, unlike those of the model's other files.
    pub name: String,
    /// Where it can be had, and what is known of it.
    pub wanted: Wanted,
}

impl Found {
    /// Length of all files, as far as the source says them.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        let bytes = self.files.iter().filter_map(|file| file.wanted.bytes);
        bytes.fold(0, u64::saturating_add)
    }
}

/// How sources are reached: who they are, and what is sent to whom. Cheap to clone.
#[derive(Clone)]
pub struct Access {
    outside: Outside,
    places: Arc<Places>,
}

/// Where each source is.
struct Places {
    /// Hugging Face or servers that speak like it, best first; never empty.
    hugging_face: Vec<Url>,
    model_scope: Url,
    /// Ollama's registry.
    ollama: Url,
    /// The most that one question may take.
    whole_wait_max: Duration,
}

/// What a repository has, and where its files are had.
pub(crate) struct Listing {
    pub(crate) repository: Repository,
    pub(crate) models: Vec<Model>,
    /// The commit, if it is known.
    revision: Option<String>,
    /// Servers that have it, best first.
    endpoints: Vec<Url>,
}

impl Access {
    /// Access as `options` say.
    ///
    /// # Errors
    /// When an endpoint is no web address, a token cannot be sent, or the system gives no TLS.
    pub fn new(options: &Options) -> Result<Self, Error> {
        let places = options.places()?;
        let token = |server: &Url, token: &Option<String>, name| {
            token.clone().map(|token| Credential { server: server.clone(), token, name })
        };
        let first = places.hugging_face.first();
        let credentials = [
            first.and_then(|url| token(url, &options.hugging_face_token, options::TOKEN)),
            token(&places.model_scope, &options.model_scope_token, options::MODEL_SCOPE_TOKEN),
        ];
        let outside = Outside::new(outside::Options {
            offline: options.offline,
            proxies: options.proxies,
            connect_wait_max: options.connect_wait_max,
            silence_max: options.silence_max,
            credentials: credentials.into_iter().flatten().collect(),
        })?;
        Ok(Self { outside, places: Arc::new(places) })
    }

    /// Access as the environment says, which `variable` reads; see [`Options::from_environment`].
    ///
    /// # Errors
    /// Those of [`Self::new`].
    pub fn from_environment(variable: impl Fn(&str) -> Option<String>) -> Result<Self, Error> {
        Self::new(&Options::from_environment(variable))
    }

    /// The way out of this machine that it uses, with what is sent to whom.
    #[must_use]
    pub fn outside(&self) -> &Outside {
        &self.outside
    }

    /// What `source` means: a model with all its files, and a projector beside it if there is one.
    ///
    /// # Errors
    /// [`Error`], which names the address and the way out; [`Error::Several`] lists what there is when nothing
    /// is picked of several models.
    pub async fn found(&self, source: &Source) -> Result<Found, Error> {
        self.in_time(async {
            let mut budget = Budget::new(limits::DOWNLOAD_BYTES_MAX);
            match source {
                Source::Repository { repository, pick } => {
                    let listing = self.listing(repository, true, &mut budget).await?;
                    listing.found(source, pick.as_deref())
                }
                Source::Registry(image) => registry::found(self, image, &mut budget).await,
                Source::Address(address) => address::found(self, address, &mut budget).await,
            }
        })
        .await
    }

    /// Models that a hub has for the words in `text`, in GGUF, most used first: Hugging Face, or ModelScope when
    /// `ms:` stands before it. At most `limit` of them, and at most [`limits::HITS_MAX`].
    ///
    /// # Errors
    /// [`Error`], which names the address and the way out.
    pub async fn search(&self, text: &str, limit: usize) -> Result<Vec<Hit>, Error> {
        self.in_time(search::search(self, text, limit.min(limits::HITS_MAX))).await
    }

    /// What a repository has. Its state is `pinned` to the commit that it is at now, where the hub says that.
    pub(crate) async fn listing(
        &self,
        repository: &Repository,
        pinned: bool,
        budget: &mut Budget,
    ) -> Result<Listing, Error> {
        match repository.hub() {
            Hub::HuggingFace => hugging_face::listing(self, repository, pinned, budget).await,
            Hub::ModelScope => model_scope::listing(self, repository, budget).await,
        }
    }

    /// The files of one of the models that a listing of `repository` gave.
    pub(crate) fn files(
        &self,
        repository: &Repository,
        model: &Model,
    ) -> Result<Vec<FoundFile>, Error> {
        let endpoints = match repository.hub() {
            Hub::HuggingFace => self.places.hugging_face.clone(),
            Hub::ModelScope => vec![self.places.model_scope.clone()],
        };
        let repository = repository.clone();
        Listing { repository, models: Vec::new(), revision: None, endpoints }.files(model)
    }

    /// Files of the model itself at a registry, without its texts.
    pub(crate) async fn model_of_registry(
        &self,
        image: &Image,
        budget: &mut Budget,
    ) -> Result<Vec<FoundFile>, Error> {
        registry::model_files(self, image, budget).await
    }

    /// Whatever is asked, it ends.
    pub(crate) async fn in_time<T>(
        &self,
        ask: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        let wait = self.places.whole_wait_max;
        tokio::time::timeout(wait, ask).await.unwrap_or(Err(Error::Slow { wait }))
    }
}

impl Listing {
    /// The model that `wanted` means; without it, the only one.
    pub(crate) fn pick(&self, wanted: Option<&str>) -> Result<&Model, Error> {
        repository::pick(&self.repository, &self.models, wanted)
    }

    /// The files of `model`, which must all be there.
    pub(crate) fn files(&self, model: &Model) -> Result<Vec<FoundFile>, Error> {
        if let Some(number) = model.missing_part {
            let error = split::Error::Missing { number, count: model.parts };
            return Err(Error::Split {
                name: format!("{}: {}", self.repository, model.name),
                error,
            });
        }
        let role = if model.kind == Kind::Projector { Role::Projector } else { Role::Model };
        let file = |file: &File| FoundFile {
            role,
            name: plain::file_name(&file.path),
            wanted: Wanted {
                addresses: self.addresses(&file.path),
                bytes: Some(file.bytes),
                digest: file.digest,
                name: file.path.clone(),
            },
        };
        Ok(model.files.iter().map(file).collect())
    }

    fn addresses(&self, path: &str) -> Vec<Url> {
        let hub = self.repository.hub();
        let revision = self.revision.as_deref().unwrap_or(hub.branch());
        let endpoints = self.endpoints.iter();
        let addresses = endpoints.map(|endpoint| match hub {
            Hub::HuggingFace => hugging_face::file(endpoint, &self.repository, revision, path),
            Hub::ModelScope => model_scope::file(endpoint, &self.repository, path),
        });
        addresses.collect()
    }

    fn found(&self, source: &Source, pick: Option<&str>) -> Result<Found, Error> {
        let model = self.pick(pick)?;
        let companion = |what| Error::Companion {
            repository: self.repository.to_string(),
            name: model.name.clone(),
            what,
        };
        match model.kind {
            Kind::Model => {}
            Kind::Projector => return Err(companion("a projector")),
            Kind::Leftover => return Err(companion("a matrix for quantizing")),
        }
        let mut files = self.files(model)?;
        if let Some(projector) = repository::projector_for(model, &self.models) {
            files.extend(self.files(projector)?);
        }
        within_bounds(&self.repository.to_string(), &files)?;
        plain::make_distinct(&mut files);
        let family = model.family();
        let own = family.rsplit('/').next().filter(|name| !name.is_empty());
        let own = own.unwrap_or_else(|| self.repository.name());
        Ok(Found {
            source: source.to_string(),
            revision: self.revision.clone(),
            quantization: model.quantization.clone(),
            suggested_name: plain::model_name(own, model.quantization.as_deref())?,
            files,
            settings: Settings::default(),
        })
    }
}

/// The models in a hub's list of files, which may say anything.
///
/// # Errors
/// What is wrong with it, for people.
pub fn read_list(hub: Hub, body: &[u8]) -> Result<Vec<Model>, String> {
    let files = match hub {
        Hub::HuggingFace => hugging_face::read(body),
        Hub::ModelScope => model_scope::read(body),
    };
    files.map(repository::models)
}

/// Refuses what nobody can have meant.
fn within_bounds(source: &str, files: &[FoundFile]) -> Result<(), Error> {
    if files.len() > limits::MODEL_FILES_MAX {
        let why = format!(
            "the model has {} files, and models have at most {}",
            files.len(),
            limits::MODEL_FILES_MAX
        );
        return Err(Error::Answer { url: source.to_owned(), why });
    }
    Ok(())
}

/// `steps` below `base`.
fn below<'a>(base: &Url, steps: impl IntoIterator<Item = &'a str>) -> Url {
    let mut url = base.clone();
    // Every web address has a path that can be added to.
    if let Ok(mut path) = url.path_segments_mut() {
        path.pop_if_empty().extend(steps);
    }
    url
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_on_an_endpoint() {
        for (endpoint, expected) in [
            ("https://h", "https://h/api/a%20b/x%3Fy"),
            ("https://h/", "https://h/api/a%20b/x%3Fy"),
            ("https://h/mirror/hf/", "https://h/mirror/hf/api/a%20b/x%3Fy"),
        ] {
            let url = below(&Url::parse(endpoint).unwrap(), ["api", "a b", "x?y"]);
            assert_eq!(url.as_str(), expected);
        }
    }
}
