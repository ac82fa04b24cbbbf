//! Where there is no Unix. A user's folders are private there without asking; free space comes from
//! the list of disks, and a system that cannot be asked to read ahead reads when it must.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::path::Path;

pub(super) fn folder_builder() -> DirBuilder {
    DirBuilder::new()
}

pub(super) fn private_options() -> OpenOptions {
    File::options()
}

pub(super) fn is_private(path: &Path) -> io::Result<bool> {
    std::fs::metadata(path).map(|_| true)
}

pub(super) fn free_bytes(path: &Path) -> io::Result<u64> {
    let path = path.canonicalize()?;
    let disks = sysinfo::Disks::new_with_refreshed_list().map_err(io::Error::other)?;
    let holding = disks.iter().filter(|disk| {
        // Both in the long form that `canonicalize` gives, where the disk has one.
        let mount = disk.mount_point().canonicalize();
        path.starts_with(mount.as_deref().unwrap_or(disk.mount_point()))
    });
    let deepest = holding.max_by_key(|disk| disk.mount_point().as_os_str().len());
    // A disk that is not listed is no reason to do without the cache; its budget still holds.
    Ok(deepest.map_or(u64::MAX, |disk| disk.available_space()))
}

pub(super) fn read_ahead(_path: &Path) -> io::Result<()> {
    Ok(())
}
