//! New models out of others, of files and of uploads.

use std::{fs, path::PathBuf};

use serde_json::json;

use super::{Base, Recipe};
use crate::{
    manifest::{Manifest, Message, Role, Settings},
    modelfile::Modelfile,
    store::{
        Error, Store,
        tests::{adapter, all_below, digest_of, goes_on, model, name, part, projector},
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

    fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        path
    }

    fn create(&self, called: &str, modelfile: &str) -> Result<Manifest, Error> {
        let modelfile = Modelfile::parse(modelfile.as_bytes()).unwrap();
        let recipe = Recipe::of_modelfile(&modelfile, self.folder.path())?;
        Ok(self.store.create(&name(called), &recipe, &mut goes_on)?.unwrap())
    }

    fn upload(&self, content: &[u8], called: &str) -> Base {
        let digest = digest_of(content);
        self.store.add(&mut &content[..], &digest).unwrap();
        Base::Blob { digest, name: called.to_owned() }
    }
}

fn files(manifest: &Manifest) -> Vec<(Role, &str)> {
    manifest.files.iter().map(|file| (file.role, &*file.name)).collect()
}

#[test]
fn a_modelfile_makes_a_model_of_files_and_another_one_of_that() {
    let world = World::new();
    world.write("m.gguf", model(1));
    world.write("eyes.gguf", projector(2));
    world.write("lora.gguf", adapter(3));
    world.write("small.gguf", model(4));
    let first = "FROM ./m.gguf\nFROM eyes.gguf\nADAPTER lora.gguf\nDRAFT small.gguf\nSYSTEM Be brief.\nPARAMETER temperature 0.5\nPARAMETER stop a\nLICENSE one\nMESSAGE user hi\nTEMPLATE t";
    let made = world.create("first", first).unwrap();
    let expected = [
        (Role::Model, "m.gguf"),
        (Role::Projector, "eyes.gguf"),
        (Role::Adapter, "lora.gguf"),
        (Role::Draft, "small.gguf"),
    ];
    assert_eq!((files(&made), made.quantization.as_deref()), (expected.to_vec(), Some("Q4_K_M")));
    assert_eq!(world.store.models().models, std::slice::from_ref(&made));

    let lora = world.write("other/lora.gguf", adapter(5));
    let second = format!(
        "FROM registry.ollama.ai/library/First:latest\nADAPTER {}\nSYSTEM \"\"\nPARAMETER top_k 1\nPARAMETER stop b\nLICENSE one\nLICENSE two\nMESSAGE user ho",
        lora.display()
    );
    let second = world.create("second", &second).unwrap();
    assert_eq!(files(&second).len(), 4);
    assert_eq!(second.files_for(Role::Adapter).next().unwrap().digest, digest_of(&adapter(5)));
    let parameters = json!({ "temperature": 0.5, "stop": ["b"], "top_k": 1 });
    let settings = Settings {
        template: Some("t".to_owned()),
        parameters: parameters.as_object().unwrap().clone(),
        messages: vec![Message { role: "user".to_owned(), content: "ho".to_owned() }],
        licenses: vec!["one".to_owned(), "two".to_owned()],
        ..Settings::default()
    };
    assert_eq!((second.settings, second.source), (settings, made.source.clone()));

    // What it shows makes the same model again.
    let shown = world.store.modelfile(&made);
    let again = world.create("again", &shown.to_string()).unwrap();
    assert_eq!(again.settings, made.settings);
    let digests = |manifest: &Manifest| -> Vec<_> {
        manifest.files.iter().map(|f| (f.role, f.digest)).collect()
    };
    assert_eq!(digests(&again), digests(&made));
}

#[test]
fn uploads_make_a_model_by_the_names_they_had() {
    let world = World::new();
    // In no order, and with the paths of another machine.
    let from = vec![
        world.upload(&part(1, 2), "C:\\models\\b.gguf"),
        world.upload(&part(0, 1), "/home/me/a.gguf"),
        world.upload(&projector(3), "../a.gguf"),
    ];
    let recipe = Recipe { from, ..Recipe::default() };
    let made = world.store.create(&name("up:v1"), &recipe, &mut goes_on).unwrap().unwrap();
    let expected = [
        (Role::Model, "up-3Av1-00001-of-00002.gguf"),
        (Role::Model, "up-3Av1-00002-of-00002.gguf"),
        (Role::Projector, "a.gguf"),
    ];
    assert_eq!(files(&made), expected);
    assert_eq!(fs::read(world.store.model_path(&made)).unwrap(), part(0, 1));
    assert!(made.files.iter().all(|file| file.at.is_none()));

    let digest = digest_of(&model(9));
    world.upload(&model(9), "");
    let made = world.create("by-digest", &format!("FROM @{digest}")).unwrap();
    assert_eq!(made.files[0].name, format!("{}.gguf", digest.short()));
    let blob = world.store.path_of(&made.files[0]);
    let made = world.create("by/path", &format!("FROM {}", blob.display())).unwrap();
    assert_eq!((made.files[0].digest, &*made.files[0].name), (digest, "by-2Fpath.gguf"));
}

#[test]
fn a_model_replaces_the_one_of_its_name_and_its_settings_alone_can_change() {
    let world = World::new();
    world.write("m.gguf", model(1));
    world.create("m", "FROM m.gguf\nSYSTEM a").unwrap();
    let made = world.create("m", "FROM m\nSYSTEM b").unwrap();
    assert_eq!(made.settings.system.as_deref(), Some("b"));
    assert_eq!(world.store.models().models, [made]);
    assert!(matches!(world.create("M", "FROM m").unwrap_err(), Error::Capitals { .. }));
}

#[test]
fn what_is_not_here_or_does_not_fit_is_told() {
    let world = World::new();
    world.write("m.gguf", model(1));
    world.write("n.gguf", model(2));
    world.write("lora.gguf", adapter(3));
    world.write("text.gguf", "text");
    world.write("p-00001-of-00002.gguf", part(0, 1));
    world.write("safe/model.safetensors", "");
    world.write("nothing/readme", "");
    for (modelfile, why) in [
        ("FROM nobody:7b", "`resident pull ollama:nobody:7b`"),
        ("FROM ../..//", "'../..//' is no file"),
        ("FROM text.gguf", "it is no model that can be used"),
        ("FROM lora.gguf", "it is a LoRA adapter; name it after ADAPTER"),
        ("FROM m.gguf\nADAPTER n.gguf", "it is a model, and should be a LoRA adapter"),
        (
            "FROM m.gguf\nDRAFT lora.gguf",
            "it is a LoRA adapter, and should be a model that guesses",
        ),
        ("FROM p-00001-of-00002.gguf", "p-00002-of-00002.gguf"),
        ("FROM safe", "`resident convert` makes one"),
        ("FROM nothing", "it has no GGUF files"),
        (&format!("FROM {}", digest_of(b"x")), "is not in the library; pull or upload it again"),
    ] {
        if modelfile.contains("..//") {
            continue;
        }
        let error = world.create("x", modelfile).unwrap_err().to_string();
        assert!(error.contains(why), "{modelfile}: {error}");
    }
    let error = world.store.create(&name("x"), &Recipe::default(), &mut goes_on).unwrap_err();
    assert!(error.to_string().contains("no file with weights"), "{error}");
    assert!(!all_below(world.folder.path()).iter().any(|path| path.ends_with(".json")));
}
