//! The one way out of this machine: requests to servers elsewhere, with everything that holds for all of them.
//!
//! A switch refuses every request. Redirects are followed one by one: few, never from encrypted to plain, never
//! from the internet to this machine or its network. A credential goes to the server that it belongs to and to
//! no other, wherever that one redirects to. A registry that wants everybody to fetch a token first gets one. Not here: what is asked for (`remote`, `sources`), and what becomes
//! of a body (`transfer`).

mod address;
mod challenge;
mod error;

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use hyper_util::client::proxy::matcher::Matcher;

use reqwest::{
    Client, Response, StatusCode, Url,
    dns::{Addrs, Name, Resolve, Resolving},
    header::{AUTHORIZATION, HeaderName, HeaderValue, LOCATION, RETRY_AFTER},
    redirect::Policy,
};

use crate::limits;
use address::{Turn, is_inner, is_private_way, turn, without_password};
pub(crate) use address::{is_loopback, with_password_of};
use challenge::{Challenge, Tokens};
pub use error::Error;
pub(crate) use error::{after, of_request, of_status, shown};

/// Hugging Face's word for why it refuses.
const REASON: HeaderName = HeaderName::from_static("x-error-code");

/// How servers are reached, if at all.
#[derive(Clone)]
pub struct Options {
    /// Nothing is asked of anybody: every request is refused.
    pub offline: bool,
    /// Whether the proxies of the system and of the environment are used.
    pub proxies: bool,
    /// The most a connection may take.
    pub connect_wait_max: Duration,
    /// The longest a server may say nothing.
    pub silence_max: Duration,
    /// What is sent to whom.
    pub credentials: Vec<Credential>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            offline: false,
            proxies: true,
            connect_wait_max: limits::CONNECT_WAIT_MAX,
            silence_max: limits::SILENCE_MAX,
            credentials: Vec::new(),
        }
    }
}

/// A secret, and the server that may see it.
#[derive(Clone)]
pub struct Credential {
    /// An address of that server; scheme, host and port count.
    pub server: Url,
    /// The token, sent as `Authorization: Bearer`.
    pub token: String,
    /// Where the token is from, for messages: `HF_TOKEN`.
    pub name: &'static str,
}

/// Where an answer came from, redirects followed: the next question may begin there.
#[derive(Debug, Clone)]
pub struct Place {
    url: Url,
    /// Whether somebody else's redirect led there.
    is_guarded: bool,
}

/// A client for servers elsewhere. Cheap to clone.
#[derive(Clone)]
pub struct Outside {
    /// For what the user named.
    http: Client,
    /// The same for servers on this machine, which no proxy knows.
    here: Client,
    /// For where somebody else's redirect leads: names that mean this machine or its network lead nowhere.
    guarded: Client,
    options: Arc<Options>,
    /// The proxies that these clients use, if any.
    proxies: Option<Arc<Matcher>>,
    tokens: Arc<Tokens>,
}

/// What is shown to a server with a question.
enum Sign {
    /// A token that it gave.
    Token(HeaderValue),
    /// What belongs to it: the user's credential, or the password in the address.
    Own,
    /// No credential.
    Nothing,
}

impl Outside {
    /// A client that has asked for nothing yet.
    ///
    /// # Errors
    /// [`Error::Client`] when the system gives no TLS, [`Error::Setting`] when a credential cannot be sent.
    pub fn new(options: Options) -> Result<Self, Error> {
        // Another part of the program may have chosen one before; theirs serves as well.
        let _chosen_before = rustls::crypto::ring::default_provider().install_default();
        for credential in &options.credentials {
            credential.value()?;
        }
        let client = || {
            Client::builder()
                .user_agent(concat!("resident/", env!("CARGO_PKG_VERSION")))
                .connect_timeout(options.connect_wait_max)
                .read_timeout(options.silence_max)
                .redirect(Policy::none())
        };
        let outward = || if options.proxies { client() } else { client().no_proxy() };
        let build = |client: reqwest::ClientBuilder| {
            client.build().map_err(|error| Error::Client { why: error.to_string() })
        };
        Ok(Self {
            http: build(outward())?,
            here: build(client().no_proxy())?,
            guarded: build(outward().dns_resolver(Arc::new(OutwardOnly)))?,
            proxies: options.proxies.then(|| Arc::new(Matcher::from_system())),
            options: Arc::new(options),
            tokens: Arc::default(),
        })
    }

    /// The longest a server may say nothing.
    #[must_use]
    pub fn silence_max(&self) -> Duration {
        self.options.silence_max
    }

    /// Whether nothing is asked of anybody.
    #[must_use]
    pub fn is_offline(&self) -> bool {
        self.options.offline
    }

    /// Asks for `url` and follows redirects. Whatever is answered is given back, success or not; the address of
    /// [`Response::url`] is the one that answered.
    ///
    /// # Errors
    /// [`Error::Offline`], [`Error::Unreachable`], [`Error::Silent`], [`Error::Broken`], [`Error::Redirect`].
    pub async fn ask(&self, url: &Url, headers: &[(HeaderName, &str)]) -> Result<Response, Error> {
        Ok(self.ask_from(url, None, headers).await?.0)
    }

    /// As [`Self::ask`], beginning at `place`, where an answer for `url` came from before. Also says where this one
    /// came from.
    ///
    /// # Errors
    /// Those of [`Self::ask`].
    pub async fn ask_from(
        &self,
        url: &Url,
        place: Option<&Place>,
        headers: &[(HeaderName, &str)],
    ) -> Result<(Response, Place), Error> {
        if self.options.offline {
            return Err(Error::Offline { url: shown(url) });
        }
        let mut at = place.map_or(url, |place| &place.url).clone();
        let mut is_guarded = place.is_some_and(|place| place.is_guarded);
        for _hop in 0..=limits::REDIRECTS_MAX {
            let client = if is_guarded { &self.guarded } else { self.client_for(&at) };
            let response = self.ask_registry(client, url, &at, headers).await?;
            let Some(next) = location(&response) else {
                return Ok((response, Place { url: at, is_guarded }));
            };
            is_guarded = match turn(&at, self.peer(&at, &response), &next) {
                Ok(Turn::Inside) => false,
                Ok(Turn::Outward) => true,
                Err(why) => return Err(Error::Redirect { url: shown(url), why }),
            };
            at = with_password_of(&at, &next);
        }
        let why = format!(
            "it is redirected more than {} times; check the address",
            limits::REDIRECTS_MAX
        );
        Err(Error::Redirect { url: shown(url), why })
    }

    /// As [`Self::ask`], and every answer but success is an error.
    ///
    /// # Errors
    /// Those of [`Self::ask`], and [`Error::Refused`].
    pub async fn get(&self, url: &Url, headers: &[(HeaderName, &str)]) -> Result<Response, Error> {
        let response = self.ask(url, headers).await?;
        if response.status().is_success() {
            return Ok(response);
        }
        let header = |name| response.headers().get(name).and_then(|value| value.to_str().ok());
        Err(of_status(url, response.status(), header(&REASON), header(&RETRY_AFTER)))
    }

    /// Asks once, and once more with a token if the server of `asked` is a registry that wants one.
    async fn ask_registry(
        &self,
        client: &Client,
        asked: &Url,
        at: &Url,
        headers: &[(HeaderName, &str)],
    ) -> Result<Response, Error> {
        let is_own = challenge::place(at).is_some() && at.origin() == asked.origin();
        let used = if is_own { self.tokens.of(at) } else { None };
        let sign = used.clone().map_or(Sign::Own, Sign::Token);
        let response = self.ask_once(client, asked, at, headers, sign).await?;
        if !is_own || response.status() != StatusCode::UNAUTHORIZED || !is_private_way(at) {
            return Ok(response);
        }
        // Of several requests at once, one may have fetched a new one already.
        let token = match self.tokens.of(at).filter(|known| Some(known) != used.as_ref()) {
            Some(known) => Some(known),
            None => self.fetch_token(&response, at).await?,
        };
        match token {
            Some(token) => self.ask_once(client, asked, at, headers, Sign::Token(token)).await,
            None => Ok(response),
        }
    }

    /// The token that an answer asks for, from whom it says; none if it asks for something else.
    async fn fetch_token(
        &self,
        response: &Response,
        at: &Url,
    ) -> Result<Option<HeaderValue>, Error> {
        let Some(challenge) = Challenge::of(response) else { return Ok(None) };
        let realm = with_password_of(at, challenge.realm());
        // Another server gives a token to anybody, or none: who asks for it there is for the registry to say, and no
        // secret of the user's goes where a registry says.
        let shown_to = if realm.origin() == at.origin() { Sign::Own } else { Sign::Nothing };
        let client = match turn(at, self.peer(at, response), &realm) {
            Ok(Turn::Inside) => self.client_for(&realm),
            Ok(Turn::Outward) => &self.guarded,
            Err(why) => return Err(Error::Redirect { url: shown(at), why }),
        };
        let url = challenge.address(realm);
        let mut answer = self.ask_once(client, &url, &url, &[], shown_to).await?;
        if !answer.status().is_success() {
            return Err(of_status(&url, answer.status(), None, None));
        }
        let mut body = Vec::new();
        let chunk = |error| of_request(&url, &error, self.options.silence_max);
        while let Some(bytes) = answer.chunk().await.map_err(chunk)? {
            body.extend_from_slice(&bytes);
            if body.len() > limits::TOKEN_BYTES_MAX {
                break;
            }
        }
        let token = challenge::token(&body).filter(|_| body.len() <= limits::TOKEN_BYTES_MAX);
        let Some(token) = token else {
            let why = "it should give a token and does not; try again later".to_owned();
            return Err(Error::Redirect { url: shown(&url), why });
        };
        self.tokens.keep(at, &token);
        Ok(Some(token))
    }

    /// Asks `at`, and shows who asks.
    async fn ask_once(
        &self,
        client: &Client,
        asked: &Url,
        at: &Url,
        headers: &[(HeaderName, &str)],
        sign: Sign,
    ) -> Result<Response, Error> {
        let (bare, value) = match sign {
            // An address with a password would send that as well.
            Sign::Token(token) => (without_password(at), Some(token)),
            Sign::Own => (at.clone(), self.credential_for(at)?),
            Sign::Nothing => (at.clone(), None),
        };
        let mut request = client.get(bare);
        for (name, value) in headers {
            request = request.header(name, *value);
        }
        if let Some(value) = value {
            request = request.header(AUTHORIZATION, value);
        }
        let response = request.send().await;
        response.map_err(|error| of_request(asked, &error, self.options.silence_max))
    }

    /// Where an answer of `at` came from, unless a proxy may have passed it on: the proxy is in the user's network, and
    /// the server is anywhere.
    fn peer(&self, at: &Url, response: &Response) -> Option<IpAddr> {
        let peer = response.remote_addr().map(|peer: SocketAddr| peer.ip());
        peer.filter(|_| !self.is_proxied(at))
    }

    fn is_proxied(&self, url: &Url) -> bool {
        let is_intercepted = |proxies: &Matcher| match url.as_str().parse() {
            Ok(address) => proxies.intercept(&address).is_some(),
            Err(_) => true,
        };
        !is_loopback(url) && self.proxies.as_deref().is_some_and(is_intercepted)
    }

    fn client_for(&self, url: &Url) -> &Client {
        if is_loopback(url) { &self.here } else { &self.http }
    }

    /// What is sent to the server of `url`, if nobody can read it on the way.
    fn credential_for(&self, url: &Url) -> Result<Option<HeaderValue>, Error> {
        let is_for_it = |credential: &&Credential| credential.server.origin() == url.origin();
        match self.options.credentials.iter().find(is_for_it) {
            Some(credential) if is_private_way(url) => credential.value().map(Some),
            Some(_) | None => Ok(None),
        }
    }
}

impl Credential {
    fn value(&self) -> Result<HeaderValue, Error> {
        let mut value = HeaderValue::from_str(&format!("Bearer {}", self.token)).map_err(|_| {
            let why = "has characters that no token has; copy it again";
            Error::Setting { name: self.name, value: "…".to_owned(), why }
        })?;
        value.set_sensitive(true);
        Ok(value)
    }
}

/// Where a redirect leads. One to nowhere is an answer like any other.
fn location(response: &Response) -> Option<Url> {
    if ![301, 302, 303, 307, 308].contains(&response.status().as_u16()) {
        return None;
    }
    response.url().join(response.headers().get(LOCATION)?.to_str().ok()?).ok()
}

/// Looks names up, and finds no machine that is this one or in its network.
struct OutwardOnly;

impl Resolve for OutwardOnly {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            // The port is somebody else's business; none is the custom for it.
            let found: Vec<SocketAddr> =
                tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            let outside: Vec<SocketAddr> =
                found.into_iter().filter(|address| !is_inner(address.ip())).collect();
            if outside.is_empty() {
                return Err("a redirect leads to an address of this machine or its network".into());
            }
            Ok(Box::new(outside.into_iter()) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_credential_goes_to_its_server_and_nowhere_else() {
        for (server, address, is_sent) in [
            ("https://huggingface.co", "https://huggingface.co/a/b/resolve/main/c.gguf", true),
            ("https://huggingface.co", "https://cdn.huggingface.co/a", false),
            ("https://huggingface.co", "http://huggingface.co/a", false),
            ("https://huggingface.co", "https://huggingface.co:444/a", false),
            ("https://huggingface.co", "https://huggingface.co.evil.example/a", false),
            ("http://mirror.example", "http://mirror.example/a", false),
            ("http://127.0.0.1:9", "http://127.0.0.1:9/a", true),
            ("http://[::1]:9", "http://[::1]:9/a", true),
        ] {
            let server = Url::parse(server).unwrap();
            let credential = Credential { server, token: "hf_secret".to_owned(), name: "HF_TOKEN" };
            let options = Options { credentials: vec![credential], ..Options::default() };
            let outside = Outside::new(options).unwrap();
            let sent = outside.credential_for(&Url::parse(address).unwrap()).unwrap();
            assert_eq!(sent.is_some(), is_sent, "{address}");
        }
    }

    #[test]
    fn a_credential_that_cannot_be_sent_is_refused_at_once() {
        let server = Url::parse("https://h").unwrap();
        let credential = Credential { server, token: "a\nb".to_owned(), name: "HF_TOKEN" };
        let options = Options { credentials: vec![credential], ..Options::default() };
        let message = Outside::new(options).err().unwrap().to_string();
        assert!(message.starts_with("HF_TOKEN is '…', which has characters"), "{message}");
    }

    #[test]
    fn who_answers_behind_a_proxy_is_not_known() {
        let mut outside = Outside::new(Options { proxies: false, ..Options::default() }).unwrap();
        let is_proxied =
            |outside: &Outside, url: &str| outside.is_proxied(&Url::parse(url).unwrap());
        assert!(!is_proxied(&outside, "http://hub.example/a"));
        let proxies = Matcher::builder().all("http://10.0.0.1:3128").no("mirror.lan").build();
        outside.proxies = Some(Arc::new(proxies));
        for (url, expected) in [
            ("http://hub.example/a", true),
            ("https://hub.example/a?b=c", true),
            ("http://mirror.lan/a", false),
            ("http://127.0.0.1:9/a", false),
        ] {
            assert_eq!(is_proxied(&outside, url), expected, "{url}");
        }
    }

    #[tokio::test]
    async fn offline_asks_nobody() {
        let outside = Outside::new(Options { offline: true, ..Options::default() }).unwrap();
        let url = Url::parse("http://127.0.0.1:1/x").unwrap();
        let error = outside.ask(&url, &[]).await.unwrap_err();
        assert!(matches!(error, Error::Offline { .. }), "{error}");
    }
}
