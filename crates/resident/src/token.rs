//! The control token: proof that a caller may read this user's files.
//!
//! The hub refuses control requests without it, even from this machine, so that a web page or
//! another user cannot stop models. It is 256 bits of the operating system's randomness as 64 hex
//! digits, in a file that only its owner may read.

use std::{
    fs, io,
    io::Write as _,
    path::{Path, PathBuf},
};

const TOKEN_BYTES: usize = 32;
const TOKEN_DIGITS: usize = 2 * TOKEN_BYTES;

/// Why there is no token.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The file cannot be read or written.
    #[error("cannot use the control token {}: {source}", path.display())]
    Io {
        /// The token file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The file holds something else.
    #[error(
        "{} is not a control token (64 hex digits); delete it and a new one is made",
        path.display()
    )]
    Malformed {
        /// The token file.
        path: PathBuf,
    },
    /// Others may read the file, so the token may be known to them.
    #[error(
        "{} may be read by others (mode {mode:03o}); delete it and a new one is made",
        path.display()
    )]
    Exposed {
        /// The token file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The system gives no randomness.
    #[error("the operating system gives no randomness: {0}")]
    Randomness(#[from] getrandom::Error),
}

/// The token in `path`; `None` when there is no file.
///
/// # Errors
/// [`Error`] when the file cannot be read, is not a token, or is open to others.
pub(crate) fn read(path: &Path) -> Result<Option<String>, Error> {
    let metadata = match fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(source) if source.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(Error::Io { path: path.to_owned(), source }),
    };
    if let Some(mode) = mode_open_to_others(&metadata) {
        return Err(Error::Exposed { path: path.to_owned(), mode });
    }
    let text =
        fs::read_to_string(path).map_err(|source| Error::Io { path: path.to_owned(), source })?;
    let token = text.trim();
    if token.len() != TOKEN_DIGITS || !token.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err(Error::Malformed { path: path.to_owned() });
    }
    Ok(Some(token.to_owned()))
}

/// The token in `path`, made first if there is none. When two hubs make it at once, both get the
/// same.
///
/// # Errors
/// As [`read`], and when the file cannot be written.
pub(crate) fn read_or_create(path: &Path) -> Result<String, Error> {
    if let Some(token) = read(path)? {
        return Ok(token);
    }
    match create(path) {
        Ok(token) => Ok(token),
        // Somebody else was quicker: theirs is the token.
        Err(Error::Io { source, .. }) if source.kind() == io::ErrorKind::AlreadyExists => {
            read(path)?.ok_or_else(|| Error::Io { path: path.to_owned(), source })
        }
        Err(error) => Err(error),
    }
}

/// Writes a new token beside `path` and moves it there whole, never over another.
fn create(path: &Path) -> Result<String, Error> {
    let mut random = [0_u8; TOKEN_BYTES];
    getrandom::fill(&mut random)?;
    let token: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
    let write = || -> io::Result<()> {
        let folder = path.parent().unwrap_or(Path::new("."));
        // On Unix the file is made with mode 0600 and never had another.
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        file.write_all(token.as_bytes())?;
        file.write_all(b"\n")?;
        file.as_file().sync_all()?;
        file.persist_noclobber(path)?;
        Ok(())
    };
    write().map_err(|source| Error::Io { path: path.to_owned(), source })?;
    Ok(token)
}

#[cfg(unix)]
fn mode_open_to_others(metadata: &fs::Metadata) -> Option<u32> {
    use std::os::unix::fs::PermissionsExt as _;
    let mode = metadata.permissions().mode() & 0o777;
    (mode & 0o077 != 0).then_some(mode)
}

/// Elsewhere the user's own folder has the access list that keeps others out.
#[cfg(not(unix))]
fn mode_open_to_others(_metadata: &fs::Metadata) -> Option<u32> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_made_once_and_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        assert_eq!(read(&path).unwrap(), None);
        let token = read_or_create(&path).unwrap();
        assert_eq!(token.len(), TOKEN_DIGITS);
        assert_eq!(read_or_create(&path).unwrap(), token);
        assert_eq!(read(&path).unwrap(), Some(token));
        let left: Vec<_> = fs::read_dir(folder.path()).unwrap().collect();
        assert_eq!(left.len(), 1, "no temporary file is left: {left:?}");
    }

    #[test]
    fn hubs_that_start_at_once_agree() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        let tokens: Vec<String> = std::thread::scope(|scope| {
            let starts: Vec<_> =
                (0..8).map(|_| scope.spawn(|| read_or_create(&path).unwrap())).collect();
            starts.into_iter().map(|start| start.join().unwrap()).collect()
        });
        assert!(tokens.iter().all(|token| *token == tokens[0]), "{tokens:?}");
    }

    #[test]
    fn what_is_not_a_token_is_not_used() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        let digits = "g".repeat(TOKEN_DIGITS);
        for text in ["", "abc", digits.as_str()] {
            fs::write(&path, text).unwrap();
            #[cfg(unix)]
            set_mode(&path, 0o600);
            assert!(matches!(read_or_create(&path), Err(Error::Malformed { .. })), "{text}");
        }
    }

    #[cfg(unix)]
    fn set_mode(path: &Path, mode: u32) {
        use std::os::unix::fs::PermissionsExt as _;
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    #[cfg(unix)]
    #[test]
    fn the_file_is_for_its_owner_alone() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        read_or_create(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        set_mode(&path, 0o644);
        assert!(matches!(read_or_create(&path), Err(Error::Exposed { mode: 0o644, .. })));
    }
}
