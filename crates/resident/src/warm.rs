//! `resident warm NAME`: loads a model before anybody asks it; of a role, the first that can be.

use std::time::Duration;

use gateway::control::{KeepAlive, Warm};

use crate::{
    cli::{self, IdleUnload},
    client::{Client, Error},
    config, serve, terminal,
};

/// Loads the model, and returns when it is loaded.
///
/// # Errors
/// When no hub of ours answers, there is no such model, or its load fails.
pub(crate) fn warm(arguments: &cli::Warm) -> anyhow::Result<()> {
    let settings = config::load(&arguments.place, &cli::Serving::default())?;
    let keep_alive = arguments.keep_alive.map(keep_alive);
    let warm = Warm { model: arguments.model.clone(), keep_alive };
    let loaded = serve::runtime()?.block_on(async {
        let client = Client::find(&settings).await?;
        client.warm(&warm).await
    });
    let loaded = loaded.map_err(Error::with_code)?;
    terminal::note(match loaded == arguments.model {
        true => format!("{loaded} is loaded"),
        false => format!("{loaded} is loaded, for the role {}", arguments.model),
    });
    Ok(())
}

fn keep_alive(IdleUnload(span): IdleUnload) -> KeepAlive {
    match span.map(|span: Duration| span.as_secs()) {
        Some(seconds) => KeepAlive::Seconds(seconds),
        None => KeepAlive::Text("never".to_owned()),
    }
}
