//! `[upstreams.NAME]`: servers that somebody else runs.

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc};

use hyper::Uri;
use supervisor::{Server, Upstream};

use super::{
    super::{
        preset, raw,
        secret::{self, Found},
    },
    engine::ready,
    here::{self, Here},
};
use crate::{
    limits::{NAME_CHARACTERS_MAX, POOL_SERVERS_MAX},
    models,
};

/// Servers and the names that are served through them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pool {
    /// The servers; each model differs from it only in the name that is sent.
    pub(crate) upstream: Upstream,
    /// What they call each, by our name without the pool's; `None` serves whatever they have.
    pub(crate) served: Option<BTreeMap<String, String>>,
}

impl Pool {
    /// The engine of the model that is called `POOL/name`, if it is served.
    pub(crate) fn engine(&self, name: &str) -> Option<supervisor::Engine> {
        let theirs = match &self.served {
            Some(served) => served.get(name)?.clone(),
            None => models::is_name_elsewhere(name).then(|| name.to_owned())?,
        };
        let mut upstream = self.upstream.clone();
        upstream.manner.model = Some(theirs);
        Some(supervisor::Engine::Upstream(Arc::new(upstream)))
    }
}

/// Reads one table. `listen` is where the hub itself listens.
///
/// # Errors
/// A fragment that begins with the key.
pub(super) fn read(
    here: &Here<'_>,
    name: &str,
    listen: SocketAddr,
    raw: raw::Upstream,
) -> Result<Pool, String> {
    models::check_name(name).map_err(|error| error.to_string())?;
    let kind = raw.kind.as_deref().unwrap_or("openai");
    let preset = preset::find(&here.presets.upstreams, "kind", kind)?;
    let key = key(here, name, &raw)?;
    let urls = match (raw.servers, &preset.server) {
        (Some(urls), _) => urls,
        (None, Some(server)) => vec![server.clone()],
        (None, None) => Vec::new(),
    };
    if urls.is_empty() {
        return Err("servers is missing; write for example servers = [\"http://127.0.0.1:8000\"]"
            .to_owned());
    }
    if urls.len() > POOL_SERVERS_MAX {
        return Err(format!(
            "servers: {} are too many for one pool; at most {POOL_SERVERS_MAX} share requests",
            urls.len()
        ));
    }
    let servers: Vec<Server> = urls
        .iter()
        .map(|url| Ok(Server { base_url: base_url(url, listen)?, key: key.clone() }))
        .collect::<Result<_, String>>()?;
    if let Some(twice) =
        servers.iter().enumerate().find(|(place, server)| servers[..*place].contains(server))
    {
        return Err(format!("servers: {} stands there twice", twice.1.base_url));
    }
    let manner = here::manner(&preset.api, &raw.api)?;
    let health = ready(&preset.health, manner.chat || manner.completions)?;
    let served = raw.models.map(served).transpose()?;
    Ok(Pool { upstream: Upstream { servers, manner, health }, served })
}

/// The names of the models, ours to theirs.
fn served(raw: raw::ServedNames) -> Result<BTreeMap<String, String>, String> {
    let served: BTreeMap<String, String> = match raw {
        raw::ServedNames::Same(names) => {
            names.into_iter().map(|name| (name.clone(), name)).collect()
        }
        raw::ServedNames::Renamed(names) => names,
    };
    if let Some(name) = served.keys().find(|name| !models::is_name_elsewhere(name)) {
        return Err(format!(
            "models: '{name}' cannot be a model's name: use 1 to {NAME_CHARACTERS_MAX} of A-Z a-z \
             0-9 . _ - : + @ /, a letter or digit first; rename it in a table: models = {{ \
             ours = \"theirs\" }}"
        ));
    }
    Ok(served)
}

/// `http://HOST:PORT`, or the same with `https`, of what people copy from elsewhere.
fn base_url(url: &str, listen: SocketAddr) -> Result<String, String> {
    // What follows is about this text, which may hold a password.
    let shown = url.rsplit_once('@').map_or(url, |(_, rest)| rest);
    let wrong = |why: &str| {
        format!("servers: '{shown}' {why}; write http://HOST:PORT, for example http://lab:8000")
    };
    if url.contains('@') {
        return Err(wrong(
            "has a name or password in front of the host, and this file is no place for one",
        ));
    }
    let uri: Uri = url.parse().map_err(|_| wrong("is not an address"))?;
    let (scheme, usual_port) = match uri.scheme_str() {
        Some("http") => ("http", 80),
        Some("https") => ("https", 443),
        Some(_) | None => return Err(wrong("is not an address")),
    };
    let Some(authority) = uri.authority() else { return Err(wrong("is not an address")) };
    if !["", "/", "/v1", "/v1/"].contains(&uri.path()) || uri.query().is_some() {
        return Err(wrong("has more behind the host than /v1"));
    }
    let port = authority.port_u16().unwrap_or(usual_port);
    let host = authority.host();
    if host.is_empty() || port == 0 {
        return Err(wrong("is not an address"));
    }
    let local = ["127.0.0.1", "localhost", "[::1]", "0.0.0.0", "[::]"];
    if port == listen.port() && local.contains(&host) {
        return Err(format!(
            "servers: {shown} is where this hub listens itself, so it would ask itself; start the \
             other program on another port, or let the hub listen elsewhere (--listen)"
        ));
    }
    Ok(format!("{scheme}://{host}:{port}"))
}

/// The key, from where it may be. What is missing is said and stops nothing: the program that asks
/// may be one that needs no key, such as `resident ps`.
fn key(here: &Here<'_>, name: &str, raw: &raw::Upstream) -> Result<Option<String>, String> {
    let variable = raw.key_variable.as_deref();
    let file = raw.key_file.as_deref().map(|file| here.path(file));
    match secret::find(here.machine, raw.key.is_some(), variable, file.as_deref())? {
        Found::Key(key) => Ok(Some(key)),
        Found::Nowhere => Ok(None),
        Found::Missing(why) => {
            here.note(format!("upstream '{name}' is asked without a key: {why}"));
            Ok(None)
        }
    }
}
