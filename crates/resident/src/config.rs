//! From flags, environment, configuration file and machine to what the program believes.
//!
//! `raw` is what the user wrote in the file, `resolved` what it means together with the rest. Here
//! the file is found and read, and the machine is asked.

mod preset;
pub(crate) mod raw;
pub(crate) mod resolved;
mod secret;

use std::{
    fs, io,
    path::{Path, PathBuf},
};

pub(crate) use resolved::{Knowledge, Prefixes, Qdrant, Settings};

use crate::{
    cli::{Place, Serving},
    exit::{self, Code},
    limits::KEY_BYTES_MAX,
    models::Catalog,
};

/// Name of the configuration file in the data folder.
const FILE_NAME: &str = "config.toml";

/// The program's own folder inside the platform's folder for data.
const FOLDER_NAME: &str = "resident";

/// The variable that adds models, since one variable cannot be given many times.
const MODELS_VARIABLE: &str = "RESIDENT_MODEL";

/// What the machine says, which tests say instead.
#[derive(Debug, Clone)]
pub(crate) struct Machine {
    /// Memory that this process may use at most, if the system says.
    pub(crate) memory_bytes: Option<u64>,
    /// Our folder among the platform's folders for data.
    pub(crate) data_dir: PathBuf,
    /// The home folder, for `~/`.
    pub(crate) home: PathBuf,
    /// What [`MODELS_VARIABLE`] holds.
    pub(crate) models_variable: Option<String>,
    /// What a variable holds.
    pub(crate) variable: fn(&str) -> Option<String>,
    /// What a file with a secret holds, or why it is not read.
    pub(crate) secret: fn(&Path) -> Result<String, String>,
    /// Names of the models whose files are there.
    pub(crate) names_of: fn(&Catalog) -> Vec<String>,
}

/// Reads the file if there is one and resolves everything.
///
/// # Errors
/// With [`Code::Usage`], naming the file and the line, the flag or the variable.
pub(crate) fn load(place: &Place, serving: &Serving) -> anyhow::Result<Settings> {
    let machine = machine()?;
    let default_file = place.data_dir.as_ref().unwrap_or(&machine.data_dir).join(FILE_NAME);
    let (file, is_asked_for) = match &place.config {
        Some(file) => (file.clone(), true),
        None => (default_file, false),
    };
    let raw = read(&file, is_asked_for)?;
    let has_file = raw.is_some();
    let base = file.parent().unwrap_or(Path::new(".")).to_owned();
    resolved::resolve(place, serving, raw.unwrap_or_default(), &base, &machine).map_err(|error| {
        // A value of the file is easier to find with the file's name; flags name themselves.
        let file = if has_file {
            format!(" (configuration file: {})", file.display())
        } else {
            String::new()
        };
        exit::error(Code::Usage, format!("{error}{file}"))
    })
}

/// The file's content; `None` when there is none and nobody asked for it.
fn read(file: &Path, is_asked_for: bool) -> anyhow::Result<Option<raw::Config>> {
    let wrong = |what: String| exit::error(Code::Usage, format!("{}: {what}", file.display()));
    match fs::metadata(file) {
        Ok(metadata) => refuse_if_others_may_write(&metadata).map_err(wrong)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound && !is_asked_for => return Ok(None),
        Err(error) => return Err(wrong(format!("cannot read the configuration file: {error}"))),
    }
    let text = fs::read_to_string(file)
        .map_err(|error| wrong(format!("cannot read the configuration file: {error}")))?;
    raw::parse(&text).map(Some).map_err(wrong)
}

/// The file names a program to run (`worker`), so whoever may write it may run things as its owner.
#[cfg(unix)]
fn refuse_if_others_may_write(metadata: &fs::Metadata) -> Result<(), String> {
    use std::os::unix::fs::PermissionsExt as _;
    let mode = metadata.permissions().mode() & 0o777;
    if mode & 0o022 == 0 {
        return Ok(());
    }
    Err(format!("others may write this file (mode {mode:03o}); run chmod go-w on it"))
}

/// Elsewhere the user's own folder has the access list that keeps others out.
#[cfg(not(unix))]
fn refuse_if_others_may_write(_metadata: &fs::Metadata) -> Result<(), String> {
    Ok(())
}

fn machine() -> anyhow::Result<Machine> {
    use etcetera::BaseStrategy as _;
    let base = etcetera::base_strategy::choose_native_strategy().map_err(|error| {
        exit::error(Code::Usage, format!("cannot tell the home folder: {error}; use --data-dir"))
    })?;
    Ok(Machine {
        memory_bytes: memory_bytes(),
        data_dir: base.data_dir().join(FOLDER_NAME),
        home: base.home_dir().to_owned(),
        models_variable: variable(MODELS_VARIABLE),
        variable,
        secret,
        names_of,
    })
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// Reads a secret that nobody else can read.
fn secret(file: &Path) -> Result<String, String> {
    let cannot = |error: io::Error| format!("it cannot be read: {error}");
    let metadata = fs::metadata(file).map_err(cannot)?;
    refuse_if_others_may_read(&metadata)?;
    if metadata.len() > KEY_BYTES_MAX {
        return Err(format!("it has {} bytes, which no key has", metadata.len()));
    }
    fs::read_to_string(file).map_err(cannot)
}

#[cfg(unix)]
fn refuse_if_others_may_read(metadata: &fs::Metadata) -> Result<(), String> {
    use std::os::unix::fs::PermissionsExt as _;
    let mode = metadata.permissions().mode() & 0o777;
    if mode & 0o077 == 0 {
        return Ok(());
    }
    Err(format!("others may read or write it (mode {mode:03o}); run chmod go= on it"))
}

/// Elsewhere the user's own folder has the access list that keeps others out.
#[cfg(not(unix))]
fn refuse_if_others_may_read(_metadata: &fs::Metadata) -> Result<(), String> {
    Ok(())
}

fn names_of(catalog: &Catalog) -> Vec<String> {
    catalog.scan().models.into_iter().map(|found| found.name).collect()
}

/// Physical memory, or the container's limit where that is less; `None` where the system does not
/// say.
pub(crate) fn memory_bytes() -> Option<u64> {
    let mut system = sysinfo::System::new().ok()?;
    system.refresh_memory();
    let container_bytes = system.cgroup_limits().map_or(u64::MAX, |limits| limits.total_memory);
    Some(system.total_memory().min(container_bytes)).filter(|bytes| *bytes > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_file_matters_only_when_asked_for() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("config.toml");
        assert_eq!(read(&file, false).unwrap(), None);
        let message = read(&file, true).unwrap_err().to_string();
        assert!(message.contains("cannot read the configuration file"), "{message}");
        assert!(message.starts_with(&file.display().to_string()), "{message}");
    }

    #[test]
    fn an_error_in_the_file_names_file_and_line() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("config.toml");
        fs::write(&file, "\ncontxt = 1\n").unwrap();
        let message = read(&file, false).unwrap_err().to_string();
        let expected =
            format!("{}: line 2: unknown key 'contxt'; did you mean 'context'?", file.display());
        assert_eq!(message, expected);
    }

    #[cfg(unix)]
    #[test]
    fn a_file_that_others_may_write_is_refused() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("config.toml");
        fs::write(&file, "").unwrap();
        for (mode, is_fine) in [(0o600, true), (0o644, true), (0o664, false), (0o602, false)] {
            fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(read(&file, false).is_ok(), is_fine, "mode {mode:03o}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_key_is_read_only_from_a_file_of_ones_own() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("key");
        let why = secret(&file).unwrap_err();
        assert!(why.starts_with("it cannot be read: "), "{why}");
        fs::write(&file, "sk-1\n").unwrap();
        for (mode, is_fine) in [(0o600, true), (0o400, true), (0o640, false), (0o604, false)] {
            fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(secret(&file).is_ok(), is_fine, "mode {mode:03o}");
        }
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(&file, "x".repeat(5000)).unwrap();
        assert_eq!(secret(&file).unwrap_err(), "it has 5000 bytes, which no key has");
    }

    #[test]
    fn this_machine_has_memory() {
        assert!(memory_bytes().is_some_and(|bytes| bytes > 1 << 28));
    }
}
