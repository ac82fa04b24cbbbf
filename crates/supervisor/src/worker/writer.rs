//! Writes frames to a worker's standard input.

use std::time::Duration;

use tokio::{io::AsyncWriteExt, process::ChildStdin, sync::mpsc, time::timeout};

/// Writes frames as they come, and returns only when that is no longer possible: what the worker
/// did wrong, or nothing if it merely closed the pipe. Dropping the future closes the pipe.
pub(super) async fn write(
    stdin: Option<ChildStdin>,
    mut frames: mpsc::Receiver<Vec<u8>>,
    wait_max: Duration,
) -> String {
    let Some(mut stdin) = stdin else { return String::new() };
    while let Some(frame) = frames.recv().await {
        let written = timeout(wait_max, async {
            stdin.write_all(&frame).await?;
            stdin.flush().await
        });
        match written.await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => return String::new(),
            Err(_) => return format!("it did not read a command for {} s", wait_max.as_secs_f32()),
        }
    }
    String::new()
}
