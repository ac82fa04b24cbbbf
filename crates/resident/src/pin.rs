//! `resident pin MODEL` and `resident unpin MODEL`: whether a model ever leaves for another.

use gateway::control::Pin;
use serde::de::IgnoredAny;

use crate::{
    cli,
    client::{Client, Error},
    config, serve, terminal,
};

/// Tells the hub. It holds until the hub ends.
///
/// # Errors
/// When no hub of ours answers, or there is no such model.
pub(crate) fn pin(arguments: &cli::Pin, pinned: bool) -> anyhow::Result<()> {
    let settings = config::load(&arguments.place, &cli::Serving::default())?;
    let told = serve::runtime()?.block_on(async {
        let client = Client::find(&settings).await?;
        let pin = Pin { model: arguments.model.clone(), pinned: Some(pinned) };
        client.post::<IgnoredAny>("/resident/v1/pin", &pin).await
    });
    told.map_err(Error::with_code)?;
    let model = &arguments.model;
    terminal::note(if pinned {
        format!("{model} is pinned until the hub ends; once loaded, it never leaves for another")
    } else {
        format!("{model} may leave for others")
    });
    Ok(())
}
