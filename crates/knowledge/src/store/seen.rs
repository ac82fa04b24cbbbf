//! What a walk has seen, compared with what the store knows.

use std::path::{Path, PathBuf};

use rusqlite::{Row, params};

use super::{Error, Store, paths};
use crate::limits::STORE_PAGE_ROWS;

/// What the file system says of a file without reading it. Where it has no such numbers they are 0.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stat {
    /// Bytes.
    pub size: u64,
    /// When it was last changed, in nanoseconds since 1970.
    pub modified_ns: i64,
    /// The disk that it is on.
    pub device: u64,
    /// Its number there.
    pub inode: u64,
}

/// A file that a walk has met.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Where.
    pub path: PathBuf,
    /// What it is like.
    pub stat: Stat,
    /// Why it is not read, if it is none that can be.
    pub refused: Option<String>,
}

/// A file that the store does not know as it was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The file as it was seen.
    pub seen: Seen,
    /// Its number and hash, if the store knows it from before.
    pub known: Option<(u64, Option<[u8; 32]>)>,
}

/// A file that the store knows and the walk has not seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vanished {
    /// Its number.
    pub file: u64,
    /// Where it was.
    pub path: PathBuf,
    /// The disk that it was on.
    pub device: u64,
}

impl Store {
    /// Forgets what was seen of a source before.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn seen_nothing(&self, source: u64) -> Result<(), Error> {
        self.scratch(|transaction| {
            transaction.execute("DELETE FROM seen WHERE source = ?", [source])?;
            Ok(())
        })
    }

    /// Notes files that a walk of a source has met.
    ///
    /// # Errors
    /// When there is no room for temporary files.
    pub fn seen(&self, source: u64, files: &[Seen]) -> Result<(), Error> {
        self.scratch(|transaction| {
            let mut insert = transaction
                .prepare_cached("INSERT OR REPLACE INTO seen VALUES (?, ?, ?, ?, ?, ?, ?)")?;
            for file in files {
                insert.execute(params![
                    source,
                    paths::bytes(&file.path),
                    file.stat.size,
                    file.stat.modified_ns,
                    file.stat.device.cast_signed(),
                    file.stat.inode.cast_signed(),
                    file.refused,
                ])?;
            }
            Ok(())
        })
    }

    /// How many files there are to read of those seen, and their bytes together.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn changes_count(&self, source: u64) -> Result<(u64, u64), Error> {
        let query = format!("SELECT count(*), coalesce(sum(seen.size), 0) {CHANGED}");
        self.scratch(|transaction| {
            transaction.query_row(&query, [source], |row| Ok((row.get(0)?, row.get(1)?)))
        })
    }

    /// Files that were seen and are not known as they are, in the order of their paths, after this one.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn changes(&self, source: u64, after: Option<&Path>) -> Result<Vec<Change>, Error> {
        let query = format!(
            "SELECT seen.path, seen.size, seen.modified_ns, seen.device, seen.inode, seen.refused, files.id, files.hash
             {CHANGED} AND seen.path > ? ORDER BY seen.path LIMIT ?"
        );
        let after = after.map(paths::bytes).unwrap_or_default();
        self.scratch(|transaction| {
            let mut query = transaction.prepare_cached(&query)?;
            query.query_map(params![source, after, STORE_PAGE_ROWS], change)?.collect()
        })
    }

    /// Files of a source that are known and were not seen, after this number. With `scopes`, only those at or below
    /// one of these paths.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn vanished(
        &self,
        source: u64,
        scopes: Option<&[PathBuf]>,
        after: u64,
    ) -> Result<Vec<Vanished>, Error> {
        let unseen = "SELECT id, path, device FROM files WHERE source = ?1 AND id > ?2
             AND NOT EXISTS (SELECT 1 FROM seen WHERE seen.source = ?1 AND seen.path = files.path)";
        let vanished = |row: &Row<'_>| {
            let device: i64 = row.get(2)?;
            Ok(Vanished {
                file: row.get(0)?,
                path: paths::path(row.get(1)?),
                device: device.cast_unsigned(),
            })
        };
        self.scratch(|transaction| {
            let Some(scopes) = scopes else {
                let mut query =
                    transaction.prepare_cached(&format!("{unseen} ORDER BY id LIMIT ?3"))?;
                return query
                    .query_map(params![source, after, STORE_PAGE_ROWS], vanished)?
                    .collect();
            };
            let within = "AND (path = ?4 OR (path >= ?5 AND path < ?6))";
            let mut query =
                transaction.prepare_cached(&format!("{unseen} {within} ORDER BY id LIMIT ?3"))?;
            let mut found = Vec::new();
            for scope in scopes {
                let inside = paths::inside(scope);
                let beyond = paths::after(&inside);
                let values =
                    params![source, after, STORE_PAGE_ROWS, paths::bytes(scope), inside, beyond];
                for row in query.query_map(values, vanished)? {
                    found.push(row?);
                }
            }
            found.sort_by_key(|file| file.file);
            found.dedup_by_key(|file| file.file);
            found.truncate(STORE_PAGE_ROWS);
            Ok(found)
        })
    }

    /// Numbers of disks that have changed although the files on them have not: what was on the first is on the second
    /// now.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn devices_renamed(&self, source: u64) -> Result<Vec<(u64, u64)>, Error> {
        let query = format!("SELECT DISTINCT files.device, seen.device {SAME_ELSEWHERE}");
        self.scratch(|transaction| {
            let mut query = transaction.prepare_cached(&query)?;
            let pair = |row: &Row<'_>| {
                let (before, now): (i64, i64) = (row.get(0)?, row.get(1)?);
                Ok((before.cast_unsigned(), now.cast_unsigned()))
            };
            query.query_map([source], pair)?.collect()
        })
    }

    /// Notes the new numbers of disks for files that have not changed.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn note_devices(&self, source: u64) -> Result<(), Error> {
        self.write_lightly(|transaction| {
            let query = format!("SELECT files.id, seen.device {SAME_ELSEWHERE}");
            let mut query = transaction.prepare_cached(&query)?;
            let mut rows = query.query([source])?;
            let mut update =
                transaction.prepare_cached("UPDATE files SET device = ?2 WHERE id = ?1")?;
            while let Some(row) = rows.next()? {
                update.execute(params![row.get::<_, u64>(0)?, row.get::<_, i64>(1)?])?;
            }
            Ok(())
        })
    }
}

/// Seen files that the store does not know as they are. Another number of the same disk is no change; another number of
/// the file is one, since something else was put in its place.
const CHANGED: &str = "FROM seen LEFT JOIN files ON files.source = seen.source AND files.path = seen.path
    WHERE seen.source = ? AND (files.id IS NULL OR files.size <> seen.size OR files.modified_ns <> seen.modified_ns
        OR files.inode <> seen.inode)";

/// Seen files that are known as they are, but on a disk with another number.
const SAME_ELSEWHERE: &str =
    "FROM seen JOIN files ON files.source = seen.source AND files.path = seen.path
    WHERE seen.source = ? AND files.size = seen.size AND files.modified_ns = seen.modified_ns
        AND files.inode = seen.inode AND files.device <> seen.device";

fn change(row: &Row<'_>) -> rusqlite::Result<Change> {
    let (device, inode): (i64, i64) = (row.get(3)?, row.get(4)?);
    let stat = Stat {
        size: row.get(1)?,
        modified_ns: row.get(2)?,
        device: device.cast_unsigned(),
        inode: inode.cast_unsigned(),
    };
    let file: Option<u64> = row.get(6)?;
    let hash: Option<[u8; 32]> = row.get(7)?;
    Ok(Change {
        seen: Seen { path: paths::path(row.get(0)?), stat, refused: row.get(5)? },
        known: file.map(|file| (file, hash)),
    })
}
