//! The folder as a person sees it, for `resident cache`: which models have entries, and how to get
//! rid of them.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use crate::census::{Census, Layout, Model};
use crate::disk::{Disk, System};
use crate::key::Key;
use crate::ledger::Hold;

/// What one model has in the folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// What its entries hang from.
    pub root: Key,
    /// Its name and its file; none when `model.json` is lost.
    pub model: Option<(String, PathBuf)>,
    /// Whether the file is there and is the one that the entries were made with.
    pub is_current: bool,
    /// Its entries.
    pub entries: u64,
    /// Their bytes.
    pub bytes: u64,
    /// When one of them was last used.
    pub used: Option<SystemTime>,
}

/// The whole folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Whole {
    /// Models, those with the most bytes first.
    pub models: Vec<Held>,
    /// Entries of all of them.
    pub entries: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Bytes written today (UTC).
    pub written_today_bytes: u64,
    /// Bytes free on the disk.
    pub free_bytes: u64,
}

/// Whose entries to remove.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Clear {
    /// Everybody's.
    All,
    /// Those of models with this name.
    Model(String),
    /// Those of models whose file is gone or is another one now.
    Gone,
    /// Those of models whose file was deleted. One that is gone together with its folder, or behind a
    /// link that is still there, was not: it may lie on a disk that is not plugged in.
    Deleted,
}

/// What was removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Cleared {
    /// Entries.
    pub entries: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// What the folder holds. A folder that does not exist holds nothing, and stays so.
///
/// # Errors
/// The folder cannot be read, or is busy for seconds.
pub fn stats(folder: &Path) -> io::Result<Whole> {
    stats_on(Arc::new(System), folder)
}

/// The models that have entries, those with the most bytes first.
///
/// # Errors
/// As [`stats`].
pub fn ls(folder: &Path) -> io::Result<Vec<Held>> {
    stats(folder).map(|whole| whole.models)
}

/// Removes entries. A worker that has them in its index finds out when it reads.
///
/// # Errors
/// The folder cannot be written, or is busy for seconds.
pub fn clear(folder: &Path, what: &Clear) -> io::Result<Cleared> {
    clear_on(Arc::new(System), folder, what)
}

pub(crate) fn stats_on(disk: Arc<dyn Disk>, folder: &Path) -> io::Result<Whole> {
    let layout = Layout::new(disk, folder);
    let disk = &*layout.disk;
    let hold = match Hold::take(disk, &layout.lock(), &|| true) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let free_bytes = free_bytes(disk, folder);
            let models = Vec::new();
            return Ok(Whole { models, entries: 0, bytes: 0, written_today_bytes: 0, free_bytes });
        }
        hold => hold?,
    };
    let census = Census::take(&layout)?;
    let held = census.models.iter().map(|(root, model)| held(disk, *root, model));
    let mut models: Vec<Held> = held.collect();
    models.sort_by_key(|held| (std::cmp::Reverse(held.bytes), held.root));
    Ok(Whole {
        models,
        entries: census.count as u64,
        bytes: census.bytes,
        written_today_bytes: hold.ledger.written_bytes,
        free_bytes: disk.free_bytes(&layout.folder)?,
    })
}

/// Of the disk on which the folder would be made.
fn free_bytes(disk: &dyn Disk, folder: &Path) -> u64 {
    let above = folder.ancestors().map(|path| {
        // What a relative path begins at.
        if path.as_os_str().is_empty() { Path::new(".") } else { path }
    });
    above.into_iter().find_map(|path| disk.free_bytes(path).ok()).unwrap_or_default()
}

pub(crate) fn clear_on(disk: Arc<dyn Disk>, folder: &Path, what: &Clear) -> io::Result<Cleared> {
    let layout = Layout::new(disk, folder);
    let disk = &*layout.disk;
    let mut hold = match Hold::take(disk, &layout.lock(), &|| true) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Cleared::default()),
        hold => hold?,
    };
    let mut census = Census::take(&layout)?;
    hold.announce(0)?;
    let mut cleared = Cleared::default();
    let models: Vec<Held> =
        census.models.iter().map(|(root, model)| held(disk, *root, model)).collect();
    for held in models {
        let goes = match what {
            Clear::All => true,
            Clear::Model(name) => held.model.is_some_and(|(model, _)| model == *name),
            Clear::Gone => !held.is_current,
            Clear::Deleted => held.model.is_some_and(|(_, path)| was_deleted(disk, &path)),
        };
        if goes {
            clear_model(&layout, &mut census, held.root, &mut cleared)?;
        }
    }
    Ok(cleared)
}

/// Whether the folder of a file is there and lists it no more. A link that leads nowhere is still listed:
/// what it leads to may be away.
fn was_deleted(disk: &dyn Disk, path: &Path) -> bool {
    let Some((folder, name)) = path.parent().zip(path.file_name()) else { return false };
    disk.list(folder).is_ok_and(|files| files.iter().all(|file| name != &*file.name))
}

/// Removes one model's entries, children first, so that being cut off leaves whole chains.
fn clear_model(
    layout: &Layout,
    census: &mut Census,
    root: Key,
    cleared: &mut Cleared,
) -> io::Result<()> {
    let entries = census.models.get(&root).into_iter().flat_map(|model| &model.entries);
    let mut entries: Vec<(Key, u32)> = entries.map(|(key, counted)| (*key, counted.rank)).collect();
    entries.sort_by_key(|(_, rank)| std::cmp::Reverse(*rank));
    for (key, rank) in entries {
        layout.disk.remove(&layout.entry(root, key, rank))?;
        cleared.entries += 1;
        cleared.bytes += census.remove(root, key).map_or(0, |counted| counted.bytes);
    }
    census.remove_if_empty(layout, root);
    Ok(())
}

fn held(disk: &dyn Disk, root: Key, model: &Model) -> Held {
    let card = model.card.as_ref();
    Held {
        root,
        model: card.map(|card| (card.name.clone(), card.path.clone())),
        is_current: card.is_some_and(|card| !card.is_gone(disk)),
        entries: model.entries.len() as u64,
        bytes: model.entries.values().map(|counted| counted.bytes).sum(),
        used: model.entries.values().map(|counted| counted.used).max(),
    }
}
