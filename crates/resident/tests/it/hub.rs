//! A hub of its own for each test: started, asked, looked into, killed.

use std::fs::{self, File};
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use crate::http::{Answer, Request, Stream};
use crate::process::Process;

/// No condition that tests wait for takes nearly as long, even on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Between two looks at a condition.
const LOOK_INTERVAL: Duration = Duration::from_millis(10);

/// A running hub with a data folder of its own. It is killed when dropped.
#[derive(Debug)]
pub(crate) struct Hub {
    process: Child,
    pub(crate) address: SocketAddr,
    folder: TempDir,
}

impl Hub {
    /// A hub that answers, started with these further arguments of `resident serve`.
    pub(crate) fn start(arguments: &[&str]) -> Self {
        Self::start_with(|command| {
            command.args(arguments);
        })
    }

    /// A hub with a configuration file of this text, which it keeps in `folder`.
    #[cfg(unix)]
    pub(crate) fn configured(folder: &Path, text: &str) -> Self {
        Self::configured_with(folder, text, |_| {})
    }

    /// The same, started in another way.
    pub(crate) fn configured_with(
        folder: &Path,
        text: &str,
        adjust: impl FnOnce(&mut Command),
    ) -> Self {
        use std::os::unix::fs::PermissionsExt;

        let file = folder.join("config.toml");
        fs::write(&file, text).unwrap();
        // One that others may write is refused, since it says which programs are started.
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        Self::start_with(|command| {
            command.arg("--config").arg(file);
            adjust(command);
        })
    }

    /// A hub with the small model that tells stories, or `None` when the model is not here.
    pub(crate) fn with_stories(arguments: &[&str]) -> Option<Self> {
        let model = format!("stories={}", stories()?.display());
        Some(Self::start(&[&["--model", &model], arguments].concat()))
    }

    /// A hub that answers, started with whatever `adjust` adds to the command.
    pub(crate) fn start_with(adjust: impl FnOnce(&mut Command)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let address = free_address();
        let mut command = serve(&binary("resident"), folder.path(), address);
        adjust(&mut command);
        Self::spawn(&mut command, folder, address)
    }

    /// Spawns a prepared command and waits until it answers.
    pub(crate) fn spawn(command: &mut Command, folder: TempDir, address: SocketAddr) -> Self {
        let process = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let mut hub = Self { process, address, folder };
        let begun = Instant::now();
        loop {
            if Request::get("/health").send(address).is_ok_and(|answer| answer.status == 200) {
                return hub;
            }
            let ended = hub.process.try_wait().unwrap();
            assert!(ended.is_none(), "the hub ended ({ended:?}):\n{}", hub.log());
            assert!(begun.elapsed() < PATIENCE, "the hub does not answer:\n{}", hub.log());
            thread::sleep(LOOK_INTERVAL);
        }
    }

    pub(crate) fn data_dir(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.id()
    }

    /// What the hub wrote to its output so far.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(log_file(self.folder.path())).unwrap_or_default()
    }

    pub(crate) fn try_send(&self, request: &Request) -> io::Result<Answer> {
        request.send(self.address)
    }

    #[track_caller]
    pub(crate) fn send(&self, request: &Request) -> Answer {
        self.try_send(request)
            .unwrap_or_else(|error| panic!("no answer: {error}; the hub's log:\n{}", self.log()))
    }

    #[track_caller]
    pub(crate) fn get(&self, path: &str) -> Answer {
        self.send(&Request::get(path))
    }

    #[track_caller]
    pub(crate) fn post(&self, path: &str, body: &Value) -> Answer {
        self.send(&Request::post(path, body))
    }

    /// Asks for a stream, which must begin well.
    #[track_caller]
    pub(crate) fn stream(&self, path: &str, body: &Value) -> Stream {
        let stream = Request::post(path, body).open(self.address).unwrap();
        assert_eq!(stream.status, 200, "{body}; the hub's log:\n{}", self.log());
        stream
    }

    /// The control token.
    pub(crate) fn token(&self) -> String {
        fs::read_to_string(self.data_dir().join("token")).unwrap().trim().to_owned()
    }

    /// A control route's answer.
    #[track_caller]
    pub(crate) fn control(&self, path: &str) -> Value {
        let token = format!("Bearer {}", self.token());
        self.send(&Request::get(path).header("authorization", &token)).ok()
    }

    /// What the hub says of its only resident model; `Null` when there is none.
    #[track_caller]
    pub(crate) fn resident(&self) -> Value {
        let mut answer = self.control("/resident/v1/ps");
        let list = answer["residents"].as_array_mut().expect("a list of models");
        assert!(list.len() < 2, "{list:?}");
        list.pop().unwrap_or_default()
    }

    /// The hub's workers.
    pub(crate) fn workers(&self) -> Vec<Process> {
        Process::children_of(self.pid(), "resident-llama")
    }

    /// Waits until `condition` gives something.
    #[track_caller]
    pub(crate) fn wait_for<T>(&self, what: &str, condition: impl FnMut() -> Option<T>) -> T {
        match within(PATIENCE, condition) {
            Some(found) => found,
            None => panic!("waited in vain for {what}; the hub's log:\n{}", self.log()),
        }
    }

    /// Waits until no request runs or waits.
    #[track_caller]
    pub(crate) fn wait_until_idle(&self) {
        self.wait_for("the model to be idle", || {
            let resident = self.resident();
            let busy = ["leased", "waiting"].iter().any(|key| resident[*key] != 0);
            (resident.is_null() || !busy).then_some(())
        });
    }

    /// Kills the hub as the system would, and gives back its folder.
    pub(crate) fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// Asks the hub to end.
    pub(crate) fn terminate(&self) {
        Process::of(self.pid()).expect("a running hub").terminate();
    }

    /// Asks the hub to read its configuration again.
    #[cfg(unix)]
    pub(crate) fn hang_up(&self) {
        Process::of(self.pid()).expect("a running hub").hang_up();
    }

    /// How the hub ended, if it has within `patience`.
    pub(crate) fn ended_within(&mut self, patience: Duration) -> Option<ExitStatus> {
        within(patience, || self.process.try_wait().unwrap())
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        if thread::panicking() {
            let log = self.log();
            let begin = log.len().saturating_sub(8_000);
            println!("the hub's log ends:\n{}", log.get(begin..).unwrap_or(&log));
        }
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// `resident serve`, without anything that the caller's environment would set.
pub(crate) fn serve(program: &Path, folder: &Path, address: SocketAddr) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("RESIDENT_") {
            command.env_remove(name);
        }
    }
    // Texts are compared to the letter, and a step of several guesses rounds otherwise than one without.
    // Tests of guessing say so in the model's own table, which wins.
    command.env("RESIDENT_SPECULATION", "off");
    let log = File::options().create(true).append(true).open(log_file(folder)).unwrap();
    command
        .arg("serve")
        .args(["--listen", &address.to_string()])
        .arg("--data-dir")
        .arg(folder)
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log);
    command
}

fn log_file(folder: &Path) -> PathBuf {
    folder.join("output-of-the-hub.txt")
}

/// An address that nobody listens on at this moment.
pub(crate) fn free_address() -> SocketAddr {
    TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap()
}

/// What `look` finds, if it finds anything in time.
pub(crate) fn within<T>(patience: Duration, mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let begun = Instant::now();
    loop {
        if let Some(found) = look() {
            return Some(found);
        }
        if begun.elapsed() > patience {
            return None;
        }
        thread::sleep(LOOK_INTERVAL);
    }
}

/// One of the programs under test.
pub(crate) fn binary(name: &str) -> PathBuf {
    let folder = std::env::var_os("RESIDENT_BIN_DIR")
        .map_or_else(|| workspace().join("target/release"), PathBuf::from);
    let path = folder.join(format!("{name}{}", std::env::consts::EXE_SUFFIX));
    assert!(path.is_file(), "{} is missing: run `cargo build --release` first", path.display());
    path
}

pub(crate) fn workspace() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    root.canonicalize().expect("the workspace")
}

/// A file of the test data, or `None`, said in the test's output, when there is none.
pub(crate) fn shared(path: &str) -> Option<PathBuf> {
    let folder = std::env::var_os("RESIDENT_SHARED_DIR")
        .map_or_else(|| workspace().join("../shared"), PathBuf::from);
    let file = folder.join(path);
    if !file.exists() {
        println!("skipped: {path} is not in the test data folder (RESIDENT_SHARED_DIR)");
        return None;
    }
    Some(file)
}

/// The small model that tells stories.
pub(crate) fn stories() -> Option<PathBuf> {
    shared("models/stories260K.gguf")
}

/// The small model that answers questions and calls tools; it is part of the repository.
pub(crate) fn demo() -> PathBuf {
    let demo = workspace().join("models/demo/resident-demo.gguf");
    assert!(demo.is_file(), "{} is missing; models/demo makes it", demo.display());
    demo
}
