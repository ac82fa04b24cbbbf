//! Who may ask: checked before any route, for every path, so that no alias slips past.
//!
//! A web page that a person happens to visit can reach 127.0.0.1 too. What stops it: the Host must be
//! one of ours (a rebound name is not), an Origin must be ours or configured, and a POST must be of a
//! type that a page cannot send without asking first. Forms with files are an exception, on the one
//! route that OpenAI has for them, and what Ollama's clients send without a type another; there the
//! Origin, which pages cannot leave out, has to do.

use std::net::{IpAddr, SocketAddr};

use axum::http::header::{AUTHORIZATION, CONTENT_TYPE, HOST, ORIGIN};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, Uri};
use dialect::Error;
use subtle::ConstantTimeEq;
use worker_protocol::{Constraint, Generate};

use crate::Config;
use crate::routes::{Policy, Takes};

/// What requests are checked against.
#[derive(Debug)]
pub(crate) struct Guard {
    /// Names and addresses that a Host may be, without a port, lower case.
    hosts: Vec<String>,
    origins: Vec<String>,
    port: u16,
    key: Option<String>,
    control_token: String,
    require_token: bool,
    raw_grammars: bool,
}

impl Guard {
    pub(crate) fn new(config: &Config, address: SocketAddr) -> Self {
        let mut hosts: Vec<String> = ["localhost", "127.0.0.1", "[::1]"].map(str::to_owned).into();
        if !address.ip().is_unspecified() {
            hosts.push(host_of(address.ip()));
        }
        hosts.extend(config.hosts.iter().map(|host| host.to_lowercase()));
        Self {
            hosts,
            origins: config.origins.iter().map(|origin| origin.to_lowercase()).collect(),
            port: address.port(),
            key: config.key.clone().filter(|key| !key.is_empty()),
            control_token: config.control_token.clone(),
            require_token: config.require_token,
            raw_grammars: config.raw_grammars,
        }
    }

    /// Whether clients may ask for this: a grammar of their own only where the configuration says so.
    pub(crate) fn check_grammars(&self, generates: &[Generate]) -> Result<(), Error> {
        let is_raw = |generate: &Generate| matches!(generate.constraint, Some(Constraint::Lark(_)));
        if self.raw_grammars || !generates.iter().any(is_raw) {
            return Ok(());
        }
        Err(Error::invalid(
            "grammar is not taken here, since it is a program that somebody else wrote; send a JSON schema \
             as response_format, or set raw_grammars = true in the hub's configuration file",
        )
        .at("grammar")
        .code("unsupported_value"))
    }

    /// Whether this request may go on to a route with this policy (`None`: to no route at all), which
    /// takes this kind of body. `is_near` says whether the connection is from this machine.
    pub(crate) fn check(
        &self,
        parts: &Parts,
        is_near: bool,
        policy: Option<Policy>,
        takes: Takes,
    ) -> Result<(), Error> {
        let Parts { method, uri, headers, .. } = parts;
        self.check_host(uri, headers)?;
        self.check_origin(headers)?;
        match policy {
            // A preflight carries no key; the request after it does.
            _ if *method == Method::OPTIONS => {}
            Some(Policy::Open) => {}
            Some(Policy::Inference) | None => self.check_key(headers)?,
            Some(Policy::Control) => self.check_control_token(headers)?,
            Some(Policy::Manage) => self.check_may_manage(headers, is_near)?,
        }
        // What says in a body what to delete says what the body is.
        let deletes = *method == Method::DELETE && policy == Some(Policy::Manage);
        if *method == Method::POST || deletes { check_content_type(headers, takes) } else { Ok(()) }
    }

    /// The Origin to allow in the answer, when there was one and it passed.
    pub(crate) fn allowed_origin<'a>(&self, headers: &'a HeaderMap) -> Option<&'a str> {
        let origin = headers.get(ORIGIN)?.to_str().ok()?;
        self.knows_origin(origin).then_some(origin)
    }

    fn check_host(&self, uri: &Uri, headers: &HeaderMap) -> Result<(), Error> {
        let header = headers.get(HOST).and_then(|host| host.to_str().ok());
        let host = uri.authority().map(axum::http::uri::Authority::as_str).or(header);
        let host = host.unwrap_or_default();
        if self.hosts.contains(&without_port(host).to_lowercase()) {
            return Ok(());
        }
        Err(Error::new(
            421,
            format!(
                "this hub does not answer to the host '{host}'; call it as localhost, or add the \
                 name to `hosts` in its configuration"
            ),
        ))
    }

    fn check_origin(&self, headers: &HeaderMap) -> Result<(), Error> {
        let refuse = |from: &str| {
            Error::new(
                403,
                format!(
                    "web pages of {from} may not call this hub; add the origin to `origins` in its \
                     configuration if you trust it"
                ),
            )
        };
        if let Some(origin) = headers.get(ORIGIN) {
            let origin = origin.to_str().unwrap_or("an unreadable origin");
            return if self.knows_origin(origin) { Ok(()) } else { Err(refuse(origin)) };
        }
        // Browsers that hide the Origin of a cross-site request still say that it is one.
        let site = headers.get("sec-fetch-site").and_then(|site| site.to_str().ok());
        if site == Some("cross-site") { Err(refuse("another site")) } else { Ok(()) }
    }

    fn knows_origin(&self, origin: &str) -> bool {
        let origin = origin.to_lowercase();
        if self.origins.contains(&origin) {
            return true;
        }
        let Some(authority) = origin.strip_prefix("http://") else { return false };
        let host = without_port(authority);
        let port = authority[host.len()..].strip_prefix(':').map_or(Ok(80), str::parse::<u16>);
        self.hosts.iter().any(|known| known == host) && port == Ok(self.port)
    }

    fn check_key(&self, headers: &HeaderMap) -> Result<(), Error> {
        match &self.key {
            Some(key) if !has_sent(headers, key) => Err(Error::new(
                401,
                "a key is needed: send it as `Authorization: Bearer KEY` or `x-api-key: KEY`",
            )
            .code("invalid_api_key")),
            Some(_) | None => Ok(()),
        }
    }

    /// Ollama's clients have no token, so that programs of this machine need none, where the configuration
    /// leaves it at that. Pages do: a browser says of itself that it is one.
    fn check_may_manage(&self, headers: &HeaderMap, is_near: bool) -> Result<(), Error> {
        if has_sent(headers, &self.control_token) {
            return Ok(());
        }
        let is_page = headers.contains_key(ORIGIN) || headers.contains_key("sec-fetch-site");
        let is_passed_on = PASSED_ON.iter().any(|name| headers.contains_key(*name));
        if !self.require_token && is_near && !is_page && !is_passed_on {
            return self.check_key(headers);
        }
        let why = if self.require_token {
            "security.require_token in its configuration says so"
        } else if is_page {
            "a web page asks"
        } else {
            "the request is not from this machine"
        };
        Err(Error::new(
            401,
            format!(
                "what changes which models there are needs the token in the file `token` of the hub's data \
                 folder here, as `Authorization: Bearer TOKEN`: {why}"
            ),
        )
        .code("invalid_control_token"))
    }

    fn check_control_token(&self, headers: &HeaderMap) -> Result<(), Error> {
        if has_sent(headers, &self.control_token) {
            return Ok(());
        }
        Err(Error::new(
            401,
            "control routes need the token in the file `token` of the data folder, as \
             `Authorization: Bearer TOKEN`",
        )
        .code("invalid_control_token"))
    }
}

/// Whether a client sent this secret, in either of the two headers that clients use: some send both, one
/// of them with a key for somebody else. Never from the URL, which ends up in logs.
fn has_sent(headers: &HeaderMap, known: &str) -> bool {
    let bearer = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    let bearer = bearer.and_then(|value| {
        let (scheme, secret) = value.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| secret.trim())
    });
    let key = headers.get("x-api-key").and_then(|value| value.to_str().ok());
    [bearer, key].into_iter().flatten().any(|sent| equal(sent, known))
}

/// In constant time, so that the answer's delay does not tell how much of a guess was right.
fn equal(sent: &str, known: &str) -> bool {
    !known.is_empty() && bool::from(sent.as_bytes().ct_eq(known.as_bytes()))
}

fn check_content_type(headers: &HeaderMap, takes: Takes) -> Result<(), Error> {
    let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or("nothing");
    let essence = kind.split(';').next().unwrap_or_default().trim();
    let is = |wanted: &str| essence.eq_ignore_ascii_case(wanted);
    let (fits, wanted) = match takes {
        Takes::Json => (is("application/json"), "application/json"),
        // The Origin, which was checked, has to do.
        Takes::Untyped | Takes::Raw => return Ok(()),
        Takes::Form => (is("multipart/form-data"), "multipart/form-data"),
        Takes::Bytes => {
            let simple = SIMPLE_TYPES.iter().any(|simple| is(simple));
            (essence.contains('/') && !simple, "application/octet-stream, or the body's own type")
        }
    };
    if fits {
        return Ok(());
    }
    Err(Error::new(415, format!("the content type is {kind}; send {wanted}")))
}

/// What servers add that pass a request on for somebody else, who need not be of this machine.
const PASSED_ON: [&str; 3] = ["forwarded", "x-forwarded-for", "x-real-ip"];

/// What a page can send to another site without asking it first.
const SIMPLE_TYPES: [&str; 3] =
    ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data"];

fn host_of(ip: IpAddr) -> String {
    match ip {
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => format!("[{ip}]"),
    }
}

/// `localhost:80` and `[::1]:80` without the port.
fn without_port(authority: &str) -> &str {
    let end_of_address = authority.rfind(']').map_or(0, |end| end + 1);
    match authority[end_of_address..].find(':') {
        Some(colon) => &authority[..end_of_address + colon],
        None => authority,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guard(key: Option<&str>) -> Guard {
        let listen: SocketAddr = "127.0.0.1:11434".parse().unwrap();
        let config = Config {
            listen,
            key: key.map(str::to_owned),
            allow_lan: false,
            hosts: vec!["Mini.local".to_owned()],
            origins: vec!["https://chat.example".to_owned()],
            raw_grammars: false,
            control_token: "t0ken".to_owned(),
            require_token: false,
            tools: Vec::new(),
            changes: None,
            library: None,
            knowledge: None,
        };
        Guard::new(&config, listen)
    }

    #[test]
    fn a_grammar_needs_the_configurations_word() {
        let wanted = |constraint| Generate {
            constraint,
            ..Generate::new(worker_protocol::Prompt::Text("Hi".to_owned()))
        };
        let mut guard = guard(None);
        let free = [wanted(None), wanted(Some(Constraint::Json))];
        let raw = [wanted(None), wanted(Some(Constraint::Lark("start: \"a\"".to_owned())))];
        guard.check_grammars(&free).unwrap();
        let error = guard.check_grammars(&raw).unwrap_err();
        assert_eq!((error.status, error.param.as_deref()), (400, Some("grammar")));
        assert!(error.message.contains("raw_grammars = true"), "{error}");
        guard.raw_grammars = true;
        guard.check_grammars(&raw).unwrap();
    }

    /// The status a request gets; 200 when it passes.
    fn status(guard: &Guard, method: &str, policy: Policy, headers: &[(&str, &str)]) -> u16 {
        status_of(guard, method, (policy, Takes::Json), true, headers)
    }

    fn status_of(
        guard: &Guard,
        method: &str,
        (policy, takes): (Policy, Takes),
        is_near: bool,
        headers: &[(&str, &str)],
    ) -> u16 {
        let mut request = axum::http::Request::builder().method(method).uri("/v1/models");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (parts, ()) = request.body(()).unwrap().into_parts();
        let checked = guard.check(&parts, is_near, Some(policy), takes);
        checked.map_or_else(|error| error.status, |()| 200)
    }

    #[test]
    fn models_are_managed_without_the_token_by_programs_of_this_machine_alone() {
        let host = ("host", "localhost:11434");
        let json = ("content-type", "application/json");
        let token = ("authorization", "Bearer t0ken");
        let required = |guard: Guard| Guard { require_token: true, ..guard };
        let manage = (Policy::Manage, Takes::Json);
        for (guard, is_near, headers, expected) in [
            (guard(None), true, vec![], 200),
            (guard(None), false, vec![], 401),
            (guard(None), false, vec![token], 200),
            (guard(None), true, vec![("origin", "http://localhost:11434")], 401),
            (guard(None), true, vec![("origin", "https://chat.example")], 401),
            (guard(None), true, vec![("origin", "https://chat.example"), token], 200),
            (guard(None), true, vec![("origin", "https://evil.example"), token], 403),
            (guard(None), true, vec![("sec-fetch-site", "same-origin")], 401),
            (guard(None), true, vec![("x-forwarded-for", "10.0.0.7")], 401),
            (guard(None), true, vec![("forwarded", "for=10.0.0.7"), token], 200),
            (required(guard(None)), true, vec![], 401),
            (required(guard(None)), true, vec![token], 200),
            (guard(Some("s3cret")), true, vec![], 401),
            (guard(Some("s3cret")), true, vec![("x-api-key", "s3cret")], 200),
            (guard(Some("s3cret")), false, vec![("x-api-key", "s3cret")], 401),
            (guard(Some("s3cret")), false, vec![token], 200),
        ] {
            let headers: Vec<_> = [host, json].into_iter().chain(headers).collect();
            let seen = status_of(&guard, "POST", manage, is_near, &headers);
            assert_eq!(seen, expected, "{is_near} {headers:?}");
        }
    }

    #[test]
    fn what_says_what_to_delete_is_json_and_a_file_is_what_it_is() {
        let host = ("host", "localhost");
        let form = ("content-type", "application/x-www-form-urlencoded");
        let seen = |method, takes, headers: &[(&str, &str)]| {
            status_of(&guard(None), method, (Policy::Manage, takes), true, headers)
        };
        assert_eq!(seen("DELETE", Takes::Json, &[host, form]), 415);
        assert_eq!(seen("DELETE", Takes::Json, &[host, ("content-type", "application/json")]), 200);
        assert_eq!(seen("POST", Takes::Json, &[host, form]), 415);
        assert_eq!(seen("POST", Takes::Raw, &[host]), 200);
        assert_eq!(seen("HEAD", Takes::Json, &[host]), 200);
    }

    #[track_caller]
    fn check(headers: &[(&str, &str)], expected: u16) {
        let seen = status(&guard(None), "GET", Policy::Inference, headers);
        assert_eq!(seen, expected, "{headers:?}");
    }

    #[test]
    fn only_our_own_names_are_answered() {
        for host in ["localhost", "localhost:11434", "127.0.0.1:11434", "[::1]:80", "mini.local"] {
            check(&[("host", host)], 200);
        }
        for host in ["evil.example", "localhost.evil.example", "127.0.0.1.nip.io", "", "[::2]"] {
            check(&[("host", host)], 421);
        }
        check(&[], 421);
    }

    #[test]
    fn only_our_own_and_configured_pages_may_call() {
        let host = ("host", "localhost:11434");
        for origin in ["http://localhost:11434", "http://127.0.0.1:11434", "https://chat.example"] {
            check(&[host, ("origin", origin)], 200);
        }
        for origin in [
            "null",
            "file://",
            "https://evil.example",
            "http://localhost:3000",
            "http://localhost",
            "https://localhost:11434",
            "http://localhost.evil.example:11434",
            "chrome-extension://abc",
        ] {
            check(&[host, ("origin", origin)], 403);
        }
        check(&[host, ("sec-fetch-site", "cross-site")], 403);
        check(&[host, ("sec-fetch-site", "same-origin")], 200);
    }

    #[test]
    fn a_key_is_needed_everywhere_but_on_open_routes() {
        let guard = guard(Some("s3cret"));
        let host = ("host", "localhost");
        let seen = |policy, headers: &[(&str, &str)]| status(&guard, "GET", policy, headers);
        assert_eq!(seen(Policy::Inference, &[host]), 401);
        assert_eq!(seen(Policy::Inference, &[host, ("authorization", "Bearer s3cret")]), 200);
        assert_eq!(seen(Policy::Inference, &[host, ("authorization", "bearer s3cret")]), 200);
        assert_eq!(seen(Policy::Inference, &[host, ("x-api-key", "s3cret")]), 200);
        assert_eq!(seen(Policy::Inference, &[host, ("x-api-key", "s3cre")]), 401);
        assert_eq!(seen(Policy::Inference, &[host, ("authorization", "s3cret")]), 401);
        let both = |bearer, key| [host, ("authorization", bearer), ("x-api-key", key)];
        assert_eq!(seen(Policy::Inference, &both("Bearer other", "s3cret")), 200);
        assert_eq!(seen(Policy::Inference, &both("Bearer s3cret", "other")), 200);
        assert_eq!(seen(Policy::Inference, &both("Bearer other", "another")), 401);
        assert_eq!(seen(Policy::Open, &[host]), 200);
    }

    #[test]
    fn control_needs_its_own_token_even_on_loopback() {
        let host = ("host", "localhost");
        for (guard, sent, expected) in [
            (guard(None), None, 401),
            (guard(None), Some("Bearer t0ken"), 200),
            (guard(Some("s3cret")), Some("Bearer s3cret"), 401),
            (guard(Some("s3cret")), Some("Bearer t0ken"), 200),
        ] {
            let mut headers = vec![host];
            headers.extend(sent.map(|sent| ("authorization", sent)));
            assert_eq!(status(&guard, "GET", Policy::Control, &headers), expected, "{sent:?}");
        }
    }

    #[test]
    fn a_post_must_be_json() {
        let host = ("host", "localhost");
        let seen =
            |kind| status(&guard(None), "POST", Policy::Inference, &[host, ("content-type", kind)]);
        assert_eq!(seen("application/json"), 200);
        assert_eq!(seen("application/json; charset=utf-8"), 200);
        assert_eq!(seen("text/plain"), 415);
        assert_eq!(seen("application/x-www-form-urlencoded"), 415);
        assert_eq!(status(&guard(None), "POST", Policy::Inference, &[host]), 415);
    }

    #[test]
    fn an_upload_is_of_its_own_kind() {
        let seen = |kind: &str, takes| {
            let headers = HeaderMap::from_iter([(CONTENT_TYPE, kind.parse().unwrap())]);
            check_content_type(&headers, takes).is_ok()
        };
        assert!(seen("multipart/form-data; boundary=x", Takes::Form));
        assert!(!seen("application/json", Takes::Form));
        for kind in ["audio/wav", "application/octet-stream", "application/json"] {
            assert!(seen(kind, Takes::Bytes), "{kind}");
        }
        for kind in ["text/plain; charset=utf-8", "multipart/form-data", "TEXT/plain", "", "odd"] {
            assert!(!seen(kind, Takes::Bytes), "{kind}");
        }
        assert!(check_content_type(&HeaderMap::new(), Takes::Bytes).is_err());
    }
}
