//! Reads the header of a model that lies elsewhere, without downloading the model.
//!
//! Everything a server says is doubted: lengths must agree, redirects and waits are bounded, and one
//! question downloads no more than [`limits::DOWNLOAD_BYTES_MAX`]. The token for
//! Hugging Face goes to its server and nowhere else.

mod error;
pub(crate) mod range;
mod repository;
mod source;

use std::time::Duration;

use planner::gguf::{Header, split};
use reqwest::{
    Response, Url,
    header::{HeaderName, LINK},
};

pub use error::Error;
pub use repository::{File, Kind, Model};
pub use source::{Address, Repository, Source};

use crate::{
    limits,
    outside::{self, Credential, Outside, shown},
};

/// Where Hugging Face is, unless somebody says otherwise.
const ENDPOINT_DEFAULT: &str = "https://huggingface.co";
/// Our own variable for it, which wins.
const ENDPOINT_VARIABLE: &str = "RESIDENT_HF_ENDPOINT";
/// The variable that Hugging Face's own tools read.
const ENDPOINT_VARIABLE_OF_OTHERS: &str = "HF_ENDPOINT";
const TOKEN_VARIABLE: &str = "HF_TOKEN";

/// How to reach servers, and what they may cost.
#[derive(Clone)]
pub struct Options {
    /// Where Hugging Face, or a server that speaks like it, is.
    pub endpoint: String,
    /// The token for that server.
    pub token: Option<String>,
    /// Nothing is asked of anybody.
    pub offline: bool,
    /// Whether the proxies of the system and of the environment are used.
    pub proxies: bool,
    /// The most one reader downloads, in bytes.
    pub download_bytes_max: u64,
    /// The most a connection may take.
    pub connect_wait_max: Duration,
    /// The longest a server may say nothing.
    pub silence_max: Duration,
    /// The most one question may take.
    pub whole_wait_max: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            endpoint: ENDPOINT_DEFAULT.to_owned(),
            token: None,
            offline: false,
            proxies: true,
            download_bytes_max: limits::DOWNLOAD_BYTES_MAX,
            connect_wait_max: limits::CONNECT_WAIT_MAX,
            silence_max: limits::SILENCE_MAX,
            whole_wait_max: limits::WHOLE_WAIT_MAX,
        }
    }
}

impl Options {
    /// What the environment says, which `variable` reads: `RESIDENT_HF_ENDPOINT` or `HF_ENDPOINT`,
    /// and `HF_TOKEN`.
    pub fn from_environment(variable: impl Fn(&str) -> Option<String>) -> Self {
        let variable = |name| variable(name).filter(|value| !value.trim().is_empty());
        let endpoint =
            variable(ENDPOINT_VARIABLE).or_else(|| variable(ENDPOINT_VARIABLE_OF_OTHERS));
        let defaults = Self::default();
        Self {
            endpoint: endpoint.unwrap_or(defaults.endpoint),
            token: variable(TOKEN_VARIABLE).map(|token| token.trim().to_owned()),
            ..Self::default()
        }
    }
}

/// A model's header that was read from elsewhere.
#[derive(Debug, Clone)]
pub struct Remote {
    /// What the model is called where it lies.
    pub name: String,
    /// The header of the whole model, all parts joined.
    pub header: Header,
    /// Length of all its files.
    pub file_bytes: u64,
}

/// Reads headers, and counts what that costs.
pub struct Reader {
    outside: Outside,
    options: Options,
    endpoint: Url,
    left_bytes: u64,
    downloaded_bytes: u64,
}

impl Reader {
    /// A reader that has downloaded nothing yet.
    ///
    /// # Errors
    /// When the endpoint is no web address, a token cannot be sent, or the system gives no TLS.
    pub fn new(options: Options) -> Result<Self, Error> {
        let endpoint = endpoint(&options.endpoint)?;
        let credential = options.token.iter().map(|token| Credential {
            server: endpoint.clone(),
            token: token.clone(),
            name: TOKEN_VARIABLE,
        });
        let outside = Outside::new(outside::Options {
            offline: options.offline,
            proxies: options.proxies,
            connect_wait_max: options.connect_wait_max,
            silence_max: options.silence_max,
            credentials: credential.collect(),
        })?;
        let left_bytes = options.download_bytes_max;
        Ok(Self { outside, options, endpoint, left_bytes, downloaded_bytes: 0 })
    }

    /// What was downloaded so far, in bytes of content.
    #[must_use]
    pub fn downloaded_bytes(&self) -> u64 {
        self.downloaded_bytes
    }

    /// Reads the header of the model that `source` means.
    ///
    /// # Errors
    /// [`Error`], which names the address and the way out.
    pub async fn read(&mut self, source: &Source) -> Result<Remote, Error> {
        self.in_time(async |reader| match source {
            Source::File(address) => reader.read_address(&address.0).await,
            Source::Repository { repository, pick } => {
                let models = reader.list(repository).await?;
                let model = repository::pick(repository, &models, pick.as_deref())?;
                reader.read_files(repository, model).await
            }
        })
        .await
    }

    /// The GGUF files of a repository, as models.
    ///
    /// # Errors
    /// [`Error`], which names the address and the way out.
    pub async fn models(&mut self, repository: &Repository) -> Result<Vec<Model>, Error> {
        self.in_time(async |reader| reader.list(repository).await).await
    }

    /// Reads the header of one of the models that [`Self::models`] gave.
    ///
    /// # Errors
    /// [`Error`], which names the address and the way out.
    pub async fn read_model(
        &mut self,
        repository: &Repository,
        model: &Model,
    ) -> Result<Remote, Error> {
        self.in_time(async |reader| reader.read_files(repository, model).await).await
    }

    /// Whatever is asked, it ends.
    async fn in_time<T>(
        &mut self,
        ask: impl AsyncFnOnce(&mut Self) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let wait = self.options.whole_wait_max;
        let answer = tokio::time::timeout(wait, ask(self)).await;
        answer.unwrap_or(Err(Error::Slow { wait }))
    }

    async fn read_address(&mut self, url: &Url) -> Result<Remote, Error> {
        let (folder, name) = url.path().rsplit_once('/').unwrap_or(("", url.path()));
        let names = split::names(name).map_err(|error| Error::Split { name: shown(url), error })?;
        let files: Vec<(String, Url, Option<u64>)> = names
            .iter()
            .map(|name| {
                let mut part = url.clone();
                part.set_path(&format!("{folder}/{name}"));
                (name.clone(), part, None)
            })
            .collect();
        self.read_parts(files).await
    }

    async fn read_files(
        &mut self,
        repository: &Repository,
        model: &Model,
    ) -> Result<Remote, Error> {
        if let Some(number) = model.missing_part {
            let error = split::Error::Missing { number, count: model.parts };
            return Err(Error::Split { name: format!("{repository}: {}", model.name), error });
        }
        let mut files = Vec::new();
        for file in &model.files {
            let tail = ["resolve", "main"].into_iter().chain(file.path.split('/'));
            let url = self.address(repository.steps().into_iter().chain(tail));
            files.push((file.path.clone(), url, Some(file.bytes)));
        }
        self.read_parts(files).await
    }

    /// Reads all parts of a model, given as name, address and length if known, and joins them.
    async fn read_parts(
        &mut self,
        files: Vec<(String, Url, Option<u64>)>,
    ) -> Result<Remote, Error> {
        let (mut headers, mut file_bytes) = (Vec::new(), 0_u64);
        let mut name = None;
        for (file_name, url, listed_bytes) in files {
            let first_bytes = match &name {
                None => limits::FIRST_BYTES,
                Some(_) => limits::FIRST_BYTES_OF_FURTHER_PARTS,
            };
            let read = range::header(self, &file_name, &url, first_bytes, listed_bytes).await?;
            headers.push(read.header);
            file_bytes = file_bytes.saturating_add(read.file_bytes);
            name.get_or_insert(file_name);
        }
        let name = name.unwrap_or_default();
        match split::join(headers) {
            Ok(header) => Ok(Remote { name, header, file_bytes }),
            Err(error) => Err(Error::Split { name, error }),
        }
    }

    /// All GGUF files of a repository. Source: the API that Hugging Face's own client uses.
    async fn list(&mut self, repository: &Repository) -> Result<Vec<Model>, Error> {
        let steps = ["api", "models"].into_iter().chain(repository.steps());
        let mut url = self.address(steps.chain(["tree", "main"]));
        url.set_query(Some("recursive=true"));
        let mut entries = Vec::new();
        for _page in 0..limits::LIST_PAGES_MAX {
            let (body, next) = self.page(&url).await?;
            let page: Vec<repository::Entry> = serde_json::from_slice(&body)
                .map_err(|error| Error::List { url: shown(&url), why: error.to_string() })?;
            entries.extend(page);
            match next {
                Some(next) => url = next,
                None => return Ok(repository::models(entries)),
            }
        }
        let why = format!("it goes on after {} pages", limits::LIST_PAGES_MAX);
        Err(Error::List { url: shown(&url), why })
    }

    /// One page of a list, and where the next one is.
    async fn page(&mut self, url: &Url) -> Result<(Vec<u8>, Option<Url>), Error> {
        let mut response = self.get(url, &[]).await?;
        let link = response.headers().get(LINK).and_then(|link| link.to_str().ok());
        let next = link.and_then(next_link).and_then(|link| url.join(link).ok());
        if let Some(foreign) = next.as_ref().filter(|next| next.origin() != url.origin()) {
            let why = format!("it goes on at another server, {}", shown(foreign));
            return Err(Error::List { url: shown(url), why });
        }
        let mut body = Vec::new();
        while let Some(chunk) = self.chunk(url, &mut response).await? {
            body.extend_from_slice(&chunk);
            if body.len() as u64 > limits::LIST_BYTES_MAX {
                let why = format!("it is longer than {} bytes", limits::LIST_BYTES_MAX);
                return Err(Error::List { url: shown(url), why });
            }
        }
        Ok((body, next))
    }

    /// An address on the endpoint.
    fn address<'a>(&self, steps: impl Iterator<Item = &'a str>) -> Url {
        let mut url = self.endpoint.clone();
        // Every web address has a path that can be added to.
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(steps);
        }
        url
    }

    /// Asks for `url`, follows redirects, and refuses every answer but success.
    async fn get(&self, url: &Url, headers: &[(HeaderName, &str)]) -> Result<Response, Error> {
        Ok(self.outside.get(url, headers).await?)
    }
}

fn endpoint(text: &str) -> Result<Url, Error> {
    let url = Url::parse(text).ok();
    let is_web = |url: &Url| ["http", "https"].contains(&url.scheme()) && url.has_host();
    url.filter(is_web).ok_or_else(|| {
        let why = "is no web address; write for example https://huggingface.co";
        outside::Error::Setting { name: ENDPOINT_VARIABLE, value: text.to_owned(), why }.into()
    })
}

/// The address behind `rel="next"` of a `Link` header. Source: RFC 8288.
fn next_link(text: &str) -> Option<&str> {
    let link = text.split(',').find(|link| link.contains("rel=\"next\""))?;
    link.split_once('<')?.1.split_once('>').map(|(address, _)| address)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reader(endpoint: &str) -> Result<Reader, Error> {
        let token = Some("hf_secret".to_owned());
        Reader::new(Options { endpoint: endpoint.to_owned(), token, ..Options::default() })
    }

    #[test]
    fn addresses_on_the_endpoint() {
        for (endpoint, expected) in [
            ("https://h", "https://h/api/a%20b/x%3Fy"),
            ("https://h/", "https://h/api/a%20b/x%3Fy"),
            ("https://h/mirror/hf/", "https://h/mirror/hf/api/a%20b/x%3Fy"),
        ] {
            let url = reader(endpoint).unwrap().address(["api", "a b", "x?y"].into_iter());
            assert_eq!(url.as_str(), expected);
        }
    }

    #[test]
    fn an_endpoint_that_is_no_web_address_is_refused() {
        for endpoint in ["", "huggingface.co", "ftp://h", "file:///etc"] {
            let message = reader(endpoint).err().unwrap().to_string();
            assert!(message.starts_with("RESIDENT_HF_ENDPOINT is "), "{message}");
        }
    }

    #[test]
    fn our_own_variable_wins() {
        let pairs = [("HF_ENDPOINT", "https://b"), ("HF_TOKEN", " t \n")];
        let read = |more: &[(&str, &str)]| {
            let all: Vec<(String, String)> = pairs
                .iter()
                .chain(more)
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect();
            Options::from_environment(|name| {
                all.iter().rfind(|(known, _)| known == name).map(|(_, value)| value.clone())
            })
        };
        assert_eq!(read(&[]).endpoint, "https://b");
        assert_eq!(read(&[]).token.as_deref(), Some("t"));
        assert_eq!(read(&[("RESIDENT_HF_ENDPOINT", "https://a")]).endpoint, "https://a");
        assert_eq!(read(&[("RESIDENT_HF_ENDPOINT", " ")]).endpoint, "https://b");
        assert_eq!(Options::from_environment(|_| None).endpoint, ENDPOINT_DEFAULT);
    }

    #[test]
    fn the_next_page_is_found() {
        let text = "<https://h/a?cursor=x>; rel=\"next\"";
        assert_eq!(next_link(text), Some("https://h/a?cursor=x"));
        assert_eq!(next_link("<https://h/a>; rel=\"first\""), None);
        assert_eq!(next_link("rel=\"next\""), None);
    }

    #[test]
    fn addresses_are_shown_without_their_secrets() {
        let url = Url::parse("https://me:pass@h/a?X-Amz-Signature=s#f").unwrap();
        assert_eq!(shown(&url), "https://h/a");
    }
}
