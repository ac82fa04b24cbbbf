//! What a container registry asks for before it answers: a token, which it gives to anybody for what is public.
//!
//! A token is asked for without any credential unless the registry gives it itself and a credential belongs to it, and
//! is sent to the registry that asked for it and to nobody else. Sources: RFC 6750, and the token authentication of the
//! distribution project.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use reqwest::{
    Response, Url,
    header::{HeaderValue, WWW_AUTHENTICATE},
};
use serde::Deserialize;

use crate::limits::TOKENS_MAX;

const SCHEME: &str = "bearer";

/// Who gives a token, and for what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Challenge {
    realm: Url,
    service: Option<String>,
    scope: Option<String>,
}

impl Challenge {
    /// What an answer asks for, if it asks for a token of somebody on the web.
    pub(super) fn of(response: &Response) -> Option<Self> {
        let texts = response.headers().get_all(WWW_AUTHENTICATE).iter();
        texts.filter_map(|text| text.to_str().ok()).find_map(Self::parse)
    }

    fn parse(text: &str) -> Option<Self> {
        let (scheme, rest) = text.trim().split_once(' ')?;
        if !scheme.eq_ignore_ascii_case(SCHEME) {
            return None;
        }
        let parameters = parameters(rest);
        let get = |name: &str| {
            let found = parameters.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
            found.map(|(_, value)| value.clone()).filter(|value| !value.is_empty())
        };
        let realm = Url::parse(&get("realm")?).ok()?;
        let is_web = ["http", "https"].contains(&realm.scheme()) && realm.has_host();
        is_web.then(|| Self { realm, service: get("service"), scope: get("scope") })
    }

    /// Who gives the token.
    pub(super) fn realm(&self) -> &Url {
        &self.realm
    }

    /// The address to ask for it at, on the server of `realm`.
    pub(super) fn address(&self, mut realm: Url) -> Url {
        if let Some(service) = &self.service {
            realm.query_pairs_mut().append_pair("service", service);
        }
        for scope in self.scope.iter().flat_map(|scope| scope.split_ascii_whitespace()) {
            realm.query_pairs_mut().append_pair("scope", scope);
        }
        realm
    }
}

/// `name="value"` and `name=value`, with commas between.
fn parameters(text: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some((name, after)) = rest.split_once('=') {
        let (value, behind) = match after.strip_prefix('"') {
            Some(quoted) => unquoted(quoted),
            None => {
                let (value, behind) = after.split_once(',').unwrap_or((after, ""));
                (value.trim().to_owned(), behind)
            }
        };
        found.push((name.trim_matches([' ', ',']).to_owned(), value));
        rest = behind;
    }
    found
}

/// The text up to the closing quote, and what is behind it.
fn unquoted(text: &str) -> (String, &str) {
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return (value, &text[at + 1..]),
            '\\' => value.extend(characters.next().map(|(_, next)| next)),
            other => value.push(other),
        }
    }
    (value, "")
}

/// The token in an answer, as a header. Registries call it one way or the other.
pub(super) fn token(body: &[u8]) -> Option<HeaderValue> {
    #[derive(Deserialize)]
    struct Answer {
        token: Option<String>,
        access_token: Option<String>,
    }
    let answer: Answer = serde_json::from_slice(body).ok()?;
    let token = answer.token.or(answer.access_token).filter(|token| !token.is_empty())?;
    let mut value = HeaderValue::from_str(&format!("Bearer {token}")).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// Tokens that registries gave, each for one repository of one server.
#[derive(Default)]
pub(super) struct Tokens(Mutex<HashMap<String, HeaderValue>>);

impl Tokens {
    /// The token that the server of `url` wants to see there.
    pub(super) fn of(&self, url: &Url) -> Option<HeaderValue> {
        let place = place(url)?;
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&place).cloned()
    }

    pub(super) fn keep(&self, url: &Url, token: &HeaderValue) {
        let Some(place) = place(url) else { return };
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= TOKENS_MAX {
            known.clear();
        }
        known.insert(place, token.clone());
    }
}

/// The repository of a registry that `url` lies in, with its server: what one token is good for.
pub(super) fn place(url: &Url) -> Option<String> {
    let path = url.path();
    let (place, _) = path.rsplit_once("/blobs/").or_else(|| path.rsplit_once("/manifests/"))?;
    place.contains("/v2/").then(|| format!("{}{place}", url.origin().ascii_serialization()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &str) {
        let challenge = Challenge::parse(text).unwrap();
        assert_eq!(challenge.address(challenge.realm.clone()).as_str(), expected, "{text}");
    }

    #[test]
    fn challenges_of_registries() {
        check(
            r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:ai/x:pull,push""#,
            "https://auth.docker.io/token?service=registry.docker.io&scope=repository%3Aai%2Fx%3Apull%2Cpush",
        );
        check(r#"bearer  realm=https://h/t , scope="a b""#, "https://h/t?scope=a&scope=b");
        check(r#"Bearer realm="https://h/t?x=1", service="q\"q""#, "https://h/t?x=1&service=q%22q");
    }

    #[test]
    fn anything_else_asks_for_nothing_that_we_have() {
        for text in [
            "",
            "Basic realm=\"https://h/\"",
            "Bearer",
            "Bearer realm=\"Authentication required\", charset=\"UTF-8\"",
            "Bearer realm=\"file:///etc/passwd\"",
            "Bearer realm=\"\"",
            "Bearer realm=\"https://h",
            "Bearer service=\"x\"",
        ] {
            let found = Challenge::parse(text);
            // A quote that nobody closes ends with the text.
            assert!(found.is_none() || text.ends_with("//h"), "{text}: {found:?}");
        }
    }

    #[test]
    fn a_token_is_good_for_one_repository_of_one_server() {
        let url = |text: &str| Url::parse(text).unwrap();
        let tokens = Tokens::default();
        let value = token(br#"{"access_token":"abc"}"#).unwrap();
        tokens.keep(&url("https://h/v2/a/b/manifests/latest"), &value);
        for (text, is_known) in [
            ("https://h/v2/a/b/blobs/sha256:1", true),
            ("https://h/v2/a/b/manifests/other", true),
            ("https://h/v2/a/c/blobs/sha256:1", false),
            ("https://h:444/v2/a/b/blobs/sha256:1", false),
            ("http://h/v2/a/b/blobs/sha256:1", false),
            ("https://h/v2/a/b", false),
            ("https://h/x/a/b/blobs/1", false),
        ] {
            assert_eq!(tokens.of(&url(text)).is_some(), is_known, "{text}");
        }
    }

    #[test]
    fn what_is_no_token() {
        for body in ["", "[]", "{}", r#"{"token":""}"#, r#"{"token":"a\nb"}"#, r#"{"token":1}"#] {
            assert!(token(body.as_bytes()).is_none(), "{body}");
        }
    }
}
