//! What each client is told, to the letter, and that files keep what was in them.

use std::{collections::BTreeSet, fs, path::PathBuf};

use clap::CommandFactory as _;
use expect_test::{Expect, expect};
use proptest::prelude::*;
use serde_json::{Value, json};

mod again;

use super::{
    client::{self, Api, CLIENTS, FilePiece, Piece},
    merge::{Form, merge},
    places::{Places, System},
    subject::{Chosen, Subject},
    *,
};

fn linux() -> Places {
    let config = PathBuf::from("/home/me/.config");
    Places::of(System::Linux, "/home/me".into(), config.clone(), config)
}

fn windows() -> Places {
    let home = PathBuf::from("/Users/me");
    let (config, windowed) = (home.join(".config"), home.join("AppData/Roaming"));
    Places::of(System::Windows, home, config, windowed)
}

fn subject() -> Subject {
    Subject {
        url: "http://127.0.0.1:11434".to_owned(),
        has_key: false,
        model: Chosen {
            name: "qwen3-8b".to_owned(),
            context_tokens: Some(40_960),
            tools: true,
            images: false,
        },
        embedder: None,
    }
}

fn with_key() -> Subject {
    Subject { has_key: true, embedder: Some("bge-m3".to_owned()), ..subject() }
}

/// Every piece, with what says where it goes.
fn told(pieces: &[Piece]) -> String {
    let piece = |piece: &Piece| match piece {
        Piece::File(file) => format!("== {}\n{}", file.path.display(), file.fresh()),
        Piece::Text { heading, text } => format!("== {heading}\n{text}\n"),
        Piece::Then(what) => format!("== then {what}\n"),
    };
    pieces.iter().map(piece).collect()
}

fn check(name: &str, subject: &Subject, expected: &Expect) {
    let client = client::find(name).unwrap();
    expected.assert_eq(&told(&(client.pieces)(subject, &linux())));
}

#[test]
fn aider() {
    check(
        "aider",
        &subject(),
        &expect![[r#"
        == /home/me/.aider.conf.yml
        model: openai/qwen3-8b
        openai-api-base: http://127.0.0.1:11434/v1
        openai-api-key: unused
        == /home/me/.aider.model.metadata.json
        {
          "openai/qwen3-8b": {
            "litellm_provider": "openai",
            "mode": "chat",
            "max_input_tokens": 40960,
            "max_output_tokens": 10240,
            "input_cost_per_token": 0,
            "output_cost_per_token": 0
          }
        }
    "#]],
    );
    check(
        "aider",
        &with_key(),
        &expect![[r#"
        == /home/me/.aider.conf.yml
        model: openai/qwen3-8b
        openai-api-base: http://127.0.0.1:11434/v1
        == /home/me/.aider.model.metadata.json
        {
          "openai/qwen3-8b": {
            "litellm_provider": "openai",
            "mode": "chat",
            "max_input_tokens": 40960,
            "max_output_tokens": 10240,
            "input_cost_per_token": 0,
            "output_cost_per_token": 0
          }
        }
        == then give aider the hub's key where it is started: export OPENAI_API_KEY="$RESIDENT_KEY"
    "#]],
    );
}

#[test]
fn cherry_studio() {
    check(
        "cherry-studio",
        &subject(),
        &expect![[r#"
        == in its window:
        1. Settings, Model Provider, Add: name Resident, type OpenAI
        2. API Key: unused
        3. API Host: http://127.0.0.1:11434
        4. Manage, and add qwen3-8b; or Add, and write it
        5. Turn the provider on (the switch at the top)
        If it is told that its web pages may not call this hub, add the origin that the hub names to
        `origins` in the hub's configuration.
    "#]],
    );
}

#[test]
fn claude_code() {
    check(
        "claude-code",
        &subject(),
        &expect![[r#"
        == /home/me/.claude/settings.json
        {
          "env": {
            "ANTHROPIC_BASE_URL": "http://127.0.0.1:11434",
            "ANTHROPIC_MODEL": "qwen3-8b",
            "ANTHROPIC_DEFAULT_OPUS_MODEL": "qwen3-8b",
            "ANTHROPIC_DEFAULT_SONNET_MODEL": "qwen3-8b",
            "ANTHROPIC_DEFAULT_HAIKU_MODEL": "qwen3-8b",
            "CLAUDE_CODE_AUTO_COMPACT_WINDOW": "100000",
            "CLAUDE_AUTOCOMPACT_PCT_OVERRIDE": "30",
            "CLAUDE_CODE_MAX_OUTPUT_TOKENS": "10240",
            "ANTHROPIC_AUTH_TOKEN": "unused"
          }
        }
        == or, for one terminal only:
        export ANTHROPIC_BASE_URL="http://127.0.0.1:11434"
        export ANTHROPIC_AUTH_TOKEN="unused"
        export ANTHROPIC_MODEL="qwen3-8b"
        export ANTHROPIC_DEFAULT_HAIKU_MODEL="qwen3-8b"
        claude
    "#]],
    );
    check(
        "claude-code",
        &with_key(),
        &expect![[r#"
        == /home/me/.claude/settings.json
        {
          "apiKeyHelper": "printenv RESIDENT_KEY",
          "env": {
            "ANTHROPIC_BASE_URL": "http://127.0.0.1:11434",
            "ANTHROPIC_MODEL": "qwen3-8b",
            "ANTHROPIC_DEFAULT_OPUS_MODEL": "qwen3-8b",
            "ANTHROPIC_DEFAULT_SONNET_MODEL": "qwen3-8b",
            "ANTHROPIC_DEFAULT_HAIKU_MODEL": "qwen3-8b",
            "CLAUDE_CODE_AUTO_COMPACT_WINDOW": "100000",
            "CLAUDE_AUTOCOMPACT_PCT_OVERRIDE": "30",
            "CLAUDE_CODE_MAX_OUTPUT_TOKENS": "10240"
          }
        }
        == or, for one terminal only:
        export ANTHROPIC_BASE_URL="http://127.0.0.1:11434"
        export ANTHROPIC_AUTH_TOKEN="$RESIDENT_KEY"
        export ANTHROPIC_MODEL="qwen3-8b"
        export ANTHROPIC_DEFAULT_HAIKU_MODEL="qwen3-8b"
        claude
        == then set RESIDENT_KEY where claude is started, and neither ANTHROPIC_AUTH_TOKEN nor ANTHROPIC_API_KEY, which would win over it
    "#]],
    );
}

#[test]
fn cline() {
    check(
        "cline",
        &subject(),
        &expect![[r#"
        == for its command line:
        cline auth -p openai -k unused -b http://127.0.0.1:11434/v1 -m qwen3-8b
        == for VS Code and JetBrains:
        1. Open Cline's settings (the gear in its panel).
        2. API Provider: OpenAI Compatible
        3. Base URL: http://127.0.0.1:11434/v1
        4. API Key: unused
        5. Model ID: qwen3-8b
        6. Model Configuration, Context Window Size: 40960
    "#]],
    );
    check(
        "cline",
        &with_key(),
        &expect![[r#"
        == for its command line:
        cline auth -p openai -k "$RESIDENT_KEY" -b http://127.0.0.1:11434/v1 -m qwen3-8b
        == for VS Code and JetBrains:
        1. Open Cline's settings (the gear in its panel).
        2. API Provider: OpenAI Compatible
        3. Base URL: http://127.0.0.1:11434/v1
        4. API Key: the hub's key
        5. Model ID: qwen3-8b
        6. Model Configuration, Context Window Size: 40960
    "#]],
    );
}

/// What it is told once the hub speaks its language.
#[test]
fn codex() {
    check(
        "codex",
        &subject(),
        &expect![[r#"
        == /home/me/.codex/config.toml
        model = "qwen3-8b"
        model_provider = "resident"
        model_context_window = 40960

        [model_providers.resident]
        name = "Resident"
        base_url = "http://127.0.0.1:11434/v1"
        wire_api = "responses"
        stream_idle_timeout_ms = 3600000
    "#]],
    );
    check(
        "codex",
        &with_key(),
        &expect![[r#"
        == /home/me/.codex/config.toml
        model = "qwen3-8b"
        model_provider = "resident"
        model_context_window = 40960

        [model_providers.resident]
        name = "Resident"
        base_url = "http://127.0.0.1:11434/v1"
        wire_api = "responses"
        stream_idle_timeout_ms = 3600000
        env_key = "RESIDENT_KEY"
        == then set RESIDENT_KEY where codex is started
    "#]],
    );
}

#[test]
fn continue_dev() {
    check(
        "continue",
        &subject(),
        &expect![[r#"
        == /home/me/.continue/config.yaml
        name: Resident
        version: 1.0.0
        schema: v1
        models:
          - name: qwen3-8b on Resident
            provider: openai
            model: qwen3-8b
            apiBase: http://127.0.0.1:11434/v1
            apiKey: unused
            roles:
              - chat
              - edit
              - apply
            capabilities:
              - tool_use
            defaultCompletionOptions:
              contextLength: 40960
              maxTokens: 10240
    "#]],
    );
    check(
        "continue",
        &with_key(),
        &expect![[r#"
        == /home/me/.continue/config.yaml
        name: Resident
        version: 1.0.0
        schema: v1
        models:
          - name: qwen3-8b on Resident
            provider: openai
            model: qwen3-8b
            apiBase: http://127.0.0.1:11434/v1
            apiKey: ${{ secrets.RESIDENT_KEY }}
            roles:
              - chat
              - edit
              - apply
            capabilities:
              - tool_use
            defaultCompletionOptions:
              contextLength: 40960
              maxTokens: 10240
        == then put the hub's key into /home/me/.continue/.env as RESIDENT_KEY=KEY
    "#]],
    );
}

#[test]
fn langchain() {
    check(
        "langchain",
        &subject(),
        &expect![[r#"
        == in Python:
        # pip install langchain-openai
        from langchain_openai import ChatOpenAI

        model = ChatOpenAI(
            model="qwen3-8b",
            base_url="http://127.0.0.1:11434/v1",
            api_key="unused",
            use_responses_api=False,
        )

    "#]],
    );
    check(
        "langchain",
        &with_key(),
        &expect![[r#"
        == in Python:
        # pip install langchain-openai
        import os
        from langchain_openai import ChatOpenAI

        model = ChatOpenAI(
            model="qwen3-8b",
            base_url="http://127.0.0.1:11434/v1",
            api_key=os.environ["RESIDENT_KEY"],
            use_responses_api=False,
        )

        from langchain_openai import OpenAIEmbeddings

        embeddings = OpenAIEmbeddings(
            model="bge-m3",
            base_url="http://127.0.0.1:11434/v1",
            api_key=os.environ["RESIDENT_KEY"],
            check_embedding_ctx_length=False,  # texts, not OpenAI's tokens
        )

    "#]],
    );
}

#[test]
fn llamaindex() {
    check(
        "llamaindex",
        &subject(),
        &expect![[r#"
        == in Python:
        # pip install llama-index-llms-openai-like
        from llama_index.llms.openai_like import OpenAILike

        llm = OpenAILike(
            model="qwen3-8b",
            api_base="http://127.0.0.1:11434/v1",
            api_key="unused",
            context_window=40960,
            is_chat_model=True,
            is_function_calling_model=True,
        )

    "#]],
    );
    check(
        "llamaindex",
        &with_key(),
        &expect![[r#"
        == in Python:
        # pip install llama-index-llms-openai-like llama-index-embeddings-openai-like
        import os
        from llama_index.llms.openai_like import OpenAILike

        llm = OpenAILike(
            model="qwen3-8b",
            api_base="http://127.0.0.1:11434/v1",
            api_key=os.environ["RESIDENT_KEY"],
            context_window=40960,
            is_chat_model=True,
            is_function_calling_model=True,
        )

        from llama_index.embeddings.openai_like import OpenAILikeEmbedding

        embeddings = OpenAILikeEmbedding(
            model_name="bge-m3",
            api_base="http://127.0.0.1:11434/v1",
            api_key=os.environ["RESIDENT_KEY"],
        )

    "#]],
    );
}

#[test]
fn open_webui() {
    check(
        "open-webui",
        &subject(),
        &expect![[r#"
        == before its first start:
        export OPENAI_API_BASE_URL="http://127.0.0.1:11434/v1"
        export OPENAI_API_KEY="unused"
        export ENABLE_OLLAMA_API="False"
        export DEFAULT_MODELS="qwen3-8b"
        open-webui serve
        == or, if it has been started before:
        1. Admin Panel, Settings, Connections, OpenAI API, +
        2. URL: http://127.0.0.1:11434/v1
        3. Key: unused
        4. Choose qwen3-8b in a new chat
        == in Docker:
        In a container 127.0.0.1 is the container itself. On Linux start it with --network=host; with
        Docker Desktop write http://host.docker.internal:11434/v1 for the address, and
        hosts = ["host.docker.internal"] in the hub's configuration.
    "#]],
    );
    check(
        "open-webui",
        &with_key(),
        &expect![[r#"
        == before its first start:
        export OPENAI_API_BASE_URL="http://127.0.0.1:11434/v1"
        export OPENAI_API_KEY="$RESIDENT_KEY"
        export ENABLE_OLLAMA_API="False"
        export DEFAULT_MODELS="qwen3-8b"
        open-webui serve
        == or, if it has been started before:
        1. Admin Panel, Settings, Connections, OpenAI API, +
        2. URL: http://127.0.0.1:11434/v1
        3. Key: the hub's key
        4. Choose qwen3-8b in a new chat
        == in Docker:
        In a container 127.0.0.1 is the container itself. On Linux start it with --network=host; with
        Docker Desktop write http://host.docker.internal:11434/v1 for the address, and
        hosts = ["host.docker.internal"] in the hub's configuration.
    "#]],
    );
}

#[test]
fn opencode() {
    check(
        "opencode",
        &subject(),
        &expect![[r#"
        == /home/me/.config/opencode/opencode.json
        {
          "$schema": "https://opencode.ai/config.json",
          "model": "resident/qwen3-8b",
          "provider": {
            "resident": {
              "npm": "@ai-sdk/openai-compatible",
              "name": "Resident",
              "options": {
                "baseURL": "http://127.0.0.1:11434/v1",
                "apiKey": "unused"
              },
              "models": {
                "qwen3-8b": {
                  "name": "qwen3-8b",
                  "limit": {
                    "context": 40960,
                    "output": 10240
                  }
                }
              }
            }
          }
        }
    "#]],
    );
    let mut plain = with_key();
    plain.model =
        Chosen { name: "auto".to_owned(), context_tokens: None, tools: false, images: false };
    check(
        "opencode",
        &plain,
        &expect![[r#"
        == /home/me/.config/opencode/opencode.json
        {
          "$schema": "https://opencode.ai/config.json",
          "model": "resident/auto",
          "provider": {
            "resident": {
              "npm": "@ai-sdk/openai-compatible",
              "name": "Resident",
              "options": {
                "baseURL": "http://127.0.0.1:11434/v1",
                "apiKey": "{env:RESIDENT_KEY}"
              },
              "models": {
                "auto": {
                  "name": "auto",
                  "tool_call": false
                }
              }
            }
          }
        }
        == then set RESIDENT_KEY where opencode is started
    "#]],
    );
}

#[test]
fn vscode() {
    check(
        "vscode",
        &subject(),
        &expect![[r#"
        == /home/me/.config/Code/User/chatLanguageModels.json
        [
          {
            "name": "Resident",
            "vendor": "customendpoint",
            "apiType": "chat-completions",
            "apiKey": "unused",
            "models": [
              {
                "id": "qwen3-8b",
                "name": "qwen3-8b (Resident)",
                "url": "http://127.0.0.1:11434/v1/chat/completions",
                "toolCalling": true,
                "vision": false,
                "maxInputTokens": 30720,
                "maxOutputTokens": 10240
              }
            ]
          }
        ]
        == then choose the model in the picker of the chat; if it is not there, restart VS Code
    "#]],
    );
    check(
        "vscode",
        &with_key(),
        &expect![[r#"
        == /home/me/.config/Code/User/chatLanguageModels.json
        [
          {
            "name": "Resident",
            "vendor": "customendpoint",
            "apiType": "chat-completions",
            "models": [
              {
                "id": "qwen3-8b",
                "name": "qwen3-8b (Resident)",
                "url": "http://127.0.0.1:11434/v1/chat/completions",
                "toolCalling": true,
                "vision": false,
                "maxInputTokens": 30720,
                "maxOutputTokens": 10240
              }
            ]
          }
        ]
        == then give VS Code the hub's key: Chat: Manage Language Models, the gear beside Resident
        == then choose the model in the picker of the chat; if it is not there, restart VS Code
    "#]],
    );
}

#[test]
fn zed() {
    check(
        "zed",
        &subject(),
        &expect![[r#"
        == /home/me/.config/zed/settings.json
        {
          "language_models": {
            "ollama": {
              "api_url": "http://127.0.0.1:11434",
              "available_models": [
                {
                  "name": "qwen3-8b",
                  "display_name": "qwen3-8b (Resident)",
                  "max_tokens": 40960,
                  "supports_tools": true,
                  "supports_images": false
                }
              ]
            }
          },
          "agent": {
            "default_model": {
              "provider": "ollama",
              "model": "qwen3-8b"
            }
          }
        }
    "#]],
    );
    check(
        "zed",
        &with_key(),
        &expect![[r#"
        == /home/me/.config/zed/settings.json
        {
          "language_models": {
            "ollama": {
              "api_url": "http://127.0.0.1:11434",
              "available_models": [
                {
                  "name": "qwen3-8b",
                  "display_name": "qwen3-8b (Resident)",
                  "max_tokens": 40960,
                  "supports_tools": true,
                  "supports_images": false
                }
              ]
            }
          },
          "agent": {
            "default_model": {
              "provider": "ollama",
              "model": "qwen3-8b"
            }
          }
        }
        == then give Zed the hub's key: agent: open settings, Ollama; or OLLAMA_API_KEY where it is started
    "#]],
    );
}

#[test]
fn windows_has_other_folders_and_another_shell() {
    let all = ["claude-code", "vscode", "zed"].map(|name| {
        let pieces = (client::find(name).unwrap().pieces)(&with_key(), &windows());
        told(&pieces).replace('\\', "/")
    });
    let all = all.concat();
    for part in [
        "== /Users/me/.claude/settings.json\n",
        "== /Users/me/AppData/Roaming/Code/User/chatLanguageModels.json\n",
        "== /Users/me/AppData/Roaming/Zed/settings.json\n",
        "\"echo %RESIDENT_KEY%\"",
        "$env:ANTHROPIC_AUTH_TOKEN = \"$env:RESIDENT_KEY\"",
    ] {
        assert!(all.contains(part), "'{part}' is missing in:\n{all}");
    }
}

/// With a key nobody is told to send none, and without one nobody is sent looking for it.
#[test]
fn a_key_is_spoken_of_where_there_is_one() {
    for client in CLIENTS {
        let keyless = told(&(client.pieces)(&subject(), &linux()));
        let keyed = told(&(client.pieces)(&with_key(), &linux()));
        assert!(!keyless.contains("RESIDENT_KEY"), "{keyless}");
        assert!(!keyless.contains("hub's key"), "{keyless}");
        assert!(!keyed.contains("unused"), "{keyed}");
        let asks = keyed.contains("RESIDENT_KEY") || keyed.contains("hub's key");
        assert!(asks, "{} says nothing about the key", client.name);
    }
}

#[test]
fn every_client_is_in_the_help_and_in_the_list_by_its_name() {
    let names: Vec<&str> = CLIENTS.iter().map(|client| client.name).collect();
    assert!(names.is_sorted(), "{names:?}");
    assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len(), "{names:?}");
    let mut command = cli::Cli::command();
    let help = command.find_subcommand_mut("connect").unwrap().render_help().to_string();
    let listed = list().lines(Paint::plain());
    for name in names {
        assert!(help.contains(name), "{name} is not in the help:\n{help}");
        let is_row = |line: &String| line.split_whitespace().next() == Some(name);
        assert!(listed.iter().any(is_row), "{name} is not in the list");
    }
}

#[test]
fn an_unknown_client_is_refused_with_a_way_out() {
    for (name, part) in [
        ("open-code", "did you mean 'opencode'?"),
        ("claude", "did you mean 'claude-code'?"),
        ("xyzzy", "resident connect --list"),
    ] {
        let message = client::find(name).unwrap_err().to_string();
        assert!(message.starts_with(&format!("no client is called '{name}'; ")), "{message}");
        assert!(message.contains(part), "{message}");
    }
}

/// A client is refused exactly while the hub does not speak what it asks for, and then whoever is named
/// instead can be connected.
#[test]
fn who_asks_for_what_the_hub_does_not_speak_is_sent_to_others() {
    for client in CLIENTS {
        assert_eq!(client.check().is_ok(), client.api.is_spoken(), "{}", client.name);
        let others: Vec<&Client> =
            client.instead.iter().map(|name| client::find(name).unwrap()).collect();
        if let Err(refusal) = client.check() {
            assert!(others.iter().any(|other| other.check().is_ok()), "{refusal}");
            assert!(refusal.to_string().contains(client.api.path()), "{refusal}");
        }
    }
    let others = client::find("codex").unwrap().instead;
    let refused = Client { api: Api::Responses, ..*client::find("codex").unwrap() };
    assert!(others.contains(&"opencode"), "{others:?}");
    assert_eq!(refused.check().is_ok(), Api::Responses.is_spoken());
}

#[test]
fn an_agent_is_doubted_with_a_small_model() {
    let mut small = subject();
    small.model.context_tokens = Some(4096);
    small.model.tools = false;
    let of = |name: &str, subject: &Subject| doubts(client::find(name).unwrap(), subject).len();
    assert_eq!((of("opencode", &small), of("opencode", &subject())), (2, 0));
    assert_eq!(of("open-webui", &small), 0, "a chat needs neither");
}

/// Every file of every client, into a folder where something is already.
#[test]
fn files_are_written_beside_what_is_in_them_and_once() {
    let folder = tempfile::tempdir().unwrap();
    let (home, config) = (folder.path().to_owned(), folder.path().join(".config"));
    let places = Places::of(System::Linux, home, config.clone(), config);
    let old = |form: Form| match form {
        Form::Json => "{\n  // mine\n  \"mine\": { \"a\": 1 }\n}\n",
        Form::Toml => "# mine\n[mine]\na = 1\n",
        Form::Yaml => "# mine\nmine:\n  a: 1\n",
    };
    for client in CLIENTS {
        let pieces = (client.pieces)(&subject(), &places);
        for file in pieces.iter().filter_map(Piece::file) {
            let old =
                if file.wanted.is_array() { "[\n  // mine\n  1\n]\n" } else { old(file.form) };
            fs::create_dir_all(file.path.parent().unwrap()).unwrap();
            fs::write(&file.path, old).unwrap();
        }
        let files: Vec<&FilePiece> = pieces.iter().filter_map(Piece::file).collect();
        if files.is_empty() {
            let message = write(client, &pieces).unwrap_err().to_string();
            assert!(message.contains("has no file"), "{message}");
            continue;
        }
        write(client, &pieces).unwrap();
        for file in files {
            let backup = PathBuf::from(format!("{}.resident-backup", file.path.display()));
            let text = fs::read_to_string(&file.path).unwrap();
            assert!(text.contains("mine") && text.contains("qwen3-8b"), "{text}");
            let old = fs::read_to_string(&backup).unwrap();
            assert!(old.contains("mine") && !old.contains("qwen3-8b"), "{old}");
            let again = file::write(&file.path, Some(&text), &file.merged(Some(&text)).unwrap());
            assert_eq!(again.unwrap(), Written::Nothing, "{}", file.path.display());
        }
    }
}

#[test]
fn one_broken_file_keeps_all_from_being_written() {
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path().to_owned();
    let places = Places::of(System::Linux, home.clone(), home.clone(), home);
    let client = client::find("aider").unwrap();
    let pieces = (client.pieces)(&subject(), &places);
    let broken = folder.path().join(".aider.model.metadata.json");
    fs::write(&broken, "{\n  \"a\": \n}\n").unwrap();
    let message = write(client, &pieces).unwrap_err().to_string();
    let place = format!("{}: line 3, column ", broken.display());
    assert!(message.starts_with(&place), "{message}");
    assert!(message.contains("resident connect aider prints"), "{message}");
    assert_eq!(fs::read_to_string(&broken).unwrap(), "{\n  \"a\": \n}\n");
    assert!(
        !folder.path().join(".aider.conf.yml").exists(),
        "the other file is not written either"
    );
}

/// Words, numbers, lists and maps as settings have them.
fn settings() -> impl Strategy<Value = Value> {
    let plain = prop_oneof![
        any::<bool>().prop_map(Value::from),
        (-1000_i64..1000).prop_map(Value::from),
        "[a-zA-Z0-9 #:/'\"-]{0,8}".prop_map(Value::from),
    ];
    let value = plain.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            prop::collection::vec(("[a-e]{1,2}", inner), 0..4)
                .prop_map(|pairs| Value::Object(pairs.into_iter().collect())),
        ]
    });
    prop::collection::vec(("[a-e]{1,2}", value), 0..6)
        .prop_map(|pairs| Value::Object(pairs.into_iter().collect()))
}

/// A comment behind each line, with its number.
fn commented(text: &str, sign: &str) -> String {
    let line = |(at, line): (usize, &str)| format!("{line} {sign} line {at}\n");
    text.lines().enumerate().map(line).collect()
}

proptest! {
    #[test]
    fn what_was_in_a_file_stays(old in settings()) {
        let wanted = json!({ "zz": { "url": "http://127.0.0.1:11434", "models": [{ "name": "q" }] } });
        for (form, sign) in [(Form::Json, "//"), (Form::Toml, "#")] {
            let text = commented(&merge::render(form, &old), sign);
            let new = merge(form, &text, &wanted).unwrap();
            for line in text.lines() {
                let (_, number) = line.rsplit_once(sign).unwrap();
                let comment = format!("{sign}{number}");
                let stays = new.lines().any(|line| line.ends_with(&comment));
                prop_assert!(stays, "{line} is gone from:\n{new}");
            }
            prop_assert_eq!(merge(form, &new, &wanted).unwrap(), new);
        }
    }

    /// Line by line is refused now and then, but never loses anything.
    #[test]
    fn what_was_in_a_file_of_lines_stays(old in settings()) {
        let wanted = json!({ "models": [{ "name": "q", "model": "q" }], "model": "q" });
        let text = merge::render(Form::Yaml, &old);
        let new = merge(Form::Yaml, &text, &wanted).unwrap();
        prop_assert!(new.starts_with(text.as_str()));
        prop_assert_eq!(merge(Form::Yaml, &new, &wanted).unwrap(), new);
    }
}
