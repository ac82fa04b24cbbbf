//! A gateway and its supervisor on a folder of their own.

use std::{
    collections::BTreeSet,
    fs,
    net::SocketAddr,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use gateway::{Config, bind};
use supervisor::{
    Engine, GgufFile, Handle, Model, Models, OpenPool, Patience, Pressure, Residence, Roles,
};
use tempfile::TempDir;
use tokio::{
    sync::{oneshot, watch},
    task::JoinHandle,
};

use crate::client::{DEADLINE, within};
use crate::gguf;

/// More than anything here takes.
pub(crate) const BUDGET_BYTES: u64 = 1 << 40;

/// Weights of a model; the fixture itself holds a few MB.
pub(crate) const WEIGHTS_BYTES: u64 = 50_000_000;

pub(crate) const TOKEN: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

/// One model `m`, served by fixtures, behind a gateway on a port of the system's choice.
pub(crate) struct Site {
    pub(crate) address: SocketAddr,
    pub(crate) hub: Handle,
    stop: oneshot::Sender<()>,
    server: JoinHandle<()>,
    pub(crate) folder: TempDir,
}

impl Site {
    pub(crate) async fn new() -> Self {
        Self::with(config()).await
    }

    pub(crate) async fn with(config: Config) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let hub = hub(folder.path());
        Self::serving(config, hub, folder).await
    }

    /// Models of these names, each with a file of its own, a context and so many bytes of weights.
    pub(crate) async fn with_models(
        config: Config,
        models: &[(&str, u32)],
        roles: Roles,
        budget_bytes: u64,
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut files = Vec::new();
        for (name, context_tokens) in models {
            let path = folder.path().join(format!("{name}.gguf"));
            gguf::write(&path, WEIGHTS_BYTES);
            files.push(model(name, &path, Some(*context_tokens)));
        }
        let mut supervision = supervision(folder.path());
        (supervision.settings.roles, supervision.settings.budget_bytes) = (roles, budget_bytes);
        let hub = supervisor::start(supervision, Arc::new(Several(files))).0;
        Self::serving(config, hub, folder).await
    }

    /// Whatever models these are.
    pub(crate) async fn with_engines(config: Config, models: Vec<Model>, roles: Roles) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut supervision = supervision(folder.path());
        supervision.settings.roles = roles;
        let hub = supervisor::start(supervision, Arc::new(Several(models))).0;
        Self::serving(config, hub, folder).await
    }

    async fn serving(config: Config, hub: Handle, folder: TempDir) -> Self {
        let server = bind(config, hub.clone()).await.unwrap();
        let address = server.local_addr();
        let (stop, stopped) = oneshot::channel();
        let server = tokio::spawn(server.run(async {
            let _ = stopped.await;
        }));
        Self { address, hub, stop, server, folder }
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

    /// Waits until no model is in memory.
    pub(crate) async fn until_empty(&self) {
        let deadline = Instant::now() + DEADLINE;
        while !self.hub.residents().await.is_empty() {
            assert!(Instant::now() < deadline, "a model stays");
            tokio::task::yield_now().await;
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
        raw_grammars: false,
        control_token: TOKEN.to_owned(),
        require_token: false,
        tools: Vec::new(),
        changes: None,
        library: None,
        knowledge: None,
    }
}

/// A supervisor with the one model.
pub(crate) fn hub(folder: &Path) -> Handle {
    gguf::write(&folder.join("m.gguf"), WEIGHTS_BYTES);
    let path = folder.join("m.gguf");
    let models = vec![model("m", &path, None), model("m 二", &path, None)];
    supervisor::start(supervision(folder), Arc::new(Several(models))).0
}

fn supervision(folder: &Path) -> supervisor::Config {
    supervisor::Config {
        settings: supervisor::Settings {
            worker: env!("CARGO_BIN_EXE_gateway-fixture-worker").into(),
            budget_bytes: BUDGET_BYTES,
            exclusive_groups: BTreeSet::new(),
            idle_unload: Duration::MAX,
            sequences_max: 4,
            threads: None,
            context_tokens: None,
            kv_type: Default::default(),
            roles: Default::default(),
            prefer_resident: true,
            keep: None,
        },
        guard: vec![env!("CARGO_BIN_EXE_gateway-fixture-guard").into()],
        // Never told: the machine's real state would make tests depend on it.
        pressure: Some(watch::channel(Pressure::Calm).1),
        logs_dir: folder.join("logs"),
        journal: None,
        place: supervisor::Place::Processor,
        patience: Patience::default(),
    }
}

pub(crate) fn model(name: &str, path: &Path, context_tokens: Option<u32>) -> Model {
    Model {
        name: name.to_owned(),
        engine: Engine::Worker(GgufFile {
            path: path.to_owned(),
            file_bytes: fs::metadata(path).unwrap().len(),
            modified_unix_s: 1_700_000_000,
            context_tokens,
            kv_type: None,
            keep: None,
            speculation: Default::default(),
            projector: None,
            adapters: Vec::new(),
            chat_template: None,
        }),
        residence: Residence::default(),
        kept: None,
    }
}

struct Several(Vec<Model>);

impl Models for Several {
    fn list(&self) -> Vec<Model> {
        self.0.clone()
    }

    fn find(&self, name: &str) -> Option<Model> {
        self.list().into_iter().find(|model| model.name == name)
    }

    fn open_pools(&self) -> Vec<OpenPool> {
        Vec::new()
    }
}
