//! What a client is connected to: the hub's address, whether it wants a key, and a model.
//!
//! The hub is asked when it runs, since it may serve what only its command line names; else the
//! configuration says what it would serve. The key itself is never looked at: settings name the
//! variable that holds it, and the control token is nobody's business but the command line's.

use std::net::SocketAddr;

use gateway::control::{self, ModelFacts, ModelRow, Models, RoleRow};

use crate::{
    client::{self, Client, Error},
    config::Settings,
    exit::{self, Code},
    limits::{ANSWER_PARTS, CONTEXT_TOKENS_ASSUMED},
    ls, models, serve, terminal,
};

/// The variable that holds the hub's key, for the hub and for clients.
pub(super) const KEY_VARIABLE: &str = "RESIDENT_KEY";

/// What a client sends that insists on a key where the hub wants none.
pub(super) const NO_KEY: &str = "unused";

/// Names of this machine that every hub answers to.
const OWN_HOSTS: [&str; 3] = ["localhost", "127.0.0.1", "[::1]"];

/// What the person said.
#[derive(Debug)]
pub(super) struct Wish<'a> {
    /// The hub's address as the client sees it.
    pub(super) url: Option<&'a str>,
    /// A model or a role.
    pub(super) model: Option<&'a str>,
}

/// What a client is connected to.
#[derive(Debug, Clone)]
pub(super) struct Subject {
    /// The hub's address without a path, as `http://127.0.0.1:11434`.
    pub(super) url: String,
    /// Whether the hub wants a key.
    pub(super) has_key: bool,
    /// What answers.
    pub(super) model: Chosen,
    /// A model that makes vectors, if there is one.
    pub(super) embedder: Option<String>,
}

/// A model or a role, and what is known of whoever would answer first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Chosen {
    /// The name that requests use.
    pub(super) name: String,
    /// Tokens of its context, where they are known.
    pub(super) context_tokens: Option<u32>,
    /// Whether it can be offered tools.
    pub(super) tools: bool,
    /// Whether it can look at images.
    pub(super) images: bool,
}

impl Subject {
    /// Where OpenAI's routes begin.
    pub(super) fn v1(&self) -> String {
        format!("{}/v1", self.url)
    }

    /// Tokens of the context, for clients that must be told some number.
    pub(super) fn context_tokens(&self) -> u32 {
        self.model.context_tokens.unwrap_or(CONTEXT_TOKENS_ASSUMED)
    }

    /// Tokens of the context that a client may plan for one answer.
    pub(super) fn answer_tokens(&self) -> u32 {
        self.context_tokens() / ANSWER_PARTS
    }
}

/// What is served where the client is to ask, and what the person should know about that.
///
/// # Errors
/// When the address makes no sense, something else than our hub is at it, or no model can be chosen.
pub(super) fn find(settings: &Settings, wish: &Wish<'_>) -> anyhow::Result<(Subject, Vec<String>)> {
    let url = wish.url.map(address).transpose()?;
    let listen = client::reachable(settings.listen);
    let asked = serve::runtime()?.block_on(ask(settings));
    let mut notes = Vec::new();
    let (models, has_key) = match asked {
        Ok(answer) => answer,
        // With another hub's address it does not matter who is at ours.
        Err(Error::NotOurs { .. }) if url.is_some() => (inspect(settings)?, settings.key.is_some()),
        Err(Error::NoHub { .. }) => {
            notes.push(format!(
                "no hub runs at {listen}, so this is what the configuration says; start it with: \
                 resident serve"
            ));
            (inspect(settings)?, settings.key.is_some())
        }
        Err(error) => return Err(error.with_code()),
    };
    let model = match (choose(&models, wish.model), wish.model) {
        (Ok(model), _) => model,
        (Err(Refusal::Unknown(_)), Some(name)) if url.is_some() => {
            notes.push(format!("whether the hub there has '{name}' was not asked"));
            unforeseen(name)
        }
        (Err(refusal), _) => return Err(refusal.with_way_out(settings)),
    };
    if !models::is_name_elsewhere(&model.name) {
        // A server elsewhere may call its models anything, and this goes into files and shells.
        let message = format!(
            "'{}' has characters that settings cannot hold safely; give it another name in `models` \
             of its [upstreams] table",
            terminal::inert(&model.name)
        );
        return Err(exit::error(Code::Model, message));
    }
    if let Some(host) = url.as_deref().and_then(|url| unknown_host(url, listen, &settings.hosts)) {
        notes.push(format!(
            "a hub answers only to names that it knows; its configuration needs: hosts = [\"{host}\"]"
        ));
    }
    let url = url.unwrap_or_else(|| format!("http://{listen}"));
    Ok((Subject { url, has_key, model, embedder: embedder(&models) }, notes))
}

/// What the hub that runs serves, and whether it wants a key.
async fn ask(settings: &Settings) -> Result<(Models, bool), Error> {
    let client = Client::find(settings).await?;
    let models = client.get::<Models>("/resident/v1/models").await?;
    Ok((models, client.wants_key().await?))
}

/// What a hub with these settings would serve.
fn inspect(settings: &Settings) -> anyhow::Result<Models> {
    serve::inspect(settings, |hub| Models {
        models: hub.models().into_iter().map(control::model_row).collect(),
        roles: control::roles(hub),
    })
}

/// The address of a hub as a client sees it, without what clients add to it themselves.
fn address(text: &str) -> anyhow::Result<String> {
    let wrong = || {
        let message = format!(
            "--url: '{text}' is not the address of a hub; write for example http://mini.local:11434"
        );
        exit::error(Code::Usage, message)
    };
    let whole = text.trim_end_matches('/');
    let root = whole.strip_suffix("/v1").unwrap_or(whole).trim_end_matches('/');
    let uri: hyper::Uri = root.parse().map_err(|_| wrong())?;
    let is_http = matches!(uri.scheme_str(), Some("http" | "https"));
    // A name with a password in it would end up in clients' files.
    let is_plain = uri.authority().is_some_and(|authority| !authority.as_str().contains('@'));
    let has_path = uri.path() != "/" || uri.query().is_some();
    if is_http && is_plain && !has_path { Ok(root.to_owned()) } else { Err(wrong()) }
}

/// The host of an address if a hub with these settings would not answer to it.
fn unknown_host(url: &str, listen: SocketAddr, hosts: &[String]) -> Option<String> {
    let uri: hyper::Uri = url.parse().ok()?;
    let host = uri.host()?;
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let is_known = OWN_HOSTS.contains(&host)
        || bare == listen.ip().to_string()
        || hosts.iter().any(|known| known.eq_ignore_ascii_case(host));
    (!is_known).then(|| host.to_owned())
}

/// Why no model could be chosen.
#[derive(Debug, PartialEq, Eq)]
enum Refusal {
    /// There is none of that name; the whole sentence.
    Unknown(String),
    /// It cannot chat; the whole sentence.
    Unfit(String),
    /// None can.
    Nothing {
        /// Whether there are models at all.
        has_models: bool,
    },
}

impl Refusal {
    fn with_way_out(self, settings: &Settings) -> anyhow::Error {
        let message = match self {
            Self::Unknown(message) | Self::Unfit(message) => message,
            Self::Nothing { has_models: false } => ls::no_models(&settings.catalog),
            Self::Nothing { has_models: true } => {
                "none of the models here can chat; resident ls says what each is for".to_owned()
            }
        };
        exit::error(Code::Model, message)
    }
}

/// The model or role of that name, or else the first role, or else the first model, that chats.
fn choose(listed: &Models, wished: Option<&str>) -> Result<Chosen, Refusal> {
    let Some(name) = wished else {
        let role = listed.roles.iter().find_map(|role| by_role(listed, role));
        let model = || listed.models.iter().find_map(|row| chats(row, &row.name));
        let nothing = Refusal::Nothing { has_models: !listed.models.is_empty() };
        return role.or_else(model).ok_or(nothing);
    };
    // A model comes before a role of its name.
    if let Some(row) = listed.models.iter().find(|row| row.name == name) {
        return chats(row, name).ok_or_else(|| unfit(row));
    }
    let Some(role) = listed.roles.iter().find(|role| role.name == name) else {
        let models = listed.models.iter().map(|row| row.name.as_str());
        let names = models.chain(listed.roles.iter().map(|role| role.name.as_str()));
        return Err(Refusal::Unknown(models::unknown(name, names)));
    };
    match by_role(listed, role) {
        Some(chosen) => Ok(chosen),
        // Whom it picks depends on the request.
        None if role.models.is_empty() => Ok(unforeseen(name)),
        None => Err(Refusal::Unfit(format!(
            "no model of the role '{name}' can chat; resident explain {name} says why"
        ))),
    }
}

/// The role, if one of its models chats: as the first that does.
fn by_role(listed: &Models, role: &RoleRow) -> Option<Chosen> {
    let row = |name: &String| listed.models.iter().find(|row| row.name == *name);
    role.models.iter().filter_map(row).find_map(|row| chats(row, &role.name))
}

fn chats(row: &ModelRow, name: &str) -> Option<Chosen> {
    let facts: &ModelFacts = row.facts.as_ref().filter(|facts| facts.chats)?;
    Some(Chosen {
        name: name.to_owned(),
        context_tokens: facts.context_tokens,
        tools: facts.tools,
        images: facts.images,
    })
}

/// What is said of one about which nothing is known: most models of today take tools.
fn unforeseen(name: &str) -> Chosen {
    Chosen { name: name.to_owned(), context_tokens: None, tools: true, images: false }
}

fn unfit(row: &ModelRow) -> Refusal {
    let name = &row.name;
    Refusal::Unfit(match &row.facts {
        None => {
            let why = row.error.as_deref().unwrap_or("nothing is known about it");
            format!("model '{name}' cannot be used: {why}")
        }
        Some(facts) if facts.generates => format!(
            "model '{name}' continues texts and cannot chat, because its file has no chat template; \
             --model names another"
        ),
        Some(facts) => {
            let does = if facts.ranks { "ranks texts" } else { "makes embeddings" };
            format!("model '{name}' {does} and cannot chat; --model names another")
        }
    })
}

fn embedder(listed: &Models) -> Option<String> {
    let embeds = |row: &&ModelRow| {
        let is_usable = row.facts.as_ref().is_some_and(|facts| !facts.generates && !facts.ranks);
        is_usable && models::is_name_elsewhere(&row.name)
    };
    listed.models.iter().find(embeds).map(|row| row.name.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(name: &str, chats: bool, generates: bool) -> ModelRow {
        let facts = ModelFacts {
            architecture: None,
            parameters: None,
            quantization: None,
            context_tokens: Some(16_384),
            kv_type: None,
            context_tokens_trained: None,
            generates,
            ranks: name == "ranks",
            chats,
            tools: true,
            images: false,
            sounds: false,
            needed_bytes: 1,
        };
        let name = name.to_owned();
        let engine = "worker".to_owned();
        ModelRow { name, engine, path: None, file_bytes: None, facts: Some(facts), error: None }
    }

    fn role(name: &str, models: &[&str]) -> RoleRow {
        let models = models.iter().map(|name| (*name).to_owned()).collect();
        RoleRow { name: name.to_owned(), models }
    }

    fn listed() -> Models {
        let broken = ModelRow {
            facts: None,
            error: Some("not a GGUF file".to_owned()),
            ..row("page", false, false)
        };
        Models {
            models: vec![
                row("bge", false, false),
                broken,
                row("base", false, true),
                row("qwen", true, true),
            ],
            roles: vec![
                role("speak", &["voice"]),
                role("daily", &["gone", "qwen"]),
                role("auto", &[]),
            ],
        }
    }

    #[test]
    fn a_role_that_chats_comes_before_a_model_that_does() {
        let mut listed = listed();
        let name = |listed: &Models| choose(listed, None).map(|chosen| chosen.name);
        assert_eq!(name(&listed), Ok("daily".to_owned()));
        listed.roles.clear();
        assert_eq!(name(&listed), Ok("qwen".to_owned()));
        listed.models.pop();
        assert_eq!(name(&listed), Err(Refusal::Nothing { has_models: true }));
        listed.models.clear();
        assert_eq!(name(&listed), Err(Refusal::Nothing { has_models: false }));
    }

    #[test]
    fn a_role_is_known_by_the_first_of_its_models_that_chats() {
        let chosen = choose(&listed(), Some("daily")).unwrap();
        assert_eq!((chosen.name.as_str(), chosen.context_tokens), ("daily", Some(16_384)));
        assert_eq!(choose(&listed(), Some("auto")), Ok(unforeseen("auto")));
    }

    #[test]
    fn what_cannot_chat_is_refused_with_the_reason() {
        for (name, part) in [
            ("bge", "makes embeddings"),
            ("base", "no chat template"),
            ("page", "not a GGUF file"),
            ("speak", "resident explain speak"),
        ] {
            let Err(Refusal::Unfit(message)) = choose(&listed(), Some(name)) else {
                panic!("{name} was taken")
            };
            assert!(message.contains(part), "{message}");
        }
        let unknown = choose(&listed(), Some("dailly"));
        let message = "no model is named 'dailly'; did you mean 'daily'?".to_owned();
        assert_eq!(unknown, Err(Refusal::Unknown(message)));
    }

    #[test]
    fn the_model_for_vectors_is_found() {
        assert_eq!(embedder(&listed()).as_deref(), Some("bge"));
    }

    #[test]
    fn an_address_is_taken_without_what_clients_add() {
        for (text, expected) in [
            ("http://mini.local:11434", Some("http://mini.local:11434")),
            ("http://mini.local:11434/", Some("http://mini.local:11434")),
            ("https://hub.lan/v1/", Some("https://hub.lan")),
            ("http://[::1]:1", Some("http://[::1]:1")),
            ("mini.local:11434", None),
            ("mini.local", None),
            ("ftp://mini.local", None),
            ("http://me:secret@mini.local", None),
            ("http://mini.local/api", None),
            ("http://", None),
            ("", None),
        ] {
            let taken = address(text).ok();
            assert_eq!(taken.as_deref(), expected, "{text}");
        }
        let message = address("mini").unwrap_err().to_string();
        assert!(message.starts_with("--url: 'mini' is not"), "{message}");
    }

    #[test]
    fn a_host_that_the_hub_would_not_answer_to_is_seen() {
        let listen: SocketAddr = "192.168.0.7:11434".parse().unwrap();
        let hosts = ["Mini.local".to_owned()];
        for (url, expected) in [
            ("http://localhost:1", None),
            ("http://[::1]:1", None),
            ("http://192.168.0.7:11434", None),
            ("http://mini.local:11434", None),
            ("http://host.docker.internal:1", Some("host.docker.internal")),
        ] {
            assert_eq!(unknown_host(url, listen, &hosts).as_deref(), expected, "{url}");
        }
    }
}
