//! What agents are told, to the letter.

use expect_test::expect;

use super::{Chosen, check, subject, with_key};

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
