//! Editors and their assistants: Continue, VS Code, Zed. What is known of each has its source.

use serde_json::{Value, json};

use super::{
    client::{FilePiece, Piece},
    merge::Form,
    places::{Places, System},
    subject::{KEY_VARIABLE, NO_KEY, Subject},
};

/// OpenAI's chat, by the provider `openai` with another address, which ends in `/v1`. Secrets stand in
/// `.env` beside the file. Three keys must be in each file, whatever they say.
/// <https://docs.continue.dev/reference>, <https://docs.continue.dev/customize/model-providers/top-level/openai>
pub(super) fn continue_dev(subject: &Subject, places: &Places) -> Vec<Piece> {
    let name = &subject.model.name;
    let key = match subject.has_key {
        true => format!("${{{{ secrets.{KEY_VARIABLE} }}}}"),
        false => NO_KEY.to_owned(),
    };
    let mut model = json!({
        "name": format!("{name} on Resident"),
        "provider": "openai",
        "model": name,
        "apiBase": subject.v1(),
        "apiKey": key,
        "roles": ["chat", "edit", "apply"],
    });
    let skills = [(subject.model.tools, "tool_use"), (subject.model.images, "image_input")];
    let skills: Vec<&str> = skills.iter().filter(|(has, _)| *has).map(|(_, name)| *name).collect();
    if !skills.is_empty() {
        model["capabilities"] = skills.into();
    }
    if let Some(tokens) = subject.model.context_tokens {
        model["defaultCompletionOptions"] =
            json!({ "contextLength": tokens, "maxTokens": subject.answer_tokens() });
    }
    let folder = places.home.join(".continue");
    let first = json!({ "name": "Resident", "version": "1.0.0", "schema": "v1" });
    let file = FilePiece {
        at_first: first.as_object().cloned().unwrap_or_default(),
        ..FilePiece::new(folder.join("config.yaml"), Form::Yaml, json!({ "models": [model] }))
    };
    let mut pieces = vec![Piece::File(file)];
    if subject.has_key {
        let secrets = folder.join(".env");
        pieces.push(Piece::Then(format!(
            "put the hub's key into {} as {KEY_VARIABLE}=KEY",
            secrets.display()
        )));
    }
    pieces
}

/// OpenAI's chat, by the provider "Custom Endpoint" (VS Code 1.122 and later). It replaced the setting
/// `github.copilot.chat.customOAIModels`, and the built-in provider for Ollama is on its way out too.
/// Only its own window can put a key where keys belong, and then refers to it in the file.
/// <https://code.visualstudio.com/docs/agent-customization/language-models>
pub(super) fn vscode(subject: &Subject, places: &Places) -> Vec<Piece> {
    let (context, answer) = (subject.context_tokens(), subject.answer_tokens());
    let model = json!({
        "id": subject.model.name,
        "name": format!("{} (Resident)", subject.model.name),
        "url": format!("{}/chat/completions", subject.v1()),
        "toolCalling": subject.model.tools,
        "vision": subject.model.images,
        "maxInputTokens": context - answer,
        "maxOutputTokens": answer,
    });
    let mut group = json!({
        "name": "Resident",
        "vendor": "customendpoint",
        "apiType": "chat-completions",
    });
    if !subject.has_key {
        group["apiKey"] = NO_KEY.into();
    }
    group["models"] = json!([model]);
    let path = places.windowed.join("Code").join("User").join("chatLanguageModels.json");
    let mut file = FilePiece::new(path, Form::Json, json!([group]));
    if subject.has_key {
        file = file.without(&["Resident", "apiKey"], NO_KEY);
    }
    let mut pieces = vec![Piece::File(file)];
    if subject.has_key {
        pieces.push(Piece::Then(
            "give VS Code the hub's key: Chat: Manage Language Models, the gear beside Resident"
                .to_owned(),
        ));
    }
    pieces.push(Piece::Then(
        "choose the model in the picker of the chat; if it is not there, restart VS Code"
            .to_owned(),
    ));
    pieces
}

/// Ollama's API: unlike its provider for OpenAI's it needs no key, and it finds the other models by
/// itself. Without `max_tokens` it would keep to 4096. A key is read from a variable or asked for.
/// <https://zed.dev/docs/ai/use-a-local-model>, <https://zed.dev/docs/configuring-zed>
pub(super) fn zed(subject: &Subject, places: &Places) -> Vec<Piece> {
    let model = json!({
        "name": subject.model.name,
        "display_name": format!("{} (Resident)", subject.model.name),
        "max_tokens": subject.context_tokens(),
        "supports_tools": subject.model.tools,
        "supports_images": subject.model.images,
    });
    let settings: Value = json!({
        "language_models": { "ollama": {
            "api_url": subject.url,
            "available_models": [model],
        } },
        "agent": { "default_model": { "provider": "ollama", "model": subject.model.name } },
    });
    let folder = match places.system {
        System::Linux => places.config.join("zed"),
        System::Mac => places.home.join(".config").join("zed"),
        System::Windows => places.windowed.join("Zed"),
    };
    let path = folder.join("settings.json");
    let mut pieces = vec![Piece::File(FilePiece::new(path, Form::Json, settings))];
    if subject.has_key {
        pieces.push(Piece::Then(
            "give Zed the hub's key: agent: open settings, Ollama; or OLLAMA_API_KEY where it is started"
                .to_owned(),
        ));
    }
    pieces
}
