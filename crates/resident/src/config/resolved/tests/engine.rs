//! `[models.NAME]`: presets, what wins over them, and refusals.

use supervisor::{ManagedCommand, Manner, Ready, StopSignal};

use super::*;
use crate::config::preset::Presets;

#[track_caller]
fn command(text: &str) -> ManagedCommand {
    let settings = from_text(&format!("[models.m]\n{text}"));
    ManagedCommand::clone(&settings.served.commands["m"])
}

#[test]
fn mlx_is_a_line_and_its_traps_are_handled() {
    let command = command("engine = \"mlx_lm.server\"\nmodel = \"~/mlx/qwen3\"\nmemory = \"6GB\"");
    let joined = command.argv.join(" ");
    assert!(joined.starts_with("mlx_lm.server --model {model} --host 127.0.0.1 --port {port}"));
    assert!(joined.contains("--prompt-cache-bytes"), "its cache is bounded");
    assert_eq!(command.model.as_deref(), Some("/home/me/mlx/qwen3"));
    assert_eq!(command.manner.model.as_deref(), Some("default_model"), "it must load no other");
    assert_eq!(command.ready, Ready::Completion, "it is well while it loads");
    assert_eq!(command.environment["HF_HUB_OFFLINE"], "1");
    assert_eq!(command.environment["HF_HOME"], "/cache", "or it would not find what it has");
    assert_eq!((command.memory_bytes, command.stop_signal), (6_000_000_000, StopSignal::Terminate));
}

#[test]
fn every_engine_preset_makes_a_command() {
    let presets = Presets::shipped().unwrap();
    for (name, preset) in presets.engines {
        if preset.command.is_empty() {
            continue;
        }
        let needs_model = preset.command.iter().any(|argument| argument.contains("{model"));
        let model = if needs_model { "model = \"/m/x-4bit\"\n" } else { "" };
        let command = command(&format!("engine = \"{name}\"\n{model}memory = \"1GB\""));
        let joined = command.argv.join(" ");
        assert!(joined.contains("127.0.0.1"), "{name} listens on this machine only");
        assert!(joined.contains("{port}"), "{name} takes the port it is given");
        let own_ports = ["11434", "8080", "8000", "1976"];
        assert!(!own_ports.iter().any(|port| joined.contains(port)), "{name}: {joined}");
        if joined.contains("hf") || name.contains("mlx") || name == "vllm" {
            assert_eq!(command.environment["HF_HUB_OFFLINE"], "1", "{name}");
        }
    }
}

#[test]
fn apples_engines_differ_from_openai() {
    let apfel = command("engine = \"apfel\"");
    assert_eq!(apfel.manner.context_from.as_deref(), Some("health.context_window"));
    assert!(apfel.manner.drops.contains(&"stop".to_owned()));
    assert!(apfel.manner.tools && !apfel.manner.images && !apfel.manner.embeddings);
    let fixed = command("engine = \"apfel\"\ncontext = 4096");
    assert_eq!((fixed.manner.context_tokens, fixed.manner.context_from), (Some(4096), None));
    let fm = command("engine = \"fm\"");
    assert_eq!(fm.manner.model.as_deref(), Some("system"));
    assert!(!fm.manner.tools);
    assert_eq!(fm.manner.context_tokens, Some(4096));
}

#[test]
fn omlx_is_kept_from_other_peoples_settings_and_models() {
    let command = command("engine = \"omlx\"\nmodel = \"~/mlx/qwen3-4bit\"\nmemory = \"6GB\"");
    let joined = command.argv.join(" ");
    assert!(joined.contains("--base-path /data/resident/engines/m"), "{joined}");
    assert!(joined.contains("--model-dir /home/me/mlx "), "{joined}");
    assert_eq!(command.manner.model.as_deref(), Some("qwen3-4bit"));
}

#[test]
fn the_file_wins_over_a_preset() {
    let text = "engine = \"llama-server\"\nmodel = \"x.gguf\"\nmemory = \"2GiB\"\ncontext = 8192\n\
                program = \"~/bin/llama-server\"\narguments = [\"--mmproj\", \"p.gguf\"]\n\
                environment = { OMP_NUM_THREADS = \"4\" }\nenvironment_from = [\"HF_HOME\"]\n\
                ready = \"/v1/models\"\nready_wait = \"1m\"\nstop = \"interrupt\"\n\
                stop_grace = \"1s\"\n\
                api = { images = true, drops = [\"logit_bias\"], model = \"x\" }";
    let command = command(text);
    assert_eq!(command.argv[0], "/home/me/bin/llama-server");
    assert!(command.argv.join(" ").ends_with("--ctx-size 8192 --mmproj p.gguf"));
    assert_eq!(command.environment["OMP_NUM_THREADS"], "4");
    assert_eq!(command.environment["HF_HOME"], "/cache");
    assert_eq!(command.ready, Ready::Path("/v1/models".into()));
    assert_eq!((command.ready_wait_max.as_secs(), command.stop_grace.as_secs()), (60, 1));
    assert_eq!(command.stop_signal, StopSignal::Interrupt);
    let manner = &command.manner;
    assert!(manner.images && !manner.embeddings, "what is not said stays as the preset has it");
    assert_eq!((manner.context_tokens, manner.model.as_deref()), (Some(8192), Some("x")));
    assert_eq!(manner.drops, ["logit_bias"]);
}

#[test]
fn a_command_of_ones_own_is_taken_for_openai() {
    let text = "command = [\"./serve\", \"--port={port}\", '{\"json\":1}']\nmemory = \"1GB\"";
    let command = command(text);
    assert_eq!(command.argv, ["/etc/r/./serve", "--port={port}", "{\"json\":1}"]);
    assert_eq!(command.manner, Manner::default());
    assert_eq!(command.ready, Ready::Path("/v1/models".into()));
}

#[test]
fn an_engine_that_knows_keys_gets_one_of_the_hub_s() {
    for (engine, variable) in
        [("llama-server", "LLAMA_API_KEY"), ("vllm", "VLLM_API_KEY"), ("apfel", "APFEL_TOKEN")]
    {
        let command = command(&format!("engine = \"{engine}\"\nmodel = \"x\"\nmemory = \"1GB\""));
        assert_eq!(command.environment[variable], "{key}", "{engine}");
        assert!(!command.argv.join(" ").contains("{key}"), "{engine}: everybody sees arguments");
    }
    let own = command(
        "command = [\"lab\", \"--port\", \"{port}\", \"--api-key\", \"{key}\"]\nmemory = \"1GB\"\n\
         environment = { LAB_KEY = \"{key}\" }",
    );
    assert_eq!((&*own.argv[4], &*own.environment["LAB_KEY"]), ("{key}", "{key}"));
    let both = "[models.m]\ncommand = [\"lab\", \"{port}\"]\nmemory = \"1GB\"\n\
                environment = { LAB_KEY = \"{key}\" }\nenvironment_from = [\"LAB_KEY\"]";
    assert!(refused(both).contains("environment_from: LAB_KEY is where the hub puts a key"));
}

#[test]
fn where_an_engine_hears_and_speaks_is_a_path() {
    let whisper = command("engine = \"whisper-server\"\nmodel = \"x\"").manner;
    assert_eq!(whisper.transcriptions.as_deref(), Some("/v1/audio/transcriptions"));
    assert_eq!(whisper.speech, None);
    let own = command(
        "command = [\"x\", \"{port}\"]\nmemory = \"1GB\"\n\
         api = { transcriptions = \"/inference\", speech = \"\" }",
    );
    let Manner { transcriptions, speech, .. } = own.manner;
    assert_eq!((transcriptions.as_deref(), speech), (Some("/inference"), None));
    let wrong = refused("[models.m]\nengine = \"apfel\"\napi = { speech = \"yes\" }");
    assert!(wrong.contains("api.speech: 'yes' is no path"), "{wrong}");
}

#[test]
fn an_engine_that_cannot_be_started_is_refused_with_a_way_out() {
    for (text, message) in [
        (
            "path = \"x\"\nengine = \"vllm\"",
            "path, engine and command exclude each other: path serves a GGUF file with the hub's \
             own worker, engine and command start a program; keep one",
        ),
        (
            "engine = \"mlx-lm.server\"",
            "engine 'mlx-lm.server' is not known; did you mean 'mlx_lm.server'?",
        ),
        ("engine = \"openai\"", "engine 'openai' has no program of its own; write command = [..]"),
        (
            "engine = \"llama-server\"\nmodel = \"x\"",
            "memory is missing: nobody can tell beforehand what this program takes; write for \
             example memory = \"6GB\"",
        ),
        (
            "engine = \"llama-server\"\nmemory = \"1GB\"",
            "model is missing: llama-server must be told what to load; write for example model = \
             \"~/models/qwen3-8b\"",
        ),
        (
            "command = [\"x\", \"--port\", \"1\"]\nmemory = \"1GB\"",
            "command has no {port}: the hub chooses a free port, so that engines do not collide; \
             write it where the program takes its port",
        ),
        (
            "command = [\"x\", \"{port}\", \"{prot}\"]\nmemory = \"1GB\"",
            "command: nobody says what {prot} is; there are {port}, {key}, {model}, \
             {model.folder}, {model.name} and {folder}",
        ),
        (
            "command = []\nmemory = \"1GB\"",
            "command is empty; write the program and its arguments, for example [\"prog\", \
             \"--port\", \"{port}\"]",
        ),
        (
            "command = [\"x\", \"{port}\"]\narguments = [\"y\"]\nmemory = \"1GB\"",
            "program and arguments add to a preset, but command says everything already: x {port}",
        ),
    ] {
        assert_eq!(refused(&format!("[models.m]\n{text}")), format!("[models.m] {message}"));
    }
}

#[test]
fn a_word_that_says_nothing_is_refused_with_a_way_out() {
    for (text, message) in [
        (
            "engine = \"apfel\"\nmemory = \"0\"",
            "memory is 0; write what it takes, for example 500MB",
        ),
        (
            "engine = \"apfel\"\nready = \"ok\"",
            "ready: 'ok' is neither a path such as \"/health\" nor \"completion\"",
        ),
        (
            "engine = \"apfel\"\nready_wait = \"never\"",
            "ready_wait: it needs an end; write for example 90s, 10m or 1h",
        ),
        (
            "engine = \"apfel\"\nstop = \"kill\"",
            "stop: 'kill' is neither \"terminate\" nor \"interrupt\"",
        ),
        (
            "path = \"x\"\nmemory = \"1GB\"",
            "memory is for a program that is started, but path names a GGUF file, which the hub's \
             own worker serves",
        ),
        ("path = \"x\"\ngroup = \"mian\"", "group 'mian' is not known; did you mean 'main'?"),
        (
            "engine = \"apfel\"\nenvironment = { HF_TOKEN = \"hf_x\" }",
            "environment: HF_TOKEN looks like a secret, and this file is no place for one; set it \
             where the hub is started and write environment_from = [\"HF_TOKEN\"]",
        ),
        (
            "engine = \"apfel\"\narguments = [\"--token\", \"abc\"]",
            "the argument after '--token' looks like a secret, which `ps` would show to everybody \
             on this machine; pass it in a variable with environment_from",
        ),
        (
            "pin = true",
            "path is missing, and m is neither in the library nor as m.gguf in the models folder; write path = \
             \"FILE.gguf\"",
        ),
    ] {
        assert_eq!(refused(&format!("[models.m]\n{text}")), format!("[models.m] {message}"));
    }
    let message = refused("[models.qwen3-8]\npin = true");
    assert!(message.ends_with("; did you mean 'qwen3-8b'?"), "{message}");
}

#[test]
fn a_model_of_the_folder_can_differ_without_a_path() {
    let settings = from_text("[models.tiny]\ncontext = 9\npin = true\nidle_unload = \"never\"");
    assert_eq!(settings.catalog.contexts["tiny"], 9);
    let treatment = &settings.served.treatments["tiny"];
    assert_eq!((treatment.pinned, treatment.idle_unload), (true, Some(Duration::MAX)));
}

#[test]
fn a_flag_replaces_the_engine_of_the_file() {
    let models = vec![("m".to_owned(), PathBuf::from("x.gguf"))];
    let serving = Serving { models, ..Serving::default() };
    let text = "[models.m]\nengine = \"apfel\"\npin = true";
    let settings = resolve_text(&Place::default(), &serving, text).unwrap();
    assert!(settings.served.commands.is_empty());
    assert!(settings.catalog.named.contains_key("m"));
    assert!(settings.served.treatments["m"].pinned, "what else is said about it still counts");
}

#[test]
fn a_variable_that_is_not_set_is_noted() {
    let text = "[models.a]\nengine = \"apfel\"\nenvironment_from = [\"NO_SUCH\"]";
    assert_eq!(
        from_text(text).served.notes,
        ["model 'a': environment_from: NO_SUCH is not set"],
        "presets' own wishes are silent"
    );
}
