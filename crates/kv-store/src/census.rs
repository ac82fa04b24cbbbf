//! What lies in the folder, of all models, counted from the folder itself; and who leaves when
//! there is no room. Counted and changed under the folder's lock only.

use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use crate::disk::{Disk, Stamp};
use crate::key::Key;
use crate::limits::{CARD_BYTES_MAX, ENTRIES_MAX};
use crate::settings::{Identity, Settings};

/// How half-written files end. Nobody who does not hold the lock has one.
pub(crate) const HALF_MADE: &str = ".tmp";
const WHOLE: &str = ".kv";
const CARD: &str = "model.json";

/// Where everything lies.
#[derive(Clone)]
pub(crate) struct Layout {
    pub(crate) disk: Arc<dyn Disk>,
    /// The folder of this format version.
    pub(crate) folder: PathBuf,
}

impl Layout {
    pub(crate) fn new(disk: Arc<dyn Disk>, folder: &Path) -> Self {
        Self { disk, folder: folder.join(format!("v{}", crate::format::VERSION)) }
    }

    pub(crate) fn lock(&self) -> PathBuf {
        self.folder.join("lock")
    }

    pub(crate) fn model(&self, root: Key) -> PathBuf {
        self.folder.join(root.to_string())
    }

    pub(crate) fn card(&self, root: Key) -> PathBuf {
        self.model(root).join(CARD)
    }

    /// The file of an entry. Its rank is part of its name, so that a listing alone says which
    /// entries come after which.
    pub(crate) fn entry(&self, root: Key, key: Key, rank: u32) -> PathBuf {
        self.model(root).join(format!("{key}-{rank}{WHOLE}"))
    }

    /// What a file in a model's folder is.
    pub(crate) fn entry_name(name: &str) -> Option<(Key, u32)> {
        let (key, rank) = name.strip_suffix(WHOLE)?.split_once('-')?;
        let number = rank.parse().ok()?;
        // Only the one spelling that we write.
        (format!("{number}") == rank).then_some((Key::parse(key)?, number))
    }
}

/// `model.json`: what a person and a later eviction want to know of a model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Card {
    pub(crate) name: String,
    pub(crate) path: PathBuf,
    /// How the model's file looked; when it looks otherwise it is another one.
    pub(crate) stamp: Option<Stamp>,
}

impl Card {
    pub(crate) fn of(disk: &dyn Disk, identity: &Identity) -> Self {
        let stamp = disk.stamp(&identity.path).ok();
        Self { name: identity.model.clone(), path: identity.path.clone(), stamp }
    }

    /// Whether its entries are of no use any more.
    pub(crate) fn is_gone(&self, disk: &dyn Disk) -> bool {
        disk.stamp(&self.path).ok() != self.stamp || self.stamp.is_none()
    }
}

/// One file of an entry.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Counted {
    pub(crate) bytes: u64,
    pub(crate) used: SystemTime,
    /// Twice the blocks before it, and one more for a state: whoever comes after another in a chain
    /// has the greater rank.
    pub(crate) rank: u32,
}

/// The folder of one model.
#[derive(Debug, Default)]
pub(crate) struct Model {
    pub(crate) card: Option<Card>,
    pub(crate) entries: HashMap<Key, Counted>,
}

/// Everything in the folder.
#[derive(Debug, Default)]
pub(crate) struct Census {
    pub(crate) models: HashMap<Key, Model>,
    pub(crate) bytes: u64,
    pub(crate) count: usize,
}

/// What is about to be written.
pub(crate) struct Wanted<'a> {
    pub(crate) root: Key,
    /// The model's file. What hangs from another root and has the same file counts to its quota.
    pub(crate) path: &'a Path,
    pub(crate) bytes: u64,
    /// Entries that it comes after, which must not leave for it.
    pub(crate) before: &'a HashSet<Key>,
    pub(crate) free_bytes: u64,
}

impl Census {
    /// Counts, and removes what writers that died have left half-made. The caller holds the lock.
    pub(crate) fn take(layout: &Layout) -> io::Result<Self> {
        let mut census = Self::default();
        for listed in list_or_empty(layout, &layout.folder)? {
            let Some(root) = Key::parse(&listed.name).filter(|_| listed.is_folder) else {
                remove_half_made(layout, &layout.folder, &listed.name)?;
                continue;
            };
            let mut model = Model { card: read_card(layout, root), ..Model::default() };
            for file in list_or_empty(layout, &layout.model(root))? {
                let Some((key, rank)) = Layout::entry_name(&file.name) else {
                    remove_half_made(layout, &layout.model(root), &file.name)?;
                    continue;
                };
                let counted = Counted { bytes: file.bytes, used: file.modified, rank };
                census.bytes += counted.bytes;
                census.count += 1;
                model.entries.insert(key, counted);
            }
            census.models.insert(root, model);
            census.remove_if_empty(layout, root);
        }
        Ok(census)
    }

    pub(crate) fn get(&self, root: Key, key: Key) -> Option<&Counted> {
        self.models.get(&root)?.entries.get(&key)
    }

    pub(crate) fn insert(&mut self, root: Key, key: Key, counted: Counted) {
        self.remove(root, key);
        self.bytes += counted.bytes;
        self.count += 1;
        self.models.entry(root).or_default().entries.insert(key, counted);
    }

    pub(crate) fn remove(&mut self, root: Key, key: Key) -> Option<Counted> {
        let counted = self.models.get_mut(&root)?.entries.remove(&key)?;
        self.bytes -= counted.bytes;
        self.count -= 1;
        Some(counted)
    }

    /// Removes the folder of a model without entries. Whoever writes there next makes it again, and
    /// if it cannot be removed now, it is with the next count.
    pub(crate) fn remove_if_empty(&mut self, layout: &Layout, root: Key) {
        if self.models.get(&root).is_some_and(|model| model.entries.is_empty()) {
            self.models.remove(&root);
            let _ = layout.disk.remove(&layout.card(root));
            let _ = layout.disk.remove_folder(&layout.model(root));
        }
    }

    /// Who leaves so that the wanted entry fits, in this order; none when it cannot fit. Entries of
    /// models that are gone leave first, then those used longest ago. What comes after another in a
    /// chain was never used later than it, and leaves before it.
    pub(crate) fn victims(
        &self,
        disk: &dyn Disk,
        settings: &Settings,
        wanted: &Wanted<'_>,
    ) -> Option<Vec<(Key, Key)>> {
        let over = |have: u64, limit: u64| have.saturating_add(wanted.bytes).saturating_sub(limit);
        let same_model = |root: Key| {
            let card = self.models.get(&root).and_then(|model| model.card.as_ref());
            root == wanted.root || card.is_some_and(|card| card.path == wanted.path)
        };
        let own_bytes =
            self.entries().filter(|entry| same_model(entry.0)).map(|entry| entry.2.bytes);
        let mut over_quota =
            settings.model_ssd_bytes.map_or(0, |quota| over(own_bytes.sum(), quota));
        let mut over_bytes = over(self.bytes, settings.ssd_bytes);
        let mut over_floor = over(settings.free_floor_bytes, wanted.free_bytes);
        let mut over_count = (self.count + 1).saturating_sub(ENTRIES_MAX);
        if over_quota == 0 && over_bytes == 0 && over_floor == 0 && over_count == 0 {
            return Some(Vec::new());
        }
        let mut victims = Vec::new();
        for (root, key, counted) in self.order(disk, wanted) {
            let for_all = over_bytes > 0 || over_floor > 0 || over_count > 0;
            let leaves = for_all || (over_quota > 0 && same_model(root));
            if !leaves {
                continue;
            }
            victims.push((root, key));
            over_bytes = over_bytes.saturating_sub(counted.bytes);
            over_floor = over_floor.saturating_sub(counted.bytes);
            over_count = over_count.saturating_sub(1);
            if same_model(root) {
                over_quota = over_quota.saturating_sub(counted.bytes);
            }
        }
        let fits = over_quota == 0 && over_bytes == 0 && over_floor == 0 && over_count == 0;
        fits.then_some(victims)
    }

    /// All who may leave, the least valuable first.
    fn order(&self, disk: &dyn Disk, wanted: &Wanted<'_>) -> Vec<(Key, Key, Counted)> {
        let gone: HashSet<Key> = self
            .models
            .iter()
            .filter(|(root, model)| {
                let is_gone = model.card.as_ref().is_none_or(|card| card.is_gone(disk));
                **root != wanted.root && is_gone
            })
            .map(|(root, _)| *root)
            .collect();
        let mut order: Vec<(Key, Key, Counted)> = self
            .entries()
            .filter(|(root, key, _)| *root != wanted.root || !wanted.before.contains(key))
            .collect();
        order.sort_by_key(|(root, key, counted)| {
            (!gone.contains(root), counted.used, Reverse(counted.rank), *root, *key)
        });
        order
    }

    fn entries(&self) -> impl Iterator<Item = (Key, Key, Counted)> {
        self.models.iter().flat_map(|(root, model)| {
            model.entries.iter().map(|(key, counted)| (*root, *key, *counted))
        })
    }
}

/// What is in a folder; one that is not there is empty.
pub(crate) fn list_or_empty(
    layout: &Layout,
    folder: &Path,
) -> io::Result<Vec<crate::disk::Listed>> {
    match layout.disk.list(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        listed => listed,
    }
}

/// The card of a model; one that is damaged says nothing.
pub(crate) fn read_card(layout: &Layout, root: Key) -> Option<Card> {
    let size = usize::try_from(CARD_BYTES_MAX).ok()?;
    let read = layout.disk.read(&layout.card(root), size).ok()?;
    serde_json::from_slice(&read.head).ok()
}

fn remove_half_made(layout: &Layout, folder: &Path, name: &str) -> io::Result<()> {
    if name.ends_with(HALF_MADE) { layout.disk.remove(&folder.join(name)) } else { Ok(()) }
}
