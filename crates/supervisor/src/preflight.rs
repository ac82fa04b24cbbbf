//! What is known about a model before anything is started for it: a file's header is read and its
//! memory predicted, a foreign engine's settings say both, so that a hopeless start is refused with
//! the reason.
//!
//! Not here: the format (`planner::gguf`), the formulas (`planner::footprint`).

use std::{
    collections::BTreeMap,
    hash::{DefaultHasher, Hash, Hasher},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::SystemTime,
};

use planner::{
    adapter, fleet,
    footprint::{CacheType, Companions, Layout, Place},
    gguf,
};
use worker_protocol::{Adapter, Speculation, SpeculationSource};

use crate::{
    config::{KeepSettings, Settings},
    engine::{Engine, GgufFile, ManagedCommand, Manner, ProjectorFile, Upstream},
    error::AcquireError,
    limits::CONTEXT_TOKENS_DEFAULT,
    model::{Facts, HeaderFacts, Kept, Model, ModelSummary, Need, Residence, Skills},
    reservation::Hold,
    senses::Senses,
};

mod header;
mod kept;

pub use header::{guessing_by_default, read_header, read_projector};

/// Looks at files and remembers those that can be used, until they change.
#[derive(Debug)]
pub(crate) struct Preflight {
    /// The edition of the configuration that it looks for.
    edition: u64,
    context_tokens: Option<u32>,
    sequences_max: u32,
    kv_type: CacheType,
    keep: Option<KeepSettings>,
    place: Place,
    /// The last look at each file. As many as there are model files.
    seen: Mutex<BTreeMap<PathBuf, Look>>,
}

/// What would be started for a model, what it needs and how it is treated.
#[derive(Debug, Clone)]
pub(crate) struct Launch {
    /// The edition of the configuration that it was looked up in.
    pub(crate) edition: u64,
    /// The model, as the fleet names it.
    pub(crate) model: fleet::Model,
    /// What is started.
    pub(crate) start: Start,
    /// Memory it needs by prediction.
    pub(crate) needed_bytes: u64,
    /// Its group, if it is in one.
    pub(crate) group: Option<Arc<str>>,
    /// How it is treated otherwise while it holds memory.
    pub(crate) residence: Residence,
    /// What it takes beside text.
    pub(crate) senses: Senses,
    /// What a library knows of it.
    pub(crate) kept: Option<Arc<Kept>>,
}

/// What is started for a model.
#[expect(
    clippy::large_enum_variant,
    reason = "it is moved a few times in its life and never kept in lists"
)]
#[derive(Debug, Clone)]
pub(crate) enum Start {
    /// Our worker.
    Worker(WorkerStart),
    /// A program that talks HTTP.
    Command(Arc<ManagedCommand>),
    /// Nothing: the servers run already.
    Upstream(Arc<Upstream>),
    /// Nothing: memory is kept free for a tool.
    Reservation(Hold),
}

/// What our worker is told to load.
#[derive(Debug, Clone)]
pub(crate) struct WorkerStart {
    /// The model's file.
    pub(crate) path: PathBuf,
    /// Context cells to load it with.
    pub(crate) context_tokens: u32,
    /// How it encodes keys and values in its cache; `None` where it has none.
    pub(crate) kv_type: Option<CacheType>,
    /// How it keeps prefixes outside the context; `None` keeps none.
    pub(crate) keep: Option<KeepSettings>,
    /// How it guesses ahead.
    pub(crate) speculation: Speculation,
    /// Tokens of each sequence that it can take back where its layers carry a state.
    pub(crate) taken_back_max: u32,
    /// What turns pictures and sounds into its vectors.
    pub(crate) projector: Option<ProjectorFile>,
    /// What changes its weights.
    pub(crate) adapters: Vec<Adapter>,
    /// Its chat template, where it is not the one in the file.
    pub(crate) chat_template: Option<Arc<str>>,
}

impl Start {
    /// The model's file, where the hub knows one.
    pub(crate) fn path(&self) -> Option<&PathBuf> {
        match self {
            Self::Worker(worker) => Some(&worker.path),
            Self::Command(_) | Self::Upstream(_) | Self::Reservation(_) => None,
        }
    }

    /// Context it would have, where that is known before it runs.
    pub(crate) fn context_tokens(&self) -> Option<u32> {
        match self {
            Self::Worker(worker) => Some(worker.context_tokens),
            Self::Command(command) => command.manner.context_tokens,
            Self::Upstream(upstream) => upstream.manner.context_tokens,
            Self::Reservation(_) => None,
        }
    }

    /// How keys and values are encoded in its cache, where that is for us to say.
    pub(crate) fn kv_type(&self) -> Option<CacheType> {
        match self {
            Self::Worker(worker) => worker.kv_type,
            Self::Command(_) | Self::Upstream(_) | Self::Reservation(_) => None,
        }
    }

    /// Its kind as people read it.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Worker(_) => "worker",
            Self::Command(_) => "command",
            Self::Upstream(_) => "upstream",
            Self::Reservation(_) => "tool",
        }
    }

    /// Whether it serves a model, and not only keeps memory free for a while.
    pub(crate) fn is_model(&self) -> bool {
        match self {
            Self::Worker(_) | Self::Command(_) | Self::Upstream(_) => true,
            Self::Reservation(_) => false,
        }
    }

    /// Whether servers of somebody else serve it, so that it holds nothing here.
    pub(crate) fn is_elsewhere(&self) -> bool {
        match self {
            Self::Upstream(_) => true,
            Self::Worker(_) | Self::Command(_) | Self::Reservation(_) => false,
        }
    }

    /// Whether it has a process that the hub starts and that can crash.
    pub(crate) fn is_process(&self) -> bool {
        match self {
            Self::Worker(_) | Self::Command(_) => true,
            Self::Upstream(_) | Self::Reservation(_) => false,
        }
    }
}

#[derive(Debug, Clone)]
struct Look {
    stamp: Stamp,
    looked: Arc<Looked>,
}

/// What a look at a file finds.
#[derive(Debug)]
struct Looked {
    facts: Facts,
    /// The context of the facts, which a file always has.
    context_tokens: u32,
    /// How it keeps prefixes, with what fits its size.
    keep: Option<KeepSettings>,
    /// Tokens of each sequence that it can take back where its layers carry a state.
    taken_back_max: u32,
    senses: Senses,
    /// Its projector, if there is one that can be used.
    projector: Option<ProjectorFile>,
}

/// While this stays the same, so does what a look would find.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Stamp {
    file_bytes: u64,
    modified_unix_s: u64,
    context_tokens: Option<u32>,
    kv_type: CacheType,
    keep: Option<KeepSettings>,
    speculation: Speculation,
    /// Length and change of the file that guesses.
    draft: Option<FileStamp>,
    projector: Option<ProjectorFile>,
    /// Length and change of the projector.
    projector_file: Option<FileStamp>,
    /// What changes its weights, each with length and change of its file.
    adapters: Vec<(Adapter, Option<FileStamp>)>,
    chat_template: Option<Arc<str>>,
}

/// Length and change of a file.
type FileStamp = (u64, Option<SystemTime>);

/// What is loaded beside a model from files of their own.
#[derive(Debug, Default)]
struct Beside {
    draft: Option<gguf::Header>,
    projector: Option<(ProjectorFile, gguf::Header)>,
    /// Why there is no projector though there is a file.
    broken: Option<String>,
    adapters: Vec<gguf::Header>,
}

impl Preflight {
    /// Looks for workers that are started as `settings` say.
    pub(crate) fn new(edition: u64, settings: &Settings, place: Place) -> Self {
        let Settings { context_tokens, sequences_max, kv_type, .. } = *settings;
        let (keep, seen) = (settings.keep.clone(), Mutex::new(BTreeMap::new()));
        Self { edition, context_tokens, sequences_max, kv_type, keep, place, seen }
    }

    /// The model and what is known about it.
    pub(crate) fn summary(&self, model: &Model) -> ModelSummary {
        let facts = match &model.engine {
            Engine::Worker(file) => self.look(file).map(|looked| looked.facts.clone()),
            Engine::Command(command) => Ok(promised(&command.manner, command.memory_bytes)),
            Engine::Upstream(upstream) => Ok(promised(&upstream.manner, 0)),
        };
        ModelSummary {
            name: model.name.clone(),
            engine: model.engine.clone(),
            residence: model.residence.clone(),
            kept: model.kept.clone(),
            facts,
        }
    }

    /// What to start for this model.
    pub(crate) fn launch(&self, model: &Model) -> Result<Launch, AcquireError> {
        let group = |facts: &Facts| model.residence.group_of(facts).map(Arc::from);
        let (start, needed_bytes, group, senses) = match &model.engine {
            Engine::Worker(file) => {
                let looked = self.look(file).map_err(|message| AcquireError::Unusable {
                    name: model.name.clone(),
                    message,
                })?;
                let worker = WorkerStart {
                    path: file.path.clone(),
                    context_tokens: looked.context_tokens,
                    kv_type: looked.facts.kv_type,
                    keep: looked.keep.clone(),
                    speculation: file.speculation.clone(),
                    taken_back_max: looked.taken_back_max,
                    projector: looked.projector.clone(),
                    adapters: file.adapters.clone(),
                    chat_template: file.chat_template.clone(),
                };
                let (bytes, senses) = (looked.facts.needed_bytes, looked.senses.clone());
                (Start::Worker(worker), bytes, group(&looked.facts), senses)
            }
            Engine::Command(command) => {
                let facts = promised(&command.manner, command.memory_bytes);
                let senses = Senses::of_manner(&command.manner);
                (Start::Command(Arc::clone(command)), command.memory_bytes, group(&facts), senses)
            }
            // Its memory is on another machine, or is not ours to give back.
            Engine::Upstream(upstream) => {
                let senses = Senses::of_manner(&upstream.manner);
                (Start::Upstream(Arc::clone(upstream)), 0, None, senses)
            }
        };
        Ok(Launch {
            edition: self.edition,
            model: fleet::Model {
                name: model.name.as_str().into(),
                version: self.version(&model.engine),
            },
            start,
            needed_bytes,
            group,
            residence: model.residence.clone(),
            senses,
            kept: model.kept.clone(),
        })
    }

    fn look(&self, file: &GgufFile) -> Result<Arc<Looked>, String> {
        let stamp = self.stamp(file);
        let known = self.lock().get(&file.path).cloned();
        if let Some(look) = known
            && look.stamp == stamp
        {
            return Ok(look.looked);
        }
        // Outside the lock: a slow disk must not hold up requests for other models. Two that look
        // at the same file at once find the same.
        let looked = Arc::new(self.read(file, &stamp)?);
        // Only what was found is kept: a problem may be solved without a trace in the stamp, by
        // permissions, by a disk that is plugged in, by the missing part of a split model.
        self.lock().insert(file.path.clone(), Look { stamp, looked: Arc::clone(&looked) });
        Ok(looked)
    }

    fn read(&self, file: &GgufFile, stamp: &Stamp) -> Result<Looked, String> {
        let mut header = read_header(&file.path)?;
        if let Some(template) = &file.chat_template {
            header.replace_chat_template(template);
        }
        if !header.is_model() {
            let path = file.path.display();
            return Err(format!(
                "{path} is a companion file (a projector, adapter or vocabulary), not a model; \
                 name the model's own file"
            ));
        }
        let mut beside = Beside::default();
        match &stamp.speculation.source {
            SpeculationSource::Off | SpeculationSource::Lookup | SpeculationSource::Head => {}
            SpeculationSource::Draft(path) => {
                beside.draft = Some(header::read_draft(path, &header)?);
            }
        }
        // Who makes embeddings of texts is shown nothing.
        if let Some(projector) = stamp.projector.as_ref().filter(|_| header.generates()) {
            match read_projector(&projector.path) {
                Ok(read) => beside.projector = Some((projector.clone(), read)),
                Err(why) if projector.is_named => return Err(why),
                Err(why) => beside.broken = Some(why),
            }
        }
        let adapters = file.adapters.iter().map(|one| header::read_adapter(&one.path, &header));
        beside.adapters = adapters.collect::<Result<_, _>>()?;
        self.looked(&file.path, &header, beside, stamp)
            .map_err(|why| format!("{} {why}", file.path.display()))
    }

    fn looked(
        &self,
        path: &Path,
        header: &gguf::Header,
        beside: Beside,
        stamp: &Stamp,
    ) -> Result<Looked, String> {
        let trained = trained_tokens(header);
        let context_tokens = context_tokens(header, stamp.context_tokens);
        let layout = header::layout(context_tokens, self.sequences_max, stamp.kv_type, self.place);
        let layout = header::guessing(header, layout, &stamp.speculation)?;
        let companions = companions(&beside, stamp, &layout);
        let mut needs = header::needs(header, &layout, &companions)?;
        // An encoder reads each text once, so that there is nothing to keep.
        let keep = stamp.keep.clone();
        let keep =
            keep.filter(|_| header.generates()).map(|keep| kept::fitting(keep, bytes_of(&needs)));
        needs.extend(keep.iter().flat_map(|keep| kept::needs(keep, header, &layout)));
        let width = header.arch_u64("embedding_length");
        let chats = header.generates() && header.chat_template().is_some();
        let senses = senses(path, &beside);
        let facts = Facts {
            header: Some(HeaderFacts {
                name: header.str("general.name").map(str::to_owned),
                architecture: header.architecture().to_owned(),
                parameters: header.parameters(),
                quantization: header.quantization(),
                context_tokens_trained: trained,
                embedding_width: width.and_then(|width| u32::try_from(width).ok()),
            }),
            context_tokens: Some(context_tokens),
            kv_type: header.generates().then_some(stamp.kv_type),
            generates: header.generates(),
            ranks: header.ranks(),
            chats,
            skills: Skills {
                tools: chats && header.takes_tools(),
                thinking: chats && header.thinks(),
                images: chats && senses.images,
                sounds: chats && senses.sounds,
                infill: header.generates() && header.names_infill_marks(),
            },
            needed_bytes: bytes_of(&needs),
            needs,
        };
        let taken_back_max = layout.taken_back_max;
        let projector = beside.projector.map(|(file, _)| file);
        Ok(Looked { facts, context_tokens, keep, taken_back_max, senses, projector })
    }

    fn stamp(&self, file: &GgufFile) -> Stamp {
        Stamp {
            file_bytes: file.file_bytes,
            modified_unix_s: file.modified_unix_s,
            context_tokens: file.context_tokens.or(self.context_tokens),
            kv_type: self.kv_type_of(file),
            keep: self.keep.as_ref().and_then(|keep| keep.of_model(file.keep)),
            speculation: file.speculation.clone(),
            draft: draft_stamp(&file.speculation),
            projector: file.projector.clone(),
            projector_file: file.projector.as_ref().and_then(|file| file_stamp(&file.path)),
            adapters: file
                .adapters
                .iter()
                .map(|one| (one.clone(), file_stamp(&one.path)))
                .collect(),
            chat_template: file.chat_template.clone(),
        }
    }

    fn kv_type_of(&self, file: &GgufFile) -> CacheType {
        file.kv_type.unwrap_or(self.kv_type)
    }

    /// Tells two files or settings of one name apart, and two ways to load one file. Lives in this
    /// process only, so the hash needs no stability.
    fn version(&self, engine: &Engine) -> u64 {
        let mut hasher = DefaultHasher::new();
        match engine {
            Engine::Worker(file) => (&file.path, self.stamp(file)).hash(&mut hasher),
            Engine::Command(_) | Engine::Upstream(_) => engine.hash(&mut hasher),
        }
        hasher.finish()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<PathBuf, Look>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// While this stays the same, so does the file of the model that guesses.
fn draft_stamp(speculation: &Speculation) -> Option<FileStamp> {
    match &speculation.source {
        SpeculationSource::Off | SpeculationSource::Lookup | SpeculationSource::Head => None,
        SpeculationSource::Draft(path) => file_stamp(path),
    }
}

/// While this stays the same, so does the file.
fn file_stamp(path: &Path) -> Option<FileStamp> {
    let metadata = std::fs::metadata(path).ok()?;
    Some((metadata.len(), metadata.modified().ok()))
}

fn trained_tokens(header: &gguf::Header) -> Option<u32> {
    header.context_trained_tokens().and_then(|tokens| u32::try_from(tokens).ok())
}

/// The context that a model is loaded with, if so much is asked for.
fn context_tokens(header: &gguf::Header, asked_tokens: Option<u32>) -> u32 {
    let trained = trained_tokens(header);
    let usual = || CONTEXT_TOKENS_DEFAULT.min(trained.unwrap_or(CONTEXT_TOKENS_DEFAULT));
    // Encoders know no position beyond those they were trained with, and the worker takes no more.
    let most = trained.filter(|_| header.encodes()).unwrap_or(u32::MAX);
    asked_tokens.unwrap_or_else(usual).max(1).min(most.max(1))
}

/// What a model takes beside text with what lies beside it.
fn senses(path: &Path, beside: &Beside) -> Senses {
    match (&beside.projector, &beside.broken) {
        (Some((file, header)), _) => Senses::of_projector(&file.path, header),
        (None, Some(why)) => Senses::of_broken(why),
        (None, None) => Senses::of_text(path),
    }
}

fn companions<'a>(beside: &'a Beside, stamp: &Stamp, layout: &Layout) -> Companions<'a> {
    let bytes = |(_, stamp): &(Adapter, Option<FileStamp>)| stamp.map_or(0, |(bytes, _)| bytes);
    let step_bytes = |header| adapter::step_bytes(header, layout.step_tokens_max);
    Companions {
        draft: beside.draft.as_ref(),
        projector: beside.projector.as_ref().map(|(_, header)| header),
        adapters_bytes: stamp.adapters.iter().map(bytes).sum(),
        adapters_step_bytes: beside.adapters.iter().map(step_bytes).max().unwrap_or(0),
        ..Companions::default()
    }
}

fn bytes_of(needs: &[Need]) -> u64 {
    needs.iter().fold(0, |sum: u64, need| sum.saturating_add(need.bytes))
}

/// What the settings of a foreign engine promise.
fn promised(manner: &Manner, memory_bytes: u64) -> Facts {
    let need = Need {
        what: "the engine".to_owned(),
        bytes: memory_bytes,
        why: "what the configuration promises for it".to_owned(),
    };
    Facts {
        header: None,
        context_tokens: manner.context_tokens,
        kv_type: None,
        generates: manner.chat || manner.completions,
        ranks: manner.rerank.is_some(),
        chats: manner.chat,
        skills: Skills {
            tools: manner.chat && manner.tools,
            // Servers do not say.
            thinking: false,
            images: manner.chat && manner.images,
            sounds: manner.chat && manner.images,
            infill: manner.completions && manner.infill,
        },
        needed_bytes: memory_bytes,
        needs: if memory_bytes == 0 { Vec::new() } else { vec![need] },
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use planner::{
        catalogue,
        footprint::{self, Layout},
        gguf::{Value, write},
    };
    use worker_protocol::limits::INTERNAL_SEQUENCES;

    use super::*;
    use crate::limits::{KEPT_RAM_BYTES_MIN, KEPT_RAM_PARTS};
    use crate::{config::KeepMode, model::Group};

    fn preflight(place: Place) -> Preflight {
        let settings = Settings {
            worker: PathBuf::new(),
            budget_bytes: 0,
            exclusive_groups: Default::default(),
            idle_unload: Duration::MAX,
            sequences_max: 8,
            threads: None,
            context_tokens: None,
            kv_type: CacheType::F16,
            roles: Default::default(),
            prefer_resident: true,
            keep: None,
        };
        Preflight::new(0, &settings, place)
    }

    fn stamp(kv_type: CacheType, keep: Option<KeepSettings>) -> Stamp {
        Stamp {
            file_bytes: 1,
            modified_unix_s: 1,
            context_tokens: None,
            kv_type,
            keep,
            speculation: Speculation::default(),
            draft: None,
            projector: None,
            projector_file: None,
            adapters: Vec::new(),
            chat_template: None,
        }
    }

    fn look(place: Place, header: &gguf::Header, kv_type: CacheType) -> Looked {
        let path = Path::new("a.gguf");
        preflight(place).looked(path, header, Beside::default(), &stamp(kv_type, None)).unwrap()
    }

    #[test]
    fn large_is_what_needs_much_and_generates_however_long_its_file_is() {
        let facts = |name: &str, quantization: &str| {
            let header = catalogue::builtin().find(name).unwrap().header(quantization).unwrap();
            (header.tensor_bytes(), look(Place::Processor, &header, CacheType::F16).facts)
        };
        let group = |above_bytes| {
            let group = Group::OfLarge { name: "main".to_owned(), above_bytes };
            Residence { group: Some(group), ..Residence::default() }
        };
        let (file_bytes, chat) = facts("qwen3-8b", "Q4_K_M");
        assert!(file_bytes < chat.needed_bytes, "a context comes on top");
        assert_eq!(group(chat.needed_bytes - 1).group_of(&chat), Some("main"));
        assert_eq!(group(chat.needed_bytes).group_of(&chat), None);
        let (_, embedder) = facts("bge-m3", "Q8_0");
        assert_eq!(group(0).group_of(&embedder), None, "it works beside the others");
        let named = Group::Named("spare".to_owned());
        let named = Residence { group: Some(named), ..Residence::default() };
        assert_eq!(named.group_of(&embedder), Some("spare"));
    }

    fn keep(mode: KeepMode, ram_bytes: u64) -> KeepSettings {
        KeepSettings {
            mode,
            folder: "kv".into(),
            ram_bytes,
            ssd_bytes: 1 << 30,
            free_floor_bytes: 0,
            day_write_bytes: u64::MAX,
            compress: false,
            encryption_key: None,
        }
    }

    #[test]
    fn memory_for_kept_prefixes_is_booked_in_proportion_to_the_model() {
        let header = catalogue::builtin().find("qwen3-8b").unwrap().header("Q4_K_M").unwrap();
        let preflight = preflight(Place::Processor);
        let looked = |header: &gguf::Header, keep| {
            let (path, beside) = (Path::new("a.gguf"), Beside::default());
            preflight.looked(path, header, beside, &stamp(CacheType::F16, keep)).unwrap()
        };
        let without_bytes = looked(&header, None).facts.needed_bytes;
        let booked = |ram_bytes| {
            let looked = looked(&header, Some(keep(KeepMode::Ssd, ram_bytes)));
            let sum = |what: &str| -> u64 {
                let needs = looked.facts.needs.iter().filter(|need| need.what.starts_with(what));
                needs.map(|need| need.bytes).sum()
            };
            let (booked_bytes, reading_bytes) = (sum("kept"), sum("reading kept"));
            assert!(reading_bytes > 0);
            let added_bytes = looked.facts.needed_bytes - without_bytes;
            assert_eq!(added_bytes, booked_bytes + reading_bytes, "both are counted");
            assert_eq!(looked.keep.unwrap().ram_bytes, booked_bytes, "the worker is told the same");
            booked_bytes
        };
        assert_eq!(booked(1 << 20), 1 << 20);
        assert_eq!(booked(u64::MAX), without_bytes / KEPT_RAM_PARTS);
        assert_eq!(
            kept::fitting(keep(KeepMode::Ram, u64::MAX), 1000).ram_bytes,
            KEPT_RAM_BYTES_MIN
        );
        let embedder = catalogue::builtin().find("bge-m3").unwrap().header("Q8_0").unwrap();
        let looked = looked(&embedder, Some(keep(KeepMode::Ssd, 1 << 20)));
        assert_eq!(looked.keep, None, "an encoder keeps nothing");
        assert!(looked.facts.needs.iter().all(|need| !need.what.starts_with("kept")));
    }

    #[test]
    fn a_model_s_own_word_wins_and_another_word_is_another_version() {
        let file = |keep| GgufFile {
            path: "a.gguf".into(),
            file_bytes: 1,
            modified_unix_s: 1,
            context_tokens: None,
            kv_type: None,
            keep,
            speculation: Speculation::default(),
            projector: None,
            adapters: Vec::new(),
            chat_template: None,
        };
        let hub = |mode| {
            let keep = Some(keep(mode, 1 << 20));
            Preflight { keep, ..preflight(Place::Processor) }
        };
        let mode = |hub: &Preflight, own| hub.stamp(&file(own)).keep.map(|keep| keep.mode);
        for (hub_mode, own, expected) in [
            (KeepMode::Ssd, None, Some(KeepMode::Ssd)),
            (KeepMode::Ssd, Some(KeepMode::Ram), Some(KeepMode::Ram)),
            (KeepMode::Ssd, Some(KeepMode::Off), None),
            (KeepMode::Off, None, None),
            (KeepMode::Off, Some(KeepMode::Ssd), Some(KeepMode::Ssd)),
        ] {
            assert_eq!(mode(&hub(hub_mode), own), expected, "{hub_mode:?} {own:?}");
        }
        let never = preflight(Place::Processor);
        assert_eq!(mode(&never, Some(KeepMode::Ssd)), None, "without settings nothing is kept");
        let version = |hub: &Preflight, own| hub.version(&Engine::Worker(file(own)));
        let hub = hub(KeepMode::Ssd);
        assert_eq!(version(&hub, None), version(&hub, Some(KeepMode::Ssd)));
        assert_ne!(version(&hub, None), version(&hub, Some(KeepMode::Ram)));
    }

    #[test]
    fn caches_are_booked_as_they_are_kept_and_another_type_is_another_version() {
        let header = catalogue::builtin().find("qwen3-8b").unwrap().header("Q4_K_M").unwrap();
        let needed = [CacheType::F16, CacheType::Q8_0, CacheType::Q4_0].map(|kv_type| {
            let looked = look(Place::Processor, &header, kv_type);
            assert_eq!(looked.facts.kv_type, Some(kv_type));
            let layout = Layout::new(looked.context_tokens, 8 + INTERNAL_SEQUENCES);
            let layout = Layout { keys: kv_type, values: kv_type, ..layout };
            let planned = footprint::predict(&header, &layout).total_bytes();
            assert_eq!(looked.facts.needed_bytes, planned, "{kv_type:?}");
            planned
        });
        assert!(needed[0] > needed[1] && needed[1] > needed[2], "{needed:?}");

        let embedder = catalogue::builtin().find("bge-m3").unwrap().header("Q8_0").unwrap();
        let facts = look(Place::Processor, &embedder, CacheType::Q8_0).facts;
        assert_eq!(facts.kv_type, None, "an encoder has no cache");

        let file = |kv_type| GgufFile {
            path: "a.gguf".into(),
            file_bytes: 1,
            modified_unix_s: 1,
            context_tokens: None,
            kv_type,
            keep: None,
            speculation: Speculation::default(),
            projector: None,
            adapters: Vec::new(),
            chat_template: None,
        };
        let hub = Preflight { kv_type: CacheType::Q8_0, ..preflight(Place::Processor) };
        let version = |kv_type| hub.version(&Engine::Worker(file(kv_type)));
        assert_eq!(version(None), version(Some(CacheType::Q8_0)), "the hub's word holds");
        assert_ne!(version(None), version(Some(CacheType::F16)), "a model's own wins");
    }

    #[test]
    fn a_type_that_a_model_cannot_have_is_refused_with_the_file_and_the_way_out() {
        let folder = tempfile::tempdir().unwrap();
        let mut header = catalogue::builtin().find("qwen3-0.6b").unwrap().header("Q8_0").unwrap();
        for part in ["key", "value"] {
            header.metadata.insert(format!("qwen3.attention.{part}_length"), Value::Unsigned(40));
        }
        let path = folder.path().join("odd.gguf");
        let bytes = write::write(&header).unwrap();
        std::fs::write(&path, &bytes).unwrap();
        let file = std::fs::File::options().write(true).open(&path).unwrap();
        file.set_len(bytes.len() as u64 + header.tensor_bytes()).unwrap();
        let model = |kv_type| Model {
            name: "odd".to_owned(),
            engine: Engine::Worker(GgufFile {
                path: path.clone(),
                file_bytes: 1,
                modified_unix_s: 1,
                context_tokens: None,
                kv_type,
                keep: None,
                speculation: Speculation::default(),
                projector: None,
                adapters: Vec::new(),
                chat_template: None,
            }),
            residence: Residence::default(),
            kept: None,
        };
        let preflight = preflight(Place::Processor);
        assert!(preflight.launch(&model(None)).is_ok());
        let error = preflight.launch(&model(Some(CacheType::Q8_0))).unwrap_err();
        let expected = format!(
            "{} cannot be loaded as [kv] type or kv_type says: keys as q8_0 come in blocks of 32, but \
             a head of layer 0 has 40 numbers; keep them as f16",
            path.display()
        );
        assert!(error.to_string().ends_with(&expected), "{error}");
    }

    #[test]
    fn a_draft_is_booked_beside_its_model_and_another_one_is_another_version() {
        let header = |name: &str, quantization| {
            catalogue::builtin().find(name).unwrap().header(quantization).unwrap()
        };
        let (model, draft) = (header("qwen3-8b", "Q4_K_M"), header("qwen3-0.6b", "Q8_0"));
        let preflight = preflight(Place::Processor);
        let stamp = stamp(CacheType::F16, None);
        let path = Path::new("a.gguf");
        let alone = preflight.looked(path, &model, Beside::default(), &stamp).unwrap().facts;
        let beside = Beside { draft: Some(draft.clone()), ..Beside::default() };
        let both = preflight.looked(path, &model, beside, &stamp).unwrap().facts;
        let drafts = both.needs.iter().filter(|need| need.what == footprint::DRAFT);
        let draft_bytes: u64 = drafts.map(|need| need.bytes).sum();
        assert_eq!(both.needed_bytes, alone.needed_bytes + draft_bytes);
        assert!(draft_bytes > draft.tensor_bytes(), "its weights, cells and buffers");

        let file = |path: &str| GgufFile {
            path: "a.gguf".into(),
            file_bytes: 1,
            modified_unix_s: 1,
            context_tokens: None,
            kv_type: None,
            keep: None,
            speculation: Speculation {
                source: SpeculationSource::Draft(path.into()),
                tokens: None,
            },
            projector: None,
            adapters: Vec::new(),
            chat_template: None,
        };
        let version = |path| preflight.version(&Engine::Worker(file(path)));
        assert_ne!(version("small.gguf"), version("other.gguf"));
    }

    #[test]
    fn a_layer_that_guesses_and_earlier_states_are_booked() {
        let header =
            |name: &str| catalogue::builtin().find(name).unwrap().header("Q4_K_M").unwrap();
        let preflight = preflight(Place::Processor);
        let looked = |header: &gguf::Header, source, tokens| {
            let speculation = Speculation { source, tokens };
            let stamp = Stamp { speculation, ..stamp(CacheType::F16, None) };
            preflight.looked(Path::new("a.gguf"), header, Beside::default(), &stamp)
        };
        let bytes = |looked: &Looked, what: &str| {
            let needs = looked.facts.needs.iter().filter(|need| need.what == what);
            needs.map(|need| need.bytes).sum::<u64>()
        };
        let qwen = header("qwen3.6-27b-mtp");
        let plain = looked(&qwen, SpeculationSource::Lookup, None).unwrap();
        let guessing = looked(&qwen, SpeculationSource::Head, Some(2)).unwrap();
        assert_eq!((plain.taken_back_max, guessing.taken_back_max), (0, 2));
        let states = bytes(&plain, footprint::RECURRENT);
        assert_eq!(bytes(&guessing, footprint::RECURRENT), 3 * states);
        assert!(bytes(&guessing, footprint::HEAD) > footprint::weights(&qwen).skipped_bytes);
        assert_eq!(bytes(&plain, footprint::HEAD), 0);
        // Whoever says how many asks for it, wherever the guesses come from.
        let asked = looked(&qwen, SpeculationSource::Lookup, Some(4)).unwrap();
        assert_eq!(asked.taken_back_max, 4);
        let why = looked(&header("qwen3-8b"), SpeculationSource::Head, None).unwrap_err();
        assert!(why.starts_with("cannot guess for itself as speculation = \"mtp\" says"), "{why}");
    }

    #[test]
    fn what_a_model_needs_is_predicted_for_where_its_layers_lie() {
        let header = catalogue::builtin().find("qwen3-8b").unwrap().header("Q4_K_M").unwrap();
        let places = [Place::Processor, Place::SharedGpu, Place::DiscreteGpu];
        let needed = places.map(|place| {
            let looked = look(place, &header, CacheType::F16);
            let layout = Layout::new(looked.context_tokens, 8 + INTERNAL_SEQUENCES);
            let planned = footprint::predict(&header, &Layout { place, ..layout });
            assert_eq!(looked.facts.needed_bytes, planned.total_bytes(), "{place:?}");
            looked.facts.needed_bytes
        });
        // Otherwise the place would not matter, and the above would prove nothing.
        assert_ne!(needed[0], needed[1]);
    }
}
