//! `resident plan MODEL --what-if`: the hub that runs says what would happen if the model were wanted
//! now. It changes nothing.

use gateway::control::{Explained, ExplainedName, Requests, Residents};
use hyper::StatusCode;
use serde::Serialize;

use super::{command::Plan, row::Row};
use crate::{
    client::{Client, Error},
    config::{Settings, resolved::group::Membership},
    explain, serve,
    terminal::Paint,
};

/// What the hub said.
#[derive(Debug, Serialize)]
pub(super) struct WhatIf {
    #[serde(flatten)]
    explained: Explained,
    #[serde(skip)]
    open: Requests,
}

impl WhatIf {
    /// Asks about the file that was chosen, under the name `name` where the hub has no such model.
    ///
    /// # Errors
    /// When no hub of ours answers.
    pub(super) fn ask(
        arguments: &Plan,
        name: &str,
        choice: &Row,
        settings: &Settings,
    ) -> anyhow::Result<Self> {
        let answer = serve::runtime()?.block_on(async {
            let client = Client::find(settings).await?;
            let open = client.get::<Requests>("/resident/v1/requests").await?;
            let is_as_served = arguments.context.is_none() && arguments.kv.is_none();
            let served = match &arguments.model {
                Some(model) if is_as_served => match client.explain(model).await {
                    Err(Error::Refused { status: StatusCode::NOT_FOUND, .. }) => None,
                    explained => match explained? {
                        ExplainedName::Model(explained) => Some(explained),
                        ExplainedName::Role(_) => None,
                    },
                },
                Some(_) | None => None,
            };
            let explained = match served {
                Some(explained) => explained,
                None => asked(&client, name, choice, settings).await?,
            };
            Ok(Self { explained, open })
        });
        answer.map_err(Error::with_code)
    }

    /// What a person reads.
    pub(super) fn lines(&self, paint: Paint) -> Vec<String> {
        explain::if_wanted(&self.explained, &self.open, paint)
    }
}

/// The answer for a model that the hub does not have; large ones take turns as its own do.
async fn asked(
    client: &Client,
    name: &str,
    choice: &Row,
    settings: &Settings,
) -> Result<Explained, Error> {
    let budget_bytes = client.get::<Residents>("/resident/v1/ps").await?.budget_bytes;
    let is_text = choice.decode_tokens_per_s.is_some();
    let bytes = choice.total_bytes;
    let group = settings.served.groups.of(&Membership::BySize, is_text, bytes, budget_bytes);
    let question =
        gateway::control::WhatIf { name: name.to_owned(), bytes: choice.total_bytes, group };
    client.post("/resident/v1/what-if", &question).await
}
