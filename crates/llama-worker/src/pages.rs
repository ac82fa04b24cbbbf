//! Gives back pages that nothing needs any more: those of the model file that loading has touched, and
//! when the machine is short of memory, those that the allocator keeps for later.
//!
//! llama.cpp maps the file and reads all of it. Weights that it rearranges for the processor are
//! then in memory twice, once as pages of the file; so the whole mapping is let go after loading.
//! What is needed again comes back from the system's cache at the first step. Only on Linux, where
//! the system says where the file is mapped.

use std::path::Path;

/// Lets go of the pages of the mapped file at `path`; nothing happens where it is not mapped.
#[cfg(target_os = "linux")]
pub(crate) fn release(path: &Path) {
    let Ok(path) = path.canonicalize() else { return };
    let Ok(maps) = std::fs::read_to_string("/proc/self/maps") else { return };
    for range in maps.lines().filter_map(|line| mapping_of(line, &path)) {
        // SAFETY: a mapping of a file that nobody writes through: the kernel drops clean pages and
        // reads them again from the file when they are touched, so no byte changes. A failure
        // changes nothing.
        unsafe {
            libc::madvise(range.start as *mut libc::c_void, range.len(), libc::MADV_DONTNEED)
        };
    }
}

/// Other systems drop such pages by themselves when memory is short.
#[cfg(not(target_os = "linux"))]
pub(crate) fn release(_path: &Path) {}

/// Gives the system what the allocator holds and nobody uses, between the pieces in use too. Pages of
/// the model file are left alone: the next step needs them, and the system drops them by itself.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
pub(crate) fn give_back() {
    // SAFETY: it takes any number, and touches only memory that the allocator has free.
    unsafe { libc::malloc_trim(0) };
}

/// Other allocators give back by themselves what lies free for long.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub(crate) fn give_back() {}

/// The addresses of a read-only mapping of `path`, from a line such as
/// `7f1c-7f2d r--s 00000000 fe:00 123   /models/x.gguf`.
#[cfg(target_os = "linux")]
fn mapping_of(line: &str, path: &Path) -> Option<std::ops::Range<usize>> {
    let (addresses, rest) = line.split_once(' ')?;
    let (permissions, rest) = rest.split_once(' ')?;
    // Offset, device and inode, then the name, which may hold spaces.
    let name = rest.splitn(4, ' ').last()?.trim_start();
    if permissions.contains('w') || Path::new(name) != path {
        return None;
    }
    let (start, end) = addresses.split_once('-')?;
    let address = |text| usize::from_str_radix(text, 16).ok();
    Some(address(start)?..address(end)?)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn only_read_only_mappings_of_the_file_are_let_go() {
        let path = Path::new("/models/my x.gguf");
        let line = "7f10000-7f20000 r--s 00000000 fe:00 123                /models/my x.gguf";
        assert_eq!(mapping_of(line, path), Some(0x7f1_0000..0x7f2_0000));
        assert_eq!(mapping_of(line, Path::new("/models/y.gguf")), None);
        assert_eq!(mapping_of(&line.replace("r--s", "rw-p"), path), None);
        assert_eq!(mapping_of("7f10000-7f20000 r-xp 0 00:00 0", path), None);
        assert_eq!(mapping_of("", path), None);
    }
}
