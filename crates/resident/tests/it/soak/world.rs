//! The hubs of a soak, their models and their folder; asking them, killing them.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::talk::{self, COMPLETIONS, Manner, Random, Tongue, Turn};
use super::verdict::Said;
use super::watch::Watch;
use crate::http::Request;
use crate::hub::{self, Hub, PATIENCE, within};
use crate::kv_folder;
use crate::made;
use crate::process::Process;

/// The hub that lives all the time.
pub(super) const FIRST: &str = "first";
/// The hub that is killed now and then.
pub(super) const SECOND: &str = "second";
/// The hub that keeps nothing.
pub(super) const UNCACHED: &str = "uncached";

/// The model that stays in memory in all hubs, and is not killed.
pub(super) const STEADY: &str = "steady";

/// Configuration files.
const CACHED: &str = "cached.toml";
const NOT_CACHED: &str = "uncached.toml";

/// An hour of a busy machine has minutes in which a process of the least priority hardly runs.
const SILENCE_MAX: Duration = Duration::from_secs(600);

/// Prompts between two looks at what they left in the folder.
const FILLING_PROMPTS: usize = 8;

/// A budget that nothing comes near.
const PLENTY_BYTES: u64 = 1 << 40;

/// Cells of each model, though one of them was trained with fewer.
const CONTEXT: u32 = 2048;

/// Tokens of the vocabularies of tiny models.
const VOCABULARY: u32 = 1024;

/// A model and how it is talked to.
#[derive(Debug)]
pub(super) struct Model {
    pub(super) name: String,
    path: PathBuf,
    pub(super) tongue: Tongue,
}

/// Everything that runs.
pub(super) struct World {
    /// Hubs are gone before their folder.
    pub(super) first: Hub,
    pub(super) second: Hub,
    uncached: Hub,
    pub(super) models: Vec<Model>,
    watch: Arc<Watch>,
    /// Workers that the second hub started in its earlier lives.
    started_before: u64,
    budget_bytes: u64,
    folder: TempDir,
}

impl World {
    pub(super) fn new(layers: u32, folder_bytes: u64, ram_bytes: u64) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let models = models(layers);
        let write = |name: &str, text: &str| {
            let path = folder.path().join(name);
            fs::write(&path, text).unwrap();
            use std::os::unix::fs::PermissionsExt as _;
            // One that others may write is refused.
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        };
        write(CACHED, &cached(folder.path(), &models, folder_bytes, ram_bytes));
        write(NOT_CACHED, &uncached(&models));
        write("pressure", "calm");
        let budget_bytes = budget_bytes(folder.path(), &models);
        let start = |config, budget| start(folder.path(), config, budget);
        let world = Self {
            first: start(CACHED, budget_bytes),
            second: start(CACHED, budget_bytes),
            uncached: start(NOT_CACHED, PLENTY_BYTES),
            watch: Arc::new(Watch::new(folder.path().join("kv"), folder_bytes)),
            started_before: 0,
            budget_bytes,
            models,
            folder,
        };
        world.watch.add(FIRST, &world.first);
        world.watch.add(SECOND, &world.second);
        world.watch.add(UNCACHED, &world.uncached);
        world
    }

    pub(super) fn watch(&self) -> Arc<Watch> {
        Arc::clone(&self.watch)
    }

    /// Asks the first hub for what nobody asks again until the folder has so many bytes.
    pub(super) fn fill(&self, bytes: u64, prompt_tokens: usize, random: &mut Random) {
        let folder = self.folder.path().join("kv");
        let held = || kv_folder::entries(&kv_folder::files(&folder)).1;
        let mut before = 0;
        while before < bytes {
            for _ in 0..FILLING_PROMPTS {
                let prompt = talk::tokens(random, prompt_tokens, VOCABULARY);
                let body = json!({"model": self.models[0].name, "prompt": prompt, "max_tokens": 1});
                self.first.post(COMPLETIONS, &body).ok();
            }
            let now = held();
            assert!(now > before, "{FILLING_PROMPTS} prompts left nothing in the folder");
            before = now;
        }
    }

    /// Says how short of memory the machine is.
    pub(super) fn press(&self, level: &str) {
        fs::write(self.folder.path().join("pressure"), level).unwrap();
    }

    /// The answer of the hub that keeps nothing, with every token of the prompt computed for it.
    pub(super) fn uncached(&self, turn: &Turn) -> Said {
        self.uncached_body(turn.model, turn.path, &turn.plain_body())
    }

    pub(super) fn uncached_body(&self, model: usize, path: &str, body: &Value) -> Said {
        let Model { name, tongue, .. } = &self.models[model];
        // The only sequence of this hub's workers forgets what it held.
        self.uncached.post(COMPLETIONS, &talk::nothing(name, *tongue)).ok();
        let said = self.uncached_again(path, body);
        assert_eq!(said.hits.tokens(), 0, "{name} found {:?}", said.hits);
        said
    }

    /// The answer of the first hub to what it was never asked.
    pub(super) fn unseen(&self, body: &Value) -> Said {
        let request = Request::post(COMPLETIONS, body).patient(SILENCE_MAX);
        Said::whole(&self.first.try_send(&request).unwrap().ok())
    }

    /// The same without forgetting first.
    pub(super) fn uncached_again(&self, path: &str, body: &Value) -> Said {
        let request = Request::post(path, body).patient(SILENCE_MAX);
        let answer = self.uncached.try_send(&request).unwrap_or_else(|error| {
            let residents = self.uncached.control("/resident/v1/ps");
            panic!("no answer of the uncached hub: {error}; its models: {residents}")
        });
        Said::whole(&answer.ok())
    }

    /// Starts the second hub again, which was killed.
    pub(super) fn restart_second(&mut self) {
        self.second.kill();
        self.watch.remove(SECOND);
        self.watch.look_at_folder();
        self.second = start(self.folder.path(), CACHED, self.budget_bytes);
        self.watch.add(SECOND, &self.second);
    }

    /// Workers that the two hubs have started.
    pub(super) fn started_workers(&self) -> u64 {
        self.started_before + started(&self.first) + started(&self.second)
    }

    /// The second hub is about to be killed, and its count with it.
    pub(super) fn remember_started(&mut self) {
        self.started_before += started(&self.second);
    }

    /// Lets one more be written, so that what killed writers left half-made must be gone, and gives the
    /// entries and bytes of the folder by the word of `resident cache stats`.
    pub(super) fn settle(&mut self) -> (u64, u64) {
        let folder = self.folder.path().join("kv");
        let before = kv_folder::files(&folder);
        let prompt: Vec<u32> = (0..300).map(|at| 3 + (at * at * 37 + at * 11) % 900).collect();
        let body = json!({
            "model": self.models[0].name, "prompt": prompt, "max_tokens": 1, "temperature": 0
        });
        self.first.post(COMPLETIONS, &body).ok();
        let written = within(PATIENCE, || {
            let after = kv_folder::files(&folder);
            let is_new =
                after.keys().any(|path| kv_folder::is_entry(path) && !before.contains_key(path));
            let is_clean = !after.keys().any(|path| kv_folder::is_half_made(path));
            (is_new && is_clean).then_some(())
        });
        assert!(written.is_some(), "nothing is written any more, or half-made files are left");
        for hub in [&mut self.first, &mut self.second] {
            hub.terminate();
            assert!(hub.ended_within(PATIENCE).is_some(), "a hub does not end");
        }
        kv_folder::assert_consistent(&self.folder.path().join(CACHED), &folder)
    }
}

impl Drop for World {
    /// What a failed run kept is there to be looked at.
    fn drop(&mut self) {
        if thread::panicking() {
            self.folder.disable_cleanup(true);
            println!("what was kept stays in {}", self.folder.path().display());
        }
    }
}

fn started(hub: &Hub) -> u64 {
    let metrics = hub.get("/metrics").text();
    let line =
        metrics.lines().find_map(|line| line.strip_prefix("resident_workers_started_total "));
    line.unwrap_or_else(|| panic!("no count of workers in:\n{metrics}")).parse().unwrap()
}

/// What became of a request.
pub(super) struct Asked {
    /// The answer, or what came in its place.
    pub(super) said: Result<Said, String>,
    /// When it had ended.
    pub(super) ended: Instant,
}

/// Asks a hub.
pub(super) fn ask(hub: &Hub, turn: &Turn, manner: Manner) -> Asked {
    let request = Request::post(turn.path, &turn.body(manner)).patient(SILENCE_MAX);
    let said = match manner {
        Manner::Whole => whole(hub, &request),
        Manner::Streamed => streamed(hub, &request, usize::MAX),
        Manner::Cancelled { after_events } => streamed(hub, &request, after_events),
    };
    Asked { said, ended: Instant::now() }
}

fn whole(hub: &Hub, request: &Request) -> Result<Said, String> {
    let answer = hub.try_send(request).map_err(|error| error.to_string())?;
    if answer.status != 200 {
        return Err(format!("{} {}", answer.status, answer.text()));
    }
    serde_json::from_str(&answer.text())
        .map(|answer| Said::whole(&answer))
        .map_err(|e| e.to_string())
}

fn streamed(hub: &Hub, request: &Request, events_max: usize) -> Result<Said, String> {
    let mut stream = request.open(hub.address).map_err(|error| error.to_string())?;
    if stream.status != 200 {
        // It failed before its first event.
        let answer = stream.rest().map_err(|error| error.to_string())?;
        return Err(format!("{} {}", answer.status, answer.text()));
    }
    let mut said = Said::default();
    let mut events = 0;
    while let Some(data) = stream.next_data().map_err(|error| error.to_string())? {
        if data == "[DONE]" {
            return Ok(Said { is_whole: true, ..said });
        }
        let event: Value = serde_json::from_str(&data).map_err(|error| error.to_string())?;
        if !event["error"].is_null() {
            return Err(data);
        }
        said.add(&event);
        events += 1;
        if events >= events_max {
            return Ok(said);
        }
    }
    Err(format!("the stream ended after {events} events"))
}

/// What is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Target {
    /// The worker of one model.
    Worker,
    Hub,
}

/// A kill to come.
#[derive(Debug, Clone, Copy)]
pub(super) struct Kill {
    pub(super) target: Target,
    pub(super) after: Duration,
}

/// A kill that was.
#[derive(Debug)]
pub(super) struct Killed {
    /// Whose worker it was; none when it was the hub.
    pub(super) model: Option<String>,
    at: Instant,
}

impl Kill {
    /// Waits and kills. None when there is nothing to kill, or it is the worker that is not to be.
    pub(super) fn strike(self, hub: &Hub, model: &str) -> Option<Killed> {
        // Not to wait for something, but to strike at another moment each time.
        thread::sleep(self.after);
        match self.target {
            Target::Hub => {
                let at = Instant::now();
                Process::of(hub.pid())?.kill();
                Some(Killed { model: None, at })
            }
            Target::Worker if model == STEADY => None,
            Target::Worker => {
                let ps = hub.control("/resident/v1/ps");
                let row = ps["residents"].as_array()?.iter().find(|row| row["name"] == model)?;
                let worker = Process::of(row["pid"].as_u64()?.try_into().ok()?)?;
                let at = Instant::now();
                worker.kill_if_there().then(|| Killed { model: Some(model.to_owned()), at })
            }
        }
    }
}

impl Killed {
    /// Whether it explains that a request to this model, sent at about the same time, failed at `failed`.
    /// It may have struck just before: that somebody is dead is known a moment later.
    pub(super) fn took(&self, model: &str, failed: Instant) -> bool {
        let concerns = self.model.as_ref().is_none_or(|killed| killed == model);
        concerns && self.at <= failed
    }
}

/// The models: of several architectures, and the one that tells stories where it is here. Their weights
/// have 16 bits: those of 8 round what they are multiplied with, twenty times as far, so that less of
/// what is wrong would be seen. A mixture of experts is none of them: rounding decides now and then which
/// expert computes a token, and no bound tells that from a wrong cache (`kept` has one, computed alike).
fn models(layers: u32) -> Vec<Model> {
    let made = |name: &str, architecture: &str, layers: u32| {
        let file = format!("{architecture}-tiny-{layers}-layers-f16-7");
        let layers = layers.to_string();
        let shape = ["--arch", architecture, "--like", "tiny", "--quant", "f16"];
        let path =
            made::model(&file, &[&shape[..], &["--seed", "7", "--layers", &layers]].concat());
        Model { name: name.to_owned(), path, tongue: Tongue::Chat { vocabulary: VOCABULARY } }
    };
    let mut models = vec![
        made("llama", "llama", layers),
        made("qwen", "qwen3", layers),
        made("gemma", "gemma3", 6 * layers.div_ceil(12)),
        // Every fourth layer attends; the others, and all of the next one, have a state.
        made("hybrid", "qwen35", 4 * layers.div_ceil(12)),
        made("recurrent", "mamba2", layers.div_ceil(6)),
        made(STEADY, "llama", 2),
    ];
    models.extend(hub::stories().map(|path| Model {
        name: "stories".to_owned(),
        path,
        tongue: Tongue::Text,
    }));
    models
}

/// The number of threads decides in which order llama.cpp adds up, so it is one everywhere.
fn cached(folder: &Path, models: &[Model], folder_bytes: u64, ram_bytes: u64) -> String {
    let mut text = format!(
        "threads = 1\nparallel = 4\ncontext = {CONTEXT}\nidle_unload = '20s'\n[kv]\nfolder = '{}'\nram = '{ram_bytes}'\n\
         ssd = '{folder_bytes}'\nfree_floor = '100MB'\ndaily_writes = '1000GB'\n",
        folder.join("kv").display()
    );
    for Model { name, path, .. } in models {
        text += &format!("[models.{name}]\npath = '{}'\n", path.display());
        text += if name == STEADY { "pin = true\ngroup = 'none'\n" } else { "group = 'main'\n" };
    }
    text
}

/// One sequence, so that another prompt makes it forget; and all models stay.
fn uncached(models: &[Model]) -> String {
    let mut text = format!(
        "threads = 1\nparallel = 1\ncontext = {CONTEXT}\nidle_unload = 'never'\n\
         [kv]\ncache = 'off'\n"
    );
    for Model { name, path, .. } in models {
        text += &format!("[models.{name}]\npath = '{}'\ngroup = 'none'\n", path.display());
    }
    text
}

/// Room for the steady model and one of the others, of which no two fit together.
fn budget_bytes(folder: &Path, models: &[Model]) -> u64 {
    let hub = start(folder, CACHED, PLENTY_BYTES);
    let answer = hub.control("/resident/v1/models");
    let needed = |name: &str| {
        let rows = answer["models"].as_array().unwrap();
        let row = rows.iter().find(|row| row["name"] == name).unwrap();
        row["facts"]["needed_bytes"].as_u64().unwrap_or_else(|| panic!("no figure in {row}"))
    };
    let others = models.iter().filter(|model| model.name != STEADY);
    let others: Vec<u64> = others.map(|model| needed(&model.name)).collect();
    let (largest, smallest) = (others.iter().max().unwrap(), others.iter().min().unwrap());
    needed(STEADY) + largest + smallest / 2
}

fn start(folder: &Path, config: &str, budget_bytes: u64) -> Hub {
    Hub::start_with(|command| {
        command.arg("--config").arg(folder.join(config));
        command.args(["--budget", &budget_bytes.to_string()]);
        if config == CACHED {
            command.env("RESIDENT_PRESSURE_FILE", folder.join("pressure"));
        }
    })
}
