//! Stores of other programs, made here as those programs make them.

use std::{
    fs,
    ops::ControlFlow,
    path::{Path, PathBuf},
};

use serde_json::{Value, json};

use super::Place;
use crate::{
    digest::Sha256,
    manifest::{Message, Role},
    name::Name,
    store::{
        How, Imported, Progress, Store,
        tests::{adapter, digest_of, goes_on, model, name, part, projector},
    },
};

struct World {
    folder: tempfile::TempDir,
    store: Store,
}

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("library")).unwrap();
        Self { folder, store }
    }

    fn path(&self, below: &str) -> PathBuf {
        self.folder.path().join(below)
    }

    fn write(&self, below: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(below);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        path
    }

    fn import(&self, place: &Place) -> Imported {
        self.store.import(place, None, &mut goes_on).unwrap()
    }

    /// A layer of Ollama's store, which gets its content.
    fn layer(&self, kind: &str, content: impl AsRef<[u8]>) -> Value {
        let content = content.as_ref();
        let digest = digest_of(content);
        self.write(&format!("ollama/blobs/sha256-{}", digest.hex()), content);
        let kind = format!("application/vnd.ollama.image.{kind}");
        json!({ "mediaType": kind, "digest": digest.to_string(), "size": content.len() })
    }

    fn ollama(&self, path: &str, config: &Value, layers: &[Value]) {
        let config = self.layer("config", config.to_string());
        let manifest = json!({ "schemaVersion": 2, "config": config, "layers": layers });
        self.write(&format!("ollama/manifests/{path}"), manifest.to_string());
    }
}

fn called(imported: &Imported) -> Vec<&str> {
    imported.models.iter().map(|(name, _)| name.as_str()).collect()
}

/// How a file comes that may be linked, which depends on the file system; and one that may not.
fn is_without_copy(how: How, may_be_linked: bool) -> bool {
    how == How::Shared || how == if may_be_linked { How::Linked } else { How::Referenced }
}

#[test]
fn ollamas_store_is_imported_without_another_byte_of_disk() {
    let world = World::new();
    let layers = [
        world.layer("model", model(1)),
        world.layer("projector", projector(2)),
        world.layer("template", "{{ .Prompt }}"),
        world.layer("system", "Be brief."),
        world.layer("params", r#"{"stop":["<|im_end|>"],"temperature":0.7}"#),
        world.layer("messages", r#"[{"role":"user","content":"hi"}]"#),
        world.layer("license", "Apache"),
        world.layer("license", "2.0"),
        world.layer("unheard-of", "?"),
    ];
    let config = json!({ "file_type": "Q4_K_M", "renderer": "qwen3", "requires": "0.14.0" });
    world.ollama("registry.ollama.ai/library/qwen3/8b", &config, &layers);
    world.ollama("registry.ollama.ai/library/qwen3/latest", &config, &layers);
    world.ollama("registry.ollama.ai/me/own/v1", &json!({}), &layers[..1]);
    world.ollama("hf.co/Q/R-GGUF/Q4_K_M", &json!({}), &layers[..1]);
    let place = Place::Ollama(world.path("ollama"));
    #[cfg(unix)]
    let before_bytes = crate::store::tests::allocated_bytes(world.folder.path());

    let imported = world.import(&place);
    assert_eq!(called(&imported), ["hf.co/Q/R-GGUF:Q4_K_M", "me/own:v1", "qwen3", "qwen3:8b"]);
    assert_eq!((imported.skipped.len(), imported.already.len()), (0, 0), "{imported:?}");
    assert!(is_without_copy(imported.models[0].1, true), "{imported:?}");
    assert_eq!(imported.models[1].1, How::Present);

    let qwen = world.store.find(&name("qwen3:8b")).unwrap();
    assert_eq!((&*qwen.source, qwen.quantization.as_deref()), ("ollama:qwen3:8b", Some("Q4_K_M")));
    let names: Vec<_> = qwen.files.iter().map(|file| (file.role, &*file.name)).collect();
    let expected = [(Role::Model, "qwen3-8b.gguf"), (Role::Projector, "mmproj-qwen3-8b.gguf")];
    assert_eq!(names, expected);
    let settings = &qwen.settings;
    assert_eq!(settings.template.as_deref(), Some("{{ .Prompt }}"));
    assert_eq!(settings.system.as_deref(), Some("Be brief."));
    assert_eq!(json!(settings.parameters), json!({ "stop": ["<|im_end|>"], "temperature": 0.7 }));
    let said = Message { role: "user".to_owned(), content: "hi".to_owned() };
    assert_eq!(
        (&settings.messages[..], &settings.licenses[..]),
        (&[said][..], &["Apache".to_owned(), "2.0".to_owned()][..])
    );
    assert_eq!(
        (settings.renderer.as_deref(), settings.requires.as_deref()),
        (Some("qwen3"), Some("0.14.0"))
    );
    assert_eq!(world.store.models().problems, Vec::<String>::new());

    #[cfg(unix)]
    if imported.models[0].1 == How::Linked {
        use std::os::unix::fs::MetadataExt as _;
        let ours = fs::metadata(world.store.path_of(&qwen.files[0])).unwrap();
        let blob = format!("ollama/blobs/sha256-{}", qwen.files[0].digest.hex());
        assert_eq!(ours.ino(), fs::metadata(world.path(&blob)).unwrap().ino());
        // Only manifests came: a block or two each.
        let more_bytes = crate::store::tests::allocated_bytes(world.folder.path()) - before_bytes;
        assert!(more_bytes <= 4 * 8192, "{more_bytes} bytes more");
        assert_eq!(world.store.usage().linked_bytes, world.store.usage().blobs_bytes);
    }

    // Once more there is nothing to do; what has changed there is new here.
    assert_eq!(world.import(&place).already.len(), 4);
    world.ollama("registry.ollama.ai/library/qwen3/8b", &config, &layers[..3]);
    let imported = world.import(&place);
    assert_eq!((called(&imported), imported.already.len()), (vec!["qwen3:8b"], 3));
    assert_eq!(world.store.find(&name("qwen3:8b")).unwrap().settings.system, None);

    // What Ollama forgets stays here.
    fs::remove_dir_all(world.path("ollama")).unwrap();
    assert_eq!(world.store.models().models.len(), 4);
    assert_eq!(world.store.verify(&[], &mut goes_on).unwrap().damaged, []);
}

#[test]
fn what_ollama_has_and_cannot_be_used_is_told_and_left_out() {
    let world = World::new();
    let good = world.layer("model", model(1));
    world.ollama("registry.ollama.ai/library/good/latest", &json!({}), std::slice::from_ref(&good));
    let cloud = json!({ "remote_host": "https://ollama.com", "remote_model": "big" });
    world.ollama("registry.ollama.ai/library/cloud/latest", &cloud, &[]);
    let tensor = world.layer("tensor", "x");
    world.ollama("registry.ollama.ai/library/tensors/latest", &json!({}), &[tensor]);
    world.ollama("registry.ollama.ai/library/empty/latest", &json!({}), &[]);
    let text = world.layer("model", "no model");
    world.ollama("registry.ollama.ai/library/text/latest", &json!({}), &[text]);
    let mut gone = world.layer("model", model(2));
    gone["digest"] = json!(digest_of(b"gone").to_string());
    world.ollama("registry.ollama.ai/library/gone/latest", &json!({}), &[gone]);
    let mut short = good.clone();
    short["size"] = json!(99_999);
    world.ollama("registry.ollama.ai/library/short/latest", &json!({}), &[short]);
    let mut path = good.clone();
    path["digest"] = json!("sha256:../../../etc/passwd");
    world.ollama("registry.ollama.ai/library/path/latest", &json!({}), &[path]);
    let params = world.layer("params", "[1]");
    world.ollama("registry.ollama.ai/library/params/latest", &json!({}), &[good.clone(), params]);
    world.write("ollama/manifests/registry.ollama.ai/library/torn/latest", "{\"layers\":");
    world.write("ollama/manifests/registry.ollama.ai/library/_odd/latest", "{}");
    world.write("ollama/manifests/registry.ollama.ai/library/.DS_Store", "");
    let many = vec![good; 5000];
    world.ollama("registry.ollama.ai/library/many/latest", &json!({}), &many);

    let imported = world.import(&Place::Ollama(world.path("ollama")));
    assert_eq!(called(&imported), ["good"]);
    for why in [
        "ollama:cloud is left out: it runs on Ollama's servers",
        "ollama:tensors is left out: it has no GGUF, only safetensors",
        "ollama:empty is left out: it has no weights",
        "is no model that can be used",
        "ollama:gone is left out: ",
        "and its manifest says 99999",
        "is no digest",
        "ollama:params is left out: its layer",
        "ollama:torn is left out: its manifest cannot be read",
        "'_odd' cannot be a model's name",
        "ollama:many is left out: it has 5000 layers",
    ] {
        let found = imported.skipped.iter().filter(|sentence| sentence.contains(why)).count();
        assert_eq!(found, 1, "{why}: {:#?}", imported.skipped);
    }
    assert_eq!(imported.skipped.len(), 11, "{:#?}", imported.skipped);
    let nowhere = Place::Ollama(world.path("nowhere"));
    assert!(world.store.import(&nowhere, None, &mut goes_on).is_err());
}

#[test]
fn parts_in_ollamas_store_get_the_names_that_engines_look_for() {
    let world = World::new();
    // In no order.
    let layers = [world.layer("model", part(1, 2)), world.layer("model", part(0, 1))];
    world.ollama("registry.ollama.ai/library/big/latest", &json!({}), &layers);
    let imported = world.import(&Place::Ollama(world.path("ollama")));
    assert_eq!(called(&imported), ["big"], "{imported:?}");
    let big = world.store.find(&name("big")).unwrap();
    let path = world.store.model_path(&big);
    assert_eq!(path.file_name().unwrap(), "big-latest-00001-of-00002.gguf");
    assert_eq!(fs::read(&path).unwrap(), part(0, 1));
    let second = path.with_file_name("big-latest-00002-of-00002.gguf");
    assert_eq!(fs::read(second).unwrap(), part(1, 2));
}

#[test]
fn lm_studios_folder_is_imported_with_projectors_and_parts() {
    let world = World::new();
    world.write("lm/Qwen/Qwen3-GGUF/Qwen3-Q4_K_M.gguf", model(1));
    world.write("lm/Qwen/Qwen3-GGUF/Qwen3-Q8_0.gguf", model(2));
    world.write("lm/Qwen/Qwen3-GGUF/mmproj-Qwen3-f16.gguf", projector(3));
    world.write("lm/big/Big-GGUF/Big-00001-of-00002.gguf", part(0, 4));
    world.write("lm/big/Big-GGUF/Big-00002-of-00002.gguf", part(1, 5));
    world.write("lm/big/Half-GGUF/Half-00001-of-00002.gguf", part(0, 4));
    world.write("lm/mlx/Safe/model.safetensors", "");
    world.write("lm/some/body/adapter.gguf", adapter(6));
    world.write("lm/some/body/text.gguf", "text");
    world.write("lm/other/Copy-GGUF/Qwen3-Q8_0.gguf", model(7));
    let place = Place::LmStudio(world.path("lm"));
    let mut told = 0;
    let imported = world.store.import(&place, None, &mut |progress: &Progress<'_>| {
        told = told.max(progress.done_bytes);
        ControlFlow::Continue(())
    });
    let imported = imported.unwrap();
    assert_eq!(called(&imported), ["Big", "Qwen3-Q4_K_M", "Qwen3-Q8_0"]);
    assert!(told > 4096 && imported.models.iter().all(|(_, how)| is_without_copy(*how, false)));
    for why in [
        "Half-00002-of-00002.gguf is missing",
        "lmstudio:mlx/Safe is left out",
        "adapter.gguf is left out: it is no model, but belongs to one",
        "text.gguf is left out: it is no model",
        "the library has another model 'Qwen3-Q8_0'",
    ] {
        assert!(imported.skipped.iter().any(|one| one.contains(why)), "{:#?}", imported.skipped);
    }
    assert_eq!(imported.skipped.len(), 5);
    let qwen = world.store.find(&name("qwen3-q4_k_m")).unwrap();
    assert_eq!(qwen.source, "lmstudio:Qwen/Qwen3-GGUF/Qwen3-Q4_K_M.gguf");
    assert_eq!(qwen.quantization.as_deref(), Some("Q4_K_M"));
    assert_eq!(qwen.files[0].digest, digest_of(&model(1)));
    assert_eq!(qwen.files[1].name, "mmproj-Qwen3-f16.gguf");
    let big = world.store.find(&name("Big")).unwrap();
    let path = world.store.model_path(&big);
    assert_eq!(fs::read(path.with_file_name("Big-00002-of-00002.gguf")).unwrap(), part(1, 5));

    // Nothing is read again but what has changed.
    let mut told = Vec::new();
    world.write("lm/Qwen/Qwen3-GGUF/Qwen3-Q4_K_M.gguf", [model(8), vec![0]].concat());
    let imported = world.store.import(&place, None, &mut |progress: &Progress<'_>| {
        told.push(progress.what.to_owned());
        ControlFlow::Continue(())
    });
    let imported = imported.unwrap();
    assert_eq!((called(&imported), imported.already.len()), (vec!["Qwen3-Q4_K_M"], 2));
    assert!(!told.iter().any(|what| what.starts_with("Big")), "{told:?}");
}

/// A file of Hugging Face's cache, by the name that its kind of content has there.
fn cached(world: &World, repository: &str, commit: &str, file: &str, content: &[u8], blob: &str) {
    world.write(&format!("hub/{repository}/blobs/{blob}"), content);
    let link = world.path(&format!("hub/{repository}/snapshots/{commit}/{file}"));
    fs::create_dir_all(link.parent().unwrap()).unwrap();
    let up = "../".repeat(2 + file.matches('/').count());
    #[cfg(unix)]
    std::os::unix::fs::symlink(format!("{up}blobs/{blob}"), link).unwrap();
    #[cfg(not(unix))]
    fs::copy(world.path(&format!("hub/{repository}/blobs/{blob}")), link).unwrap();
}

#[test]
fn hugging_faces_cache_is_imported_at_its_main_commit() {
    let world = World::new();
    let repository = "models--Q--R-GGUF";
    let hex = |content: &[u8]| digest_of(content).hex();
    cached(&world, repository, "new", "R-Q4_K_M.gguf", &model(1), &hex(&model(1)));
    cached(
        &world,
        repository,
        "new",
        "big/R-Q8_0-00001-of-00002.gguf",
        &part(0, 2),
        &hex(&part(0, 2)),
    );
    cached(
        &world,
        repository,
        "new",
        "big/R-Q8_0-00002-of-00002.gguf",
        &part(1, 3),
        &"ab".repeat(20),
    );
    cached(&world, repository, "old", "R-Q2_K.gguf", &model(4), &hex(&model(4)));
    world.write("hub/models--Q--R-GGUF/refs/main", "new\n");
    cached(&world, "models--Q--R", "c", "model.safetensors", b"x", &hex(b"x"));
    world.write("hub/datasets--Q--D/snapshots/c/x.gguf", model(5));
    world.write("hub/version.txt", "1");

    let place = Place::HuggingFace(world.path("hub"));
    let imported = world.import(&place);
    assert_eq!(called(&imported), ["R-Q4_K_M", "R-Q8_0"], "{imported:?}");
    assert_eq!(imported.skipped.len(), 1, "{imported:?}");
    assert!(imported.skipped[0].starts_with("hf:Q/R is left out: it has no GGUF"));
    if cfg!(unix) {
        assert!(imported.models.iter().all(|(_, how)| is_without_copy(*how, true)));
    }
    let small = world.store.find(&name("R-Q4_K_M")).unwrap();
    assert_eq!(
        (&*small.source, small.revision.as_deref()),
        ("hf:Q/R-GGUF:R-Q4_K_M.gguf", Some("new"))
    );
    let large = world.store.find(&name("R-Q8_0")).unwrap();
    assert_eq!(large.files[1].digest, digest_of(&part(1, 3)));
    assert_eq!(world.import(&place).already.len(), 2);
}

#[test]
fn folders_and_files_are_used_where_they_lie() {
    let world = World::new();
    world.write("models/one.gguf", model(1));
    world.write("models/deep/er/two 2.gguf", model(2));
    world.write("models/.hidden/three.gguf", model(3));
    let imported = world.import(&Place::Folder(world.path("models")));
    assert_eq!(called(&imported), ["one", "two-2"]);
    let imported = world.import(&Place::Folder(world.path("models/deep")));
    assert_eq!((imported.models.len(), imported.already.len()), (0, 1));

    let file = Place::File(world.path("models/one.gguf"));
    let mine = world.store.import(&file, Some(&name("mine:v1")), &mut goes_on).unwrap();
    assert_eq!(called(&mine), ["mine:v1"]);
    let two =
        world.store.import(&Place::Folder(world.path("models")), Some(&name("x")), &mut goes_on);
    assert!(two.unwrap_err().to_string().contains("has 2 models"));
    let none =
        world.import(&Place::Folder(world.path("models/deep/er/two 2.gguf").with_file_name("..")));
    assert_eq!(none.already.len(), 1);
    world.write("empty/readme.txt", "");
    let empty = world.import(&Place::Folder(world.path("empty")));
    assert!(empty.skipped[0].contains("has no GGUF files"));

    let part_file = world.write("parts/p-00002-of-00002.gguf", part(1, 2));
    let imported = world.import(&Place::File(part_file.clone()));
    assert!(imported.skipped[0].contains("p-00001-of-00002.gguf is missing"), "{imported:?}");
    world.write("parts/p-00001-of-00002.gguf", part(0, 1));
    assert_eq!(called(&world.import(&Place::File(part_file))), ["p"]);
    assert!(
        world.store.import(&Place::File(world.path("nowhere.gguf")), None, &mut goes_on).is_err()
    );
}

#[test]
fn the_library_is_not_imported_into_itself_and_a_file_that_changes_is_left_out() {
    let world = World::new();
    let one = world.write("models/one.gguf", model(1));
    world.write("models/two.gguf", model(2));
    let changed = world.store.import(
        &Place::Folder(world.path("models")),
        None,
        &mut |progress: &Progress<'_>| {
            if progress.what == "one.gguf" {
                let file = fs::File::options().append(true).open(&one).unwrap();
                file.set_modified(std::time::UNIX_EPOCH).unwrap();
            }
            ControlFlow::Continue(())
        },
    );
    let changed = changed.unwrap();
    assert_eq!((called(&changed), changed.skipped.len()), (vec!["two"], 1));
    assert!(changed.skipped[0].contains("it changes while it is imported"), "{changed:?}");

    let imported = world.import(&Place::Folder(world.folder.path().to_owned()));
    assert_eq!((called(&imported), imported.already.len()), (vec!["one"], 1), "{imported:?}");
    assert_eq!(imported.skipped, [""; 0]);
    let names = world.import(&Place::Folder(world.path("library/names")));
    let nothing = if cfg!(unix) { "has only what the library has already" } else { "" };
    assert!(names.models.is_empty() && names.skipped[0].contains(nothing), "{names:?}");
}

#[test]
fn an_import_that_is_stopped_keeps_what_is_whole() {
    let world = World::new();
    world.write("models/a.gguf", model(1));
    world.write("models/b.gguf", model(2));
    let imported = world.store.import(
        &Place::Folder(world.path("models")),
        None,
        &mut |progress: &Progress<'_>| {
            if progress.what == "b.gguf" {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        },
    );
    let imported = imported.unwrap();
    assert_eq!((called(&imported), imported.is_stopped), (vec!["a"], true));
}

#[test]
fn usual_places_are_those_of_the_environment_and_then_of_the_home() {
    let world = World::new();
    world.write("home/.ollama/models/manifests/x", "");
    world.write("home/.cache/lm-studio/models/x", "");
    world.write("home/.cache/huggingface/hub/x", "");
    world.write("set/hub/x", "");
    let home = world.path("home").display().to_string();
    let set = world.path("set").display().to_string();
    let usual = |word: &str, variables: &[(&str, &str)]| {
        let variable = |name: &str| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        let place = Place::usual(word, variable)?;
        let below = place.path().strip_prefix(world.folder.path());
        Some(below.unwrap_or(Path::new("?")).display().to_string().replace('\\', "/"))
    };
    let at_home = [("HOME", home.as_str())];
    for (word, variables, expected) in [
        ("ollama", &at_home[..], Some("home/.ollama/models")),
        ("ollama", &[("OLLAMA_MODELS", &set), ("HOME", &home)], Some("set")),
        ("ollama", &[("OLLAMA_MODELS", "/nowhere"), ("HOME", &home)], None),
        ("lmstudio", &at_home[..], Some("home/.cache/lm-studio/models")),
        ("huggingface", &at_home[..], Some("home/.cache/huggingface/hub")),
        ("huggingface", &[("HF_HOME", &set), ("HOME", &home)], Some("set/hub")),
        ("huggingface", &[("HF_HUB_CACHE", &set), ("HF_HOME", &home)], Some("set")),
        ("lmstudio", &[], None),
        ("else", &at_home[..], None),
    ] {
        assert_eq!(usual(word, variables).as_deref(), expected, "{word} {variables:?}");
    }
}

#[test]
fn names_become_what_a_name_can_be() {
    let like = |text: &str| super::name_like(text).map(|name: Name| name.to_string());
    assert_eq!(like("Qwen3 8B (best)").as_deref(), Some("Qwen3-8B--best-"));
    assert_eq!(like("_x").as_deref(), Some("x"));
    assert_eq!(like("日本"), None);
    let _: Sha256 = digest_of(b"");
}
