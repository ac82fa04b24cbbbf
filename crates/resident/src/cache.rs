//! `resident cache`: what is kept of conversations in files, and how to get rid of it; what is kept of
//! models that were deleted goes by itself while a hub runs.
//!
//! It works on the folder itself, with or without a running hub; workers that use the folder notice.
//! Not here: the files (`kv-store`), how much they may take (`config::resolved`).

use std::{
    convert::Infallible,
    io,
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use anyhow::Context as _;
use kv_store::folder::{self, Clear, Cleared, Held, Whole};
use serde::Serialize;
use supervisor::KeepSettings;
use tokio::{task::spawn_blocking, time::sleep};

use crate::{
    cli::{self, Cache, CacheClear, Serving},
    config, duration,
    exit::{self, Code},
    limits::FORGET_DELETED_INTERVAL,
    models, size,
    table::{Align, Table},
    terminal::{self, Paint},
};

/// What stands where a model's own card is lost.
const UNKNOWN: &str = "(unknown)";

/// What `ls --json` prints.
#[derive(Debug, Serialize)]
struct Document {
    folder: String,
    models: Vec<Row>,
}

/// What is kept of one model.
#[derive(Debug, Serialize)]
struct Row {
    /// What its entries hang from: its file, the engine and its settings.
    root: String,
    /// Its name, as far as known.
    model: Option<String>,
    /// Its file, as far as known.
    path: Option<String>,
    /// Whether that file is there and the same.
    is_current: bool,
    entries: u64,
    bytes: u64,
    /// When something of it was last used, in seconds since 1970.
    used_unix_s: Option<u64>,
}

/// What `stats --json` prints.
#[derive(Debug, Serialize)]
struct Summary {
    folder: String,
    models: usize,
    entries: u64,
    bytes: u64,
    bytes_max: u64,
    written_today_bytes: u64,
    daily_writes_bytes_max: u64,
    free_bytes: u64,
    free_floor_bytes: u64,
}

/// What `clear --json` prints.
#[derive(Debug, Serialize)]
struct Removed {
    entries: u64,
    bytes: u64,
}

/// Shows or clears what is kept.
///
/// # Errors
/// When the settings make no sense, or the folder cannot be read or written.
pub(crate) fn cache(arguments: &Cache) -> anyhow::Result<()> {
    match arguments {
        Cache::Ls(look) => ls(look),
        Cache::Stats(look) => stats(look),
        Cache::Clear(clear) => self::clear(clear),
    }
}

/// Removes what is kept of models that were deleted, now and from time to time.
pub(crate) async fn forget_deleted(folder: PathBuf) -> Infallible {
    loop {
        let place = folder.clone();
        let cleared = spawn_blocking(move || folder::clear(&place, &Clear::Deleted)).await;
        match cleared.unwrap_or_else(|panicked| Err(io::Error::other(panicked))) {
            Ok(Cleared { entries: 0, .. }) => {}
            Ok(Cleared { entries, bytes }) => {
                tracing::info!(entries, bytes, "what was kept of deleted models is gone");
            }
            Err(error) => {
                let folder = folder.display();
                tracing::warn!("what {folder} keeps of deleted models cannot be removed: {error}");
            }
        }
        sleep(FORGET_DELETED_INTERVAL).await;
    }
}

fn keep(place: &cli::Place) -> anyhow::Result<KeepSettings> {
    Ok(config::load(place, &Serving::default())?.keep)
}

fn whole(folder: &Path) -> anyhow::Result<Whole> {
    folder::stats(folder)
        .with_context(|| format!("cannot read the KV cache in {}", folder.display()))
}

fn ls(look: &cli::CacheLook) -> anyhow::Result<()> {
    let keep = keep(&look.place)?;
    let held = whole(&keep.folder)?.models;
    let rows: Vec<Row> = held.iter().map(Row::of).collect();
    if look.json {
        let folder = keep.folder.display().to_string();
        return terminal::json(&Document { folder, models: rows });
    }
    if rows.is_empty() {
        terminal::note(format_args!("nothing is kept in {}", keep.folder.display()));
        return Ok(());
    }
    for line in table(&rows, unix_s(SystemTime::now())).lines(Paint::stdout()) {
        terminal::line(line);
    }
    Ok(())
}

fn stats(look: &cli::CacheLook) -> anyhow::Result<()> {
    let keep = keep(&look.place)?;
    let summary = Summary::of(&keep, &whole(&keep.folder)?);
    if look.json {
        return terminal::json(&summary);
    }
    for line in summary.lines() {
        terminal::line(line);
    }
    Ok(())
}

fn clear(arguments: &CacheClear) -> anyhow::Result<()> {
    let keep = keep(&arguments.place)?;
    let what = match (&arguments.model, arguments.gone) {
        (Some(model), _) => Clear::Model(model.clone()),
        (None, true) => Clear::Gone,
        // Clap lets nothing else pass.
        (None, false) => Clear::All,
    };
    let cleared = clear_folder(&keep.folder, &what)?;
    if arguments.json {
        let Cleared { entries, bytes } = cleared;
        return terminal::json(&Removed { entries, bytes });
    }
    terminal::note(format_args!(
        "{} entries with {} are gone",
        cleared.entries,
        size::format(cleared.bytes)
    ));
    Ok(())
}

fn clear_folder(folder: &Path, what: &Clear) -> anyhow::Result<Cleared> {
    if let Clear::Model(name) = what {
        refuse_unknown(&whole(folder)?, name)?;
    }
    folder::clear(folder, what)
        .with_context(|| format!("cannot clear the KV cache in {}", folder.display()))
}

/// A misspelt name must not look as if its conversations were gone.
fn refuse_unknown(whole: &Whole, name: &str) -> anyhow::Result<()> {
    let names = || whole.models.iter().filter_map(|held| Some(held.model.as_ref()?.0.as_str()));
    if names().any(|known| known == name) {
        return Ok(());
    }
    let hint = match models::nearest(name, names()) {
        Some(nearest) => format!("did you mean '{nearest}'?"),
        None => "resident cache ls says of which models something is".to_owned(),
    };
    Err(exit::error(Code::Model, format!("nothing is kept of a model '{name}'; {hint}")))
}

fn unix_s(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |span| span.as_secs())
}

impl Row {
    fn of(held: &Held) -> Self {
        let (model, path) = held.model.clone().unzip();
        Self {
            root: held.root.to_string(),
            model,
            path: path.map(|path| path.display().to_string()),
            is_current: held.is_current,
            entries: held.entries,
            bytes: held.bytes,
            used_unix_s: held.used.map(unix_s),
        }
    }
}

impl Summary {
    fn of(keep: &KeepSettings, whole: &Whole) -> Self {
        Self {
            folder: keep.folder.display().to_string(),
            models: whole.models.len(),
            entries: whole.entries,
            bytes: whole.bytes,
            bytes_max: keep.ssd_bytes,
            written_today_bytes: whole.written_today_bytes,
            daily_writes_bytes_max: keep.day_write_bytes,
            free_bytes: whole.free_bytes,
            free_floor_bytes: keep.free_floor_bytes,
        }
    }

    fn lines(&self) -> [String; 4] {
        let of = |bytes, max| format!("{} of at most {}", size::format(bytes), size::format(max));
        [
            format!("folder    {}", self.folder),
            format!(
                "kept      {} in {} entries of {} models",
                of(self.bytes, self.bytes_max),
                self.entries,
                self.models
            ),
            format!(
                "written   {} today (UTC)",
                of(self.written_today_bytes, self.daily_writes_bytes_max)
            ),
            format!(
                "free      {} on the disk, of which {} stay free",
                size::format(self.free_bytes),
                size::format(self.free_floor_bytes)
            ),
        ]
    }
}

fn table(rows: &[Row], now_unix_s: u64) -> Table {
    let mut table = Table::new(&[
        ("MODEL", Align::Left),
        ("ENTRIES", Align::Right),
        ("SIZE", Align::Right),
        ("LAST USED", Align::Left),
        ("FILE", Align::Left),
    ]);
    for row in rows {
        let ago = |used_unix_s: u64| {
            let span = std::time::Duration::from_secs(now_unix_s.saturating_sub(used_unix_s));
            format!("{} ago", duration::format(span))
        };
        let path = terminal::inert(row.path.as_deref().unwrap_or_default());
        table.row(vec![
            terminal::inert(row.model.as_deref().unwrap_or(UNKNOWN)),
            row.entries.to_string(),
            size::format(row.bytes),
            row.used_unix_s.map(ago).unwrap_or_default(),
            if row.is_current { path } else { format!("{path} (gone or another)") },
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use std::{fs, time::Duration};

    use kv_store::{Identity, Key, Kind, Mode, Need, Settings, Tiers};

    use super::*;

    /// Keeps one entry of a model.
    fn keep_one(folder: &Path, number: u8, model: &str, path: &Path) {
        let settings = Settings {
            mode: Mode::Ssd,
            folder: folder.to_owned(),
            ram_bytes: 1 << 20,
            ssd_bytes: 1 << 20,
            model_ssd_bytes: None,
            free_floor_bytes: 0,
            day_write_bytes: u64::MAX,
            compress: false,
            encryption_key: None,
        };
        let identity = Identity {
            root: Key([number; 32]),
            model: model.to_owned(),
            path: path.to_owned(),
            need: Need::Cells,
        };
        let tiers = Tiers::open(settings, identity);
        tiers.put(Kind::Cells, &[1, 2, 3], vec![number; 100]);
        assert_eq!(tiers.flush(Duration::from_secs(60)), 0, "it is written");
    }

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<String> =
            whole(folder).unwrap().models.iter().filter_map(|held| Row::of(held).model).collect();
        names.sort();
        names
    }

    #[test]
    fn a_folder_is_cleared_by_name_by_what_is_gone_and_whole() {
        let home = tempfile::tempdir().unwrap();
        let kv = home.path().join("kv");
        assert_eq!(names(&kv), Vec::<String>::new());
        for (number, name) in [(1, "here"), (2, "gone"), (3, "other"), (4, "last")] {
            let file = home.path().join(name);
            fs::write(&file, "x").unwrap();
            keep_one(&kv, number, name, &file);
        }
        fs::remove_file(home.path().join("gone")).unwrap();
        let current = |name: &str| {
            let models = whole(&kv).unwrap().models;
            models.iter().map(Row::of).find(|row| row.model.as_deref() == Some(name))
        };
        assert!(current("here").unwrap().is_current);
        assert!(!current("gone").unwrap().is_current);
        let refused = clear_folder(&kv, &Clear::Model("othr".to_owned())).unwrap_err();
        assert_eq!(refused.to_string(), "nothing is kept of a model 'othr'; did you mean 'other'?");
        assert_eq!(clear_folder(&kv, &Clear::Model("other".to_owned())).unwrap().entries, 1);
        assert_eq!(names(&kv), ["gone", "here", "last"]);
        assert_eq!(clear_folder(&kv, &Clear::Gone).unwrap().entries, 1);
        assert_eq!(names(&kv), ["here", "last"]);
        assert_eq!(clear_folder(&kv, &Clear::All).unwrap().entries, 2);
        assert_eq!(names(&kv), Vec::<String>::new());
    }

    #[test]
    fn a_folder_that_is_not_there_yet_has_the_free_space_of_its_disk() {
        let home = tempfile::tempdir().unwrap();
        let missing = whole(&home.path().join("data/kv")).unwrap();
        assert_eq!((missing.entries, missing.models.len()), (0, 0));
        assert!(missing.free_bytes > 0, "{missing:?}");
        assert!(whole(Path::new("not-there/kv")).unwrap().free_bytes > 0);
        assert!(!home.path().join("data").exists(), "looking makes nothing");
    }

    #[test]
    fn rows_and_sums_as_people_read_them() {
        let row = |model: Option<&str>, is_current, used_unix_s| Row {
            root: "00".to_owned(),
            model: model.map(str::to_owned),
            path: model.map(|model| format!("/m/{model}.gguf")),
            is_current,
            entries: 12,
            bytes: 3 << 20,
            used_unix_s,
        };
        let rows = [row(Some("chat"), true, Some(940)), row(Some("old"), false, None)];
        assert_eq!(
            table(&rows, 1000).lines(Paint::plain()),
            [
                "MODEL   ENTRIES      SIZE   LAST USED   FILE",
                "chat         12   3.0 MiB   1m 0s ago   /m/chat.gguf",
                "old          12   3.0 MiB               /m/old.gguf (gone or another)",
            ]
        );
        let summary = Summary {
            folder: "/d/kv".to_owned(),
            models: 2,
            entries: 24,
            bytes: 6 << 20,
            bytes_max: 20 << 30,
            written_today_bytes: 1 << 20,
            daily_writes_bytes_max: 40 << 30,
            free_bytes: 100 << 30,
            free_floor_bytes: 10 << 30,
        };
        assert_eq!(
            summary.lines(),
            [
                "folder    /d/kv",
                "kept      6.0 MiB of at most 20.0 GiB in 24 entries of 2 models",
                "written   1.0 MiB of at most 40.0 GiB today (UTC)",
                "free      100.0 GiB on the disk, of which 10.0 GiB stay free",
            ]
        );
    }
}
