//! What settings mean together, from defaults to refusals.

mod adapters;
mod engine;
mod group;
mod knowledge;
mod kv;
mod library;
mod role;
mod speculation;
mod tool;
mod upstream;

use super::*;
use crate::models::Named;

fn machine() -> Machine {
    Machine {
        memory_bytes: Some(16 << 30),
        data_dir: "/data/resident".into(),
        home: "/home/me".into(),
        models_variable: None,
        variable: |name| match name {
            "LAB_KEY" => Some("  sk-of-the-lab\n".into()),
            "HF_HOME" => Some("/cache".into()),
            "EMPTY" => Some(" ".into()),
            _ => None,
        },
        secret: |file| match file.to_str() {
            Some("/home/me/key") => Ok("of-the-file\n".into()),
            _ => Err("it cannot be read".into()),
        },
        names_of: |_| vec!["tiny".into(), "qwen3-8b".into(), "chat".into()],
    }
}

fn resolve_text(place: &Place, serving: &Serving, text: &str) -> Result<Settings, Error> {
    resolve(place, serving, raw::parse(text).unwrap(), Path::new("/etc/r"), &machine())
}

#[track_caller]
fn from_text(text: &str) -> Settings {
    resolve_text(&Place::default(), &Serving::default(), text).unwrap()
}

#[test]
fn defaults() {
    let settings = from_text("");
    assert_eq!(settings.listen.to_string(), LISTEN_DEFAULT);
    assert_eq!(settings.data_dir, Path::new("/data/resident"));
    assert_eq!(settings.catalog.folder, Path::new("/data/resident/models"));
    assert_eq!(settings.token_file(), Path::new("/data/resident/token"));
    let budget_gib = settings.budget_bytes >> 30;
    assert_eq!((budget_gib, settings.parallel), (11, 8), "75 % of 16 GiB is just under 12");
    assert_eq!(settings.idle_unload, Some(Duration::from_secs(600)));
    assert!(!settings.allow_lan);
}

#[test]
fn the_file_wins_over_defaults_and_flags_over_the_file() {
    let text = "listen = \"localhost:1\"\nbudget = \"1GB\"\ncontext = 10\nidle_unload = \"never\"\n\
                parallel = 2\ndata_dir = \"~/d\"\nmodels_dir = \"m\"\nworker = \"w\"";
    let settings = from_text(text);
    assert_eq!(settings.listen.to_string(), "127.0.0.1:1");
    assert_eq!(settings.data_dir, Path::new("/home/me/d"));
    assert_eq!(settings.catalog.folder, Path::new("/etc/r/m"));
    assert_eq!(settings.worker.as_deref(), Some(Path::new("/etc/r/w")));
    assert_eq!((settings.budget_bytes, settings.idle_unload), (1_000_000_000, None));

    let place =
        Place { listen: Some("[::1]:2".into()), data_dir: Some("here".into()), ..Place::default() };
    let serving = Serving {
        budget: Some(7),
        context: Some(20),
        idle_unload: Some(cli::IdleUnload(Some(Duration::from_secs(1)))),
        ..Serving::default()
    };
    let settings = resolve_text(&place, &serving, text).unwrap();
    assert_eq!(settings.listen.to_string(), "[::1]:2");
    assert_eq!(settings.data_dir, Path::new("here"), "a flag's path starts where the user is");
    assert_eq!((settings.budget_bytes, settings.context_tokens), (7, Some(20)));
    assert_eq!(settings.idle_unload, Some(Duration::from_secs(1)));
}

#[test]
fn models_come_from_flags_then_the_file() {
    let text = "[models.a]\npath = \"a.gguf\"\ncontext = 5\n[models.b]\npath = \"/b.gguf\"";
    let serving = Serving { models: vec![("a".into(), "x".into())], ..Serving::default() };
    let named = resolve_text(&Place::default(), &serving, text).unwrap().catalog.named;
    assert_eq!(named["a"], Named { path: "x".into(), context_tokens: Some(5) });
    assert_eq!(named["b"], Named { path: "/b.gguf".into(), context_tokens: None });
}

#[test]
fn the_variable_gives_models_where_no_flag_does() {
    let machine = Machine { models_variable: Some("a=x;q:8b=y".into()), ..machine() };
    let resolve_with = |models| {
        let serving = Serving { models, ..Serving::default() };
        let raw = raw::Config::default();
        resolve(&Place::default(), &serving, raw, Path::new("/"), &machine).unwrap()
    };
    let names: Vec<_> = resolve_with(vec![]).catalog.named.into_keys().collect();
    assert_eq!(names, ["a", "q:8b"]);
    let names: Vec<_> =
        resolve_with(vec![("c".into(), "z".into())]).catalog.named.into_keys().collect();
    assert_eq!(names, ["c"]);
}

#[test]
fn what_makes_no_sense_is_refused_with_a_way_out() {
    for (text, message) in [
        (
            "listen = \"11434\"",
            "'11434' is not an address to listen on; write IP:PORT, for example 127.0.0.1:11434",
        ),
        (
            "listen = \"hub:99999\"",
            "'hub:99999' is not an address to listen on; write IP:PORT, for example \
             127.0.0.1:11434",
        ),
        ("key = \"\"", "the key is empty; give one, or leave it out"),
        (
            "budget = \"12G\"",
            "budget: 'G' could mean GB (powers of 1000) or GiB (powers of 1024); write one",
        ),
        ("budget = \"0\"", "budget: no model fits in 0 bytes; write for example 12GB"),
        (
            "idle_unload = \"10\"",
            "idle_unload: '10' is not a span of time; write for example 90s, 10m, 1h or never",
        ),
        ("threads = 0", "threads is 0; it must be 1 or more, or left out"),
        (
            "[models.a]\npath = \"x\"\ncontext = 0",
            "[models.a] context is 0; it must be 1 or more, or left out",
        ),
        (
            "[models.\"../a\"]\npath = \"x\"",
            "'../a' cannot be a model's name: use 1 to 128 of A-Z a-z 0-9 . _ - : + @, \
             a letter or digit first",
        ),
    ] {
        let error = resolve_text(&Place::default(), &Serving::default(), text).unwrap_err();
        assert_eq!(error.to_string(), message, "{text}");
    }
}

#[test]
fn one_name_for_two_files_is_refused() {
    let models = vec![("a".into(), "x".into()), ("a".into(), "y".into())];
    let serving = Serving { models, ..Serving::default() };
    let error = resolve_text(&Place::default(), &serving, "").unwrap_err();
    assert_eq!(error.to_string(), "--model names 'a' twice: x and y");
}

#[track_caller]
fn refused(text: &str) -> String {
    match resolve_text(&Place::default(), &Serving::default(), text) {
        Ok(_) => panic!("accepted: {text}"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn a_reserve_leaves_the_rest_to_models() {
    let budget = |text: &str| from_text(text).budget_bytes;
    let machine_bytes = 16 << 30;
    assert_eq!(budget("[machine]\nreserve = \"25%\""), machine_bytes - machine_bytes / 100 * 25);
    assert_eq!(budget("[machine]\nreserve = \"4GiB\""), 12 << 30);
    let serving = Serving { budget: Some(7), ..Serving::default() };
    let text = "[machine]\nreserve = \"4GiB\"";
    let settings = resolve_text(&Place::default(), &serving, text).unwrap();
    assert_eq!(settings.budget_bytes, 7, "a flag wins over the file");
    for (text, message) in [
        (
            "budget = \"1GB\"\n[machine]\nreserve = \"25%\"",
            "budget and [machine] reserve exclude each other: one says what models may take, the \
             other what they leave alone; keep one",
        ),
        (
            "[machine]\nreserve = \"100%\"",
            "[machine] reserve: '100%' leaves nothing for models; write a share such as 25% or a \
             size such as 4GB",
        ),
        (
            "[machine]\nreserve = \"16GiB\"",
            "[machine] reserve: '16GiB' leaves nothing of this machine's 16.0 GiB; write a share \
             such as 25% or a size such as 4GB",
        ),
        (
            "[machine]\nreserve = \"2.5%\"",
            "[machine] reserve: '2.5%' is not a whole number of percent; write a share such as \
             25% or a size such as 4GB",
        ),
    ] {
        assert_eq!(refused(text), message);
    }
}

#[test]
fn what_the_readmes_show_is_accepted() {
    for readme in
        [include_str!("../../../../../README.md"), include_str!("../../../../../README.zh-CN.md")]
    {
        let blocks: Vec<&str> = readme
            .split("```toml\n")
            .skip(1)
            .map(|rest| rest.split("```").next().unwrap())
            .collect();
        let [files, first, pulled, kept, drafted, seeing, adapted, engines, residence] = blocks[..]
        else {
            panic!("{} blocks", blocks.len())
        };
        for block in [first, kept, drafted, seeing] {
            from_text(block);
        }
        let knowledge = from_text(files).knowledge;
        assert_eq!((knowledge.ocr.is_some(), knowledge.prefixes.len()), (true, 1));
        assert_eq!(from_text(pulled).library.rate_bytes_per_s, Some(10_000_000));
        assert_eq!(from_text(adapted).served.treatments["lawyer"].adapters.len(), 2);
        let settings = from_text(&format!("{residence}{engines}"));
        assert_eq!(settings.served.roles.models("deep"), ["lab/big", "chat", "apple"]);
        assert_eq!(settings.served.notes, [] as [&str; 0]);
    }
}
