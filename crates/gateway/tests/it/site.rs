//! A gateway and its supervisor on a folder of their own.

use std::{
    collections::BTreeSet,
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use gateway::{Config, bind};
use supervisor::{Engine, GgufFile, Handle, Model, Models, Patience, Pressure, Residence};
use tempfile::TempDir;
use tokio::{
    sync::{oneshot, watch},
    task::JoinHandle,
};

use crate::client::{DEADLINE, within};
use crate::gguf;

pub(crate) const TOKEN: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

/// One model `m`, served by fixtures, behind a gateway on a port of the system's choice.
pub(crate) struct Site {
    pub(crate) address: SocketAddr,
    pub(crate) hub: Handle,
    stop: oneshot::Sender<()>,
    server: JoinHandle<()>,
    _folder: TempDir,
}

impl Site {
    pub(crate) async fn new() -> Self {
        Self::with(config()).await
    }

    pub(crate) async fn with(config: Config) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let hub = hub(folder.path());
        let server = bind(config, hub.clone()).await.unwrap();
        let address = server.local_addr();
        let (stop, stopped) = oneshot::channel();
        let server = tokio::spawn(server.run(async {
            let _ = stopped.await;
        }));
        Self { address, hub, stop, server, _folder: folder }
    }

    /// Waits until so many requests hold the model.
    pub(crate) async fn until_leased(&self, requests: u32) {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let residents = self.hub.residents().await;
            let leased: u32 = residents.iter().map(|resident| resident.leased).sum();
            if leased == requests {
                return;
            }
            assert!(Instant::now() < deadline, "{leased} requests hold the model");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// Goes down in order.
    pub(crate) async fn ends(self) {
        self.stop.send(()).unwrap();
        within(self.server).await.unwrap();
        within(self.hub.shutdown()).await;
    }
}

pub(crate) fn config() -> Config {
    Config {
        listen: "127.0.0.1:0".parse().unwrap(),
        key: None,
        allow_lan: false,
        hosts: vec!["mini.local".to_owned()],
        origins: vec!["https://chat.example".to_owned()],
        control_token: TOKEN.to_owned(),
        tools: Vec::new(),
    }
}

/// A supervisor with the one model.
pub(crate) fn hub(folder: &Path) -> Handle {
    gguf::write(&folder.join("m.gguf"), 50_000_000);
    let config = supervisor::Config {
        worker: env!("CARGO_BIN_EXE_gateway-fixture-worker").into(),
        guard: vec![env!("CARGO_BIN_EXE_gateway-fixture-guard").into()],
        // Never told: the machine's real state would make tests depend on it.
        pressure: Some(watch::channel(Pressure::Calm).1),
        logs_dir: folder.join("logs"),
        budget_bytes: 1 << 40,
        exclusive_groups: BTreeSet::new(),
        journal: None,
        idle_unload: Duration::MAX,
        sequences_max: 4,
        threads: None,
        context_tokens: None,
        place: supervisor::Place::Processor,
        patience: Patience::default(),
    };
    supervisor::start(config, Arc::new(One(folder.join("m.gguf")))).0
}

struct One(PathBuf);

impl Models for One {
    fn list(&self) -> Vec<Model> {
        let file_bytes = fs::metadata(&self.0).unwrap().len();
        let named = |name: &str| Model {
            name: name.to_owned(),
            engine: Engine::Worker(GgufFile {
                path: self.0.clone(),
                file_bytes,
                modified_unix_s: 1_700_000_000,
                context_tokens: None,
            }),
            residence: Residence::default(),
        };
        vec![named("m"), named("m 二")]
    }

    fn find(&self, name: &str) -> Option<Model> {
        self.list().into_iter().find(|model| model.name == name)
    }
}
