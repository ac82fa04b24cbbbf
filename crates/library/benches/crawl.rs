//! A server whose connections slow to a crawl behind 50 MB each, beside a healthy one and other programs.
//!
//! `cargo bench -p library --bench crawl`; `PULL_BYTES` says how much. `curl` and `aria2c` take part where they are
//! installed, and are stopped when they have taken ten times as long as a healthy server needs.

#![expect(clippy::print_stdout, reason = "a bench says what it found")]
#![expect(clippy::unwrap_used, reason = "a bench that cannot go on panics")]

mod served;

use std::{
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use library::{
    outside::{Options, Outside},
    transfer::{Seen, Terms, Wanted, fetch},
};
use served::{Behaviour, Served};
use tokio::sync::watch;

/// Bytes per second of a healthy connection.
const RATE: u64 = 10_000_000;
/// Behind so many bytes a connection crawls.
const BORNE_BYTES: u64 = 50_000_000;
/// So fast.
const CRAWL: u64 = 100_000;

fn main() {
    let bytes = std::env::var("PULL_BYTES").map_or(2_000_000_000, |bytes| bytes.parse().unwrap());
    let connections = Terms::default().connections as u64;
    let healthy_s = bytes as f64 / (RATE * connections) as f64;
    println!(
        "{} MB at {} MB/s a connection; the crawling ones have {} kB/s behind {} MB\n",
        bytes / 1_000_000,
        RATE / 1_000_000,
        CRAWL / 1000,
        BORNE_BYTES / 1_000_000
    );
    println!(
        "| program | server | seconds | beside resident, healthy | sent, MB |\n|---|---|---|---|---|"
    );
    let patience = Duration::from_secs_f64(10.0 * healthy_s);
    let mut reference = None;
    for (name, crawl) in [("healthy", None), ("crawling", Some((BORNE_BYTES, CRAWL)))] {
        let behaviour = Behaviour { rate: Some(RATE), crawl };
        let served = Served::start(bytes, behaviour);
        let took = pull(&served);
        let reference = *reference.get_or_insert(took.as_secs_f64());
        line("resident", name, &served, Some(took), reference, patience);
        let url = served.url();
        let programs: [(&str, &[&str]); 2] = [
            ("curl", &["--silent", "--continue-at", "-", "--output", "file.bin", &url]),
            (
                "aria2c",
                &[
                    "--quiet",
                    "--split=8",
                    "--max-connection-per-server=8",
                    "--min-split-size=8M",
                    &url,
                ],
            ),
        ];
        for (program, arguments) in programs {
            let served = Served::start(bytes, behaviour);
            let url = served.url();
            let mut arguments = arguments.to_vec();
            arguments.pop();
            arguments.push(&url);
            if let Ok(took) = run(program, &arguments, patience) {
                line(program, name, &served, took, reference, patience);
            }
        }
    }
}

fn line(
    program: &str,
    server: &str,
    served: &Served,
    took: Option<Duration>,
    reference: f64,
    patience: Duration,
) {
    let sent_mb = served.sent_bytes() / 1_000_000;
    match took.map(|took| took.as_secs_f64()) {
        Some(s) => println!("| {program} | {server} | {s:.1} | {:.2} | {sent_mb} |", s / reference),
        None => {
            let s = patience.as_secs_f64();
            println!(
                "| {program} | {server} | over {s:.0} | over {:.1} | {sent_mb} |",
                s / reference
            );
        }
    }
}

fn pull(served: &Served) -> Duration {
    let folder = tempfile::tempdir().unwrap();
    let wanted = Wanted {
        addresses: vec![served.url().parse().unwrap()],
        bytes: Some(served.bytes),
        digest: Some(served.digest()),
        name: "file.bin".to_owned(),
    };
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().worker_threads(2).build().unwrap();
    let began = Instant::now();
    runtime.block_on(async {
        let outside = Outside::new(Options { proxies: false, ..Options::default() }).unwrap();
        let seen = watch::Sender::new(Seen::default());
        fetch(&outside, &wanted, folder.path(), &Terms::default(), &seen).await.unwrap();
    });
    began.elapsed()
}

/// How long `program` took, or nothing if it was not done in time.
fn run(program: &str, arguments: &[&str], patience: Duration) -> std::io::Result<Option<Duration>> {
    let folder = tempfile::tempdir()?;
    let began = Instant::now();
    let mut command = Command::new(program);
    command.args(arguments).current_dir(Path::new(folder.path())).stdout(Stdio::null());
    let mut child = command.spawn()?;
    while began.elapsed() < patience {
        if child.try_wait()?.is_some() {
            return Ok(Some(began.elapsed()));
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    child.kill()?;
    child.wait()?;
    Ok(None)
}
