//! Settings files of clients: read within a bound, written whole or not at all, what was there kept.

use std::{
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use crate::{
    exit::{self, Code},
    limits::{BACKUPS_MAX, SETTINGS_BYTES_MAX},
};

/// What is put behind a file's name for the copy of what was in it.
const BACKUP_ENDING: &str = ".resident-backup";

/// What writing did.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Written {
    /// It said so already.
    Nothing,
    /// There was no file.
    New,
    /// There was one.
    Changed {
        /// The file itself, where `path` was a link to it.
        real: PathBuf,
        /// Where what it said is kept, beside it.
        backup: PathBuf,
    },
}

/// What the file says; `None` when there is none.
///
/// # Errors
/// When it cannot be read, is no text, or is longer than settings are.
pub(super) fn read(path: &Path) -> anyhow::Result<Option<String>> {
    let wrong = |what: String| {
        exit::error(Code::Failure, format!("{}: {what}; nothing was written", path.display()))
    };
    match fs::metadata(path) {
        Ok(metadata) if metadata.len() > SETTINGS_BYTES_MAX => {
            return Err(wrong(format!("it has {} bytes, which no settings have", metadata.len())));
        }
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(wrong(format!("it cannot be read: {error}"))),
    }
    let text = fs::read_to_string(path);
    text.map(Some).map_err(|error| wrong(format!("it cannot be read: {error}")))
}

/// Lets the file say `text`, where it said `old`.
///
/// # Errors
/// When the copy or the file cannot be written; then the file is as it was.
pub(super) fn write(path: &Path, old: Option<&str>, text: &str) -> anyhow::Result<Written> {
    if old == Some(text) {
        return Ok(Written::Nothing);
    }
    let written = match old {
        Some(old) => change(path, old, text),
        None => create(path, text).map(|()| Written::New),
    };
    written.map_err(|error| {
        let message = format!("{}: it cannot be written: {error}", path.display());
        exit::error(Code::Failure, message)
    })
}

/// Makes what was written as if it had not been; only folders stay.
///
/// # Errors
/// When the system refuses; then it stays written.
pub(super) fn undo(path: &Path, written: &Written) -> io::Result<()> {
    match written {
        Written::Nothing => Ok(()),
        Written::New => fs::remove_file(path),
        Written::Changed { real, backup } => fs::rename(backup, real),
    }
}

fn create(path: &Path, text: &str) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder)?;
    beside(folder, text)?.persist_noclobber(path)?;
    Ok(())
}

fn change(path: &Path, old: &str, text: &str) -> io::Result<Written> {
    // Where a link points to, so that the link stays one.
    let real = path.canonicalize()?;
    let folder = real.parent().unwrap_or(Path::new("."));
    let permissions = fs::metadata(&real)?.permissions();
    let file = beside(folder, text)?;
    file.as_file().set_permissions(permissions.clone())?;
    let backup = keep(&real, folder, old, &permissions)?;
    match file.persist(&real) {
        Ok(_) => Ok(Written::Changed { real, backup }),
        Err(error) => {
            // A copy of what is still there helps nobody, and harms nobody if it stays.
            drop(fs::remove_file(&backup));
            Err(error.error)
        }
    }
}

/// Puts a copy beside the file, under a name that no older copy has.
fn keep(
    path: &Path,
    folder: &Path,
    old: &str,
    permissions: &fs::Permissions,
) -> io::Result<PathBuf> {
    let mut copy = beside(folder, old)?;
    copy.as_file().set_permissions(permissions.clone())?;
    for number in 1..=BACKUPS_MAX {
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(BACKUP_ENDING);
        if number > 1 {
            name.push(format!(".{number}"));
        }
        let backup = path.with_file_name(name);
        match copy.persist_noclobber(&backup) {
            Ok(_) => return Ok(backup),
            Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => copy = error.file,
            Err(error) => return Err(error.error),
        }
    }
    let what = format!("there are {BACKUPS_MAX} copies of it ({BACKUP_ENDING}); delete old ones");
    Err(io::Error::new(io::ErrorKind::AlreadyExists, what))
}

/// A file beside the real one, all of it on the disk. On Unix only its owner may read it.
fn beside(folder: &Path, text: &str) -> io::Result<tempfile::NamedTempFile> {
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(text.as_bytes())?;
    file.as_file().sync_all()?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_new_file_is_made_with_its_folders() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/b/settings.json");
        assert_eq!(read(&path).unwrap(), None);
        assert_eq!(write(&path, None, "{}\n").unwrap(), Written::New);
        assert_eq!(read(&path).unwrap().as_deref(), Some("{}\n"));
        assert_eq!(write(&path, Some("{}\n"), "{}\n").unwrap(), Written::Nothing);
        assert_eq!(names(path.parent().unwrap()), ["settings.json"], "nothing else is left");
        undo(&path, &Written::Nothing).unwrap();
        assert!(path.exists());
        undo(&path, &Written::New).unwrap();
        assert_eq!(names(path.parent().unwrap()), [""; 0]);
    }

    #[test]
    fn no_copy_is_ever_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("settings.json");
        fs::write(&path, "1").unwrap();
        for (old, new) in [("1", "2"), ("2", "3"), ("3", "4")] {
            let Written::Changed { backup, .. } = write(&path, Some(old), new).unwrap() else {
                panic!("{old} was not changed")
            };
            assert_eq!(fs::read_to_string(backup).unwrap(), old);
        }
        let copies = ["settings.json", "settings.json.resident-backup"];
        let more = ["settings.json.resident-backup.2", "settings.json.resident-backup.3"];
        assert_eq!(names(folder.path()), [&copies[..], &more[..]].concat());
        assert_eq!(fs::read_to_string(&path).unwrap(), "4");
    }

    #[test]
    fn too_many_copies_leave_the_file_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        fs::write(&path, "old").unwrap();
        fs::write(folder.path().join("s.resident-backup"), "").unwrap();
        for number in 2..=BACKUPS_MAX {
            fs::write(folder.path().join(format!("s.resident-backup.{number}")), "").unwrap();
        }
        let message = write(&path, Some("old"), "new").unwrap_err().to_string();
        assert!(message.ends_with("delete old ones"), "{message}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "old");
        assert_eq!(names(folder.path()).len(), 1 + BACKUPS_MAX, "nothing half written is left");
    }

    #[test]
    fn what_is_no_text_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("settings.json");
        fs::write(&path, [0xff, 0xfe, 0x00]).unwrap();
        let message = read(&path).unwrap_err().to_string();
        assert!(message.contains("cannot be read"), "{message}");
    }

    #[cfg(unix)]
    #[test]
    fn permissions_and_links_stay() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let (real, link) = (folder.path().join("real"), folder.path().join("link"));
        fs::write(&real, "old").unwrap();
        fs::set_permissions(&real, fs::Permissions::from_mode(0o640)).unwrap();
        std::os::unix::fs::symlink(&real, &link).unwrap();
        let written = write(&link, Some("old"), "new").unwrap();
        let Written::Changed { real: changed, backup } = &written else {
            panic!("it was not changed")
        };
        assert_eq!(*changed, real.canonicalize().unwrap());
        assert!(link.symlink_metadata().unwrap().is_symlink());
        assert_eq!(fs::read_to_string(&real).unwrap(), "new");
        for path in [&real, backup] {
            let mode = fs::metadata(path).unwrap().permissions().mode() & 0o777;
            assert_eq!(mode, 0o640, "{}", path.display());
        }
        undo(&link, &written).unwrap();
        assert!(link.symlink_metadata().unwrap().is_symlink());
        assert_eq!(fs::read_to_string(&real).unwrap(), "old");
        assert_eq!(names(folder.path()), ["link", "real"]);
    }
}
