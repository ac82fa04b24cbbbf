//! Opens the place where prefixes of a model are kept, beside loading it.
//!
//! What is kept is good for exactly these weights in exactly this form, so its key begins with a hash of
//! the whole file and with what decides how cells are laid out. Both are known before the model is: the
//! header says the latter, and a file that was hashed before and has not changed is known at once. So the
//! index is read, and what was used last comes into the page cache, while the model loads. The first time
//! a file takes as long as reading it, and what is answered meanwhile is kept once that is done. What the
//! header promised is held against the model once it is there. Not here: what is kept when (`engine`), the
//! files (`kv-store`).

use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

use engine::{Keeps, Model};
use kv_store::{Fingerprint, Identity, Key, Mode, Need, Settings, Tiers};
use planner::footprint::{self, CacheType, Layout, Left};
use planner::gguf::{Header, split};
use sysinfo::System;
use worker_protocol::limits::INTERNAL_SEQUENCES;
use worker_protocol::{Keep, Load, Scale};

use crate::limits::{HASHING_WAIT, READ_AHEAD_PARTS, TIERS_WAIT};
use crate::model::{self, CacheFacts, LlamaModel};
use crate::{header, llama};

/// The form of what `kept` gives and takes.
const FORM: &str = "pieces 1";

/// The file of hashes, in the folder of what is kept.
const DIGESTS: &str = "digests.json";

/// Tiers that are being opened. Where that fails, which is said once, nothing comes.
pub(crate) struct Opening {
    load: Load,
    opened: Receiver<Opened>,
    /// How long it is worth waiting for it.
    wait_max: Duration,
}

/// What was opened by the word of a header.
enum Opened {
    /// The tiers of a model of this kind.
    Tiers(Kind, Tiers),
    /// None: the header says that nothing is kept, or nothing at all.
    Nothing,
}

/// What decides, beside the file and the engine, what is kept of a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Kind {
    need: Need,
    facts: CacheFacts,
}

impl Opening {
    /// Begins it, where prefixes are to be kept.
    pub(crate) fn begin(load: &Load) -> Option<Self> {
        let keep = load.keep.as_ref()?;
        let wait_max = if is_hashed(load, keep) { TIERS_WAIT } else { HASHING_WAIT };
        let (give, opened) = channel();
        let work = {
            let load = load.clone();
            move || {
                let header = header::read(&load.path);
                let foretold = header.as_ref().and_then(|header| foretold(&load, header));
                let Some((kind, header)) = foretold.zip(header) else {
                    // Whoever asked may be gone, here and below.
                    give.send(Opened::Nothing).ok();
                    return;
                };
                if let Some(tiers) = open(&load, kind) {
                    tiers.prefetch(read_ahead_bytes(&load, &header));
                    give.send(Opened::Tiers(kind, tiers)).ok();
                }
            }
        };
        spawn("kv-open", work).then(|| Self { load: load.clone(), opened, wait_max })
    }

    /// Hands the tiers to the engine of the loaded model, at once if they are there already. `None` when
    /// nothing of this model can be kept.
    pub(crate) fn then_use(self, model: &LlamaModel) -> Option<Receiver<Tiers>> {
        let kind = of_model(model)?;
        let (give, tiers) = channel();
        match self.opened.recv_timeout(self.wait_max) {
            Ok(Opened::Tiers(foretold, tiers)) if foretold == kind => {
                give.send(tiers).ok();
            }
            Ok(other) => {
                let load = self.load;
                spawn("kv-open", move || settle(&load, kind, other, &give));
            }
            Err(RecvTimeoutError::Timeout) => {
                let Self { load, opened, .. } = self;
                spawn("kv-open", move || {
                    if let Ok(opened) = opened.recv() {
                        settle(&load, kind, opened, &give);
                    }
                });
            }
            Err(RecvTimeoutError::Disconnected) => return None,
        }
        Some(tiers)
    }
}

/// Gives what was opened if it is for a model of this kind; else it is let go of, and what is for this
/// kind is opened.
fn settle(load: &Load, kind: Kind, opened: Opened, give: &Sender<Tiers>) {
    let tiers = match opened {
        Opened::Tiers(foretold, tiers) if foretold == kind => Some(tiers),
        Opened::Tiers(foretold, _) => {
            tracing::warn!(
                ?foretold,
                loaded = ?kind,
                "the header promised another kind of cache than the model has; what is kept is looked \
                 for anew"
            );
            open(load, kind)
        }
        Opened::Nothing => open(load, kind),
    };
    if let Some(tiers) = tiers {
        // The engine may be gone.
        give.send(tiers).ok();
    }
}

/// What kind of model will be loaded, by its header. `None` where nothing of it can be kept.
fn foretold(load: &Load, header: &Header) -> Option<Kind> {
    let need = match footprint::left(header) {
        Left::Nothing => return None,
        Left::Cells => Need::Cells,
        Left::CellsAndState => Need::CellsAndState,
        Left::State => Need::State,
    };
    let original = header.arch_u64("rope.scaling.original_context_length");
    let facts = CacheFacts {
        kv_type: kv_type(load)?,
        flash_attention: model::wants_flash_attention(),
        is_stretched: model::is_stretched(context_tokens(load, header), original),
    };
    Some(Kind { need, facts })
}

/// What kind of model was loaded. `None` where nothing of it can be kept.
fn of_model(model: &LlamaModel) -> Option<Kind> {
    let need = match model.keeps() {
        Keeps::Nothing => return None,
        Keeps::Cells => Need::Cells,
        Keeps::CellsAndState => Need::CellsAndState,
        Keeps::State => Need::State,
    };
    Some(Kind { need, facts: model.cache_facts() })
}

/// Opens the tiers of a model of this kind, once its file is hashed.
fn open(load: &Load, kind: Kind) -> Option<Tiers> {
    let keep = load.keep.clone()?;
    let hash = match hash(&load.path, &keep) {
        Ok(hash) => hash,
        Err(error) => {
            tracing::warn!(%error, "nothing is kept: the file cannot be hashed");
            return None;
        }
    };
    let mut fingerprint = fingerprint(kind.facts).with("file", hash.0);
    for (place, adapter) in load.adapters.iter().enumerate() {
        match self::hash(&adapter.path, &keep) {
            Ok(hash) => fingerprint = with_adapter(fingerprint, place, hash, adapter.scale),
            Err(error) => {
                tracing::warn!(%error, "nothing is kept: an adapter cannot be hashed");
                return None;
            }
        }
    }
    let root = fingerprint.root();
    let identity =
        Identity { root, model: keep.model.clone(), path: load.path.clone(), need: kind.need };
    Some(Tiers::open(settings(keep), identity))
}

/// What tells the file from every other. Memory ends with the worker, and needs no such thing.
pub(crate) fn hash(path: &Path, keep: &Keep) -> io::Result<Key> {
    if !keep.files {
        return Ok(Key([0; 32]));
    }
    kv_store::digest(&files(path), &keep.folder.join(DIGESTS))
}

/// Whether everything that tells this model's cells from others' is known without hashing a file.
fn is_hashed(load: &Load, keep: &Keep) -> bool {
    let adapters = load.adapters.iter().flat_map(|adapter| files(&adapter.path));
    let all: Vec<PathBuf> = files(&load.path).into_iter().chain(adapters).collect();
    !keep.files || kv_store::is_remembered(&all, &keep.folder.join(DIGESTS))
}

/// An adapter changes every cell, by what is in its file and by how strongly it acts.
fn with_adapter(fingerprint: Fingerprint, place: usize, hash: Key, scale: Scale) -> Fingerprint {
    let scale = scale.0.to_bits().to_le_bytes();
    fingerprint.with(&format!("adapter {place}"), [&hash.0[..], &scale[..]].concat())
}

/// Everything but files that decides what the cells hold and how they are laid out.
pub(crate) fn fingerprint(facts: CacheFacts) -> Fingerprint {
    let CacheFacts { kv_type, flash_attention, is_stretched } = facts;
    let cache = format!("{0} {0}", kv_type.name());
    Fingerprint::default()
        .with("engine", llama::version())
        .with("form", FORM)
        .with("cache", cache)
        .with("flash attention", flash_attention.to_string())
        .with("whole windows", true.to_string())
        .with("stretched", is_stretched.to_string())
}

/// How much may be read ahead: a part of what the machine has free beside the model that is loading. Nothing
/// is booked for it, since the system drops it for whoever needs the memory.
fn read_ahead_bytes(load: &Load, header: &Header) -> u64 {
    let Ok(mut system) = System::new() else { return 0 };
    system.refresh_memory();
    let free_bytes = system.cgroup_limits().map_or(u64::MAX, |limits| {
        // What the group's files have in the page cache can go.
        limits.total_memory.saturating_sub(limits.rss)
    });
    share(system.available_memory().min(free_bytes), needed_bytes(load, header))
}

fn share(free_bytes: u64, needed_bytes: u64) -> u64 {
    free_bytes.saturating_sub(needed_bytes) / READ_AHEAD_PARTS
}

/// What the model will take: its files and its caches. Its other buffers are small beside them.
fn needed_bytes(load: &Load, header: &Header) -> u64 {
    let weights = files(&load.path).into_iter().filter_map(|file| file.metadata().ok());
    let weights_bytes: u64 = weights.map(|metadata| metadata.len()).sum();
    let kv_type = kv_type(load).unwrap_or_default();
    let sequences_max = load.sequences_max.saturating_add(INTERNAL_SEQUENCES);
    let layout = Layout::new(context_tokens(load, header), sequences_max);
    let layout = Layout { keys: kv_type, values: kv_type, ..layout };
    let kept_bytes = load.keep.as_ref().map_or(0, |keep| keep.ram_bytes);
    let caches_bytes = footprint::predict_state(header, &layout).total_bytes();
    weights_bytes.saturating_add(caches_bytes).saturating_add(kept_bytes)
}

fn context_tokens(load: &Load, header: &Header) -> u32 {
    let trained = header.context_trained_tokens().and_then(|tokens| u32::try_from(tokens).ok());
    model::context_tokens(load, trained.unwrap_or(0))
}

/// `None` for one that there is not: loading will say so.
fn kv_type(load: &Load) -> Option<CacheType> {
    model::kv_type(load).ok()
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

/// Whether the thread runs; one that cannot be started is said.
fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> bool {
    let started = std::thread::Builder::new().name(name.to_owned()).spawn(work);
    if let Err(error) = &started {
        tracing::warn!(%error, "nothing is kept: no thread can be started");
    }
    started.is_ok()
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use kv_store::Kind as Entry;

    use super::*;

    /// No disk takes nearly as long for these files, even on a busy machine.
    const PATIENCE: Duration = Duration::from_secs(60);

    fn made(architecture: &str, folder: &Path) -> PathBuf {
        let out = folder.join(format!("{architecture}.gguf"));
        let made = Command::new(env!("CARGO"))
            .args(["xtask", "make-model", "--arch", architecture, "--like", "tiny"])
            .args(["--quant", "f16", "--out"])
            .arg(&out)
            .status()
            .unwrap();
        assert!(made.success());
        out
    }

    fn load(path: &Path, kv_type: &str, context_tokens: Option<u32>) -> Load {
        let keep = Keep {
            model: "m".to_owned(),
            files: true,
            folder: path.with_extension("kept"),
            ram_bytes: 16 << 20,
            ssd_bytes: 1 << 30,
            model_ssd_bytes: None,
            free_floor_bytes: 0,
            day_write_bytes: u64::MAX,
            compress: false,
            encryption_key: None,
        };
        Load {
            path: path.to_owned(),
            context_tokens,
            sequences_max: 3,
            threads: Some(1),
            kv_type: Some(kv_type.to_owned()),
            speculation: worker_protocol::Speculation::default(),
            taken_back_max: 0,
            projector: None,
            projector_is_named: false,
            adapters: Vec::new(),
            chat_template: None,
            keep: Some(keep),
        }
    }

    /// Keeps some entry, as an earlier run of a model of this kind would have.
    fn keep_some(load: &Load, kind: Kind) {
        let tiers = open(load, kind).unwrap();
        tiers.put(Entry::Cells, &[1, 2, 3], vec![7; 1000]);
        assert_eq!(tiers.flush(PATIENCE), 0, "all is written");
    }

    #[test]
    fn a_header_foretells_what_the_loaded_model_says() {
        let folder = tempfile::tempdir().unwrap();
        for architecture in ["llama", "qwen3", "qwen3moe", "gemma3", "bert"] {
            let path = made(architecture, folder.path());
            let header = header::read(&path).unwrap();
            for (kv_type, context_tokens) in
                [("f16", None), ("q8_0", Some(300)), ("q4_0", Some(5000))]
            {
                let load = load(&path, kv_type, context_tokens);
                let model = LlamaModel::load(&load, |_| {}).unwrap();
                assert_eq!(foretold(&load, &header), of_model(&model), "{architecture} {kv_type}");
            }
        }
    }

    /// The model cannot be loaded before its progress was heard, and that waits for the tiers here.
    #[test]
    fn what_was_used_last_is_read_ahead_before_the_model_has_loaded() {
        let folder = tempfile::tempdir().unwrap();
        let path = made("llama", folder.path());
        let load = load(&path, "q8_0", None);
        keep_some(&load, foretold(&load, &header::read(&path).unwrap()).unwrap());
        let opening = Opening::begin(&load).unwrap();
        let mut early = None;
        let model = LlamaModel::load(&load, |_| {
            early.get_or_insert_with(|| {
                let opened = opening.opened.recv_timeout(PATIENCE).unwrap();
                let Opened::Tiers(kind, tiers) = opened else { panic!("nothing is kept") };
                assert_eq!(tiers.flush(PATIENCE), 0);
                (kind, tiers)
            });
        });
        let (kind, tiers) = early.expect("loading tells how far it is");
        assert!(tiers.stats().read_ahead_bytes > 1000, "{:?}", tiers.stats());
        assert_eq!(of_model(&model.unwrap()), Some(kind));
        assert_eq!(tiers.find(&[1, 2, 3]).tokens, 3);
    }

    #[test]
    fn a_model_gets_the_tiers_of_its_own_kind_whatever_was_foretold() {
        let folder = tempfile::tempdir().unwrap();
        let path = made("llama", folder.path());
        let load = load(&path, "f16", None);
        let model = LlamaModel::load(&load, |_| {}).unwrap();
        let kind = of_model(&model).unwrap();
        let other = Kind { need: Need::CellsAndState, ..kind };
        let stretched = Kind { facts: CacheFacts { is_stretched: true, ..kind.facts }, ..kind };
        keep_some(&load, kind);
        for (foretold, opened) in [
            (Some(kind), open(&load, kind)),
            (Some(other), open(&load, other)),
            (Some(stretched), open(&load, stretched)),
            (None, None),
        ] {
            let (give, opening) = channel();
            give.send(match (foretold, opened) {
                (Some(kind), Some(tiers)) => Opened::Tiers(kind, tiers),
                (_, _) => Opened::Nothing,
            })
            .ok();
            let opening = Opening { load: load.clone(), opened: opening, wait_max: PATIENCE };
            let tiers = opening.then_use(&model).unwrap().recv_timeout(PATIENCE).unwrap();
            assert_eq!(tiers.need(), Need::Cells, "{foretold:?}");
            assert_eq!(tiers.find(&[1, 2, 3]).tokens, 3, "{foretold:?}");
        }
        // Another kind of cell has other files.
        assert_eq!(open(&load, stretched).unwrap().find(&[1, 2, 3]).tokens, 0);
    }

    #[test]
    fn what_cannot_be_hashed_or_read_gives_nothing_and_no_wait() {
        let folder = tempfile::tempdir().unwrap();
        let path = made("llama", folder.path());
        let load = load(&path, "f16", None);
        let model = LlamaModel::load(&load, |_| {}).unwrap();
        std::fs::remove_file(&path).unwrap();
        // Its header is unreadable, so the tiers are opened for the model itself, which fails as well.
        let tiers = Opening::begin(&load).unwrap().then_use(&model);
        assert!(tiers.is_none_or(|tiers| tiers.recv_timeout(PATIENCE).is_err()));
    }

    #[test]
    fn only_a_part_of_what_is_free_beside_the_model_is_read_ahead() {
        assert_eq!(share(10 << 30, 6 << 30), 1 << 30);
        assert_eq!(share(6 << 30, 10 << 30), 0, "the model needs it all");
        let folder = tempfile::tempdir().unwrap();
        let path = made("llama", folder.path());
        let header = header::read(&path).unwrap();
        let needed = |kv_type: &str| needed_bytes(&load(&path, kv_type, Some(4096)), &header);
        let file_bytes = path.metadata().unwrap().len();
        assert!(needed("q8_0") > file_bytes && needed("f16") > needed("q8_0"));
    }
}
