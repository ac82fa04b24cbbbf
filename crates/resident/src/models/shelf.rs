//! Models of the library, which lies in the models folder: each is a manifest, and may have a projector, adapters,
//! a model that guesses for it, and settings.
//!
//! Not here: what the settings do to requests (`offer`), how models come there (`library`).

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::UNIX_EPOCH,
};

use library::{
    manifest::{Manifest, Role},
    name::Name,
    store::Store,
};
use worker_protocol::{Adapter, Scale};

use super::{Catalog, Found, Problem};

/// Its folder in the models folder.
const FOLDER: &str = "library";

/// What the library has of a model beside its file.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Shelved {
    /// All that is written down of it.
    pub(crate) manifest: Manifest,
    /// What turns pictures and sounds into its vectors.
    pub(crate) projector: Option<PathBuf>,
    /// What changes its weights.
    pub(crate) adapters: Vec<Adapter>,
    /// What guesses for it.
    pub(crate) draft: Option<PathBuf>,
}

impl Catalog {
    /// The library, unless something else is in its place.
    ///
    /// # Errors
    /// What is there instead.
    pub(crate) fn library(&self) -> Result<Store, library::store::Error> {
        Store::open(&self.folder.join(FOLDER))
    }

    /// The models of the library.
    pub(super) fn shelved(&self, problems: &mut Vec<Problem>) -> Vec<Found> {
        let store = match self.library() {
            Ok(store) => store,
            Err(error) => {
                problems.push(Problem::unreadable(format!("the library: {error}")));
                return Vec::new();
            }
        };
        let scan = store.models();
        problems.extend(scan.problems.into_iter().map(Problem::unreadable));
        let mut models = Vec::new();
        for manifest in scan.models {
            if let Err(error) = dialect::ollama::parameters(&manifest.settings.parameters) {
                problems.push(Problem::left_out(format!(
                    "the parameters of the model '{}' are not used: {error}; make it again with others",
                    manifest.name
                )));
            }
            let name = manifest.name.clone();
            match self.found_on_shelf(&store, manifest) {
                Ok(found) => models.push(found),
                Err(error) => {
                    problems.push(Problem::unreadable(format!("model '{name}': {error}")))
                }
            }
        }
        models
    }

    /// The model of the library that is called `name`; capitals make no difference.
    pub(super) fn find_shelved(&self, name: &str) -> Option<Found> {
        let asked = Name::new(name).ok()?;
        // A tag that means none is not a part of its name.
        if asked.as_str() != name {
            return None;
        }
        let store = self.library().ok()?;
        let manifest = store.find(&asked)?;
        self.found_on_shelf(&store, manifest).ok()
    }

    fn found_on_shelf(&self, store: &Store, manifest: Manifest) -> io::Result<Found> {
        let name = manifest.name.to_string();
        let path = store.model_path(&manifest);
        let files = |role| manifest.files_for(role).map(|file| store.path_of(file));
        let adapters = manifest.files_for(Role::Adapter).map(|file| Adapter {
            name: stem(&file.name),
            path: store.path_of(file),
            scale: Scale(1.0),
        });
        let (adapters, projector) = (adapters.collect(), files(Role::Projector).next());
        let draft = files(Role::Draft).next();
        let own = self.contexts.get(&name).copied();
        let written = || dialect::ollama::parameters(&manifest.settings.parameters).ok();
        let found = Found {
            file_bytes: manifest.files_for(Role::Model).map(|file| file.bytes).sum(),
            modified_unix_s: modified_unix_s(&path)?,
            context_tokens: own.or_else(|| written()?.context_tokens),
            name,
            path,
            shelved: None,
        };
        let shelved = Shelved { manifest, projector, adapters, draft };
        Ok(Found { shelved: Some(Arc::new(shelved)), ..found })
    }
}

fn modified_unix_s(path: &Path) -> io::Result<u64> {
    let modified = std::fs::metadata(path)?.modified().ok();
    let since = modified.and_then(|at| at.duration_since(UNIX_EPOCH).ok());
    Ok(since.map_or(0, |since| since.as_secs()))
}

fn stem(name: &str) -> String {
    Path::new(name).file_stem().unwrap_or_default().to_string_lossy().into_owned()
}
