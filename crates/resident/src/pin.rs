//! `resident pin MODEL` and `resident unpin MODEL`: whether a model ever leaves for another.
//!
//! Both are the operator's word over the configuration's, until the hub ends or
//! `pin --as-configured` takes it back.

use gateway::control::Pin;
use serde::de::IgnoredAny;

use crate::{
    cli,
    client::{Client, Error},
    config, serve, terminal,
};

/// Pins a model, or takes the operator's word back.
///
/// # Errors
/// When no hub of ours answers, or there is no such model.
pub(crate) fn pin(arguments: &cli::Pin) -> anyhow::Result<()> {
    let cli::Pin { model, as_configured, place } = arguments;
    tell(place, model, (!as_configured).then_some(true))
}

/// Lets a model leave for others, even if the configuration pins it.
///
/// # Errors
/// When no hub of ours answers, or there is no such model.
pub(crate) fn unpin(arguments: &cli::Unpin) -> anyhow::Result<()> {
    tell(&arguments.place, &arguments.model, Some(false))
}

fn tell(place: &cli::Place, model: &str, pinned: Option<bool>) -> anyhow::Result<()> {
    let settings = config::load(place, &cli::Serving::default())?;
    let told = serve::runtime()?.block_on(async {
        let client = Client::find(&settings).await?;
        let pin = Pin { model: model.to_owned(), pinned };
        client.post::<IgnoredAny>("/resident/v1/pin", &pin).await
    });
    told.map_err(Error::with_code)?;
    terminal::note(match pinned {
        Some(true) => {
            format!(
                "{model} is pinned until the hub ends; once loaded, it never leaves for another"
            )
        }
        Some(false) => format!("{model} may leave for others until the hub ends"),
        None => format!("whether {model} is pinned is what the configuration says"),
    });
    Ok(())
}
