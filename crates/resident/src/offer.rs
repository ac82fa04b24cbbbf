//! Everything that can be served under a name of its own, as the supervisor wants to know it: files
//! for our own worker, programs that are started, servers that run already.
//!
//! `kept` has what a model of the library brings along. Not here: where the files are (`models`), what the configuration says (`config`), tools, which
//! hold no memory between requests.

mod kept;

use std::sync::Arc;

use supervisor::{Engine, GgufFile, Group, Model, OpenPool, ProjectorFile, Residence};
use worker_protocol::{Speculation, SpeculationSource};

use crate::{
    config::{
        Settings,
        resolved::{
            Served,
            group::{Draft, Eyes, Groups, Guesses, Pin, Treatment, check_pins},
        },
    },
    exit::{self, Code},
    models::{Catalog, Found, Shelved},
};

/// What stands between a pool's name and its model's.
const POOL_SEPARATOR: char = '/';

/// Everything that can be served.
#[derive(Debug, Clone)]
pub(crate) struct Offer {
    catalog: Catalog,
    served: Served,
    guesses: Guesses,
    budget_bytes: u64,
}

impl Offer {
    /// What the settings offer.
    pub(crate) fn of(settings: &Settings) -> Self {
        Self {
            catalog: settings.catalog.clone(),
            served: settings.served.clone(),
            guesses: settings.guesses.clone(),
            budget_bytes: settings.budget_bytes,
        }
    }

    /// Names of the models that are promised to stay.
    pub(crate) fn pinned(&self) -> Vec<String> {
        let pinned = self.served.treatments.iter().filter(|(_, treatment)| treatment.pinned);
        pinned.map(|(name, _)| name.clone()).collect()
    }

    /// Looks at all sources now: the models by name, and what was left out and why. A pool that
    /// serves whatever its servers have lists nothing before it is asked.
    pub(crate) fn scan(&self) -> (Vec<Model>, Vec<String>) {
        let scan = self.catalog.scan();
        let sentences = scan.problems.into_iter().map(|problem| problem.sentence);
        let mut problems: Vec<String> = sentences.collect();
        let mut models = Vec::new();
        for found in scan.models {
            if let Some(pool) = self.pool_of(&found.name) {
                problems.push(format!(
                    "the model '{}' of the library is hidden, because what begins with {pool}/ is at \
                     the servers of the pool '{pool}'; copy it to another name, or rename the pool",
                    found.name
                ));
            } else if self.is_command(&found.name) {
                problems.push(format!(
                    "{} is hidden, because the configuration starts a program for the model '{}'; \
                     rename one of them",
                    found.path.display(),
                    found.name
                ));
            } else {
                models.push(self.of_file(found));
            }
        }
        models.extend(self.served.commands.keys().filter_map(|name| self.of_command(name)));
        for (pool, content) in &self.served.pools {
            let names = content.served.iter().flatten();
            models.extend(names.filter_map(|(name, _)| self.of_pool(pool, name)));
        }
        models.sort_by(|one, other| one.name.cmp(&other.name));
        (models, problems)
    }

    /// Whether a program is started for this name. A file that was named wins, since whoever starts
    /// the hub names it last.
    fn is_command(&self, name: &str) -> bool {
        self.served.commands.contains_key(name) && !self.catalog.named.contains_key(name)
    }

    fn of_file(&self, found: Found) -> Model {
        let treatment = self.treatment(&found.name);
        let shelved = found.shelved.as_deref();
        let speculation = self.speculation(&treatment, shelved);
        let projector = projector(&treatment, &found);
        let adapters = match shelved {
            Some(shelved) if treatment.adapters.is_empty() => shelved.adapters.clone(),
            Some(_) | None => treatment.adapters.clone(),
        };
        let group = Groups::of_file(&treatment.membership, self.budget_bytes);
        Model {
            name: found.name,
            engine: Engine::Worker(GgufFile {
                path: found.path,
                file_bytes: found.file_bytes,
                modified_unix_s: found.modified_unix_s,
                context_tokens: found.context_tokens,
                kv_type: treatment.kv_type,
                keep: treatment.keep,
                speculation,
                projector,
                adapters,
                chat_template: shelved.and_then(|it| kept::chat_template(&it.manifest.settings)),
            }),
            residence: residence(&treatment, group),
            kept: found.shelved.as_deref().map(|shelved| Arc::new(kept::kept(&shelved.manifest))),
        }
    }

    /// How a file's model guesses ahead, with the draft's name as the file that it means now.
    fn speculation(&self, treatment: &Treatment, shelved: Option<&Shelved>) -> Speculation {
        let tokens = treatment.draft_tokens;
        let own = shelved.and_then(|shelved| shelved.draft.clone());
        // What was pulled with it is the model's own word, which only one about this model wins over.
        if let (None, Some(path)) = (&treatment.guesses, own) {
            return Speculation { source: SpeculationSource::Draft(path), tokens };
        }
        let source = match treatment.guesses.as_ref().unwrap_or(&self.guesses) {
            Guesses::Off => SpeculationSource::Off,
            Guesses::Lookup => SpeculationSource::Lookup,
            Guesses::Head => SpeculationSource::Head,
            Guesses::Draft(Draft::File(path)) => SpeculationSource::Draft(path.clone()),
            Guesses::Draft(Draft::Model(name)) => {
                let found = self.catalog.find(name).map(|found| found.path);
                // Whoever reads the file says that it is missing.
                SpeculationSource::Draft(found.unwrap_or_else(|| name.into()))
            }
        };
        Speculation { source, tokens }
    }

    fn of_command(&self, name: &str) -> Option<Model> {
        let command = self.served.commands.get(name).filter(|_| self.is_command(name))?;
        let group = self.served.group_of_command(name, command, self.budget_bytes);
        let group = group.map(Group::Named);
        Some(Model {
            name: name.to_owned(),
            engine: Engine::Command(command.clone()),
            residence: residence(&self.treatment(name), group),
            kept: None,
        })
    }

    /// A model elsewhere. It holds no memory here, so nothing is decided about that.
    fn of_pool(&self, pool: &str, name: &str) -> Option<Model> {
        let engine = self.served.pools.get(pool)?.engine(name)?;
        let name = format!("{pool}{POOL_SEPARATOR}{name}");
        Some(Model { name, engine, residence: Residence::default(), kept: None })
    }

    /// The pool at whose servers a model of this name is.
    fn pool_of<'a>(&self, name: &'a str) -> Option<&'a str> {
        let (pool, _) = name.split_once(POOL_SEPARATOR)?;
        self.served.pools.contains_key(pool).then_some(pool)
    }

    fn treatment(&self, name: &str) -> Treatment {
        self.served.treatments.get(name).cloned().unwrap_or_default()
    }
}

/// What turns pictures and sounds into a model's vectors: what the configuration says, what was pulled with it,
/// or what lies beside its file.
fn projector(treatment: &Treatment, found: &Found) -> Option<ProjectorFile> {
    let shelved = found.shelved.as_ref().and_then(|shelved| shelved.projector.clone());
    match (&treatment.eyes, shelved) {
        // Ollama's library has some that only its own engine knows; those leave the model to text.
        (Eyes::Beside, Some(path)) => Some(ProjectorFile { path, is_named: false }),
        (Eyes::Beside, None) | (Eyes::Closed | Eyes::File(_), _) => treatment.eyes.of(&found.path),
    }
}

fn residence(treatment: &Treatment, group: Option<Group>) -> Residence {
    Residence { group, pinned: treatment.pinned, idle_unload: treatment.idle_unload }
}

impl supervisor::Models for Offer {
    fn list(&self) -> Vec<Model> {
        self.scan().0
    }

    fn find(&self, name: &str) -> Option<Model> {
        if let Some((pool, model)) = name.split_once(POOL_SEPARATOR)
            && self.served.pools.contains_key(pool)
        {
            return self.of_pool(pool, model);
        }
        self.of_command(name).or_else(|| Some(self.of_file(self.catalog.find(name)?)))
    }

    fn open_pools(&self) -> Vec<OpenPool> {
        let open = self.served.pools.iter().filter(|(_, pool)| pool.served.is_none());
        open.map(|(name, pool)| OpenPool {
            prefix: format!("{name}{POOL_SEPARATOR}"),
            servers: pool.upstream.servers.clone(),
        })
        .collect()
    }
}

/// Refuses pins that cannot be kept, now that the headers of the pinned models' files can be read.
///
/// # Errors
/// With [`Code::Usage`] and the sum written out.
pub(crate) fn refuse_broken_pins(
    groups: &Groups,
    budget_bytes: u64,
    models: Vec<supervisor::ModelSummary>,
) -> anyhow::Result<()> {
    let pin = |model: supervisor::ModelSummary| {
        let group = model.group().map(str::to_owned);
        let bytes = model.facts.ok()?.needed_bytes;
        model.residence.pinned.then_some(Pin { name: model.name, bytes, group })
    };
    let pins: Vec<Pin> = models.into_iter().filter_map(pin).collect();
    check_pins(&pins, groups, budget_bytes).map_err(|why| exit::error(Code::Usage, why))
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path, time::Duration};

    use planner::footprint::CacheType;
    use supervisor::{Facts, ModelSummary, Models as _, ProjectorFile, Server};

    use super::*;
    use crate::{
        cli::{Place, Serving},
        config::{Machine, raw, resolved::resolve},
    };

    fn offer(folder: &Path, text: &str) -> Offer {
        let machine = Machine {
            memory_bytes: Some(1 << 34),
            data_dir: folder.to_owned(),
            home: folder.to_owned(),
            models_variable: None,
            variable: |_| None,
            secret: |_| Err("it cannot be read".into()),
            names_of: |catalog| catalog.scan().models.into_iter().map(|found| found.name).collect(),
        };
        let raw = raw::parse(text).unwrap();
        let (place, serving) = (Place::default(), Serving::default());
        Offer::of(&resolve(&place, &serving, raw, folder, &machine).unwrap())
    }

    const TEXT: &str = "budget = \"30\"\n\
        [models.a]\npin = true\nidle_unload = \"never\"\ncontext = 7\nkv_cache = \"ram\"\nkv_type = \"q8_0\"\n\
        [models.apple]\nengine = \"apfel\"\n\
        [models.b]\nengine = \"apfel\"\n\
        [upstreams.lab]\nservers = [\"http://lab:1\"]\nmodels = [\"org/big\"]\n\
        [upstreams.open]\nservers = [\"http://open:1\"]";

    fn folder() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("models")).unwrap();
        for (name, bytes) in [("a", 11), ("b", 1), ("c", 10)] {
            fs::write(folder.path().join(format!("models/{name}.gguf")), vec![0; bytes]).unwrap();
        }
        folder
    }

    #[test]
    fn files_programs_and_servers_are_one_list() {
        let folder = folder();
        let offer = offer(folder.path(), TEXT);
        let (models, problems) = offer.scan();
        let listed: Vec<(&str, &str)> =
            models.iter().map(|model| (model.name.as_str(), model.engine.kind())).collect();
        assert_eq!(
            listed,
            [
                ("a", "worker"),
                ("apple", "command"),
                ("b", "command"),
                ("c", "worker"),
                ("lab/org/big", "upstream")
            ]
        );
        for model in models {
            assert_eq!(offer.find(&model.name), Some(model), "find agrees with list");
        }
        assert_eq!(problems.len(), 1);
        assert!(
            problems[0].ends_with(
                "b.gguf is hidden, because the configuration starts a program for the model 'b'; \
                 rename one of them"
            ),
            "{problems:?}"
        );
        assert_eq!(offer.find("open/whatever").unwrap().engine.kind(), "upstream");
        let servers = vec![Server { base_url: "http://open:1".to_owned(), key: None }];
        assert_eq!(offer.open_pools(), [OpenPool { prefix: "open/".to_owned(), servers }]);
        for nobody in ["zzz", "lab/other", "lab", "open/", "/a", "open/../a"] {
            assert_eq!(offer.find(nobody), None, "{nobody}");
        }
    }

    #[test]
    fn what_begins_with_a_pools_name_is_at_its_servers() {
        let folder = folder();
        let offer = offer(folder.path(), TEXT);
        for name in ["lab/org/big", "lab/mine", "hf.co/a/b:Q4"] {
            keep(&offer, name);
        }
        assert_eq!(offer.find("lab/org/big").unwrap().engine.kind(), "upstream");
        assert_eq!(offer.find("lab/mine"), None);
        let own = offer.find("hf.co/a/b:Q4").unwrap();
        assert_eq!(own.kept.as_ref().unwrap().habits.system.as_deref(), Some("Be brief."));
        assert_eq!(own.engine.file().unwrap().context_tokens, Some(99));
        let (models, problems) = offer.scan();
        assert!(models.contains(&own), "find agrees with list");
        let hidden =
            problems.iter().filter(|said| said.contains("at the servers of the pool 'lab'"));
        assert_eq!(hidden.count(), 2, "{problems:?}");
    }

    /// Keeps a model in the library.
    fn keep(offer: &Offer, name: &str) {
        use library::{digest, manifest, name::Name};
        let store = offer.catalog.library().unwrap();
        let mut hasher = digest::Hasher::new();
        hasher.update(b"weights");
        let digest = hasher.finish();
        store.add(&mut &b"weights"[..], &digest).unwrap();
        let settings =
            serde_json::json!({ "system": "Be brief.", "parameters": { "num_ctx": 99 } });
        let file = manifest::File::new(manifest::Role::Model, "m.gguf".to_owned(), digest, 7);
        let kept = manifest::Manifest {
            name: Name::new(name).unwrap(),
            source: "hf:a/b".to_owned(),
            revision: None,
            added_unix_s: 7,
            quantization: None,
            files: vec![file],
            settings: serde_json::from_value(settings).unwrap(),
        };
        store.put(&kept).unwrap();
    }

    #[test]
    fn a_file_that_is_named_wins_over_a_program() {
        let folder = folder();
        let mut offer = offer(folder.path(), TEXT);
        let file = folder.path().join("apple.gguf");
        fs::write(&file, "x").unwrap();
        offer.catalog.add_file(&file).unwrap();
        assert_eq!(offer.find("apple").unwrap().engine.file().unwrap().path, file);
        let (models, _) = offer.scan();
        assert_eq!(models.iter().filter(|model| model.name == "apple").count(), 1);
    }

    #[test]
    fn each_model_is_treated_as_the_file_says() {
        let folder = folder();
        let offer = offer(folder.path(), TEXT);
        let a = offer.find("a").unwrap();
        assert_eq!(a.engine.file().unwrap().keep, Some(supervisor::KeepMode::Ram));
        assert_eq!(offer.find("c").unwrap().engine.file().unwrap().keep, None);
        assert_eq!(a.engine.file().unwrap().kv_type, Some(CacheType::Q8_0));
        assert_eq!(offer.find("c").unwrap().engine.file().unwrap().kv_type, None);
        assert_eq!(a.engine.file().unwrap().context_tokens, Some(7));
        let group = Some(Group::OfLarge { name: "main".to_owned(), above_bytes: 10 });
        assert_eq!(
            a.residence,
            Residence { group: group.clone(), pinned: true, idle_unload: Some(Duration::MAX) },
            "a third of 30 bytes"
        );
        let c = offer.find("c").unwrap().residence;
        assert_eq!(c, Residence { group, ..Residence::default() });
        let main = Some(Group::Named("main".to_owned()));
        assert_eq!(offer.find("apple").unwrap().residence.group, main);
        assert_eq!(offer.find("lab/org/big").unwrap().residence, Residence::default());
        assert_eq!(offer.pinned(), ["a"]);
    }

    #[test]
    fn a_projector_is_found_beside_its_model_unless_the_file_says_otherwise() {
        let folder = folder();
        let models = folder.path().join("models");
        for name in ["mmproj-a-f16.gguf", "eyes.gguf", "mmproj-c.gguf"] {
            fs::write(models.join(name), "").unwrap();
        }
        let text = "[models.a]\nprojector = \"models/eyes.gguf\"\n[models.c]\nprojector = false\n";
        for (text, of_a, of_c) in [
            ("", Some(("mmproj-a-f16.gguf", false)), Some(("mmproj-c.gguf", false))),
            (text, Some(("eyes.gguf", true)), None),
        ] {
            let offer = offer(folder.path(), text);
            let projector = |name: &str| {
                let model = offer.find(name).unwrap();
                model.engine.file().unwrap().projector.clone()
            };
            let expected = |of: Option<(&str, bool)>| {
                of.map(|(name, is_named)| ProjectorFile { path: models.join(name), is_named })
            };
            assert_eq!(
                (projector("a"), projector("c")),
                (expected(of_a), expected(of_c)),
                "{text}"
            );
            let (listed, _) = offer.scan();
            let names: Vec<&str> = listed.iter().map(|model| model.name.as_str()).collect();
            assert_eq!(names, ["a", "b", "c", "eyes"], "no projector is a model");
            assert_eq!(offer.find("mmproj-c"), None);
        }
    }

    #[test]
    fn pins_are_summed_up_once_the_headers_are_read() {
        let folder = folder();
        let offer = offer(folder.path(), TEXT);
        let summary = |name: &str, needed_bytes: u64, pinned: bool| {
            let model = offer.find(name).unwrap();
            let facts = Facts {
                header: None,
                context_tokens: None,
                kv_type: None,
                generates: true,
                ranks: false,
                chats: true,
                skills: Default::default(),
                needed_bytes,
                needs: Vec::new(),
            };
            let residence = Residence { group: None, pinned, idle_unload: None };
            let (name, engine) = (model.name, model.engine);
            ModelSummary { name, engine, residence, kept: None, facts: Ok(facts) }
        };
        let groups = &offer.served.groups;
        let refused =
            |models| refuse_broken_pins(groups, 4 << 30, models).map_err(|error| error.to_string());
        assert_eq!(
            refused(vec![summary("a", 3 << 30, true), summary("c", 3 << 30, false)]),
            Ok(())
        );
        assert_eq!(
            refused(vec![summary("a", 3 << 30, true), summary("c", 3 << 30, true)]).unwrap_err(),
            "the pinned models do not fit: a 3.0 GiB + c 3.0 GiB = 6.0 GiB, and the budget is 4.0 \
             GiB; unpin one, choose a smaller one, or raise the budget"
        );
    }
}
