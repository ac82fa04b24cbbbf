//! Paths as bytes, so that names that are not UTF-8 are names like any other.

use std::path::{Path, PathBuf};

/// The bytes of a path: its own on Unix; elsewhere as UTF-8.
#[cfg(unix)]
pub(super) fn bytes(path: &Path) -> Vec<u8> {
    use std::os::unix::ffi::OsStrExt;
    path.as_os_str().as_bytes().to_vec()
}

/// The path with these bytes.
#[cfg(unix)]
pub(super) fn path(bytes: Vec<u8>) -> PathBuf {
    use std::os::unix::ffi::OsStringExt;
    std::ffi::OsString::from_vec(bytes).into()
}

/// The bytes of a path: its own on Unix; elsewhere as UTF-8. Names with halves of surrogate pairs, which Windows allows,
/// become names that do not exist, so that such files are never read.
#[cfg(not(unix))]
pub(super) fn bytes(path: &Path) -> Vec<u8> {
    path.to_string_lossy().into_owned().into_bytes()
}

/// The path with these bytes.
#[cfg(not(unix))]
pub(super) fn path(bytes: Vec<u8>) -> PathBuf {
    String::from_utf8_lossy(&bytes).into_owned().into()
}

/// A path as an index has it: text, with `/` between its parts on every system.
pub(crate) fn label(path: &Path) -> String {
    let text = path.to_string_lossy();
    if std::path::MAIN_SEPARATOR == '/' {
        text.into_owned()
    } else {
        text.replace(std::path::MAIN_SEPARATOR, "/")
    }
}

/// The bytes that begin the paths of all that is inside the folder `path`.
pub(super) fn inside(path: &Path) -> Vec<u8> {
    let mut bytes = bytes(path);
    let separator = std::path::MAIN_SEPARATOR as u8;
    if bytes.last() != Some(&separator) {
        bytes.push(separator);
    }
    bytes
}

/// The first bytes, in order, that do not begin with `prefix`. Prefixes of paths end in a separator, which is not the
/// highest byte.
pub(super) fn after(prefix: &[u8]) -> Vec<u8> {
    let mut after = prefix.to_vec();
    if let Some(last) = after.last_mut() {
        *last += 1;
    }
    after
}
