//! Who the sources are, and what may be sent to them: defaults, and what the environment says.

use std::time::Duration;

use reqwest::Url;

use super::{Error, Places};
use crate::{limits, outside};

/// Our own variable for where Hugging Face is, which wins over the one of its own tools.
const ENDPOINT: &str = "RESIDENT_HF_ENDPOINT";
const ENDPOINT_OF_OTHERS: &str = "HF_ENDPOINT";
const MIRRORS: &str = "RESIDENT_HF_MIRRORS";
pub(super) const TOKEN: &str = "HF_TOKEN";
const MODEL_SCOPE_ENDPOINT: &str = "RESIDENT_MS_ENDPOINT";
/// What ModelScope's own tools read: a host.
const MODEL_SCOPE_DOMAIN: &str = "MODELSCOPE_DOMAIN";
pub(super) const MODEL_SCOPE_TOKEN: &str = "MODELSCOPE_API_TOKEN";
const OLLAMA_ENDPOINT: &str = "RESIDENT_OLLAMA_ENDPOINT";
const OFFLINE: &str = "RESIDENT_OFFLINE";

/// How sources are reached, and what that may cost.
#[derive(Clone)]
pub struct Options {
    /// Where Hugging Face, or a server that speaks like it, is.
    pub hugging_face: String,
    /// Others that have the same, in the order in which they are tried. They get no token.
    pub hugging_face_mirrors: Vec<String>,
    /// The token for the first of them.
    pub hugging_face_token: Option<String>,
    /// Where ModelScope is.
    pub model_scope: String,
    /// The token for it.
    pub model_scope_token: Option<String>,
    /// Where Ollama's registry is.
    pub ollama: String,
    /// Nothing is asked of anybody.
    pub offline: bool,
    /// Whether the proxies of the system and of the environment are used.
    pub proxies: bool,
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
            hugging_face: "https://huggingface.co".to_owned(),
            hugging_face_mirrors: Vec::new(),
            hugging_face_token: None,
            model_scope: "https://www.modelscope.cn".to_owned(),
            model_scope_token: None,
            ollama: "https://registry.ollama.ai".to_owned(),
            offline: false,
            proxies: true,
            connect_wait_max: limits::CONNECT_WAIT_MAX,
            silence_max: limits::SILENCE_MAX,
            whole_wait_max: limits::WHOLE_WAIT_MAX,
        }
    }
}

impl Options {
    /// What the environment says, which `variable` reads: `RESIDENT_HF_ENDPOINT` or `HF_ENDPOINT`,
    /// `RESIDENT_HF_MIRRORS` (with commas between), `HF_TOKEN`, `RESIDENT_MS_ENDPOINT` or `MODELSCOPE_DOMAIN`,
    /// `MODELSCOPE_API_TOKEN`, `RESIDENT_OLLAMA_ENDPOINT`, `RESIDENT_OFFLINE` (anything but `0`, `false` and `no`).
    pub fn from_environment(variable: impl Fn(&str) -> Option<String>) -> Self {
        let variable = |name| {
            let value = variable(name).map(|value| value.trim().to_owned());
            value.filter(|value| !value.is_empty())
        };
        let defaults = Self::default();
        let endpoint = variable(ENDPOINT).or_else(|| variable(ENDPOINT_OF_OTHERS));
        let domain = || variable(MODEL_SCOPE_DOMAIN).map(|host| format!("https://{host}"));
        let mirrors = variable(MIRRORS).unwrap_or_default();
        let mirrors = mirrors.split(',').map(str::trim).filter(|mirror| !mirror.is_empty());
        let is_on = |value: String| {
            !["0", "false", "no", "off"].contains(&value.to_ascii_lowercase().as_str())
        };
        Self {
            hugging_face: endpoint.unwrap_or(defaults.hugging_face),
            hugging_face_mirrors: mirrors.map(str::to_owned).collect(),
            hugging_face_token: variable(TOKEN),
            model_scope: variable(MODEL_SCOPE_ENDPOINT)
                .or_else(domain)
                .unwrap_or(defaults.model_scope),
            model_scope_token: variable(MODEL_SCOPE_TOKEN),
            ollama: variable(OLLAMA_ENDPOINT).unwrap_or(defaults.ollama),
            offline: variable(OFFLINE).is_some_and(is_on),
            ..Self::default()
        }
    }

    pub(super) fn places(&self) -> Result<Places, Error> {
        let mut hugging_face = vec![endpoint(ENDPOINT, &self.hugging_face)?];
        for mirror in self.hugging_face_mirrors.iter().take(limits::MIRRORS_MAX) {
            hugging_face.push(endpoint(MIRRORS, mirror)?);
        }
        Ok(Places {
            hugging_face,
            model_scope: endpoint(MODEL_SCOPE_ENDPOINT, &self.model_scope)?,
            ollama: endpoint(OLLAMA_ENDPOINT, &self.ollama)?,
            whole_wait_max: self.whole_wait_max,
        })
    }
}

fn endpoint(name: &'static str, text: &str) -> Result<Url, Error> {
    let url = Url::parse(text).ok();
    let is_web = |url: &Url| ["http", "https"].contains(&url.scheme()) && url.has_host();
    url.filter(is_web).ok_or_else(|| {
        let why = "is no web address; write for example https://huggingface.co";
        outside::Error::Setting { name, value: text.to_owned(), why }.into()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_that_is_no_web_address_is_refused() {
        for text in ["", "huggingface.co", "ftp://h", "file:///etc"] {
            let options = Options { hugging_face: text.to_owned(), ..Options::default() };
            let message = options.places().err().unwrap().to_string();
            assert!(message.starts_with("RESIDENT_HF_ENDPOINT is "), "{message}");
        }
    }

    #[test]
    fn our_own_variable_wins() {
        let read = |pairs: &[(&str, &str)]| {
            Options::from_environment(|name| {
                pairs.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
            })
        };
        let options = read(&[("HF_ENDPOINT", "https://b"), ("HF_TOKEN", " t \n")]);
        assert_eq!(options.hugging_face, "https://b");
        assert_eq!(options.hugging_face_token.as_deref(), Some("t"));
        let both = [("HF_ENDPOINT", "https://b"), ("RESIDENT_HF_ENDPOINT", "https://a")];
        assert_eq!(read(&both).hugging_face, "https://a");
        let empty = [("HF_ENDPOINT", "https://b"), ("RESIDENT_HF_ENDPOINT", " ")];
        assert_eq!(read(&empty).hugging_face, "https://b");
        let mirrors = read(&[("RESIDENT_HF_MIRRORS", "https://a, https://b,,")]);
        assert_eq!(mirrors.hugging_face_mirrors, ["https://a", "https://b"]);
        assert_eq!(read(&[("MODELSCOPE_DOMAIN", "ms.lan")]).model_scope, "https://ms.lan");
        assert_eq!(read(&[]).hugging_face, "https://huggingface.co");
    }

    #[test]
    fn offline_is_what_people_write_for_it() {
        for (value, expected) in
            [("1", true), ("true", true), ("0", false), ("No", false), ("", false)]
        {
            let read = |name: &str| (name == OFFLINE).then(|| value.to_owned());
            assert_eq!(Options::from_environment(read).offline, expected, "{value}");
        }
    }
}
