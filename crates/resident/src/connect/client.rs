//! The table of clients: what each is called, what it asks for, and the function that makes its pieces.

use std::path::PathBuf;

use serde_json::{Map, Value};

use super::{
    agents, apps, editors, libraries,
    merge::{self, Form, Leftover, Place, Problem},
    places::Places,
    subject::Subject,
};
use crate::{
    exit::{self, Code},
    models,
};

/// What the hub speaks. A client that asks for anything else is refused with a way out; whoever adds a
/// dialect to `gateway` adds it here, and its clients are connected from then on.
const SPOKEN: &[Api] = &[Api::Chat, Api::Responses, Api::Messages, Api::Ollama];

/// What clients ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Api {
    /// OpenAI's chat completions.
    Chat,
    /// OpenAI's responses.
    Responses,
    /// Anthropic's messages.
    Messages,
    /// Ollama's own routes.
    Ollama,
}

impl Api {
    /// The route that stands for it.
    pub(super) fn path(self) -> &'static str {
        match self {
            Self::Chat => "/v1/chat/completions",
            Self::Responses => "/v1/responses",
            Self::Messages => "/v1/messages",
            Self::Ollama => "/api/chat",
        }
    }

    /// Whether this version of the hub speaks it.
    pub(super) fn is_spoken(self) -> bool {
        SPOKEN.contains(&self)
    }
}

/// A program that can use the hub.
#[derive(Debug)]
pub(super) struct Client {
    /// What it is called here.
    pub(super) name: &'static str,
    /// What it is, in a few words.
    pub(super) what: &'static str,
    /// What it asks the hub for.
    pub(super) api: Api,
    /// Where its settings are, for the list.
    pub(super) settings: &'static str,
    /// Whether it works by tools, with long instructions of its own.
    pub(super) is_agent: bool,
    /// Whom to take instead while the hub does not speak its language.
    pub(super) instead: &'static [&'static str],
    /// What connects it.
    pub(super) pieces: fn(&Subject, &Places) -> Vec<Piece>,
}

impl Client {
    /// Whether the hub speaks what it asks for.
    ///
    /// # Errors
    /// When it does not, with whom to take instead.
    pub(super) fn check(&self) -> anyhow::Result<()> {
        if self.api.is_spoken() {
            return Ok(());
        }
        let message = format!(
            "{} needs {}, which this version of Resident does not have yet, so no settings would make \
             it work; for the same work connect one of these: {}",
            self.name,
            self.api.path(),
            self.instead.join(", ")
        );
        Err(exit::error(Code::Failure, message))
    }
}

/// Something that has to be done to connect a client.
#[derive(Debug)]
pub(super) enum Piece {
    /// Keys in a file of the client's.
    File(FilePiece),
    /// What is done where no file is, or instead of it; only shown.
    Text {
        /// Where it belongs.
        heading: String,
        /// Commands, code or steps.
        text: String,
    },
    /// What a person does once the rest is done, in one sentence.
    Then(String),
}

impl Piece {
    /// The file, if it is one.
    pub(super) fn file(&self) -> Option<&FilePiece> {
        match self {
            Self::File(file) => Some(file),
            Self::Text { .. } | Self::Then(_) => None,
        }
    }
}

/// Keys in a file of a client's.
#[derive(Debug)]
pub(super) struct FilePiece {
    /// Where it is, or will be.
    pub(super) path: PathBuf,
    /// How it is written.
    pub(super) form: Form,
    /// What must be in it.
    pub(super) wanted: Value,
    /// What is put before that into a file that is new.
    pub(super) at_first: Map<String, Value>,
    /// What an earlier run wrote for a hub that had a key when this one has none, or the other way round.
    pub(super) leftovers: Vec<Leftover>,
    /// Where a person may have put a key that the client would use instead of the hub's.
    pub(super) rivals: &'static [Place],
}

impl FilePiece {
    /// A file of which nothing else must be there.
    pub(super) fn new(path: PathBuf, form: Form, wanted: Value) -> Self {
        Self { path, form, wanted, at_first: Map::new(), leftovers: Vec::new(), rivals: &[] }
    }

    /// Also takes `value` out of `place`, if that is what is there.
    pub(super) fn without(mut self, place: Place, value: &str) -> Self {
        self.leftovers.push(Leftover { place, value: value.to_owned() });
        self
    }

    /// The text of a new file.
    pub(super) fn fresh(&self) -> String {
        let mut whole = Value::Object(self.at_first.clone());
        match (&mut whole, &self.wanted) {
            (Value::Object(first), Value::Object(wanted)) => first.extend(wanted.clone()),
            (whole, wanted) => wanted.clone_into(whole),
        }
        merge::render(self.form, &whole)
    }

    /// The text `old` with what is wanted in it, and without what is left over.
    ///
    /// # Errors
    /// When the text cannot be read, or not be changed without losing something.
    pub(super) fn merged(&self, old: Option<&str>) -> Result<String, Problem> {
        let Some(old) = old.filter(|old| !old.trim().is_empty()) else {
            return Ok(self.fresh());
        };
        let mut text = old.to_owned();
        for leftover in &self.leftovers {
            text = merge::take(self.form, &text, leftover)?;
        }
        merge::merge(self.form, &text, &self.wanted)
    }

    /// Where in `text` a key is that the client would use instead of the hub's.
    pub(super) fn rivals_in(&self, text: &str) -> Vec<String> {
        let there = self.rivals.iter().filter(|place| merge::says(self.form, text, place));
        there.map(|place| place.join(".")).collect()
    }
}

/// The client called `name`.
///
/// # Errors
/// When there is none, with the nearest name or the way out.
pub(super) fn find(name: &str) -> anyhow::Result<&'static Client> {
    CLIENTS.iter().find(|client| client.name == name).ok_or_else(|| {
        let nearest = models::nearest(name, CLIENTS.iter().map(|client| client.name));
        let way_out = match nearest {
            Some(nearest) => format!("did you mean '{nearest}'?"),
            None => {
                "resident connect --list names all; any other client of OpenAI's or Ollama's API \
                     works too, by the hub's address"
                    .to_owned()
            }
        };
        exit::error(Code::Usage, format!("no client is called '{name}'; {way_out}"))
    })
}

/// Every client, by name.
pub(super) const CLIENTS: &[Client] = &[
    Client {
        name: "aider",
        what: "pair programmer in the terminal",
        api: Api::Chat,
        settings: "~/.aider.conf.yml",
        is_agent: false,
        instead: &[],
        pieces: agents::aider,
    },
    Client {
        name: "cherry-studio",
        what: "chat on the desktop",
        api: Api::Chat,
        settings: "steps in its window",
        is_agent: false,
        instead: &[],
        pieces: apps::cherry_studio,
    },
    Client {
        name: "claude-code",
        what: "coding agent of Anthropic's",
        api: Api::Messages,
        settings: "~/.claude/settings.json",
        is_agent: true,
        instead: &["opencode", "cline", "aider"],
        pieces: agents::claude_code,
    },
    Client {
        name: "cline",
        what: "coding agent in VS Code and the terminal",
        api: Api::Chat,
        settings: "a command, or steps in its window",
        is_agent: true,
        instead: &[],
        pieces: agents::cline,
    },
    Client {
        name: "codex",
        what: "coding agent of OpenAI's",
        api: Api::Responses,
        settings: "~/.codex/config.toml",
        is_agent: true,
        instead: &["opencode", "claude-code", "cline", "aider"],
        pieces: agents::codex,
    },
    Client {
        name: "continue",
        what: "assistant in VS Code and JetBrains",
        api: Api::Chat,
        settings: "~/.continue/config.yaml",
        is_agent: true,
        instead: &[],
        pieces: editors::continue_dev,
    },
    Client {
        name: "langchain",
        what: "Python library",
        api: Api::Chat,
        settings: "lines of Python",
        is_agent: false,
        instead: &[],
        pieces: libraries::langchain,
    },
    Client {
        name: "llamaindex",
        what: "Python library",
        api: Api::Chat,
        settings: "lines of Python",
        is_agent: false,
        instead: &[],
        pieces: libraries::llamaindex,
    },
    Client {
        name: "open-webui",
        what: "chat in the browser",
        api: Api::Chat,
        settings: "variables, or steps in its window",
        is_agent: false,
        instead: &[],
        pieces: apps::open_webui,
    },
    Client {
        name: "opencode",
        what: "coding agent in the terminal",
        api: Api::Chat,
        settings: "~/.config/opencode/opencode.json",
        is_agent: true,
        instead: &[],
        pieces: agents::opencode,
    },
    Client {
        name: "vscode",
        what: "chat and agents of VS Code itself",
        api: Api::Chat,
        settings: "chatLanguageModels.json of its user",
        is_agent: true,
        instead: &[],
        pieces: editors::vscode,
    },
    Client {
        name: "zed",
        what: "editor with an agent",
        api: Api::Ollama,
        settings: "~/.config/zed/settings.json",
        is_agent: true,
        instead: &[],
        pieces: editors::zed,
    },
];
