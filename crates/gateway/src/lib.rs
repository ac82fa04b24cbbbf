//! HTTP: listens, checks who asks, routes, streams answers.
//!
//! [`bind`] takes the port or says who has it; [`Server::run`] serves until told to stop. A request
//! passes `guard` first: Host, Origin, key, content type, and the policy of its route,
//! from the one table in `routes`. Vendors' JSON is `dialect`'s, models are
//! `supervisor`'s; what is here only carries bytes between them.
//!
//! Not here: the internet (`library`), and any decision about models (`planner`).

mod answer;
mod anthropic;
mod bind;
mod change;
pub mod control;
mod guard;
mod knowledge;
mod library;
pub mod limits;
mod llama_server;
mod metrics;
mod name;
mod ollama;
mod openapi;
mod rerank;
mod responses;
mod routes;
mod server;
mod shelf;
mod stream;
mod tools;

use std::net::SocketAddr;
use std::sync::Arc;

use supervisor::Tool;
use tokio::sync::mpsc;

pub use bind::{BindError, bind};
pub use change::{ChangeAsked, ChangeError, Door};
pub use knowledge::{
    Citation, Collection, CollectionChange, Collections, Forgotten, Found, Knowledge, NewSources,
    NewText, Passage, Place, Read, Reading, Search, Standing, Stretch, Unread,
};
pub use library::{About, Library, PullChange, Steps};
pub use server::Server;

/// Where to listen and whom to serve.
#[derive(Debug, Clone)]
pub struct Config {
    /// Address and port; the port is never changed behind the user's back.
    pub listen: SocketAddr,
    /// Key that every client must send; needed for any address but loopback.
    pub key: Option<String>,
    /// Whether an address that others can reach may be used.
    pub allow_lan: bool,
    /// Names by which clients may call this machine, beside loopback's own.
    pub hosts: Vec<String>,
    /// Origins of web pages that may call (`https://chat.example`), beside our own.
    pub origins: Vec<String>,
    /// Whether clients may send grammars, which are programs that the worker runs, and not only JSON
    /// schemas.
    pub raw_grammars: bool,
    /// Token of the control routes, which only programs of the same person can read.
    pub control_token: String,
    /// Whether the token is needed too for what changes which models there are, which programs of this
    /// machine do without it otherwise.
    pub require_token: bool,
    /// Tools for single requests, in the order in which one is chosen when a request names none.
    pub tools: Vec<Tool>,
    /// Who takes a changed configuration in when `POST /resident/v1/reload` asks for it; `None` when
    /// this hub takes none.
    pub changes: Option<mpsc::Sender<ChangeAsked>>,
    /// Who keeps the models of this machine; `None` where nobody does.
    pub library: Option<Arc<dyn Library>>,
    /// Who keeps a person's own files; `None` where nobody does.
    pub knowledge: Option<Arc<dyn Knowledge>>,
}
