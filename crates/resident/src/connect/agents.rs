//! Coding agents: aider, Claude Code, Cline, Codex, opencode. What is known of each has its source.

use serde_json::{Map, Value, json};

use super::{
    client::{FilePiece, Piece},
    merge::{Form, Place},
    places::{Places, System},
    subject::{KEY_VARIABLE, NO_KEY, Subject},
};
use crate::limits::CLAUDE_WINDOW_TOKENS_MIN;

/// What aider uses before its variables.
const AIDER_KEY: Place = &["openai-api-key"];

/// Milliseconds for which Codex waits for something of a stream: a request may wait ten minutes for memory,
/// and then its prompt is computed.
const SILENCE_MS_MAX: u64 = 3_600_000;

/// What Claude Code uses before the command that says the key.
const CLAUDE_TOKEN: Place = &["env", "ANTHROPIC_AUTH_TOKEN"];

/// What it uses before that command too.
const CLAUDE_KEY: Place = &["env", "ANTHROPIC_API_KEY"];

/// OpenAI's chat through litellm: the model's name begins with `openai/`, the address ends in `/v1`, and
/// some key is needed. Of a model that it does not know it asks the second file how long it may be.
/// <https://aider.chat/docs/llms/openai-compat.html>, <https://aider.chat/docs/config/aider_conf.html>,
/// <https://aider.chat/docs/config/adv-model-settings.html>
pub(super) fn aider(subject: &Subject, places: &Places) -> Vec<Piece> {
    let model = format!("openai/{}", subject.model.name);
    let mut settings = json!({ "model": model, "openai-api-base": subject.v1() });
    if !subject.has_key {
        settings["openai-api-key"] = NO_KEY.into();
    }
    let path = places.home.join(".aider.conf.yml");
    let mut file = FilePiece::new(path, Form::Yaml, settings);
    if subject.has_key {
        file = FilePiece { rivals: &[AIDER_KEY], ..file.without(AIDER_KEY, NO_KEY) };
    }
    let mut pieces = vec![Piece::File(file)];
    if let Some(tokens) = subject.model.context_tokens {
        let known = json!({
            "litellm_provider": "openai",
            "mode": "chat",
            "max_input_tokens": tokens,
            "max_output_tokens": subject.answer_tokens(),
            "input_cost_per_token": 0,
            "output_cost_per_token": 0,
        });
        let path = places.home.join(".aider.model.metadata.json");
        let known = Value::Object([(model, known)].into_iter().collect());
        pieces.push(Piece::File(FilePiece::new(path, Form::Json, known)));
    }
    if subject.has_key {
        let key = places.variables(&[("OPENAI_API_KEY", places.value_of(KEY_VARIABLE))]);
        pieces.push(Piece::Then(format!("give aider the hub's key where it is started: {key}")));
    }
    pieces
}

/// Anthropic's messages; it adds `/v1/messages` to the address itself. Variables stand in `env` of its
/// settings, which win over the shell's. Its three names for models all mean ours, since each is used
/// for something. A key comes from a command, so that it stands in no file.
/// <https://code.claude.com/docs/en/settings>, <https://code.claude.com/docs/en/env-vars>,
/// <https://code.claude.com/docs/en/llm-gateway>
pub(super) fn claude_code(subject: &Subject, places: &Places) -> Vec<Piece> {
    let model = &subject.model.name;
    let mut env: Map<String, Value> = Map::new();
    env.insert("ANTHROPIC_BASE_URL".to_owned(), subject.url.as_str().into());
    for name in [
        "ANTHROPIC_MODEL",
        "ANTHROPIC_DEFAULT_OPUS_MODEL",
        "ANTHROPIC_DEFAULT_SONNET_MODEL",
        "ANTHROPIC_DEFAULT_HAIKU_MODEL",
    ] {
        env.insert(name.to_owned(), model.as_str().into());
    }
    if let Some(tokens) = subject.model.context_tokens {
        // It would take them for Claude's, and go on until the hub refuses.
        let window = tokens.max(CLAUDE_WINDOW_TOKENS_MIN);
        env.insert("CLAUDE_CODE_AUTO_COMPACT_WINDOW".to_owned(), window.to_string().into());
        let answer = subject.answer_tokens();
        if window > tokens {
            // It believes in no shorter window, but in a part of it.
            let percent = u64::from(tokens - answer) * 100 / u64::from(window);
            let percent = percent.max(1).to_string();
            env.insert("CLAUDE_AUTOCOMPACT_PCT_OVERRIDE".to_owned(), percent.into());
        }
        env.insert("CLAUDE_CODE_MAX_OUTPUT_TOKENS".to_owned(), answer.to_string().into());
    }
    let token = match subject.has_key {
        true => places.value_of(KEY_VARIABLE),
        false => NO_KEY.to_owned(),
    };
    let session = places.variables(&[
        ("ANTHROPIC_BASE_URL", subject.url.clone()),
        ("ANTHROPIC_AUTH_TOKEN", token),
        ("ANTHROPIC_MODEL", model.clone()),
        ("ANTHROPIC_DEFAULT_HAIKU_MODEL", model.clone()),
    ]);
    let mut pieces = vec![
        Piece::File(claude_file(subject, places, env)),
        Piece::Text {
            heading: "or, for one terminal only:".to_owned(),
            text: format!("{session}\nclaude"),
        },
    ];
    if subject.has_key {
        pieces.push(Piece::Then(format!(
            "set {KEY_VARIABLE} where claude is started, and neither ANTHROPIC_AUTH_TOKEN nor \
             ANTHROPIC_API_KEY, which would win over it"
        )));
    }
    pieces
}

/// Its settings, with what it sends as a key.
fn claude_file(subject: &Subject, places: &Places, mut env: Map<String, Value>) -> FilePiece {
    let command = match places.system {
        System::Linux | System::Mac => format!("printenv {KEY_VARIABLE}"),
        System::Windows => format!("echo %{KEY_VARIABLE}%"),
    };
    let path = places.claude.join("settings.json");
    if subject.has_key {
        let file = FilePiece::new(path, Form::Json, json!({ "apiKeyHelper": command, "env": env }));
        FilePiece { rivals: &[CLAUDE_TOKEN, CLAUDE_KEY], ..file.without(CLAUDE_TOKEN, NO_KEY) }
    } else {
        env.insert("ANTHROPIC_AUTH_TOKEN".to_owned(), NO_KEY.into());
        FilePiece::new(path, Form::Json, json!({ "env": env })).without(&["apiKeyHelper"], &command)
    }
}

/// OpenAI's chat. Its own files (`~/.cline/data/globalState.json`, `secrets.json`) are its state, written
/// while it runs, so they are left to it: its command line has a command for this, its window a form.
/// <https://docs.cline.bot/cline-cli/cli-reference>, <https://docs.cline.bot/provider-config/openai-compatible>
pub(super) fn cline(subject: &Subject, places: &Places) -> Vec<Piece> {
    let (key, said) = match subject.has_key {
        true => (format!("\"{}\"", places.value_of(KEY_VARIABLE)), "the hub's key"),
        false => (NO_KEY.to_owned(), NO_KEY),
    };
    let (v1, name) = (subject.v1(), &subject.model.name);
    let mut steps = format!(
        "1. Open Cline's settings (the gear in its panel).\n\
         2. API Provider: OpenAI Compatible\n\
         3. Base URL: {v1}\n\
         4. API Key: {said}\n\
         5. Model ID: {name}"
    );
    if let Some(tokens) = subject.model.context_tokens {
        steps.push_str(&format!("\n6. Model Configuration, Context Window Size: {tokens}"));
    }
    vec![
        Piece::Text {
            heading: "for its command line:".to_owned(),
            text: format!("cline auth -p openai -k {key} -b {v1} -m {name}"),
        },
        Piece::Text { heading: "for VS Code and JetBrains:".to_owned(), text: steps },
    ]
}

/// OpenAI's responses and nothing else since February 2026; `wire_api = "chat"` stops it at its start.
/// The address ends in `/v1`; without `env_key` it sends no key. It gives up on a stream that says nothing for
/// five minutes, and comments are nothing to it: a long prompt may take longer on a small machine.
/// <https://developers.openai.com/codex/config-reference>, <https://github.com/openai/codex/discussions/7782>
pub(super) fn codex(subject: &Subject, places: &Places) -> Vec<Piece> {
    let mut settings = json!({
        "model": subject.model.name,
        "model_provider": "resident",
        "model_providers": { "resident": {
            "name": "Resident",
            "base_url": subject.v1(),
            "wire_api": "responses",
            "stream_idle_timeout_ms": SILENCE_MS_MAX,
        } },
    });
    if let Some(tokens) = subject.model.context_tokens {
        settings["model_context_window"] = tokens.into();
    }
    let path = places.codex.join("config.toml");
    if !subject.has_key {
        // It does not start while a variable that it is told of is not set.
        let file = FilePiece::new(path, Form::Toml, settings);
        let place = &["model_providers", "resident", "env_key"];
        return vec![Piece::File(file.without(place, KEY_VARIABLE))];
    }
    settings["model_providers"]["resident"]["env_key"] = KEY_VARIABLE.into();
    vec![
        Piece::File(FilePiece::new(path, Form::Toml, settings)),
        Piece::Then(format!("set {KEY_VARIABLE} where codex is started")),
    ]
}

/// OpenAI's chat by a package of the AI SDK; the address ends in `/v1`. Version 2 reads this form too, and
/// part of it insists on some key (<https://github.com/anomalyco/opencode/issues/42587>).
/// <https://opencode.ai/docs/config/>, <https://opencode.ai/docs/providers/>,
/// <https://opencode.ai/docs/migrate-v1/>
pub(super) fn opencode(subject: &Subject, places: &Places) -> Vec<Piece> {
    let name = &subject.model.name;
    let key = match subject.has_key {
        true => format!("{{env:{KEY_VARIABLE}}}"),
        false => NO_KEY.to_owned(),
    };
    let mut model = json!({ "name": name });
    if let Some(tokens) = subject.model.context_tokens {
        model["limit"] = json!({ "context": tokens, "output": subject.answer_tokens() });
    }
    if !subject.model.tools {
        model["tool_call"] = false.into();
    }
    let settings = json!({
        "model": format!("resident/{name}"),
        "provider": { "resident": {
            "npm": "@ai-sdk/openai-compatible",
            "name": "Resident",
            "options": { "baseURL": subject.v1(), "apiKey": key },
            "models": Value::Object([(name.clone(), model)].into_iter().collect()),
        } },
    });
    let schema = ("$schema".to_owned(), "https://opencode.ai/config.json".into());
    let file = FilePiece::new(places.opencode.clone(), Form::Json, settings);
    let mut pieces =
        vec![Piece::File(FilePiece { at_first: [schema].into_iter().collect(), ..file })];
    if subject.has_key {
        pieces.push(Piece::Then(format!("set {KEY_VARIABLE} where opencode is started")));
    }
    pieces
}
