//! Several processes on one folder, killed whenever it happens to hit them. Not here: the same at
//! every single operation (`src/tests/faults.rs`).

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use kv_store::{BLOCK_TOKENS, Fingerprint, Identity, Kind, Mode, Need, Settings, Step, Tiers};

/// Says to a process of this test that it is to write, and where.
const WRITER: &str = "KV_STORE_TEST_WRITER";

/// So few bytes that writers evict each other's entries all the time.
const BUDGET_BYTES: u64 = 200_000;

const LONG: Duration = Duration::from_secs(120);

fn open(folder: &Path) -> Tiers {
    let settings = Settings {
        mode: Mode::Ssd,
        folder: folder.to_owned(),
        ram_bytes: 64 << 10,
        ssd_bytes: BUDGET_BYTES,
        model_ssd_bytes: None,
        free_floor_bytes: 0,
        day_write_bytes: u64::MAX,
        compress: false,
        encryption_key: None,
    };
    let identity = Identity {
        root: Fingerprint::default().root(),
        model: "model".into(),
        path: folder.join("model.gguf"),
        need: Need::Cells,
    };
    Tiers::open(settings, identity)
}

/// A conversation of some length that begins like others.
fn conversation(number: u32) -> Vec<u32> {
    let length = 100 + 97 * number as usize;
    (0..length as u32).map(|at| if at < 300 { at % 7 } else { at + number % 5 }).collect()
}

/// Sixteen bytes for each token of the last block, made from the whole prefix.
fn state_of(prefix: &[u32]) -> Vec<u8> {
    let own = (prefix.len() - 1) % BLOCK_TOKENS + 1;
    let mut hasher = blake3::Hasher::new();
    prefix.iter().for_each(|token| {
        hasher.update(&token.to_le_bytes());
    });
    let mut bytes = vec![0; own * 16];
    hasher.finalize_xof().fill(&mut bytes);
    bytes
}

fn keep(tiers: &Tiers, tokens: &[u32]) {
    for range in tiers.missing(tokens) {
        tiers.put(Kind::Cells, &tokens[..range.end], state_of(&tokens[..range.end]));
    }
}

/// What comes back of full blocks is what was put; says how many tokens came.
fn check(tiers: &Tiers, tokens: &[u32]) -> usize {
    let mut fetch = tiers.fetch(tiers.find(tokens), Box::new(|| {}));
    let mut end = 0;
    while let Step::Ready(piece, bytes) = fetch.wait() {
        assert_eq!(piece.range.start, end);
        end += piece.usable;
        if piece.usable == piece.range.len() {
            assert!(*bytes == state_of(&tokens[..end]), "wrong bytes");
        }
    }
    end
}

/// The life of a process that is going to be killed: it says a line after each conversation. As an
/// ordinary test it does nothing.
#[test]
fn writer() {
    let Some(folder) = std::env::var_os(WRITER).map(PathBuf::from) else { return };
    let tiers = open(&folder);
    for number in (0..20).cycle() {
        let tokens = conversation(number);
        check(&tiers, &tokens);
        keep(&tiers, &tokens);
        tiers.flush(LONG);
        // Whoever read this is gone when it cannot be written.
        if writeln!(std::io::stdout(), "wrote {number}").is_err() {
            return;
        }
    }
}

fn start(folder: &Path) -> Child {
    Command::new(std::env::current_exe().expect("this program"))
        .args(["--exact", "writer", "--nocapture"])
        .env(WRITER, folder)
        .stdout(Stdio::piped())
        .spawn()
        .expect("a process")
}

#[test]
fn killed_processes_leave_nothing_wrong_behind() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    for round in 0..12 {
        let mut writers = [start(folder), start(folder)];
        // Each is killed after another number of conversations, wherever it is then.
        for (writer, lines) in writers.iter_mut().zip([3 + round, 5 + 2 * round]) {
            let output = BufReader::new(writer.stdout.take().unwrap());
            let wrote = output.lines().map_while(Result::ok).filter(|line| line.contains("wrote"));
            assert_eq!(wrote.take(lines).count(), lines);
            writer.kill().unwrap();
        }
        for mut writer in writers {
            writer.wait().unwrap();
        }
        let whole = kv_store::folder::stats(folder).unwrap();
        assert!(whole.bytes <= BUDGET_BYTES, "{} bytes", whole.bytes);
        assert!(round < 6 || whole.bytes > BUDGET_BYTES / 2, "nobody had to leave");
        let tiers = open(folder);
        tiers.flush(LONG);
        for number in 0..20 {
            let tokens = conversation(number);
            check(&tiers, &tokens);
        }
        let tokens = conversation(round as u32);
        keep(&tiers, &tokens);
        assert_eq!(tiers.flush(LONG), 0);
        assert_eq!(check(&tiers, &tokens), tokens.len());
        assert!(tiers.stats().dropped.is_empty(), "{:?}", tiers.stats().dropped);
    }
}
