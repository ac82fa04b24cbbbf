//! The guard alone: whatever happens to the hub or the program, nothing of the program is left.

use std::{
    fs,
    io::{Read, Write},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    time::Instant,
};

use tempfile::TempDir;

use crate::hub::{DEADLINE, is_gone};

const GUARD: &str = env!("CARGO_BIN_EXE_fixture-guard");
const ENGINE: &str = env!("CARGO_BIN_EXE_fixture-engine");

/// A guarded fixture, with the pipes of a hub.
fn guarded(arguments: &[&str]) -> Child {
    let mut command = Command::new(GUARD);
    command.args(["--", ENGINE]).args(arguments);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// Closes the guard's input, as the death of a hub does, and waits.
fn abandoned(mut guard: Child) -> Output {
    drop(guard.stdin.take());
    guard.wait_with_output().unwrap()
}

/// Waits while the hub is alive: with the guard's input open, which waiting would close.
fn ended(mut guard: Child) -> Output {
    let _hub = guard.stdin.take();
    guard.wait_with_output().unwrap()
}

/// Everything that descends from a process now.
fn descendants(root: u32) -> Vec<u32> {
    let Ok(tasks) = fs::read_dir(format!("/proc/{root}/task")) else { return Vec::new() };
    let mut found = Vec::new();
    for task in tasks.flatten() {
        let children = fs::read_to_string(task.path().join("children")).unwrap_or_default();
        for child in children.split_whitespace() {
            let child = child.parse().unwrap();
            found.push(child);
            found.extend(descendants(child));
        }
    }
    found
}

fn until<T>(mut found: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + DEADLINE;
    loop {
        if let Some(found) = found() {
            return found;
        }
        assert!(Instant::now() < deadline, "this takes far too long");
        std::thread::yield_now();
    }
}

/// The process whose number is in the file, once it is there.
fn hidden(file: &Path) -> u32 {
    until(|| fs::read_to_string(file).ok()?.parse().ok())
}

fn pid_file(folder: &TempDir) -> PathBuf {
    folder.path().join("pid")
}

#[test]
fn the_program_s_end_is_the_guard_s() {
    let guard = guarded(&["exits-at-start"]);
    let output = ended(guard);
    assert_eq!(output.status.code(), Some(3));
    assert_eq!(output.stderr, b"no such model here\n");
    let guard = guarded(&["says-so", "hello"]);
    let output = ended(guard);
    assert_eq!((output.status.code(), &*output.stdout), (Some(0), &b"hello\n"[..]));
}

#[test]
fn a_program_that_cannot_be_started_is_named() {
    let missing = Command::new(GUARD).args(["--", "/no/such/program"]).output().unwrap();
    assert_eq!(missing.status.code(), Some(127));
    let words = String::from_utf8(missing.stderr).unwrap();
    assert!(words.contains("/no/such/program") && words.contains("No such file"), "{words}");
}

#[test]
fn a_file_becomes_the_program_s_input() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("input");
    fs::write(&file, "said through a file").unwrap();
    let mut command = Command::new(GUARD);
    command.arg("--input").arg(&file).args(["--", ENGINE, "copies-input"]);
    let guard = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    assert_eq!(ended(guard).stdout, b"said through a file");
}

#[test]
fn the_program_s_folder_goes_only_with_the_hub() {
    for (word, hub_is_gone) in [("exits-at-start", false), ("sleeps", true)] {
        let outer = tempfile::tempdir().unwrap();
        let folder = outer.path().join("folder");
        fs::create_dir_all(folder.join("more")).unwrap();
        let mut command = Command::new(GUARD);
        command.arg("--folder").arg(&folder).args(["--", ENGINE, "says-so", "up", word]);
        let mut guard = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        guard.stdout.as_mut().unwrap().read_exact(&mut [0; 3]).unwrap();
        drop(if hub_is_gone { abandoned(guard) } else { ended(guard) });
        assert_eq!(folder.exists(), !hub_is_gone);
    }
}

#[test]
fn the_end_of_the_hub_ends_the_whole_tree() {
    let folder = tempfile::tempdir().unwrap();
    let file = pid_file(&folder);
    // Nothing but a kill ends these: they ignore signals, and one hides in a session of its own
    // after its parent has gone.
    let guard = guarded(&["ignores-signals", "leaks", file.to_str().unwrap(), "sleeps"]);
    let hidden = hidden(&file);
    let tree = descendants(guard.id());
    assert!(tree.contains(&hidden) && tree.len() >= 2, "{hidden} in {tree:?}");
    assert_eq!(abandoned(guard).status.code(), Some(128 + 9));
    for pid in tree {
        assert!(is_gone(pid), "process {pid} is left");
    }
}

#[test]
fn what_a_program_leaves_behind_at_its_end_is_ended() {
    let folder = tempfile::tempdir().unwrap();
    let file = pid_file(&folder);
    // Stopped by a signal it obeys, which its grandchild never hears.
    let mut guard = guarded(&["leaks", file.to_str().unwrap(), "sleeps"]);
    let hidden = hidden(&file);
    guard.stdin.as_mut().unwrap().write_all(b"T").unwrap();
    assert_eq!(ended(guard).status.code(), Some(128 + 15));
    assert!(is_gone(hidden), "process {hidden} is left");
}

#[test]
fn each_signal_is_passed_on() {
    for (letter, signal) in [(b"T", 15), (b"I", 2)] {
        let mut guard = guarded(&["says-so", "up", "sleeps"]);
        // It does not wait for its end before it is really there.
        guard.stdout.as_mut().unwrap().read_exact(&mut [0; 3]).unwrap();
        guard.stdin.as_mut().unwrap().write_all(letter).unwrap();
        assert_eq!(ended(guard).status.code(), Some(128 + signal));
    }
}

#[test]
fn a_signal_from_outside_does_not_end_the_guard_before_its_program() {
    let mut guard = guarded(&["ignores-signals", "says-so", "up", "sleeps"]);
    guard.stdout.as_mut().unwrap().read_exact(&mut [0; 3]).unwrap();
    let tree = descendants(guard.id());
    for signal in ["-TERM", "-INT"] {
        let pid = guard.id().to_string();
        assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
    }
    // Had a signal ended it, nobody would have killed the program.
    assert_eq!(abandoned(guard).status.code(), Some(128 + 9));
    assert!(tree.into_iter().all(is_gone));
}

#[test]
fn a_killed_hub_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let file = pid_file(&folder);
    // A stand-in for the hub, which holds the guard's input until it is killed.
    let mut hub = Command::new("sh")
        .args(["-c", "sleep 1000 | \"$@\"", "hub", GUARD, "--", ENGINE])
        .args(["ignores-signals", "leaks", file.to_str().unwrap(), "sleeps"])
        .process_group(0)
        .spawn()
        .unwrap();
    let hidden = hidden(&file);
    let tree = descendants(hub.id());
    assert!(tree.contains(&hidden) && tree.len() >= 3, "{hidden} in {tree:?}");
    let group = format!("-{}", hub.id());
    assert!(Command::new("kill").args(["-KILL", "--", &group]).status().unwrap().success());
    hub.wait().unwrap();
    until(|| tree.iter().all(|pid| !runs(*pid)).then_some(()));
}

/// Whether a process runs. One that only waits to be reaped does not: that is up to whoever took
/// the orphans of the hub.
fn runs(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, state)| !state.starts_with('Z'))
}
