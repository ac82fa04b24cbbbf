//! The files of one prompt's prefix: which they are, a plain read of them, and the page cache.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    io::{self, Read as _},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail, ensure};
use kv_store::{BLOCK_TOKENS, Kind, format};
use serde::Serialize;

use super::super::limits::{PAGE_CACHE_POLL, PAGE_CACHE_WAIT, PLAIN_READ_BUFFER_BYTES};

/// The ending of an entry's file.
const ENDING: &str = "kv";

/// What just reading the files took.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct PlainRead {
    pub(crate) bytes: u64,
    /// One thread, one file after the other.
    pub(crate) one_thread_ms: f64,
    /// Two threads, every other file each.
    pub(crate) two_threads_ms: f64,
}

impl PlainRead {
    /// The quicker of both.
    pub(crate) fn best_ms(&self) -> f64 {
        self.one_thread_ms.min(self.two_threads_ms)
    }
}

/// The files that hold one prompt's prefix.
#[derive(Debug)]
pub(crate) struct Files {
    paths: Vec<PathBuf>,
    bytes: u64,
    /// Tokens from the first on that come back with them.
    tokens: usize,
}

/// What one file holds of a prompt.
struct Held {
    kind: Kind,
    /// The first of its tokens.
    start: usize,
    /// How many of its tokens are the prompt's.
    shared: usize,
    bytes: u64,
    path: PathBuf,
}

impl Files {
    /// Those of these tokens in a folder and all below it.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub(crate) fn of_prompt(folder: &Path, prompt: &[u32]) -> anyhow::Result<Self> {
        // Of one block there may be several, of prompts that part in it.
        let mut cells: BTreeMap<usize, Held> = BTreeMap::new();
        let mut state: Option<Held> = None;
        for path in entries(folder)? {
            let Some(held) = Held::read(path, prompt)? else { continue };
            match held.kind {
                Kind::Cells => {
                    let known = cells.get(&held.start);
                    if known.is_none_or(|known| known.shared < held.shared) {
                        cells.insert(held.start, held);
                    }
                }
                Kind::State => {
                    let end = |state: &Held| state.start + state.shared;
                    if state.as_ref().is_none_or(|state| end(state) < end(&held)) {
                        state = Some(held);
                    }
                }
            }
        }
        let mut tokens = 0;
        for held in cells.values().take_while(|held| held.start % BLOCK_TOKENS == 0) {
            if held.start == tokens {
                tokens += held.shared;
            }
        }
        if let Some(state) = &state {
            tokens = state.start + state.shared;
        }
        let held: Vec<Held> = cells.into_values().chain(state).collect();
        let bytes = held.iter().map(|held| held.bytes).sum();
        Ok(Self { paths: held.into_iter().map(|held| held.path).collect(), bytes, tokens })
    }

    /// How many tokens of the prompt come back with them.
    pub(crate) fn tokens(&self) -> usize {
        self.tokens
    }

    /// Of all together.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Reads all of them, with one thread and with two.
    ///
    /// # Errors
    /// When one cannot be read.
    pub(crate) fn read_warm(&self) -> anyhow::Result<PlainRead> {
        self.read_each(|| Ok(()))
    }

    /// The same, each time from the disk.
    ///
    /// # Errors
    /// When one cannot be read, or does not leave the page cache.
    pub(crate) fn read_cold(&self) -> anyhow::Result<PlainRead> {
        self.read_each(|| self.drop_from_cache())
    }

    fn read_each(&self, prepare: impl Fn() -> anyhow::Result<()>) -> anyhow::Result<PlainRead> {
        let mut ms = [0.0; 2];
        for (ms, threads) in ms.iter_mut().zip([1, 2]) {
            prepare()?;
            *ms = self.read(threads)?.as_secs_f64() * 1e3;
        }
        let [one_thread_ms, two_threads_ms] = ms;
        Ok(PlainRead { bytes: self.bytes, one_thread_ms, two_threads_ms })
    }

    fn read(&self, threads: usize) -> anyhow::Result<Duration> {
        let begun = Instant::now();
        let read_bytes = std::thread::scope(|scope| {
            let part = |thread| self.paths.iter().skip(thread).step_by(threads);
            let readers: Vec<_> =
                (0..threads).map(|thread| scope.spawn(move || read_all(part(thread)))).collect();
            let parts = readers.into_iter().map(|reader| match reader.join() {
                Ok(read) => read,
                Err(_panicked) => bail!("a reading thread panicked"),
            });
            parts.sum::<anyhow::Result<u64>>()
        })?;
        let took = begun.elapsed();
        ensure!(read_bytes == self.bytes, "the files changed while they were measured");
        Ok(took)
    }

    /// Lets the system forget what it has read of them, and makes sure that it has.
    ///
    /// # Errors
    /// When it does not, as with files that lie in memory (tmpfs), or on systems that cannot.
    pub(crate) fn drop_from_cache(&self) -> anyhow::Result<()> {
        let begun = Instant::now();
        for path in &self.paths {
            drop_from_cache(path)?;
            // Pages that another core has just touched stay a moment longer.
            while ends_in_cache(path)? {
                ensure!(
                    begun.elapsed() < PAGE_CACHE_WAIT,
                    "{} does not leave the page cache; let TMPDIR name a folder on a disk",
                    path.display()
                );
                std::thread::sleep(PAGE_CACHE_POLL);
                drop_from_cache(path)?;
            }
        }
        Ok(())
    }
}

impl Held {
    /// `None` when the file holds nothing of this prompt, or is gone.
    fn read(path: PathBuf, prompt: &[u32]) -> anyhow::Result<Option<Self>> {
        let mut head = Vec::new();
        let bytes = match File::open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            file => {
                let file = file.with_context(|| format!("cannot read {}", path.display()))?;
                let bytes = file.metadata()?.len();
                file.take(format::HEADER_BYTES_MAX as u64).read_to_end(&mut head)?;
                bytes
            }
        };
        let header = format::decode(&head, bytes, None)
            .map_err(|damage| anyhow::anyhow!("{}: {damage}", path.display()))?;
        let start = header.blocks_before as usize * BLOCK_TOKENS;
        let wanted = prompt.get(start..).unwrap_or_default();
        let shared = wanted.iter().zip(&header.tokens).take_while(|(one, other)| one == other);
        let shared = shared.count();
        let is_of_it = match header.kind {
            Kind::Cells => shared > 0,
            // A state is of all its tokens or of no use.
            Kind::State => shared == header.tokens.len(),
        };
        Ok(is_of_it.then_some(Self { kind: header.kind, start, shared, bytes, path }))
    }
}

/// Files of entries in a folder and all below it; a folder that is not there has none.
fn entries(folder: &Path) -> anyhow::Result<BTreeSet<PathBuf>> {
    let mut found = BTreeSet::new();
    let listed = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(found),
        listed => listed.with_context(|| format!("cannot list {}", folder.display()))?,
    };
    for entry in listed {
        let path = entry?.path();
        if path.is_dir() {
            found.append(&mut entries(&path)?);
        } else if path.extension().is_some_and(|ending| ending == ENDING) {
            found.insert(path);
        }
    }
    Ok(found)
}

/// Reads these files one after the other into one buffer.
fn read_all<'a>(paths: impl Iterator<Item = &'a PathBuf>) -> anyhow::Result<u64> {
    let mut buffer = vec![0_u8; PLAIN_READ_BUFFER_BYTES];
    let mut bytes = 0_u64;
    for path in paths {
        let mut file =
            File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
        loop {
            let read = file.read(&mut buffer)?;
            if read == 0 {
                break;
            }
            bytes += read as u64;
        }
    }
    std::hint::black_box(&buffer);
    Ok(bytes)
}

/// Lets the system forget what it has read of a file that nobody uses. What is not on the disk yet is
/// written first, since only then it can leave.
#[cfg(target_os = "linux")]
pub(crate) fn drop_from_cache(path: &Path) -> anyhow::Result<()> {
    let file = File::open(path)?;
    file.sync_all()?;
    rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed)?;
    Ok(())
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn drop_from_cache(_path: &Path) -> anyhow::Result<()> {
    bail!("only Linux can drop a single file from its cache")
}

/// Whether the last byte of a file could be read without asking the disk. A last byte, since the system
/// reads ahead of what it is asked for.
#[cfg(target_os = "linux")]
fn ends_in_cache(path: &Path) -> anyhow::Result<bool> {
    use rustix::io::{Errno, ReadWriteFlags};

    let file = File::open(path)?;
    let Some(last) = file.metadata()?.len().checked_sub(1) else { return Ok(false) };
    let mut byte = [0_u8];
    let mut buffers = [io::IoSliceMut::new(&mut byte)];
    match rustix::io::preadv2(&file, &mut buffers, last, ReadWriteFlags::NOWAIT) {
        Ok(_) => Ok(true),
        // A file system that cannot tell is believed.
        Err(Errno::AGAIN | Errno::OPNOTSUPP) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

#[cfg(not(target_os = "linux"))]
fn ends_in_cache(_path: &Path) -> anyhow::Result<bool> {
    Ok(true)
}

#[cfg(test)]
mod tests {
    use kv_store::{Fingerprint, Identity, Mode, Need, Settings, Tiers};

    use super::*;

    /// A folder in which a store has kept these prompts.
    fn kept(prompts: &[&[u32]]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let settings = Settings {
            mode: Mode::Ssd,
            folder: folder.path().to_owned(),
            ram_bytes: 1 << 20,
            ssd_bytes: 1 << 30,
            model_ssd_bytes: None,
            free_floor_bytes: 0,
            day_write_bytes: u64::MAX,
            compress: false,
            encryption_key: None,
        };
        let identity = Identity {
            root: Fingerprint::default().root(),
            model: "m".into(),
            path: Path::new("m.gguf").into(),
            need: Need::Cells,
        };
        let tiers = Tiers::open(settings, identity);
        for prompt in prompts {
            for block in tiers.missing(prompt) {
                tiers.put(Kind::Cells, &prompt[..block.end], vec![7; 10 * block.len()]);
            }
        }
        assert_eq!(tiers.flush(Duration::from_secs(60)), 0);
        folder
    }

    #[test]
    fn the_files_of_one_prompt_are_told_from_others() {
        let (one, other): (Vec<u32>, Vec<u32>) = ((0..700).collect(), (5000..5100).collect());
        let folder = kept(&[&one, &other]);
        let files = Files::of_prompt(folder.path(), &one[..699]).unwrap();
        assert_eq!((files.paths.len(), files.tokens()), (3, 699));
        assert!(files.bytes() > 7000 && files.bytes() < 14_000, "{}", files.bytes());
        let files = Files::of_prompt(folder.path(), &other).unwrap();
        assert_eq!((files.paths.len(), files.tokens()), (1, 100));
        let nothing = Files::of_prompt(folder.path(), &[9000, 9001]).unwrap();
        assert_eq!((nothing.paths.len(), nothing.tokens()), (0, 0));
    }

    #[test]
    fn a_plain_read_reads_all_of_them() {
        let prompt: Vec<u32> = (0..600).collect();
        let folder = kept(&[&prompt]);
        let files = Files::of_prompt(folder.path(), &prompt).unwrap();
        let read = files.read_warm().unwrap();
        assert_eq!(read.bytes, files.bytes());
        assert!(read.best_ms() > 0.0 && read.best_ms() <= read.one_thread_ms);
        fs::write(&files.paths[0], [1; 5]).unwrap();
        assert!(files.read_warm().is_err(), "another length than before");
    }
}
