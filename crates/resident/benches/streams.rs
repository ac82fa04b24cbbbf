//! What the hub adds to a token that an engine has ready, with many streams at once, in each dialect.
//!
//! Run with `cargo bench -p resident --bench streams`. This program is the client, and, started by the hub
//! as its worker, the engine too: one that plays a model and writes into each token when it was ready
//! (`streams/engine.rs`). The client compares that with when the bytes came (`streams/client.rs`). So a
//! figure has the engine's pipe, the hub, HTTP and the client's own reading in it, and all processes
//! share this machine.
//!
//! Not here: what encoding a token costs by itself (`cargo bench -p dialect`), and what the hub adds to a
//! real worker (`resident bench`).
#![expect(clippy::print_stdout, reason = "a bench shows its figures there")]

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail, ensure};

#[path = "streams/client.rs"]
mod client;
#[path = "streams/engine.rs"]
mod engine;
#[expect(dead_code, reason = "tests bend files in more ways")]
#[path = "../tests/it/gguf.rs"]
mod gguf;

/// Streams at once.
const STREAMS: usize = 200;

/// Tokens of each stream, of which the first are not counted: all streams begin at once.
const TOKENS: usize = 120;
const TOKENS_SPARED: usize = 20;

/// Between two tokens of a stream: 20 tokens a second, faster than people read.
const INTERVAL: Duration = Duration::from_millis(50);

/// What half of the tokens, and 99 of 100, may be late at most.
const P50_MAX: Duration = Duration::from_micros(100);
const P99_MAX: Duration = Duration::from_millis(1);

/// Until a hub answers.
const START_WAIT: Duration = Duration::from_secs(20);

/// When the engine has its tokens ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Beat {
    /// Each stream at its own moments, as with one engine for each.
    Spread,
    /// All streams at once, as after the step of a batch.
    Step,
}

impl Beat {
    const ALL: [Self; 2] = [Self::Spread, Self::Step];

    fn word(self) -> &'static str {
        match self {
            Self::Spread => "spread",
            Self::Step => "step",
        }
    }
}

fn main() -> anyhow::Result<()> {
    // Cargo says `--bench`, the hub says nothing.
    if std::env::args().nth(1).is_none() {
        return engine::run();
    }
    let folder = tempfile::tempdir()?;
    let hub = Hub::start(folder.path())?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    println!(
        "{STREAMS} streams, {} tokens/s each, milliseconds from the engine to the client",
        1000 / INTERVAL.as_millis()
    );
    println!("{:<12}{:<8}{:>9}{:>9}{:>9}{:>10}", "dialect", "beat", "p50", "p99", "max", "tokens");
    let mut late = Vec::new();
    for beat in Beat::ALL {
        for dialect in client::Dialect::ALL {
            let delays = runtime.block_on(client::measure(hub.address, dialect, beat))?;
            let [p50, p99, max] = spread(delays.clone())?;
            let shown = [p50, p99, max].map(|delay| delay.as_secs_f64() * 1000.0);
            println!(
                "{:<12}{:<8}{:>9.3}{:>9.3}{:>9.3}{:>10}",
                dialect.word(),
                beat.word(),
                shown[0],
                shown[1],
                shown[2],
                delays.len()
            );
            if p50 > P50_MAX || p99 > P99_MAX {
                late.push(format!("{} {}", dialect.word(), beat.word()));
            }
        }
    }
    if late.is_empty() {
        println!("p50 within {P50_MAX:?} and p99 within {P99_MAX:?}: met");
    } else {
        println!(
            "p50 within {P50_MAX:?} and p99 within {P99_MAX:?}: not met by {}",
            late.join(", ")
        );
    }
    Ok(())
}

/// Half of the delays are at most the first, 99 of 100 the second, all the third.
fn spread(mut delays: Vec<Duration>) -> anyhow::Result<[Duration; 3]> {
    delays.sort_unstable();
    let at =
        |percent: usize| delays.get((delays.len() * percent).div_ceil(100).max(1) - 1).copied();
    match [at(50), at(99), at(100)] {
        [Some(p50), Some(p99), Some(max)] => Ok([p50, p99, max]),
        _ => bail!("no token came"),
    }
}

/// A hub of its own, killed when dropped; its worker leaves with it.
struct Hub {
    process: Child,
    address: SocketAddr,
}

impl Hub {
    fn start(folder: &Path) -> anyhow::Result<Self> {
        let address = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
        let model = folder.join("model.gguf");
        fs::write(&model, gguf::File::small().bytes())?;
        let log = fs::File::create(folder.join("log"))?;
        let process = Command::new(env!("CARGO_BIN_EXE_resident"))
            .env("RESIDENT_WORKER", std::env::current_exe()?)
            .args(["serve", "--listen", &address.to_string(), "--idle-unload", "never"])
            .args(["--parallel", &STREAMS.to_string()])
            .arg("--data-dir")
            .arg(folder)
            .arg("--model")
            .arg(format!("{}={}", client::MODEL, model.display()))
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("cannot start the hub")?;
        let mut hub = Self { process, address };
        let begun = Instant::now();
        while std::net::TcpStream::connect(address).is_err() {
            let log = || fs::read_to_string(folder.join("log")).unwrap_or_default();
            ensure!(hub.process.try_wait()?.is_none(), "the hub left:\n{}", log());
            ensure!(begun.elapsed() < START_WAIT, "the hub does not listen:\n{}", log());
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(hub)
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        // One that left already cannot be killed.
        self.process.kill().ok();
        self.process.wait().ok();
    }
}
