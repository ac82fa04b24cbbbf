//! Chores: what they say is heard, how they end is told, and nothing is left of them.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fs,
    future::{pending, ready},
    path::Path,
};

use supervisor::{Chore, chore::End};
use tokio::sync::oneshot;

/// Runs a shell script in `folder` until `stop`; what it said, and how it ended.
async fn run(folder: &Path, script: &str, stop: impl Future<Output = ()>) -> (Vec<String>, End) {
    let guard = [OsString::from(env!("CARGO_BIN_EXE_fixture-guard"))];
    let argv = ["sh", "-c", script].map(str::to_owned);
    let environment = BTreeMap::from([("GREETING".to_owned(), "hello".to_owned())]);
    let chore = Chore { guard: &guard, argv: &argv, environment: &environment, folder };
    let mut lines = Vec::new();
    let end = chore.run(|line| lines.push(line.to_owned()), stop).await.unwrap();
    (lines, end)
}

#[tokio::test]
async fn a_chore_runs_in_its_folder_and_each_line_is_heard() {
    let folder = tempfile::tempdir().unwrap();
    let script =
        "echo one; printf '10%%\\r20%%\\r\\n' >&2; echo $GREETING > made; printf 'a\\033[2Jb'";
    let (mut lines, end) = run(folder.path(), script, pending()).await;
    assert_eq!(end, End::Well);
    lines.sort();
    assert_eq!(lines, ["10%", "20%", "a [2Jb", "one"]);
    assert_eq!(fs::read_to_string(folder.path().join("made")).unwrap(), "hello\n");
}

#[tokio::test]
async fn how_a_chore_failed_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let (lines, end) = run(folder.path(), "echo why >&2; exit 3", pending()).await;
    assert_eq!(lines, ["why"]);
    assert_eq!(end, End::Badly("ended with exit status: 3".to_owned()));
    let (_, end) = run(folder.path(), "kill -9 $$", pending()).await;
    let End::Badly(how) = end else { panic!("{end:?}") };
    assert!(how.contains("SIGKILL"), "{how}");
    assert!(folder.path().is_dir(), "the folder is its maker's");
}

#[tokio::test]
async fn a_chore_that_is_stopped_is_gone_with_all_that_it_started() {
    let folder = tempfile::tempdir().unwrap();
    let (tell, told) = oneshot::channel();
    let guard = [OsString::from(env!("CARGO_BIN_EXE_fixture-guard"))];
    let script = "trap '' TERM INT; sleep 600 & echo $!; wait";
    let argv = ["sh", "-c", script].map(str::to_owned);
    let environment = BTreeMap::new();
    let chore =
        Chore { guard: &guard, argv: &argv, environment: &environment, folder: folder.path() };
    let mut tell = Some(tell);
    let mut sleeper = None;
    let said = |line: &str| {
        sleeper = line.parse().ok();
        if let Some(tell) = tell.take() {
            tell.send(()).unwrap();
        }
    };
    let stop = async { told.await.unwrap() };
    assert_eq!(chore.run(said, stop).await, Ok(End::Stopped));
    assert!(crate::hub::is_gone(sleeper.unwrap()), "what it started is left");
}

#[tokio::test]
async fn a_program_that_is_not_there_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let guard = [OsString::from(env!("CARGO_BIN_EXE_fixture-guard"))];
    let argv = ["no-such-program".to_owned()];
    let environment = BTreeMap::new();
    let chore =
        Chore { guard: &guard, argv: &argv, environment: &environment, folder: folder.path() };
    let mut lines = Vec::new();
    let end = chore.run(|line| lines.push(line.to_owned()), pending()).await.unwrap();
    assert_eq!(end, End::Badly("ended with exit status: 127".to_owned()));
    assert!(lines[0].starts_with("no-such-program: "), "{lines:?}");
    let chore = Chore { guard: &[], ..chore };
    let error = chore.run(|_| {}, ready(())).await.unwrap_err();
    assert!(error.contains("guard"), "{error}");
}
