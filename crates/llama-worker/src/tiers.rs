//! Opens the place where prefixes of this model are kept, beside loading it.
//!
//! What is kept is good for exactly these weights, so its key begins with a hash of the whole file. A
//! file that was hashed before and has not changed is known at once; the first time takes as long as
//! reading it, and meanwhile nothing is kept. Not here: what is kept when (`engine`), the files
//! (`kv-store`).

use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use engine::{Keeps, Model};
use kv_store::{Fingerprint, Identity, Key, Mode, Need, Settings, Tiers};
use planner::gguf::split;
use worker_protocol::{Keep, Load};

use crate::llama;
use crate::model::{CacheFacts, LlamaModel};

/// The form of what `kept` gives and takes.
const FORM: &str = "pieces 1";

/// For the hash of a file that was hashed before, which was looked up while the model loaded: whoever
/// waits for the model is to find what is kept of it.
const KNOWN_WAIT: Duration = Duration::from_millis(200);

/// The file of hashes, in the folder of what is kept.
const DIGESTS: &str = "digests.json";

/// A hash of the model's files that is being made.
pub(crate) struct Hash(Receiver<io::Result<Key>>);

impl Hash {
    /// Begins it, where prefixes are to be kept in files.
    pub(crate) fn begin(load: &Load) -> Option<Self> {
        let keep = load.keep.as_ref()?;
        let (files, memory) = (files(&load.path), keep.folder.join(DIGESTS));
        let (give, hash) = channel();
        let work = move || {
            // Whoever asked may be gone.
            give.send(kv_store::digest(&files, &memory)).ok();
        };
        let started = std::thread::Builder::new().name("kv-hash".to_owned()).spawn(work);
        if let Err(error) = &started {
            tracing::warn!(%error, "nothing is kept: no thread can be started");
        }
        started.ok().map(|_| Self(hash))
    }

    /// Opens the tiers when the hash is there, and hands them to the engine. `None` when nothing of
    /// this model can be kept.
    pub(crate) fn then_open(self, load: &Load, model: &LlamaModel) -> Option<Receiver<Tiers>> {
        let keep = load.keep.clone()?;
        let need = match model.keeps() {
            Keeps::Nothing => return None,
            Keeps::Cells => Need::Cells,
            Keeps::CellsAndState => Need::CellsAndState,
            Keeps::State => Need::State,
        };
        let fingerprint = fingerprint(model);
        let path = load.path.clone();
        let (give, tiers) = channel();
        let open = move |hash: io::Result<Key>| match hash {
            Ok(hash) => {
                let root = fingerprint.with("file", hash.0).root();
                let identity = Identity { root, model: keep.model.clone(), path, need };
                let tiers = Tiers::open(settings(keep), identity);
                tiers.prefetch();
                // The engine may be gone.
                give.send(tiers).ok();
            }
            Err(error) => tracing::warn!(%error, "nothing is kept: the file cannot be hashed"),
        };
        match self.0.recv_timeout(KNOWN_WAIT) {
            Ok(hash) => open(hash),
            Err(_) => {
                let work = move || {
                    if let Ok(hash) = self.0.recv() {
                        open(hash);
                    }
                };
                std::thread::Builder::new().name("kv-open".to_owned()).spawn(work).ok()?;
            }
        }
        Some(tiers)
    }
}

/// Everything but the file that decides what the cells hold and how they are laid out. An adapter, once
/// a worker can load one, changes every cell: the digest of its file then belongs into `CacheFacts`.
pub(crate) fn fingerprint(model: &LlamaModel) -> Fingerprint {
    let CacheFacts { kv_type, flash_attention, is_stretched } = model.cache_facts();
    let cache = format!("{0} {0}", kv_type.name());
    Fingerprint::default()
        .with("engine", llama::version())
        .with("form", FORM)
        .with("cache", cache)
        .with("flash attention", flash_attention.to_string())
        .with("whole windows", true.to_string())
        .with("stretched", is_stretched.to_string())
}

fn settings(keep: Keep) -> Settings {
    Settings {
        mode: if keep.files { Mode::Ssd } else { Mode::Ram },
        folder: keep.folder,
        ram_bytes: keep.ram_bytes,
        ssd_bytes: keep.ssd_bytes,
        model_ssd_bytes: keep.model_ssd_bytes,
        free_floor_bytes: keep.free_floor_bytes,
        day_write_bytes: keep.day_write_bytes,
        compress: keep.compress,
        encryption_key: keep.encryption_key,
    }
}

/// All files of a model.
fn files(first: &Path) -> Vec<PathBuf> {
    let names = first.to_str().and_then(|name| split::names(name).ok());
    match names {
        Some(names) => names.into_iter().map(PathBuf::from).collect(),
        None => vec![first.to_owned()],
    }
}
