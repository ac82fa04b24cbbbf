//! What a restore from SSD costs beside a plain read of the same files, and what the calls cost that
//! an engine makes between its steps.
//!
//! Run with `cargo bench -p kv-store`. The files come from the page cache, so this is the cost of the
//! program and not of a disk. Not here: what llama.cpp does with the bytes (`resident bench`).

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use divan::{Bencher, counter::BytesCount};
use kv_store::{
    BLOCK_TOKENS, Cut, Fingerprint, Identity, Kind, Mode, Need, Payload, Settings, Step, Tiers,
    limits::READERS,
};

fn main() {
    divan::main();
}

/// Cells of a token of a model of 0.6 billion parameters at 16 bits: 28 layers, 8 heads of 128.
const TOKEN_BYTES: usize = 114_688;

/// Tokens of a part of a block, as a worker cuts it: 3.5 MiB.
const PART_TOKENS: usize = 32;

/// A prompt of an agent's first message.
const BLOCKS: usize = 16;

const LONG: Duration = Duration::from_secs(600);

/// A folder with one stored prompt.
struct Stored {
    folder: tempfile::TempDir,
    tokens: Vec<u32>,
}

impl Stored {
    fn new(blocks: usize, token_bytes: usize) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let tokens: Vec<u32> = (0..(blocks * BLOCK_TOKENS) as u32).collect();
        let stored = Self { folder, tokens };
        let tiers = stored.open();
        for block in 1..=blocks {
            let cut = Cut { tokens: PART_TOKENS as u32, bytes: (PART_TOKENS * token_bytes) as u32 };
            let bytes = vec![block as u8; BLOCK_TOKENS * token_bytes];
            let payload = Payload { bytes, cuts: vec![cut; BLOCK_TOKENS / PART_TOKENS] };
            tiers.put(Kind::Cells, &stored.tokens[..block * BLOCK_TOKENS], payload);
        }
        assert_eq!(tiers.flush(LONG), 0);
        let stats = tiers.stats();
        assert_eq!(stats.written_entries, blocks as u64, "is the disk full? {stats:?}");
        stored
    }

    fn open(&self) -> Tiers {
        let settings = Settings {
            mode: Mode::Ssd,
            folder: self.folder.path().to_owned(),
            ram_bytes: 2 << 30,
            ssd_bytes: 2 << 30,
            model_ssd_bytes: None,
            free_floor_bytes: 0,
            day_write_bytes: u64::MAX,
            compress: false,
            encryption_key: None,
        };
        let identity = Identity {
            root: Fingerprint::default().root(),
            model: "bench".into(),
            path: self.folder.path().join("model.gguf"),
            need: Need::Cells,
        };
        let tiers = Tiers::open(settings, identity);
        tiers.flush(LONG);
        tiers
    }

    fn files(&self) -> Vec<PathBuf> {
        let root = self.folder.path().join("v1").join(Fingerprint::default().root().to_string());
        let entries = std::fs::read_dir(root).expect("a model's folder").flatten();
        let files = entries.map(|entry| entry.path());
        files.filter(|path| path.extension().is_some_and(|end| end == "kv")).collect()
    }
}

fn plain(path: &Path) -> Vec<u8> {
    let mut file = std::fs::File::open(path).expect("a file");
    let length = file.metadata().expect("its length").len();
    let mut bytes = Vec::with_capacity(length as usize);
    file.read_to_end(&mut bytes).expect("its content");
    bytes
}

/// A plain read of the same files, one after the other.
#[divan::bench(sample_count = 20)]
fn read_plain(bencher: Bencher) {
    let stored = Stored::new(BLOCKS, TOKEN_BYTES);
    let files = stored.files();
    let bytes = BLOCKS * BLOCK_TOKENS * TOKEN_BYTES;
    bencher.counter(BytesCount::new(bytes)).bench_local(|| {
        for file in &files {
            divan::black_box(plain(file));
        }
    });
}

/// A plain read by as many threads as a restore has at most.
#[divan::bench(sample_count = 20)]
fn read_plain_by_threads(bencher: Bencher) {
    let stored = Stored::new(BLOCKS, TOKEN_BYTES);
    let files = stored.files();
    let bytes = BLOCKS * BLOCK_TOKENS * TOKEN_BYTES;
    bencher.counter(BytesCount::new(bytes)).bench_local(|| {
        std::thread::scope(|scope| {
            for part in files.chunks(files.len().div_ceil(READERS)) {
                scope.spawn(move || {
                    part.iter().for_each(|file| drop(divan::black_box(plain(file))));
                });
            }
        });
    });
}

/// The restore: found, read, verified, given in order.
#[divan::bench(sample_count = 20)]
fn restore(bencher: Bencher) {
    let stored = Stored::new(BLOCKS, TOKEN_BYTES);
    let tiers = stored.open();
    let bytes = BLOCKS * BLOCK_TOKENS * TOKEN_BYTES;
    bencher.counter(BytesCount::new(bytes)).bench_local(|| {
        let mut fetch = tiers.fetch(tiers.find(&stored.tokens), Box::new(|| {}));
        let mut tokens = 0;
        loop {
            match fetch.wait() {
                Step::Ready(piece, bytes) => {
                    tokens += piece.usable;
                    drop(divan::black_box(bytes));
                }
                Step::Done => break,
                Step::Pending => unreachable!("this call waits"),
                Step::Failed(reason) => panic!("{reason}"),
            }
        }
        assert_eq!(tokens, stored.tokens.len());
    });
}

/// What is asked for each request, of a long prompt that is all there.
#[divan::bench]
fn find(bencher: Bencher) {
    let stored = Stored::new(128, 4);
    let tiers = stored.open();
    bencher.bench_local(|| tiers.find(divan::black_box(&stored.tokens)).tokens);
}

/// What is asked after each request.
#[divan::bench]
fn missing(bencher: Bencher) {
    let stored = Stored::new(128, 4);
    let tiers = stored.open();
    bencher.bench_local(|| tiers.missing(divan::black_box(&stored.tokens)).len());
}
