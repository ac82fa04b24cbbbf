//! A changed configuration: taken while the hub runs, or refused whole.
//!
//! All of it is read, resolved and checked before any of it holds. What the hub was started with on
//! the command line and in variables goes on winning over the file. Not here: what becomes of models
//! that run (`supervisor`), and of clients (`gateway`).

use std::{convert::Infallible, sync::Arc};

use anyhow::Context as _;
use gateway::{ChangeAsked, Door};
use supervisor::Handle;
use tokio::sync::{Notify, mpsc};

use super::{Hub, Loads, changeable, entrance, knowledge::Knowledge, library::Library, worker};
use crate::{
    cli,
    config::{self, Settings},
    exit::{self, Code},
    offer::{self, Offer},
    stop_signal::Hangups,
    terminal,
};

/// Takes changes of one hub, one after the other.
pub(super) struct Changes {
    place: cli::Place,
    serving: cli::Serving,
    /// What holds now.
    settings: Settings,
    supervisor: Handle,
    door: Door,
    token: String,
    loads: Loads,
    library: Option<Arc<Library>>,
    knowledge: Option<Arc<Knowledge>>,
    /// Told when there are other models in the library.
    shelved: Arc<Notify>,
    asked: mpsc::Receiver<ChangeAsked>,
    hangups: Hangups,
}

impl Changes {
    /// Changes of a hub that was started with these.
    pub(super) fn new(
        arguments: &cli::Serve,
        settings: Settings,
        hub: &Hub,
        asked: mpsc::Receiver<ChangeAsked>,
    ) -> Self {
        Self {
            place: arguments.place.clone(),
            serving: arguments.serving.clone(),
            settings,
            supervisor: hub.supervisor.clone(),
            door: hub.server.door(),
            token: hub.token.clone(),
            loads: hub.loads.clone(),
            shelved: hub.library.as_ref().map(|library| library.changed()).unwrap_or_default(),
            library: hub.library.clone(),
            knowledge: hub.knowledge.clone(),
            asked,
            hangups: Hangups::catch(),
        }
    }

    /// Reads the configuration again whenever somebody asks for it.
    pub(super) async fn follow(mut self) -> Infallible {
        loop {
            tokio::select! {
                Some(reply) = self.asked.recv() => {
                    let taken = self.take().await.map_err(|error| format!("{error:#}"));
                    // Whoever asked may have stopped waiting.
                    reply.send(taken).ok();
                }
                () = self.shelved.notified() => {
                    if let Err(error) = self.look_again().await {
                        tracing::warn!(%error, "what changed in the library is seen later");
                    }
                }
                () = self.hangups.next() => match self.take().await {
                    Ok(notes) => {
                        terminal::note("the configuration was read again and is taken");
                        notes.iter().for_each(|note| terminal::note(format_args!("  note     {note}")));
                    }
                    Err(error) => terminal::note(format_args!(
                        "the changed configuration is refused, and the one before still holds: {error:#}"
                    )),
                },
            }
        }
    }

    /// Looks again at what there is, so that models which are gone or are others now leave with their last user.
    async fn look_again(&self) -> anyhow::Result<()> {
        let worker = worker(self.settings.worker.as_deref())?;
        let offer = Arc::new(Offer::of(&self.settings));
        let edition = self.supervisor.edition(changeable(&self.settings, worker), offer);
        Ok(self.supervisor.change(edition).await?)
    }

    /// Takes all of it, or nothing.
    async fn take(&mut self) -> anyhow::Result<Vec<String>> {
        let (place, serving) = (self.place.clone(), self.serving.clone());
        let supervisor = self.supervisor.clone();
        // It reads files, the headers of pinned models among them.
        let read = tokio::task::spawn_blocking(move || {
            let settings = config::load(&place, &serving)?;
            let worker = worker(settings.worker.as_deref())?;
            let offer = Offer::of(&settings);
            let pinned = offer.pinned();
            let edition = supervisor.edition(changeable(&settings, worker), Arc::new(offer));
            let pins = pinned.iter().filter_map(|name| edition.model(name)).collect();
            offer::refuse_broken_pins(&settings.served.groups, settings.budget_bytes, pins)?;
            anyhow::Ok((settings, edition, pinned))
        });
        let (settings, edition, mut pinned) = read.await.context("cannot read it")??;
        refuse_moved(&self.settings, &settings)?;
        refuse_other_qdrant(&self.settings, &settings)?;
        let entrance = entrance(&settings, &self.token, self.library.as_ref());
        self.door.check(&entrance)?;
        if let Some(library) = self.library.clone() {
            // It may have to write down what it has pulled so far.
            let settings = settings.clone();
            let changed = tokio::task::spawn_blocking(move || library.change(&settings));
            changed.await.context("cannot change the library")??;
        }
        // From here on nothing refuses, except a hub that is going down.
        self.supervisor.change(edition).await?;
        self.door.change(entrance);
        if let Some(knowledge) = &self.knowledge {
            knowledge.configure(&settings);
        }
        let before = Offer::of(&self.settings).pinned();
        pinned.retain(|name| !before.contains(name));
        self.loads.begin(&self.supervisor, pinned, settings.served.warm_model());
        let notes = settings.served.notes.clone();
        self.settings = settings;
        Ok(notes)
    }
}

/// The token, the journal and the logs lie in the data folder and are in use.
fn refuse_moved(before: &Settings, after: &Settings) -> anyhow::Result<()> {
    if before.data_dir == after.data_dir {
        return Ok(());
    }
    let message = format!(
        "data_dir is {} now, and this hub was started with {}; its data folder does not change while \
         the hub runs: restart it, or take that back",
        after.data_dir.display(),
        before.data_dir.display()
    );
    Err(exit::error(Code::Usage, message))
}

/// Collections are open on the server that they were opened on.
fn refuse_other_qdrant(before: &Settings, after: &Settings) -> anyhow::Result<()> {
    let (before, after) = (&before.knowledge.qdrant, &after.knowledge.qdrant);
    if before == after {
        return Ok(());
    }
    let message = "[knowledge.qdrant] has another url or key now than this hub was started with; where indexes are \
                   does not change while the hub runs: restart it, or take that back";
    Err(exit::error(Code::Usage, message))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::{Machine, raw, resolved::resolve};

    fn settings(data_dir: &str) -> Settings {
        let machine = Machine {
            memory_bytes: Some(1 << 34),
            data_dir: data_dir.into(),
            home: "/home/me".into(),
            models_variable: None,
            variable: |_| None,
            secret: |_| Err("it cannot be read".into()),
            names_of: |_| Vec::new(),
        };
        let (place, serving) = (cli::Place::default(), cli::Serving::default());
        resolve(&place, &serving, raw::parse("").unwrap(), Path::new("/"), &machine).unwrap()
    }

    #[test]
    fn indexes_stay_where_they_are_under_a_running_hub() {
        let (before, mut after) = (settings("/data"), settings("/data"));
        assert!(refuse_other_qdrant(&before, &after).is_ok());
        let url = "http://127.0.0.1:6334".to_owned();
        after.knowledge.qdrant = Some(config::Qdrant { url, key: None });
        for (before, after) in [(&before, &after), (&after, &before)] {
            let refused = refuse_other_qdrant(before, after).unwrap_err().to_string();
            assert!(
                refused.contains("[knowledge.qdrant]") && refused.contains("restart"),
                "{refused}"
            );
        }
    }

    #[test]
    fn the_data_folder_does_not_move_under_a_running_hub() {
        assert!(refuse_moved(&settings("/data"), &settings("/data")).is_ok());
        let refused = refuse_moved(&settings("/data"), &settings("/other")).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "data_dir is /other now, and this hub was started with /data; its data folder does not \
             change while the hub runs: restart it, or take that back"
        );
    }
}
