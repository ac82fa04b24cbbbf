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

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, fs};

    use library::{
        digest::{Hasher, Sha256},
        manifest::{File, Settings},
    };
    use serde_json::json;

    use super::*;
    use crate::models::Named;

    fn catalog(folder: &Path) -> Catalog {
        let contexts = BTreeMap::from([("small".to_owned(), 256)]);
        Catalog { folder: folder.join("models"), named: BTreeMap::new(), contexts }
    }

    fn add(store: &Store, content: &str) -> Sha256 {
        let mut hasher = Hasher::new();
        hasher.update(content.as_bytes());
        let digest = hasher.finish();
        store.add(&mut content.as_bytes(), &digest).unwrap();
        digest
    }

    /// Keeps a model of these files and settings under this name.
    fn keep(catalog: &Catalog, name: &str, files: &[(Role, &str)], settings: serde_json::Value) {
        let store = catalog.library().unwrap();
        let file = |(role, name): &(Role, &str)| {
            let bytes = name.len() as u64;
            File::new(*role, (*name).to_owned(), add(&store, name), bytes)
        };
        let manifest = Manifest {
            name: Name::new(name).unwrap(),
            source: "hf:a/b".to_owned(),
            revision: None,
            added_unix_s: 7,
            quantization: None,
            files: files.iter().map(file).collect(),
            settings: serde_json::from_value::<Settings>(settings).unwrap(),
        };
        store.put(&manifest).unwrap();
    }

    #[test]
    fn a_model_of_the_library_is_found_with_all_that_goes_with_it() {
        let folder = tempfile::tempdir().unwrap();
        let catalog = catalog(folder.path());
        let files = [
            (Role::Model, "m.gguf"),
            (Role::Projector, "mmproj.gguf"),
            (Role::Adapter, "style.gguf"),
            (Role::Draft, "draft.gguf"),
        ];
        keep(&catalog, "hf.co/a/b:Q4", &files, json!({ "parameters": { "num_ctx": 512 } }));
        let found = catalog.find("hf.co/a/b:Q4").unwrap();
        assert_eq!((found.file_bytes, found.context_tokens), (6, Some(512)));
        assert_eq!(fs::read_to_string(&found.path).unwrap(), "m.gguf");
        let shelved = found.shelved.clone().unwrap();
        assert_eq!(shelved.adapters[0].name, "style");
        for (path, content) in [(&shelved.projector, "mmproj.gguf"), (&shelved.draft, "draft.gguf")]
        {
            assert_eq!(fs::read_to_string(path.as_ref().unwrap()).unwrap(), content);
        }
        let scan = catalog.scan();
        assert_eq!((scan.models, scan.problems), (vec![found.clone()], vec![]));
        assert_eq!(catalog.find("HF.co/A/b:q4"), Some(found), "capitals make no difference");
        for nobody in ["hf.co/a/b", "hf.co/a/b:Q4:latest", "b", "../b", "", "hf.co"] {
            assert_eq!(catalog.find(nobody), None, "{nobody}");
        }
    }

    #[test]
    fn a_tag_that_means_none_is_no_part_of_a_name() {
        let folder = tempfile::tempdir().unwrap();
        let catalog = catalog(folder.path());
        keep(&catalog, "small:latest", &[(Role::Model, "m.gguf")], json!({}));
        assert_eq!(catalog.find("small").unwrap().context_tokens, Some(256), "the configuration's");
        assert_eq!(catalog.find("small:latest"), None, "whoever asks takes it off");
    }

    #[test]
    fn the_library_comes_before_the_folder_and_behind_what_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let mut catalog = catalog(folder.path());
        for name in ["one", "two"] {
            keep(&catalog, name, &[(Role::Model, "m.gguf")], json!({}));
        }
        fs::write(catalog.folder.join("one.gguf"), "of the folder").unwrap();
        let other = folder.path().join("other.gguf");
        fs::write(&other, "named").unwrap();
        let named = Named { path: other.clone(), context_tokens: None };
        catalog.named.insert("two".to_owned(), named);
        assert!(catalog.find("one").unwrap().shelved.is_some());
        assert_eq!(catalog.find("two").unwrap().path, other);
        let scan = catalog.scan();
        let names: Vec<&str> = scan.models.iter().map(|found| &*found.name).collect();
        assert_eq!(names, ["one", "two"], "no file of the library is a model of the folder");
        let said: Vec<&str> = scan.problems.iter().map(|it| &*it.sentence).collect();
        assert!(said.len() == 2 && said.iter().all(|said| said.contains("is hidden")), "{said:?}");
    }

    #[test]
    fn parameters_that_make_no_sense_are_said_and_not_used() {
        let folder = tempfile::tempdir().unwrap();
        let catalog = catalog(folder.path());
        let settings = json!({ "parameters": { "num_ctx": "much" } });
        keep(&catalog, "odd", &[(Role::Model, "m.gguf")], settings);
        let scan = catalog.scan();
        assert_eq!(scan.models[0].context_tokens, None);
        assert!(scan.problems[0].sentence.contains("parameters.num_ctx"), "{:?}", scan.problems);
    }
}
