//! `resident reload`: the hub reads its configuration again.

use gateway::control::Reloaded;

use crate::{
    cli,
    client::{Client, Error},
    config, serve, terminal,
};

/// Tells the hub, which takes all of the configuration or refuses it whole.
///
/// # Errors
/// When no hub of ours answers, or it refuses the configuration.
pub(crate) fn reload(arguments: &cli::Reload) -> anyhow::Result<()> {
    let settings = config::load(&arguments.place, &cli::Serving::default())?;
    let reloaded = serve::runtime()?.block_on(async {
        let client = Client::find(&settings).await?;
        let nothing = serde_json::Map::new();
        client.post::<Reloaded>("/resident/v1/reload", &nothing).await
    });
    let Reloaded { notes } = reloaded.map_err(Error::with_code)?;
    terminal::note("the configuration was read again and is taken; nobody was cut off");
    notes.iter().for_each(|note| terminal::note(format_args!("  note     {note}")));
    Ok(())
}
