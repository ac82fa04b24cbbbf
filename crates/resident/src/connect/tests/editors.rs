//! What editors are told, to the letter.

use expect_test::expect;

use super::{check, subject, with_key};

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
