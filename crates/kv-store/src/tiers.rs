//! The store of one model, as the engine sees it.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::census::Layout;
use crate::disk::{Disk, System};
use crate::fetch::{Fetch, Found, Piece, Tier, Wake};
use crate::format::Payload;
use crate::index::Place;
use crate::key::{Chains, Key, Kind, branch, entry};
use crate::ledger::Hold;
use crate::limits::{BLOCK_TOKENS, INDEX_WAIT, PREFETCH_BYTES};
use crate::seal::Seal;
use crate::settings::{Identity, Mode, Need, Settings};
use crate::shelf::{Put, Shared, Shelf, Writing};
use crate::stats::Stats;
use crate::writer::{Frame, Writer};

/// The tiers below the live cells of one model. No call waits for a disk, except the first `find`
/// (see there), `flush`, and `open` when a key must be read.
pub struct Tiers {
    running: Arc<Running>,
    /// Where all chains begin.
    first: Key,
    chains: Mutex<Chains>,
}

/// The store behind all branches of one model. With the last of them its thread ends.
struct Running {
    frame: Arc<Frame>,
}

impl Tiers {
    /// Opens the store of a model; the index of its files is read by a thread. It never fails: what
    /// does not work is said once, and is off.
    #[must_use]
    pub fn open(settings: Settings, identity: Identity) -> Self {
        Self::open_on(Arc::new(System), settings, identity)
    }

    pub(crate) fn open_on(disk: Arc<dyn Disk>, settings: Settings, identity: Identity) -> Self {
        let layout = Layout::new(disk, &settings.folder);
        let seal = match (settings.mode, &settings.encryption_key) {
            (Mode::Ssd, Some(path)) => open_seal(&layout, path).map(Some),
            (Mode::Ssd, None) | (Mode::Off | Mode::Ram, _) => Ok(None),
        };
        let mut writing = if settings.mode == Mode::Ssd { Writing::On } else { Writing::Off };
        if let Err(error) = &seal {
            tracing::warn!("the KV cache cannot be encrypted, so nothing of it is stored: {error}");
            writing = Writing::Off;
        }
        let seal = seal.unwrap_or_default();
        let ram_bytes = if settings.mode == Mode::Off { 0 } else { settings.ram_bytes };
        let shared = Shared::new(Shelf::new(identity.need, ram_bytes, writing));
        let first = seal.as_ref().map_or(identity.root, |seal| seal.root(identity.root));
        let frame = Arc::new(Frame { layout, settings, identity, seal, shared });
        if writing == Writing::On {
            let writer = Writer::new(Arc::clone(&frame));
            let started =
                std::thread::Builder::new().name("kv-write".into()).spawn(|| writer.run());
            if let Err(error) = started {
                tracing::warn!("the KV cache has no thread, so nothing of it is stored: {error}");
                let mut shelf = frame.shared.lock();
                shelf.writing = Writing::Off;
                shelf.indexing = false;
            }
        }
        Self::beginning(first, Arc::new(Running { frame }))
    }

    fn beginning(first: Key, running: Arc<Running>) -> Self {
        Self { running, first, chains: Mutex::new(Chains::new(first)) }
    }

    /// The same store for cells of the same model that are computed in another way, which `way` tells from
    /// all others. What one branch keeps another never finds; budgets and counters are of all together.
    #[must_use]
    pub fn branch(&self, way: &[u8]) -> Self {
        Self::beginning(branch(self.first, way), Arc::clone(&self.running))
    }

    fn frame(&self) -> &Arc<Frame> {
        &self.running.frame
    }

    /// The longest prefix of these tokens that can be restored. While the index is still being read
    /// the first call waits for it, at most two seconds (`limits::INDEX_WAIT`); later ones go by
    /// what is read so far.
    #[must_use]
    pub fn find(&self, tokens: &[u32]) -> Found {
        let chain = self.chain(tokens);
        let shared = &self.frame().shared;
        let mut shelf = shared.lock();
        if !shelf.waited {
            shelf = shared.wait_while(shelf, INDEX_WAIT, |shelf| shelf.indexing);
            shelf.waited = true;
        }
        let serving = shelf.index.serving(self.frame().identity.need, tokens, &chain);
        shelf.ask(serving.tokens / BLOCK_TOKENS, &chain);
        shelf.stats.misses += u64::from(serving.tokens == 0);
        let piece = |(key, usable)| {
            let entry = shelf.index.get(key)?;
            let begin = entry.blocks_before() as usize * BLOCK_TOKENS;
            let in_memory = shelf.memory.get(key).is_some();
            Some(Piece {
                kind: entry.place.kind,
                range: begin..begin + entry.place.tokens.len(),
                usable,
                bytes: entry.bytes,
                tier: if in_memory { Tier::Ram } else { Tier::Ssd },
                key,
                rank: entry.rank,
            })
        };
        Found {
            tokens: serving.tokens,
            pieces: serving.entries.into_iter().filter_map(piece).collect(),
        }
    }

    /// Begins to read what was found. `wake` is called by a reader each time a piece is ready.
    #[must_use]
    pub fn fetch(&self, found: Found, wake: Wake) -> Fetch {
        Fetch::start(Arc::clone(self.frame()), found, wake)
    }

    /// The blocks of these tokens, the last one may be partial, whose cells are nowhere. Cheap.
    #[must_use]
    pub fn missing(&self, tokens: &[u32]) -> Vec<std::ops::Range<usize>> {
        let chain = self.chain(tokens);
        self.frame().shared.lock().missing(tokens, &chain)
    }

    /// Whether the state exactly after these tokens is there. Cheap.
    #[must_use]
    pub fn has_state(&self, tokens: &[u32]) -> bool {
        let (place, _) = self.place(Kind::State, tokens);
        let key = entry(place.parent, place.kind, &place.tokens);
        self.frame().shared.lock().index.get(key).is_some()
    }

    /// Keeps an entry: of these tokens' last block the cells, or the state after all of them.
    pub fn put(&self, kind: Kind, tokens: &[u32], payload: impl Into<Payload>) -> Put {
        if kind == Kind::Cells && tokens.is_empty() {
            // Nothing is before the first token, and everybody has that.
            return Put::Known;
        }
        let (place, blocks_before) = self.place(kind, tokens);
        let shared = &self.frame().shared;
        let mut shelf = shared.lock();
        if let Writing::Paused(until) = shelf.writing
            && self.frame().layout.disk.now() >= until
        {
            shelf.resume();
        }
        let put = shelf.put(place, blocks_before, payload.into());
        drop(shelf);
        shared.tell();
        put
    }

    /// Asks the system to read what was used last, so that it is there when the model has loaded: at
    /// most so many bytes, and never more than [`PREFETCH_BYTES`]. They are the system's to drop.
    pub fn prefetch(&self, bytes_max: u64) {
        self.frame().shared.lock().prefetch = Some(bytes_max.min(PREFETCH_BYTES));
        self.frame().shared.tell();
    }

    /// Bounds the memory tier from now on, at most by its setting, and gives the bytes that were
    /// freed. What is not yet written goes last. What a restore reads into waits for the next one.
    pub fn shrink(&self, ram_bytes: u64) -> u64 {
        self.frame().shared.lock().shrink(ram_bytes)
    }

    /// Waits until the index is read and all is written, at most so long; what could not be written
    /// is tried once more. Gives the bytes that are left.
    pub fn flush(&self, wait_max: Duration) -> u64 {
        let shared = &self.frame().shared;
        let mut shelf = shared.lock();
        shelf.resume();
        shared.tell();
        let shelf = shared.wait_while(shelf, wait_max, Shelf::is_busy);
        shelf.memory.unwritten_bytes()
    }

    /// Waits for the room that an entry was refused for, at most so long: until something else was written
    /// or given up. Says what there was of both so far, and whether there is more to come.
    #[must_use]
    pub fn wait_for_room(&self, wait_max: Duration) -> (u64, bool) {
        let shared = &self.frame().shared;
        let shelf = shared.lock();
        let before = shelf.stats.settled();
        let waits = |shelf: &Shelf| shelf.is_busy() && shelf.stats.settled() == before;
        let shelf = shared.wait_while(shelf, wait_max, waits);
        (shelf.stats.settled(), shelf.is_busy())
    }

    /// The counters.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.frame().shared.lock().stats()
    }

    /// What a restore of this model needs.
    #[must_use]
    pub fn need(&self) -> Need {
        self.frame().identity.need
    }

    fn chain(&self, tokens: &[u32]) -> Vec<Key> {
        self.chains.lock().unwrap_or_else(PoisonError::into_inner).of(tokens)
    }

    /// Where the entry that ends this prefix belongs.
    fn place(&self, kind: Kind, tokens: &[u32]) -> (Place, u32) {
        let blocks = kind.blocks_before(tokens.len());
        let (before, of) = tokens.split_at(blocks * BLOCK_TOKENS);
        let parent = self.chain(before)[blocks];
        // A prefix of 2^32 blocks does not exist.
        (Place { parent, kind, tokens: of.into() }, blocks as u32)
    }
}

impl Drop for Running {
    /// The thread ends after what it is doing; nobody waits for it, since any half-made file is
    /// removed by the next one who writes.
    fn drop(&mut self) {
        self.frame.shared.lock().writing = Writing::Stopping;
        self.frame.shared.tell();
    }
}

/// The seal with the key of this file; under the folder's lock, since it may be made.
fn open_seal(layout: &Layout, path: &Path) -> std::io::Result<Seal> {
    if let Ok(true) = layout.disk.is_private(path) {
        return Seal::from_file(&*layout.disk, path);
    }
    layout.disk.make_folder(&layout.folder)?;
    let _hold = Hold::take(&*layout.disk, &layout.lock(), &|| true)?;
    Seal::from_file(&*layout.disk, path)
}
