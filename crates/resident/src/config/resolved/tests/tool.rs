//! `[tools.NAME]`: presets and refusals.

use supervisor::{Input, Output, Serves};

use super::*;
use crate::config::preset::Presets;

#[test]
fn every_tool_preset_makes_a_tool() {
    let presets = Presets::shipped().unwrap();
    for (name, preset) in presets.tools {
        let argv = preset.command.join(" ");
        let model = if argv.contains("{model}") { "model = \"/m/x\"\n" } else { "" };
        let paths = "paths = { data = \"d\", adapter = \"~/a\" }\n";
        let paths = if argv.contains("{data}") { paths } else { "" };
        let text = format!("[tools.t]\npreset = \"{name}\"\n{model}{paths}memory = \"1GB\"");
        let tool = &from_text(&text).served.tools["t"];
        assert_eq!(tool.name, "t");
        assert!(!tool.argv.join(" ").contains("{model}"), "{name}");
        let spoken = matches!(tool.serves, Serves::Speak);
        let has_text = tool.argv.join(" ").contains("{prompt}") || tool.input != Input::None;
        assert!(!spoken || has_text, "{name} must hear what to say");
    }
}

#[test]
fn espeak_is_a_line_and_can_be_changed() {
    let tools = from_text(
        "[tools.voice]\npreset = \"espeak-ng\"\n\
         [tools.german]\npreset = \"espeak-ng\"\nprogram = \"~/bin/espeak-ng\"\n\
         arguments = [\"-s\", \"150\"]\ndefaults = { voice = \"de\" }\nvoices = { alloy = \"de+f2\" }\nmemory = \"20MB\"\n\
         time_limit = \"10s\"\noutput_limit = \"1MB\"",
    )
    .served
    .tools;
    let voice = &tools["voice"];
    assert_eq!(voice.serves, Serves::Speak);
    assert_eq!(voice.input, Input::File { extension: "txt".into() });
    assert_eq!(voice.output, Output::File { extension: "wav".into() });
    assert_eq!(
        (voice.content_type.as_str(), voice.defaults["voice"].as_str()),
        ("audio/wav", "en")
    );
    assert_eq!(voice.voices["alloy"], "en-us");
    let german = &tools["german"];
    assert_eq!(german.argv[0], "/home/me/bin/espeak-ng");
    assert_eq!(german.argv.last().map(String::as_str), Some("150"));
    assert_eq!(german.defaults["voice"], "de");
    assert_eq!((&*german.voices["alloy"], &*german.voices["fable"]), ("de+f2", "en-gb"));
    let limits = (german.time_max.as_secs(), german.output_bytes_max);
    assert_eq!((limits, german.memory_bytes), ((10, 1_000_000), 20_000_000));
}

#[test]
fn a_role_says_which_tool_is_chosen_first() {
    let tool = |name| format!("[tools.{name}]\npreset = \"espeak-ng\"\n");
    let tables: String = ["a", "b", "c"].map(tool).concat();
    let names = |roles: &str| -> Vec<String> {
        let tools = from_text(&format!("{tables}{roles}")).served.tools_in_order();
        tools.into_iter().map(|tool| tool.name).collect()
    };
    assert_eq!(names(""), ["a", "b", "c"]);
    assert_eq!(names("[roles]\nspeak = [\"c\", \"b\"]"), ["c", "b", "a"]);
}

#[test]
fn fine_tuning_reads_and_writes_only_where_the_file_says() {
    let text = "[tools.tune]\npreset = \"mlx_lm.lora\"\nmodel = \"~/mlx/qwen3\"\nmemory = \"8GB\"\n\
                paths = { data = \"data\", adapter = \"~/adapters/mine\" }";
    let tool = from_text(text).served.tools["tune"].clone();
    let joined = tool.argv.join(" ");
    assert!(
        joined.contains("--data /etc/r/data --adapter-path /home/me/adapters/mine"),
        "{joined}"
    );
    assert_eq!((tool.input, tool.output), (Input::Stdin, Output::Stdout));
}

#[test]
fn a_tool_that_cannot_run_is_refused_with_a_way_out() {
    for (text, message) in [
        (
            "memory = \"1GB\"",
            "there is no preset and no command; write for example preset = \"espeak-ng\"",
        ),
        ("preset = \"espeak\"", "preset 'espeak' is not known; did you mean 'espeak-ng'?"),
        (
            "preset = \"espeak-ng\"\ncommand = [\"x\"]",
            "preset and command exclude each other: a preset has its command; keep one, and change \
             a preset's with program and arguments",
        ),
        (
            "preset = \"piper\"",
            "model is missing: the program must be told what to load; write for example model = \
             \"~/models/x.bin\"",
        ),
        (
            "preset = \"stable-diffusion.cpp\"\nmodel = \"x\"",
            "memory is missing: nobody can tell beforehand what this program takes; write for \
             example memory = \"2GB\"",
        ),
        (
            "command = [\"x\", \"{data}\"]\nmemory = \"1GB\"",
            "command: nobody says what {data} is; say it under paths if it is a path of yours, or \
             under defaults if requests may say it; they say input, output, output_stem, prompt, \
             voice, language, speed, words_per_minute, length_scale, temperature, format, size, \
             width, height, seed, page",
        ),
        (
            "command = [\"x\", \"{voice}\"]\npaths = { voice = \"/v\" }\nmemory = \"1GB\"",
            "paths: requests may say what {voice} is, so it is no place for a path of yours; name \
             it otherwise",
        ),
        (
            "command = [\"x\", \"{output}\"]\nmemory = \"1GB\"",
            "output is missing: say how the file of {output} ends, as \"wav\"",
        ),
        (
            "command = [\"x\"]\ninput = \"wav\"\nmemory = \"1GB\"",
            "input says how a file ends, but the command has no {input}",
        ),
        (
            "command = [\"x\", \"{input}\"]\ninput = \"../x\"\nmemory = \"1GB\"",
            "input: '../x' is not the ending of a file's name; write as \"wav\"",
        ),
        (
            "command = [\"bin/x\"]\nmemory = \"1GB\"",
            "its program 'bin/x' must be a bare name or a whole path",
        ),
        (
            "preset = \"espeak-ng\"\nserves = \"talk\"",
            "serves: 'talk' is not one of speak, listen, draw, tool",
        ),
        (
            "preset = \"espeak-ng\"\ncontent_type = \"wav\"",
            "content_type: 'wav' is not a media type; write for example audio/wav",
        ),
        (
            "preset = \"espeak-ng\"\ntime_limit = \"never\"",
            "time_limit: it needs an end; write for example 90s, 10m or 1h",
        ),
    ] {
        assert_eq!(refused(&format!("[tools.t]\n{text}")), format!("[tools.t] {message}"));
    }
    assert_eq!(
        refused("[tools.m]\npreset = \"espeak-ng\"\n[models.m]\npath = \"x\""),
        "[tools.m] a model has this name too; rename one of them"
    );
}
