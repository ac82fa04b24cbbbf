//! A whole model, from its source into the store: what it is made of, room for what is missing, each file, and at
//! last its manifest.
//!
//! A file that the store has is not fetched. One that came stays among the half pulled files until all are there, so
//! that a pull that pauses for weeks loses none of them to the collection of garbage; and what had the name before is
//! replaced when everything of the new one is in its place. Dropping the future pauses a pull, and the next one goes
//! on. Not here: how one file comes (`transfer`), and in which order several models do.

mod error;
mod progress;

use std::{
    fs,
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use tokio::{sync::watch, task::spawn_blocking};

pub use error::Error;
pub use progress::{FileProgress, Progress, Stage};

use crate::{
    digest::Sha256,
    limits::{FORGET_INTERVAL, FORGET_WAIT, PULL_ROUNDS_MAX},
    manifest::{self, Manifest},
    name::Name,
    private,
    source::Source,
    sources::{Access, Found, FoundFile},
    store::{self, Store},
    transfer::{self, Fetched, Key, Seen, Terms},
};

/// Brings the model that `source` means into `store`, under `name` or the name that suits it. How it stands is said
/// to `events`.
///
/// # Errors
/// [`Error`]. What came is kept for the next time, and what had the name before is still there.
pub async fn pull(
    access: &Access,
    store: &Store,
    terms: &Terms,
    source: &Source,
    name: Option<Name>,
    events: &watch::Sender<Progress>,
) -> Result<Manifest, Error> {
    events.send_replace(Progress { name: name.clone(), ..Progress::default() });
    let waits = |note| events.send_modify(|progress| progress.note = note);
    let found = terms.pace.patiently(waits, || access.found(source)).await?;
    let name = name.unwrap_or_else(|| found.suggested_name.clone());
    let keys = found.files.iter().map(|file| file.wanted.key()).collect();
    let held = found.files.iter().map(|_| None).collect();
    let known = vec![None; found.files.len()];
    let mut pull = Pull { access, store, terms, events, found, name, keys, held, known };
    pull.check_name().await?;
    pull.begin().await?;
    for _round in 0..PULL_ROUNDS_MAX {
        if let Some(manifest) = pull.round().await? {
            events.send_modify(|progress| progress.stage = Stage::Done);
            return Ok(manifest);
        }
    }
    Err(Error::Vanishing { name: pull.name, times: PULL_ROUNDS_MAX })
}

/// Forgets the half pulled files of a pull that is not wanted any more, but for those that another one works on. It
/// blocks for a moment: threads of the pull itself may be about to let go of them.
///
/// # Errors
/// When the disk refuses.
pub fn forget(keys: &[Key], store: &Store) -> Result<(), transfer::Error> {
    let (folder, until) = (store.pulls(), Instant::now() + FORGET_WAIT);
    let mut left: Vec<&Key> = keys.iter().collect();
    loop {
        let mut used = Vec::new();
        for key in left {
            if !transfer::forget(key, &folder)? {
                used.push(key);
            }
        }
        if used.is_empty() || Instant::now() >= until {
            return Ok(());
        }
        left = used;
        std::thread::sleep(FORGET_INTERVAL);
    }
}

/// One pull under way.
struct Pull<'a> {
    access: &'a Access,
    store: &'a Store,
    terms: &'a Terms,
    events: &'a watch::Sender<Progress>,
    found: Found,
    name: Name,
    /// What each file is known by on its way.
    keys: Vec<Key>,
    /// Files that came, which nobody else may touch until they are in the store.
    held: Vec<Option<Fetched>>,
    /// Digest and length of each file that came, which not every source says before.
    known: Vec<Option<(Sha256, u64)>>,
}

impl Pull<'_> {
    /// What the store would refuse in the end is refused before anything comes.
    async fn check_name(&self) -> Result<(), Error> {
        let (store, name) = (self.store.clone(), self.name.clone());
        let other = aside(move || store.find(&name)).await;
        match other.map(|manifest| manifest.name).filter(|other| *other != self.name) {
            Some(other) => Err(store::Error::Capitals { name: self.name.clone(), other }.into()),
            None => Ok(()),
        }
    }

    /// Says what there is to do, if there is room for it.
    async fn begin(&self) -> Result<(), Error> {
        let (store, files) = (self.store.clone(), self.found.files.clone());
        let (files, missing_bytes) = aside(move || outlook(&store, &files)).await;
        self.events.send_replace(Progress {
            stage: Stage::Files,
            name: Some(self.name.clone()),
            files,
            ..Progress::default()
        });
        let (folder, name) = (self.store.pulls(), self.name.to_string());
        aside(move || {
            private::folder(&folder).map_err(|error| transfer::Error::Disk {
                path: folder.display().to_string(),
                why: error.to_string(),
            })?;
            transfer::is_room(&folder, &name, missing_bytes)
        })
        .await?;
        Ok(())
    }

    /// Fetches what is missing, and writes the manifest. `None` when meanwhile something vanished that was there.
    async fn round(&mut self) -> Result<Option<Manifest>, Error> {
        for at in self.order() {
            let twin = (0..at).find(|other| self.keys[*other] == self.keys[at]);
            match twin {
                // One that has been seen to already, and that this pull itself may hold.
                Some(twin) => self.known[at] = self.known[twin],
                None if self.here(at).await.is_some() => {}
                None => self.obtain(at).await?,
            }
            self.events.send_modify(|progress| progress.finish(at));
        }
        self.show(Stage::Verifying);
        let mut files = Vec::new();
        for at in 0..self.found.files.len() {
            match self.take(at).await? {
                Some(file) => files.push(file),
                None => return Ok(None),
            }
        }
        self.show(Stage::Writing);
        self.write(files).await
    }

    /// The files in the order in which they are fetched: that of their keys, whatever the model. A pull holds what came
    /// and waits for what another one holds; in one order for all, no two can wait for each other.
    fn order(&self) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.keys.len()).collect();
        order.sort_by_key(|at| &self.keys[*at]);
        order
    }

    /// Fetches a file and holds it, unless another pull brings it into the store meanwhile.
    async fn obtain(&mut self, at: usize) -> Result<(), Error> {
        for _round in 0..PULL_ROUNDS_MAX {
            match self.fetch(at).await {
                Ok(fetched) => {
                    self.known[at] = Some((fetched.digest, fetched.bytes));
                    self.held[at] = Some(fetched);
                    return Ok(());
                }
                Err(transfer::Error::Taken { digest, bytes, .. }) => {
                    self.known[at] = Some((digest, bytes));
                    if self.here(at).await.is_some() {
                        return Ok(());
                    }
                    // It was removed again, so nobody has it.
                    self.known[at] = None;
                }
                Err(error) => return Err(error.into()),
            }
        }
        Err(Error::Vanishing { name: self.name.clone(), times: PULL_ROUNDS_MAX })
    }

    /// A file that the store has, as its manifest names it.
    async fn here(&self, at: usize) -> Option<manifest::File> {
        let (store, file) = (self.store.clone(), self.found.files[at].clone());
        let known = self.known[at];
        aside(move || in_store(&store, &file, known)).await
    }

    async fn fetch(&self, at: usize) -> Result<Fetched, transfer::Error> {
        let wanted = &self.found.files[at].wanted;
        let folder = self.store.pulls();
        let (seen, mut changes) = watch::channel(Seen::default());
        let fetch = transfer::fetch(self.access.outside(), wanted, &folder, self.terms, &seen);
        let mut fetch = std::pin::pin!(fetch);
        loop {
            tokio::select! {
                result = &mut fetch => return result,
                Ok(()) = changes.changed() => {
                    let seen = changes.borrow_and_update().clone();
                    self.events.send_modify(|progress| progress.saw(at, &seen));
                }
            }
        }
    }

    /// Takes a file that came into the store. `None` when one is not there any more that was.
    async fn take(&mut self, at: usize) -> Result<Option<manifest::File>, Error> {
        let here = self.here(at).await;
        let Some(fetched) = self.held[at].take() else { return Ok(here) };
        let (store, file) = (self.store.clone(), self.found.files[at].clone());
        aside(move || {
            // The store may have had its content, which its source did not say.
            let file = match here {
                Some(here) => here,
                None => {
                    store.adopt(&fetched.path, &fetched.digest)?;
                    manifest::File::new(file.role, file.name, fetched.digest, fetched.bytes)
                }
            };
            fetched.taken()?;
            Ok(Some(file))
        })
        .await
    }

    /// Keeps the model. `None` when one of its files is not there any more.
    async fn write(&self, files: Vec<manifest::File>) -> Result<Option<Manifest>, Error> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let manifest = Manifest {
            name: self.name.clone(),
            source: self.found.source.clone(),
            revision: self.found.revision.clone(),
            added_unix_s: now.as_secs(),
            quantization: self.found.quantization.clone(),
            files,
            settings: self.found.settings.clone(),
        };
        let store = self.store.clone();
        aside(move || {
            // What is the same stays as old as it is.
            let same = store.find(&manifest.name).filter(|old| {
                *old == Manifest { added_unix_s: old.added_unix_s, ..manifest.clone() }
            });
            if let Some(old) = same {
                return Ok(Some(old));
            }
            match store.put(&manifest) {
                Ok(()) => Ok(Some(manifest)),
                Err(store::Error::NoBlob { .. }) => Ok(None),
                Err(error) => Err(error.into()),
            }
        })
        .await
    }

    fn show(&self, stage: Stage) {
        self.events.send_modify(|progress| progress.stage = stage);
    }
}

/// How each file stands, and how many bytes are missing, as far as the source says.
fn outlook(store: &Store, files: &[FoundFile]) -> (Vec<FileProgress>, u64) {
    let folder = store.pulls();
    let mut missing_bytes: u64 = 0;
    let outlook = files.iter().map(|file| {
        let whole_bytes = file.wanted.bytes;
        let done_bytes = match in_store(store, file, None) {
            Some(here) => here.bytes,
            None => {
                let done = transfer::kept_bytes(&file.wanted, &folder);
                let missing = whole_bytes.unwrap_or(0).saturating_sub(done);
                missing_bytes = missing_bytes.saturating_add(missing);
                done
            }
        };
        FileProgress {
            name: file.name.clone(),
            wanted: file.wanted.clone(),
            done_bytes,
            whole_bytes,
        }
    });
    (outlook.collect(), missing_bytes)
}

/// The file as the store has it: its content by digest, or one that a model was imported from.
fn in_store(
    store: &Store,
    file: &FoundFile,
    known: Option<(Sha256, u64)>,
) -> Option<manifest::File> {
    let digest = known.map(|(digest, _)| digest).or(file.wanted.digest)?;
    let blob = manifest::File::new(file.role, file.name.clone(), digest, 0);
    if let Ok(metadata) = fs::metadata(store.path_of(&blob)) {
        let bytes = metadata.len();
        let expected = known.map(|(_, bytes)| bytes).or(file.wanted.bytes);
        return expected
            .is_none_or(|expected| expected == bytes)
            .then_some(manifest::File { bytes, ..blob });
    }
    let models = store.models().models.into_iter();
    let same = models.flat_map(|model| model.files).find(|other| other.digest == digest)?;
    Some(manifest::File { role: file.role, name: file.name.clone(), ..same })
}

/// What blocks is done on a thread for that.
async fn aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}
