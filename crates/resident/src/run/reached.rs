//! The hub that a chat talks to: one that runs already, or one in this process for its time.

use std::path::Path;

use gateway::control::{ModelRow, Models};
use tokio::{sync::oneshot, task::JoinHandle};

use crate::{
    client::{Client, Error},
    config::Settings,
    exit::{self, Code},
    models,
    serve::Hub,
};

/// A hub, and what ends it if it is this process's own.
pub(crate) struct Reached {
    /// The way to it.
    pub(crate) client: Client,
    own: Option<(oneshot::Sender<()>, JoinHandle<()>)>,
}

impl Reached {
    /// The hub at the address if it is ours, else a new one there.
    ///
    /// # Errors
    /// When something else is there, or no hub can be started.
    pub(crate) async fn find_or_start(settings: &Settings) -> anyhow::Result<Self> {
        match Client::find(settings).await {
            Ok(client) => return Ok(Self { client, own: None }),
            Err(Error::NoHub { .. }) => {}
            Err(error) => return Err(error.with_code()),
        }
        let hub = match Hub::open(settings, None).await {
            Ok(hub) => hub,
            // Another hub may have been quicker; if it is ours, it serves as well.
            Err(error) => match Client::find(settings).await {
                Ok(client) => return Ok(Self { client, own: None }),
                Err(_) => return Err(error),
            },
        };
        let client = Client::of(hub.address(), hub.token().to_owned(), settings.key.clone());
        let (stop, stopped) = oneshot::channel();
        let running = tokio::spawn(hub.run(async {
            let _dropped = stopped.await;
        }));
        Ok(Self { client, own: Some((stop, running)) })
    }

    /// What the hub calls the model `name`, or the model whose file is `file`.
    ///
    /// # Errors
    /// When it has none, or one that cannot chat; names the nearest or the way out.
    pub(crate) async fn model(&self, name: String, file: Option<&Path>) -> anyhow::Result<String> {
        let listed: Models =
            self.client.get("/resident/v1/models").await.map_err(Error::with_code)?;
        let is_file = |row: &&ModelRow| {
            file.is_none_or(|file| {
                let path = row.path.as_ref().map(|path| Path::new(path).canonicalize());
                path.is_some_and(|path| path.is_ok_and(|path| path == file))
            })
        };
        let has_name = |row: &&ModelRow| file.is_some() && self.own.is_none() || row.name == name;
        let Some(row) = listed.models.iter().filter(has_name).find(is_file) else {
            let names = listed.models.iter().map(|row| row.name.as_str());
            let message = match file {
                Some(file) => format!(
                    "the hub that runs does not serve {}; put the file into its models folder, or \
                     stop that hub",
                    file.display()
                ),
                None => models::unknown(&name, names),
            };
            return Err(exit::error(Code::Model, message));
        };
        if let Some(error) = &row.error {
            let message = format!("model '{}' cannot be used: {error}", row.name);
            return Err(exit::error(Code::Model, message));
        }
        if let Some(facts) = row.facts.as_ref().filter(|facts| !facts.generates) {
            let (does, place) = match facts.ranks {
                true => ("ranks texts", "/v1/rerank"),
                false => ("makes embeddings", "/v1/embeddings"),
            };
            let name = &row.name;
            let message = format!("model '{name}' {does} and cannot chat; ask it at {place}");
            return Err(exit::error(Code::Model, message));
        }
        Ok(row.name.clone())
    }

    /// Stops the hub if this process started it.
    pub(crate) async fn end(self) {
        if let Some((stop, running)) = self.own {
            let _already_gone = stop.send(());
            let _panicked = running.await;
        }
    }
}
