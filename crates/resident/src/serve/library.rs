//! The library as clients of the hub reach it: what they ask, carried out on the store and the queue of pulls.
//!
//! `steps` tells what goes on in Ollama's words, `made` says what a model is made of. Not here: HTTP (`gateway`), and
//! how models are pulled and kept (`library`).

mod made;
mod reader;
mod rows;
mod steps;

use std::{
    fmt,
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard},
    time::Duration,
};

use bytes::Bytes;
use dialect::{Error, ollama};
use gateway::{
    About, PullChange, Steps,
    control::pulls::{NewPull, Pull},
};
use library::{
    digest::Sha256,
    name::Name,
    pull,
    queue::{self, Failure, Job, Queue, Work},
    source::Source,
    sources::Access,
    store::{self, Base, Recipe, Store},
    transfer::{Key, Terms},
};
use tokio::{
    runtime,
    sync::{Notify, mpsc, watch},
};

use crate::{config::Settings, limits::STEPS_WAITING_MAX, models::Catalog, size};

/// The library of a hub.
pub(super) struct Library {
    place: RwLock<Place>,
    means: Arc<RwLock<Means>>,
    /// Told whenever there are other models.
    changed: Arc<Notify>,
    runtime: runtime::Handle,
}

/// Where it lies.
struct Place {
    catalog: Catalog,
    store: Store,
    queue: Queue,
}

/// How models come here.
#[derive(Clone)]
struct Means {
    access: Access,
    terms: Terms,
}

impl fmt::Debug for Library {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Library").field("queue", &self.place().queue).finish_non_exhaustive()
    }
}

impl Library {
    /// The library of these settings. Pulls that are not done go on from now.
    ///
    /// # Errors
    /// When something else is in its place, or the settings make no sense.
    pub(super) fn open(settings: &Settings) -> anyhow::Result<Arc<Self>> {
        let means = Arc::new(RwLock::new(Means::of(settings)?));
        let changed = Arc::new(Notify::new());
        let place = RwLock::new(Place::open(settings, &means, &changed)?);
        Ok(Arc::new(Self { place, means, changed, runtime: runtime::Handle::current() }))
    }

    /// Told whenever there are other models than before.
    pub(super) fn changed(&self) -> Arc<Notify> {
        Arc::clone(&self.changed)
    }

    /// Goes on as other settings say, if they make sense. Pulls that are under way end as they began, unless the
    /// library lies elsewhere now, or nobody is to be asked for anything any more; then they wait.
    ///
    /// # Errors
    /// As [`Self::open`]; nothing has changed then.
    pub(super) fn change(&self, settings: &Settings) -> anyhow::Result<()> {
        let means = Means::of(settings)?;
        let has_moved = self.place().catalog.folder != settings.catalog.folder;
        let moved = match has_moved {
            true => Some(Place::open(settings, &self.means, &self.changed)?),
            false => None,
        };
        let is_offline = means.is_offline();
        let before = {
            let mut current = self.means.write().unwrap_or_else(PoisonError::into_inner);
            std::mem::replace(&mut *current, means)
        };
        let mut place = self.place.write().unwrap_or_else(PoisonError::into_inner);
        match moved {
            Some(moved) => std::mem::replace(&mut *place, moved).queue.close(),
            None => {
                place.catalog = settings.catalog.clone();
                if is_offline != before.is_offline() {
                    place.queue.start_over();
                }
            }
        }
        Ok(())
    }

    /// Stops what goes on, so that it goes on the next time.
    pub(super) fn close(&self) {
        self.place().queue.close();
    }

    fn place(&self) -> RwLockReadGuard<'_, Place> {
        self.place.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Refuses what would be asked of servers elsewhere, where none is asked.
    fn check_online(&self) -> Result<(), Error> {
        let means = self.means.read().unwrap_or_else(PoisonError::into_inner);
        if !means.is_offline() {
            return Ok(());
        }
        Err(Error::invalid(
            "this hub asks no server elsewhere, because offline is set; take it out of its configuration (or \
             RESIDENT_OFFLINE), or import a file of this machine with resident import",
        )
        .code("offline"))
    }

    /// Begins to pull for whoever reads the steps.
    async fn follow(
        queue: &Queue,
        job: Job,
        steps: &mpsc::Sender<Result<ollama::progress::Step, Error>>,
    ) -> Result<Name, Error> {
        let attended = queue.attend(job).map_err(|error| of_queue(&error))?;
        steps::follow(queue, &attended, steps).await
    }
}

impl Means {
    fn of(settings: &Settings) -> anyhow::Result<Self> {
        Ok(Self { access: crate::pull::access(settings)?, terms: crate::pull::terms(settings) })
    }

    /// Whether nothing is asked of anybody.
    fn is_offline(&self) -> bool {
        self.access.outside().is_offline()
    }
}

impl Place {
    fn open(
        settings: &Settings,
        means: &Arc<RwLock<Means>>,
        changed: &Arc<Notify>,
    ) -> anyhow::Result<Self> {
        let catalog = settings.catalog.clone();
        let store = catalog.library()?;
        let tidied = store.clone();
        tokio::task::spawn_blocking(move || tidy(&tidied, library::limits::GRACE));
        let queue = Queue::open(&store.pulls(), work(&store, means, changed));
        Ok(Self { catalog, store, queue })
    }
}

/// Removes what no model has needed for `grace`, such as what an interrupted upload left. Nothing waits for it, and
/// what stays is looked at the next time.
fn tidy(store: &Store, grace: Duration) {
    match store.collect_garbage(grace) {
        Ok(collected) => {
            for problem in &collected.problems {
                tracing::warn!("{problem}");
            }
            if collected.files > 0 {
                let freed = size::format(collected.bytes);
                tracing::info!(
                    files = collected.files,
                    "{freed} of the library that no model needed are free again"
                );
            }
        }
        Err(error) => tracing::warn!(%error, "what no model of the library needs stays"),
    }
}

/// How the queue pulls.
fn work(store: &Store, means: &Arc<RwLock<Means>>, changed: &Arc<Notify>) -> Work {
    let (pulled, forgotten) = (store.clone(), store.clone());
    let (means, changed) = (Arc::clone(means), Arc::clone(changed));
    let pull = move |job: Job, events: watch::Sender<pull::Progress>| -> queue::Pulling {
        let (store, changed) = (pulled.clone(), Arc::clone(&changed));
        let means = means.read().unwrap_or_else(PoisonError::into_inner).clone();
        Box::pin(async move {
            let source = match Source::parse(&job.source) {
                Some(source) => source.map_err(|error| Failure::Final(error.to_string()))?,
                None => return Err(Failure::Final(format!("'{}' names no source", job.source))),
            };
            let Means { access, terms } = means;
            let pulled = pull::pull(&access, &store, &terms, &source, job.name, &events).await;
            let manifest = pulled.map_err(|error| match error.may_pass() {
                true => Failure::Passing(error.to_string()),
                false => Failure::Final(error.to_string()),
            })?;
            changed.notify_one();
            Ok(manifest.name)
        })
    };
    let forget = move |keys: &[Key]| {
        if let Err(error) = pull::forget(keys, &forgotten) {
            tracing::warn!(%error, "what was half here of a pull stays");
        }
    };
    let retry = library::limits::PULL_RETRY_WAIT;
    Work { pull: Box::new(pull), forget: Box::new(forget), retry }
}

impl gateway::Library for Library {
    fn pull(&self, source: &str) -> Result<Steps, Error> {
        let (job, queue) = (job(source, None)?, self.place().queue.clone());
        self.check_online()?;
        let (sender, steps) = mpsc::channel(STEPS_WAITING_MAX);
        self.runtime.spawn(async move {
            let end = Self::follow(&queue, job, &sender).await;
            // Nobody is left to tell when the client is gone.
            let _ = sender.send(end.map(|_| ollama::progress::Step::Success)).await;
        });
        Ok(steps)
    }

    fn create(&self, create: ollama::library::Create) -> Result<Steps, Error> {
        let name = name(&create.model, "model")?;
        let (store, catalog, queue) = {
            let place = self.place();
            (place.store.clone(), place.catalog.clone(), place.queue.clone())
        };
        let (recipe, missing) = made::recipe(&catalog, &store, create)?;
        if missing.is_some() {
            self.check_online()?;
        }
        let changed = Arc::clone(&self.changed);
        let (sender, steps) = mpsc::channel(STEPS_WAITING_MAX);
        self.runtime.spawn(async move {
            let made = async {
                let mut recipe = recipe;
                if let Some(job) = missing {
                    recipe.from.insert(0, Base::Model(Self::follow(&queue, job, &sender).await?));
                }
                made::make(store, name, recipe, sender.clone()).await
            };
            let end = made.await.inspect(|()| changed.notify_one());
            let _ = sender.send(end.map(|()| ollama::progress::Step::Success)).await;
        });
        Ok(steps)
    }

    fn copy(&self, source: &str, destination: &str) -> Result<(), Error> {
        let to = name(destination, "destination")?;
        // Nobody else has to wait while gigabytes are hashed.
        let (store, catalog) = {
            let place = self.place();
            (place.store.clone(), place.catalog.clone())
        };
        let shelved = Name::new(source).ok().filter(|name| store.find(name).is_some());
        let copied = match shelved {
            Some(from) => store.copy(&from, &to).map(drop),
            None => {
                let found = found(&catalog, source).ok_or_else(|| not_found(source))?;
                let recipe = Recipe { from: vec![Base::File(found.path)], ..Recipe::default() };
                store.create(&to, &recipe, &mut |_| std::ops::ControlFlow::Continue(())).map(drop)
            }
        };
        copied.map_err(|error| of_store(&error))?;
        self.changed.notify_one();
        Ok(())
    }

    fn delete(&self, model: &str) -> Result<(), Error> {
        let place = self.place();
        let shelved = Name::new(model).ok().filter(|name| place.store.find(name).is_some());
        let Some(name) = shelved else {
            return Err(match found(&place.catalog, model) {
                Some(found) => Error::invalid(format!(
                    "model '{model}' is the file {}, which is not the library's; remove it yourself, or take it \
                     out of the configuration",
                    found.path.display()
                ))
                .at("model"),
                None => not_found(model),
            });
        };
        place.store.remove(&name).map_err(|error| of_store(&error))?;
        self.changed.notify_one();
        Ok(())
    }

    fn has_blob(&self, digest: &str) -> Result<bool, Error> {
        Ok(self.place().store.has(&self::digest(digest)?))
    }

    fn put_blob(&self, digest: &str, pieces: mpsc::Receiver<Bytes>) -> Result<(), Error> {
        let digest = self::digest(digest)?;
        let store = self.place().store.clone();
        let added = store.add(&mut reader::Pieces::new(pieces), &digest);
        added.map_err(|error| of_store(&error))
    }

    fn about(&self, name: &str) -> Option<About> {
        let place = self.place();
        let manifest = place.store.find(&Name::new(name).ok()?)?;
        let modelfile = place.store.modelfile(&manifest).to_string();
        let settings = manifest.settings;
        let messages = settings.messages.into_iter().map(|said| (said.role, said.content));
        Some(About {
            template: settings.template,
            licenses: settings.licenses,
            settings: ollama::model::Settings {
                modelfile,
                parameters: settings.parameters,
                system: settings.system,
                messages: messages.collect(),
            },
        })
    }

    fn pulls(&self) -> Vec<Pull> {
        self.place().queue.rows().into_iter().map(rows::row).collect()
    }

    fn begin_pull(&self, new: &NewPull) -> Result<Pull, Error> {
        let named = new.name.as_deref().map(|text| name(text, "name")).transpose()?;
        let (job, queue) = (job(&new.source, named)?, self.place().queue.clone());
        self.check_online()?;
        let row = queue.add(job);
        row.map(rows::row).map_err(|error| of_queue(&error))
    }

    fn change_pull(&self, id: u64, change: PullChange) -> Result<Pull, Error> {
        let queue = self.place().queue.clone();
        let row = match change {
            PullChange::Pause => queue.pause(id),
            PullChange::Resume => queue.resume(id),
            PullChange::Cancel => queue.cancel(id),
        };
        row.map(rows::row).map_err(|error| of_queue(&error))
    }

    fn pulls_changed(&self) -> watch::Receiver<u64> {
        self.place().queue.changes()
    }
}

/// What a text asks to be pulled. One that says no source means Ollama's registry, and then the model has the name
/// that was asked for; so has one of Hugging Face as Ollama's users write it.
fn job(text: &str, named: Option<Name>) -> Result<Job, Error> {
    let wrong = |error: library::sources::Error| Error::invalid(error.to_string()).at("model");
    let (source, is_name) = match Source::parse(text) {
        Some(source) => (source.map_err(wrong)?, text.starts_with("hf.co/")),
        None => {
            let registry = format!("ollama:{text}");
            let source = Source::parse(&registry).ok_or_else(|| {
                Error::invalid(format!("'{text}' names no model to pull")).at("model")
            })?;
            (source.map_err(wrong)?, true)
        }
    };
    // What is secret in an address is needed to pull it.
    let written = match &source {
        Source::Address(_) => text.to_owned(),
        Source::Repository { .. } | Source::Registry(_) => source.to_string(),
    };
    let own = is_name.then(|| Name::new(text).ok()).flatten();
    Ok(Job { source: written, name: named.or(own) })
}

fn name(text: &str, field: &str) -> Result<Name, Error> {
    Name::new(text).map_err(|error| Error::invalid(error.to_string()).at(field))
}

fn digest(text: &str) -> Result<Sha256, Error> {
    text.parse().map_err(|error: library::digest::NoDigest| Error::invalid(error.to_string()))
}

/// A model of this machine that is not the library's own.
fn found(catalog: &Catalog, name: &str) -> Option<crate::models::Found> {
    let plain = name.strip_suffix(ollama::model::TAG_DEFAULT).unwrap_or(name);
    catalog.find(name).or_else(|| catalog.find(plain))
}

/// By these words Ollama's clients know that there is none.
fn not_found(name: &str) -> Error {
    Error::new(404, format!("model '{name}' not found")).at("model").code("model_not_found")
}

fn of_queue(error: &queue::Error) -> Error {
    let status = match error {
        queue::Error::Unknown { .. } => 404,
        queue::Error::Ended { .. } => 400,
        queue::Error::Full => 503,
    };
    Error::new(status, error.to_string())
}

fn of_store(error: &store::Error) -> Error {
    let status = match error {
        store::Error::NoModel { name } => return not_found(name.as_str()),
        store::Error::Capitals { .. }
        | store::Error::Manifest { .. }
        | store::Error::NoBlob { .. }
        | store::Error::From { .. }
        | store::Error::File { .. }
        | store::Error::Digest { .. } => 400,
        store::Error::NoLinks { .. } | store::Error::Io { .. } => 500,
    };
    Error::new(status, error.to_string())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::{
        cli,
        config::{Machine, raw, resolved::resolve},
    };

    #[track_caller]
    fn check(text: &str, source: &str, name: Option<&str>) {
        let job = job(text, None).unwrap();
        assert_eq!((&*job.source, job.name.as_ref().map(Name::as_str)), (source, name));
    }

    /// Settings by which Hugging Face is at `endpoint`.
    fn settings(folder: &Path, endpoint: &str, offline: bool) -> Settings {
        let machine = Machine {
            memory_bytes: Some(1 << 34),
            data_dir: folder.into(),
            home: folder.into(),
            models_variable: None,
            variable: |_| None,
            secret: |_| Err("it cannot be read".into()),
            names_of: |_| Vec::new(),
        };
        let text = format!("offline = {offline}\n[library]\nhf_endpoint = \"{endpoint}\"\n");
        let (place, serving) = (cli::Place::default(), cli::Serving::default());
        resolve(&place, &serving, raw::parse(&text).unwrap(), folder, &machine).unwrap()
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn pulls_wait_as_long_as_nobody_is_to_be_asked() {
        use gateway::Library as _;
        // The system takes connections to it, and nobody answers.
        let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", silent.local_addr().unwrap());
        let folder = tempfile::tempdir().unwrap();
        let library = Library::open(&settings(folder.path(), &endpoint, false)).unwrap();
        let mut changes = library.pulls_changed();
        let mut until = async |state: &str, error: Option<&str>| {
            let seen = async {
                loop {
                    let pulls = library.pulls();
                    let is_told = |pull: &Pull| match (pull.error.as_deref(), error) {
                        (Some(told), Some(part)) => told.contains(part),
                        (told, part) => told == part,
                    };
                    if pulls.iter().any(|pull| pull.state == state && is_told(pull)) {
                        return;
                    }
                    changes.changed().await.unwrap();
                }
            };
            let in_time = tokio::time::timeout(Duration::from_secs(60), seen).await;
            assert!(in_time.is_ok(), "not {state}: {:?}", library.pulls());
        };
        library.begin_pull(&NewPull { source: "hf:o/r".to_owned(), name: None }).unwrap();
        until("running", None).await;
        library.change(&settings(folder.path(), &endpoint, true)).unwrap();
        until("waiting", Some("offline is set")).await;
        library.change(&settings(folder.path(), &endpoint, false)).unwrap();
        until("running", None).await;
        library.close();
    }

    #[test]
    fn what_no_model_needs_goes_when_it_is_old() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let digest = Sha256::of([7; 32]);
        let blob = folder.path().join("blobs").join(format!("sha256-{}", digest.hex()));
        std::fs::create_dir_all(blob.parent().unwrap()).unwrap();
        std::fs::write(&blob, "nobody's").unwrap();
        tidy(&store, library::limits::GRACE);
        assert!(blob.exists(), "it may be an upload of which the model is still to be made");
        let file = std::fs::File::options().append(true).open(&blob).unwrap();
        file.set_modified(std::time::UNIX_EPOCH).unwrap();
        tidy(&store, library::limits::GRACE);
        assert!(!blob.exists());
    }

    #[test]
    fn a_bare_name_means_ollamas_registry() {
        check("llama3.2", "ollama:llama3.2", Some("llama3.2"));
        check("llama3.2:1b", "ollama:llama3.2:1b", Some("llama3.2:1b"));
        check("me/mine:latest", "ollama:me/mine", Some("me/mine"));
    }

    #[test]
    fn other_sources_say_so() {
        check(
            "hf.co/Qwen/Qwen3-8B-GGUF:Q4_K_M",
            "hf:Qwen/Qwen3-8B-GGUF:Q4_K_M",
            Some("hf.co/Qwen/Qwen3-8B-GGUF:Q4_K_M"),
        );
        check("hf:a/b:Q8_0", "hf:a/b:Q8_0", None);
        check("ms:a/b", "ms:a/b", None);
        let secret = "https://me:pw@h/a.gguf?key=s";
        check(secret, secret, None);
    }

    #[test]
    fn what_names_nothing_is_the_clients_error() {
        for text in ["", "..", "../x", "a b", "hf:x", "https://"] {
            assert_eq!(job(text, None).unwrap_err().status, 400, "{text:?}");
        }
    }
}
