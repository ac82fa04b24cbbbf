//! Every change of a file that the store makes, as whole operations, so that a test can end the process
//! before, after and in the middle of each. Reading is the standard library's. Not here: which changes, in
//! which order.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    path::Path,
    time::SystemTime,
};

/// The file system.
#[derive(Debug, Clone, Default)]
pub(super) struct Disk {
    /// Where a test ends it all.
    #[cfg(test)]
    pub(super) end: Option<std::sync::Arc<super::tests::End>>,
}

/// How far an operation gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reach {
    /// To its end.
    Whole,
    /// To its middle, where the process ends.
    #[cfg(test)]
    Half,
}

impl Disk {
    #[cfg(test)]
    fn begin(&self) -> io::Result<Reach> {
        self.end.as_ref().map_or(Ok(Reach::Whole), |end| end.begin())
    }

    #[cfg(not(test))]
    #[expect(clippy::unnecessary_wraps, clippy::unused_self, reason = "tests make it fail")]
    fn begin(&self) -> io::Result<Reach> {
        Ok(Reach::Whole)
    }

    /// Makes a folder, and all above it.
    pub(super) fn make_folder(&self, path: &Path) -> io::Result<()> {
        // Most often it is there, and looking is cheaper than making.
        if path.is_dir() {
            return Ok(());
        }
        self.begin()?;
        fs::create_dir_all(path)
    }

    /// Writes a new file and waits until it is on the disk. One that exists is an error.
    pub(super) fn write_new(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let reach = self.begin()?;
        let mut file = File::options().write(true).create_new(true).open(path)?;
        match reach {
            Reach::Whole => file.write_all(bytes)?,
            #[cfg(test)]
            Reach::Half => {
                file.write_all(&bytes[..bytes.len() / 2])?;
                return Err(super::tests::ended());
            }
        }
        self.sync(&file)
    }

    /// Waits until a file is on the disk. A process that ends leaves all it wrote to the system, so tests of that
    /// need not wait.
    pub(super) fn sync(&self, file: &File) -> io::Result<()> {
        #[cfg(test)]
        if self.end.is_some() {
            return Ok(());
        }
        file.sync_all()
    }

    /// A new file to be written to; whoever writes waits for the disk.
    pub(super) fn create_new(&self, path: &Path) -> io::Result<File> {
        self.begin()?;
        File::options().write(true).create_new(true).open(path)
    }

    /// Gives a file another name, in place of what has it.
    pub(super) fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.begin()?;
        #[cfg(test)]
        if self.end.as_ref().is_some_and(|end| end.lies_elsewhere(from)) {
            return Err(io::ErrorKind::CrossesDevices.into());
        }
        fs::rename(from, to)
    }

    /// Removes a file; one that is not there is removed already.
    pub(super) fn remove(&self, path: &Path) -> io::Result<()> {
        self.begin()?;
        gone_is_fine(fs::remove_file(path))
    }

    /// Removes a folder that is empty; one that is not there is removed already.
    pub(super) fn remove_folder(&self, path: &Path) -> io::Result<()> {
        self.begin()?;
        gone_is_fine(fs::remove_dir(path))
    }

    /// Sets the time of a file's last change to now.
    pub(super) fn touch(&self, path: &Path) -> io::Result<()> {
        self.begin()?;
        File::options().append(true).open(path)?.set_modified(SystemTime::now())
    }

    /// Gives a file a second name of the same rank.
    pub(super) fn hard_link(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.begin()?;
        fs::hard_link(from, to)
    }

    /// Makes a name that leads to another.
    pub(super) fn symlink(&self, to: &Path, name: &Path) -> io::Result<()> {
        self.begin()?;
        system::symlink(to, name)
    }

    /// Makes a file that has the content of another without having its bytes twice, where the file system can.
    pub(super) fn reflink(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.begin()?;
        reflink_copy::reflink(from, to)
    }

    /// Waits until what a folder holds is on the disk.
    pub(super) fn sync_folder(&self, path: &Path) -> io::Result<()> {
        self.begin()?;
        system::open_folder(path)?.map_or(Ok(()), |folder| self.sync(&folder))
    }
}

fn gone_is_fine(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

#[cfg(unix)]
mod system {
    use std::{fs::File, io, path::Path};

    pub(super) fn symlink(to: &Path, name: &Path) -> io::Result<()> {
        std::os::unix::fs::symlink(to, name)
    }

    pub(super) fn open_folder(path: &Path) -> io::Result<Option<File>> {
        File::open(path).map(Some)
    }
}

#[cfg(not(unix))]
mod system {
    use std::{fs::File, io, path::Path};

    #[cfg(windows)]
    pub(super) fn symlink(to: &Path, name: &Path) -> io::Result<()> {
        std::os::windows::fs::symlink_file(to, name)
    }

    #[cfg(not(windows))]
    pub(super) fn symlink(_: &Path, _: &Path) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// A folder cannot be opened here; the system writes its journal by itself.
    pub(super) fn open_folder(_: &Path) -> io::Result<Option<File>> {
        Ok(None)
    }
}
