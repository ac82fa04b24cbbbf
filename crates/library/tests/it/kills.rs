//! A pull that is killed again and again, at any moment: it finishes, and fetches hardly a byte twice.
//!
//! `PULL_KILLS=200 PULL_BYTES=2147483648 cargo test -p library --test it kills -- --nocapture` is the long run.

use std::{
    process::{Child, Command},
    sync::Arc,
    time::Duration,
};

use library::{digest::Hasher, transfer::Wanted};

use crate::{
    pulls::content,
    server::{Answer, Body, Server},
};

/// Of the server, in bytes per second and connection. What a kill costs is what came within some milliseconds.
const RATE: u64 = 1_000_000;
/// As many as a pull has by default.
const CONNECTIONS: u64 = 8;
/// The content repeats after so many bytes, a prime.
const PERIOD: usize = 1_048_573;

fn setting(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).map_or(otherwise, |value| value.parse().unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_survives_kills_at_any_moment() {
    let (kills, bytes) = (setting("PULL_KILLS", 20), setting("PULL_BYTES", 160_000_000));
    let period = content(PERIOD);
    let served = Arc::clone(&period);
    let server = Server::start(move |request| {
        let (first, last) = request.range.unwrap();
        let last = last.min(bytes - 1);
        let length = last + 1 - first;
        let head = format!(
            "206 Partial Content\r\ncontent-length: {length}\r\ncontent-range: bytes {first}-{last}/{bytes}\r\n"
        );
        let period = Arc::clone(&served);
        Answer { head, body: Body::Paced { period, from: first, to: last + 1, rate: RATE } }
    })
    .await;
    let mut hasher = Hasher::new();
    for at in (0..bytes).step_by(PERIOD) {
        hasher.update(&period[..(bytes - at).min(PERIOD as u64) as usize]);
    }
    let digest = hasher.finish();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().display().to_string();
    let arguments = [server.url("/file"), bytes.to_string(), digest.to_string(), path];
    let start =
        || Command::new(env!("CARGO_BIN_EXE_library-fixture-pull")).args(&arguments).spawn();
    // So that all kills come before the end: half of them within this, half between it and twice of it.
    let life = Duration::from_secs_f64(bytes as f64 / (RATE * CONNECTIONS * kills) as f64);
    let mut state = setting("PULL_SEED", 1);
    let mut killed = 0;
    while killed < kills {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let share = (state >> 32) as f64 / f64::from(u32::MAX);
        let mut child = Running(start().unwrap());
        tokio::time::sleep(life.mul_f64(2.0 * share)).await;
        if child.0.try_wait().unwrap().is_some() {
            break;
        }
        drop(child);
        killed += 1;
    }
    let status = tokio::task::spawn_blocking({
        let mut child = Running(start().unwrap());
        move || child.0.wait().unwrap()
    });
    assert!(status.await.unwrap().success());
    let wanted =
        Wanted { addresses: vec![], bytes: Some(bytes), digest: Some(digest), name: String::new() };
    assert_eq!(library::transfer::kept_bytes(&wanted, folder.path()), bytes);
    server.is_done().await;
    let share = server.sent_bytes() as f64 / bytes as f64;
    println!("{killed} kills, {bytes} bytes: sent {share:.3} times the file");
    assert!(killed >= kills / 2 && share < 1.1, "{killed} kills, {share}");
}

/// A process that does not outlive the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // SIGKILL, where there is one. It may be over already.
        let _over = self.0.kill();
        let _over = self.0.wait();
    }
}
