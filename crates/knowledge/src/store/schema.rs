//! The tables, and what each connection is told first.

use std::path::Path;

use rusqlite::{Connection, OpenFlags};

use super::{Error, told};
use crate::limits::{BUSY_WAIT_MAX, PAGE_BYTES, STORE_CACHE_KIB, WAL_KEPT_BYTES};

/// The version of the tables below.
pub(super) const VERSION: u32 = 1;

/// Says in the file's header whose it is: `RsKb`.
const APPLICATION: u32 = 0x5273_4b62;

const TABLES: &str = "
CREATE TABLE collections (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL UNIQUE,
    -- Who embeds; null as long as nobody does.
    embedder TEXT,
    dimension INTEGER,
    -- Counts changes of the embedder. Files of a lower one are cut for an earlier embedder.
    generation INTEGER NOT NULL DEFAULT 1,
    job TEXT NOT NULL DEFAULT '{}'
);
CREATE TABLE sources (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    collection INTEGER NOT NULL REFERENCES collections ON DELETE CASCADE,
    kind TEXT NOT NULL,
    path BLOB NOT NULL,
    include TEXT NOT NULL,
    exclude TEXT NOT NULL,
    hidden INTEGER NOT NULL,
    -- What came by standard input, and when, in nanoseconds since 1970.
    content BLOB,
    added_ns INTEGER,
    UNIQUE (collection, path)
);
CREATE TABLE files (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    collection INTEGER NOT NULL REFERENCES collections ON DELETE CASCADE,
    source INTEGER NOT NULL REFERENCES sources ON DELETE CASCADE,
    path BLOB NOT NULL,
    kind TEXT NOT NULL,
    size INTEGER NOT NULL,
    modified_ns INTEGER NOT NULL,
    device INTEGER NOT NULL,
    inode INTEGER NOT NULL,
    -- BLAKE3; null where the file was not read.
    hash BLOB,
    state TEXT NOT NULL,
    reason TEXT,
    title TEXT,
    gaps TEXT,
    generation INTEGER NOT NULL,
    UNIQUE (source, path)
);
CREATE INDEX files_hash ON files (collection, hash);
CREATE INDEX files_state ON files (collection, state);
CREATE TABLE passages (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    collection INTEGER NOT NULL,
    file INTEGER NOT NULL REFERENCES files ON DELETE CASCADE,
    ordinal INTEGER NOT NULL,
    text TEXT NOT NULL,
    context TEXT NOT NULL,
    headings TEXT NOT NULL,
    pieces BLOB NOT NULL,
    tokens INTEGER NOT NULL,
    vector BLOB,
    due INTEGER NOT NULL,
    UNIQUE (file, ordinal)
);
CREATE INDEX passages_due ON passages (collection, due);
CREATE INDEX passages_due_of_file ON passages (file) WHERE due;
CREATE INDEX passages_vector ON passages (vector);
CREATE TABLE vectors (
    key BLOB PRIMARY KEY,
    value BLOB NOT NULL
);
-- Passages that are gone, until the index has forgotten them.
CREATE TABLE gone (
    passage INTEGER PRIMARY KEY,
    collection INTEGER NOT NULL
);
";

/// What a walk has seen. It lives with the connection, in a temporary file, so that a million files take no memory.
const SEEN: &str = "
CREATE TEMP TABLE IF NOT EXISTS seen (
    source INTEGER NOT NULL,
    path BLOB NOT NULL,
    size INTEGER NOT NULL,
    modified_ns INTEGER NOT NULL,
    device INTEGER NOT NULL,
    inode INTEGER NOT NULL,
    refused TEXT,
    PRIMARY KEY (source, path)
) WITHOUT ROWID;
";

/// Makes a new file a store, and looks whether an older one is one.
pub(super) fn prepare(opened: &Connection, path: &Path) -> Result<(), Error> {
    let number = |what: &str| opened.pragma_query_value(None, what, |row| row.get::<_, i64>(0));
    let attempt = || {
        opened.busy_timeout(BUSY_WAIT_MAX)?;
        let tables: u32 =
            opened.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
        Ok((tables, number("application_id")?, number("user_version")?))
    };
    let (tables, application, version) = attempt().map_err(|source| told(path, source))?;
    let is_new = tables == 0 && application == 0 && version == 0;
    if !is_new && application != i64::from(APPLICATION) {
        return Err(Error::Foreign { path: path.to_owned() });
    }
    let found = u32::try_from(version).unwrap_or(u32::MAX);
    if found > VERSION {
        return Err(Error::Newer { path: path.to_owned(), found, known: VERSION });
    }
    let set_up = || {
        if is_new {
            opened.pragma_update(None, "page_size", PAGE_BYTES)?;
        }
        opened.pragma_update(None, "journal_mode", "wal")?;
        settings(opened)?;
        if is_new {
            create(opened)?;
        }
        opened.execute_batch(SEEN)
    };
    set_up().map_err(|source| told(path, source))
}

fn create(opened: &Connection) -> rusqlite::Result<()> {
    opened.execute_batch("BEGIN IMMEDIATE")?;
    // Somebody else may have been first since this process looked.
    let tables: u32 =
        opened.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    if tables == 0 {
        opened.execute_batch(TABLES)?;
        opened.pragma_update(None, "application_id", APPLICATION)?;
        opened.pragma_update(None, "user_version", VERSION)?;
    }
    opened.execute_batch("COMMIT")
}

fn settings(opened: &Connection) -> rusqlite::Result<()> {
    opened.busy_timeout(BUSY_WAIT_MAX)?;
    // Each commit is on the disk when it returns: what is told as done stays done. They are few and large.
    opened.pragma_update(None, "synchronous", "full")?;
    opened.pragma_update(None, "foreign_keys", true)?;
    opened.pragma_update(None, "temp_store", "file")?;
    opened.pragma_update(None, "cache_size", -STORE_CACHE_KIB)?;
    opened.pragma_update(None, "journal_size_limit", WAL_KEPT_BYTES)
}

/// A connection that only reads.
pub(super) fn reader(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let reader = Connection::open_with_flags(path, flags)?;
    settings(&reader)?;
    reader.pragma_update(None, "query_only", true)?;
    Ok(reader)
}
