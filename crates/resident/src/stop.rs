//! `resident stop MODEL`: takes a model out of memory, whoever uses it.

use gateway::control::Stop;
use serde::de::IgnoredAny;

use crate::{
    cli,
    client::{Client, Error},
    config, serve, terminal,
};

/// Stops the model.
///
/// # Errors
/// When no hub of ours answers, or the model is not in memory.
pub(crate) fn stop(arguments: &cli::Stop) -> anyhow::Result<()> {
    let settings = config::load(&arguments.place, &cli::Serving::default())?;
    let stopped = serve::runtime()?.block_on(async {
        let client = Client::find(&settings).await?;
        let stop = Stop { model: arguments.model.clone() };
        client.post::<IgnoredAny>("/resident/v1/stop", &stop).await
    });
    stopped.map_err(Error::with_code)?;
    terminal::note(format_args!("{} is told to stop", arguments.model));
    Ok(())
}
