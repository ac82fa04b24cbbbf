//! What an index of 100,000 passages costs: to make, to keep open, to ask.
//!
//! `KNOWLEDGE_SCALE=1000000` takes another number. Making and asking happen in processes of their own (this program
//! with an argument), so that the memory of asking is not what making has left. Vectors lie in clusters, as those of
//! texts do; texts are drawn from a vocabulary in which few words are frequent.

#![expect(clippy::print_stdout, reason = "a bench prints its table")]
#![expect(clippy::unwrap_used, reason = "a bench fails where it cannot measure")]

use std::collections::HashSet;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use knowledge::index::segments::Segments;
use knowledge::index::{Embedder, Filter, Index, Labels, Point};
use knowledge::limits::LEG_HITS;
use knowledge::search::fuse::fuse;
use knowledge::words;

const DIMENSION: usize = 384;
const CLUSTERS: u64 = 500;
const BATCH: u64 = 256;
/// Passages between two tidyings, as an ingest does it.
const TIDY_EVERY: u64 = 4096;
const QUERIES: u64 = 300;
/// Where the processes that make and ask find the folder.
const FOLDER: &str = "KNOWLEDGE_SCALE_FOLDER";

fn main() {
    let passages: u64 =
        std::env::var("KNOWLEDGE_SCALE").map_or(100_000, |number| number.parse().unwrap());
    if let Some(folder) = std::env::var_os(FOLDER) {
        let folder = Path::new(&folder);
        return if folder.join("made").exists() {
            ask(folder, passages)
        } else {
            make(folder, passages)
        };
    }
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    for _ in 0..2 {
        let program = std::env::current_exe().unwrap();
        let status = Command::new(program).env(FOLDER, folder.path()).status().unwrap();
        assert!(status.success());
    }
}

fn open(folder: &Path) -> Segments {
    let embedder = Embedder { name: "clusters".to_owned(), dimension: DIMENSION };
    Segments::open(&folder.join("index"), Some(embedder)).unwrap()
}

fn make(folder: &Path, passages: u64) {
    let index = open(folder);
    let stop = AtomicBool::new(false);
    let (start, mut tidying, mut words_time) = (Instant::now(), Duration::ZERO, Duration::ZERO);
    let mut since = 0;
    for from in (0..passages).step_by(usize::try_from(BATCH).unwrap()) {
        let started = Instant::now();
        let points: Vec<Point> = (from..passages.min(from + BATCH)).map(point).collect();
        words_time += started.elapsed();
        since += points.len() as u64;
        index.upsert(points).unwrap();
        if since >= TIDY_EVERY {
            since = 0;
            let started = Instant::now();
            index.flush().unwrap();
            index.optimize(&stop).unwrap();
            tidying += started.elapsed();
        }
    }
    let started = Instant::now();
    index.flush().unwrap();
    index.optimize(&stop).unwrap();
    tidying += started.elapsed();
    let took_s = start.elapsed().as_secs_f64();
    println!(
        "made {passages} passages of {DIMENSION} numbers in {took_s:.1} s: {:.0} a second",
        passages as f64 / took_s
    );
    println!(
        "  of it {:.1} s for tidying, {:.1} s for making texts, terms and vectors",
        tidying.as_secs_f64(),
        words_time.as_secs_f64()
    );
    println!(
        "  processor {:.1} s, memory at its peak {} MB, heap at the end {} MB",
        processor_s(),
        status_mb("VmHWM"),
        status_mb("RssAnon")
    );
    std::fs::write(folder.join("made"), "").unwrap();
}

fn ask(folder: &Path, passages: u64) {
    let start = Instant::now();
    let index = open(folder);
    println!("opened in {:.2} s, heap {} MB", start.elapsed().as_secs_f64(), status_mb("RssAnon"));
    assert_eq!(index.count(&Filter::default()).unwrap(), passages);
    let all = Filter::default();
    let some = Filter { collections: vec!["even".to_owned()], ..Filter::default() };
    let mut times: [Vec<Duration>; 4] = Default::default();
    let mut recalled = 0;
    for number in 0..QUERIES {
        // Near a passage, and not it.
        let near = number * (passages / QUERIES) + 1;
        let vector = vector(near, passages + number);
        let terms = words::query(&text(near, 6));
        let started = Instant::now();
        let dense = index.nearest(&vector, &all, LEG_HITS).unwrap();
        times[0].push(started.elapsed());
        let between = Instant::now();
        let lexical = index.lexical(&terms, &all, LEG_HITS).unwrap();
        times[1].push(between.elapsed());
        let fused = fuse(&[(&dense, 1.0), (&lexical, 1.0)]);
        times[2].push(started.elapsed());
        assert!(!fused.is_empty());
        let started = Instant::now();
        index.nearest(&vector, &some, LEG_HITS).unwrap();
        times[3].push(started.elapsed());
        let exact = index.nearest_exact(&vector, &all, 10).unwrap();
        let exact: HashSet<u64> = exact.iter().map(|hit| hit.id).collect();
        recalled += dense.iter().take(10).filter(|hit| exact.contains(&hit.id)).count();
    }
    for (name, times) in
        ["meaning", "terms", "both", "meaning, half filtered out"].iter().zip(&mut times)
    {
        times.sort_unstable();
        let ms = |part: usize| times[(times.len() - 1) * part / 100].as_secs_f64() * 1e3;
        println!("  {name:<28} p50 {:>7.2} ms   p95 {:>7.2} ms", ms(50), ms(95));
    }
    println!("  recall of the ten nearest {:.4}", recalled as f64 / (QUERIES * 10) as f64);
    println!(
        "  heap after {QUERIES} questions {} MB, with the files {} MB",
        status_mb("RssAnon"),
        status_mb("VmRSS")
    );
}

fn point(id: u64) -> Point {
    let file = id / 20;
    let collection = if id.is_multiple_of(2) { "even" } else { "odd" };
    Point {
        id,
        dense: Some(vector(id, id)),
        sparse: words::passage(&text(id, 150)),
        labels: Labels {
            collection: collection.to_owned(),
            file,
            kind: "md".to_owned(),
            modified_s: 1_600_000_000 + i64::try_from(file).unwrap() * 60,
            path: format!("/home/someone/notes/{}/{file}.md", file % 50),
        },
    }
}

/// A vector of the passage's cluster: its centre, somewhat off in every direction.
fn vector(of: u64, variant: u64) -> Vec<f32> {
    let mut centre = Random(of % CLUSTERS);
    let mut off = Random(variant.wrapping_mul(31) ^ 0xABCD);
    (0..DIMENSION).map(|_| centre.normal() + 0.7 * off.normal()).collect()
}

/// Words of which the first are frequent, as in any language, half of the texts in Chinese.
fn text(of: u64, count: u64) -> String {
    let mut random = Random(of ^ 0x5EED);
    let mut text = String::new();
    for _ in 0..count {
        // A rank whose frequency falls as its inverse, among 60,000.
        let rank = (60_000_f32.powf(random.share())) as u32;
        if of.is_multiple_of(2) {
            text.push_str(&format!("w{rank} "));
        } else {
            text.push(char::from_u32(0x4e00 + rank % 6000).unwrap());
            text.push(char::from_u32(0x4e00 + rank / 10).unwrap());
        }
    }
    text
}

/// SplitMix64: the same numbers on every machine.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// From 0 to 1.
    fn share(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1_u64 << 24) as f32
    }

    /// Nearly normal, with a mean of 0 and a deviation of 1.
    fn normal(&mut self) -> f32 {
        (0..12).map(|_| self.share()).sum::<f32>() - 6.0
    }
}

/// A line of `/proc/self/status` in megabytes; on other systems nothing is known.
fn status_mb(name: &str) -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    let kb: Option<u64> = line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok());
    kb.map_or("?".to_owned(), |kb| (kb / 1000).to_string())
}

/// Processor time of this process, where the system tells it.
fn processor_s() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<&str> =
        stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks =
        |at: usize| fields.get(at).and_then(|field| field.parse::<f64>().ok()).unwrap_or(0.0);
    (ticks(11) + ticks(12)) / 100.0
}
