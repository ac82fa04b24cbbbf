//! What is particular to Unix: modes, free space, reading ahead.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

pub(super) fn folder_builder() -> DirBuilder {
    let mut builder = DirBuilder::new();
    builder.mode(0o700);
    builder
}

pub(super) fn private_options() -> OpenOptions {
    let mut options = File::options();
    options.mode(0o600);
    options
}

pub(super) fn is_private(path: &Path) -> io::Result<bool> {
    Ok(std::fs::metadata(path)?.mode() & 0o077 == 0)
}

pub(super) fn free_bytes(path: &Path) -> io::Result<u64> {
    let space = rustix::fs::statvfs(path)?;
    Ok(space.f_bavail.saturating_mul(space.f_frsize))
}

#[cfg(target_os = "macos")]
pub(super) fn read_ahead(path: &Path) -> io::Result<()> {
    let file = File::open(path)?;
    let bytes = file.metadata()?.len();
    Ok(rustix::fs::fcntl_rdadvise(&file, 0, bytes)?)
}

#[cfg(not(target_os = "macos"))]
pub(super) fn read_ahead(path: &Path) -> io::Result<()> {
    let file = File::open(path)?;
    // No length means the whole file.
    Ok(rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::WillNeed)?)
}
