//! How fast a file comes over loopback with its hash, and how much memory that takes.
//!
//! `cargo bench -p library --bench speed`; `PULL_BYTES` and `PULL_FOLDER` say how much and where to. The client is a
//! process of its own, so that its memory is its own. Beside it stands what the folder takes from one thread that does
//! nothing but write, twice: a virtual machine that meets its memory for the first time writes several times slower
//! than later, and a pull can only be measured where the memory has been met.

#![expect(clippy::print_stdout, reason = "a bench says what it found")]
#![expect(clippy::unwrap_used, reason = "a bench that cannot go on panics")]

mod served;

use std::{fs::File, io::Write as _, path::Path, process::Command, time::Instant};

use library::{
    digest::Sha256,
    outside::{Options, Outside},
    transfer::{Seen, Terms, Wanted, fetch},
};
use served::{Behaviour, Served};
use tokio::sync::watch;

/// Says that this process is the client: address, bytes, digest and folder follow.
const CLIENT: &str = "--pull";

/// What is written at once when nothing is pulled.
const BLOCK_BYTES: usize = 1 << 20;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if let Some(at) = arguments.iter().position(|argument| argument == CLIENT) {
        return client(&arguments[at + 1..]);
    }
    let bytes = std::env::var("PULL_BYTES").map_or(4 << 30, |bytes| bytes.parse().unwrap());
    let served = Served::start(bytes, Behaviour::default());
    let digest = served.digest().to_string();
    let folders = match std::env::var("PULL_FOLDER") {
        Ok(folder) => vec![folder],
        Err(_) => vec!["/dev/shm".to_owned(), std::env::temp_dir().display().to_string()],
    };
    println!(
        "| to | GB | written alone, GB/s | again | pulled, GB/s until whole | with fsync | processor, s per GB | peak memory, MiB |\n|---|---|---|---|---|---|---|---|"
    );
    for folder in folders.iter().filter(|folder| Path::new(folder).is_dir()) {
        let folder = tempfile::tempdir_in(folder).unwrap();
        let path = folder.path().display().to_string();
        let alone = [(); 2].map(|()| written(&folder.path().join("alone"), bytes));
        print!("| {path} | {:.2} | {:.2} | {:.2} ", bytes as f64 / 1e9, alone[0], alone[1]);
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args([CLIENT, &served.url(), &bytes.to_string(), &digest, &path]);
        let output = command.output().unwrap();
        print!(
            "{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }
}

fn client(arguments: &[String]) {
    let [url, bytes, digest, folder] = arguments else { panic!("four arguments") };
    let bytes: u64 = bytes.parse().unwrap();
    let wanted = Wanted {
        addresses: vec![url.parse().unwrap()],
        bytes: Some(bytes),
        digest: Some(digest.parse::<Sha256>().unwrap()),
        name: "file.bin".to_owned(),
    };
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().worker_threads(2).build().unwrap();
    let began = Instant::now();
    let seen = watch::Sender::new(Seen::default());
    let mut watched = seen.subscribe();
    let whole = runtime.spawn(async move {
        let whole = watched.wait_for(|seen| seen.done_bytes == bytes).await.map(drop);
        whole.map(|()| Instant::now())
    });
    let fetched = runtime.block_on(async {
        let outside = Outside::new(Options { proxies: false, ..Options::default() }).unwrap();
        fetch(&outside, &wanted, Path::new(folder), &Terms::default(), &seen).await.unwrap()
    });
    let all_s = began.elapsed().as_secs_f64();
    let whole = runtime.block_on(whole).unwrap();
    let whole_s = whole.map_or(all_s, |at| (at - began).as_secs_f64());
    let gb = fetched.bytes as f64 / 1e9;
    let peak_mib = peak_kib() / 1024;
    let processor_s = processor_s() / gb;
    let (whole, all) = (gb / whole_s, gb / all_s);
    println!("| {whole:.2} | {all:.2} | {processor_s:.2} | {peak_mib} |");
}

/// GB/s at which one thread writes a file of so many bytes, which is removed again.
fn written(path: &Path, bytes: u64) -> f64 {
    let block = vec![1; BLOCK_BYTES];
    let began = Instant::now();
    let mut file = File::create(path).unwrap();
    let mut left = bytes;
    while left > 0 {
        let piece = left.min(block.len() as u64);
        file.write_all(&block[..piece as usize]).unwrap();
        left -= piece;
    }
    let seconds = began.elapsed().as_secs_f64();
    std::fs::remove_file(path).unwrap();
    bytes as f64 / 1e9 / seconds
}

/// What this process took of the processors, where the system says so: on a busy machine it says more than the clock.
fn processor_s() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
    let ticks =
        fields.split_whitespace().skip(11).take(2).filter_map(|ticks| ticks.parse::<u32>().ok());
    // A hundred a second, on every Linux.
    f64::from(ticks.sum::<u32>()) / 100.0
}

/// The most memory that this process had, where the system says so.
fn peak_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}
