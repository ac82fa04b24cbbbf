//! What the supervisor is told of a model of the library: the digest of its file, and what its requests have that do
//! not say otherwise.
//!
//! Not here: where the model's files are (`models`).

use std::sync::Arc;

use library::{
    manifest::{Manifest, Message, Role as Part, Settings},
    template,
};
use supervisor::{Habits, Kept};
use worker_protocol::Role;

/// What the library knows of a model.
pub(super) fn kept(manifest: &Manifest) -> Kept {
    let first = manifest.files_for(Part::Model).next();
    Kept {
        digest: first.map(|file| file.digest.hex()).unwrap_or_default(),
        added_unix_s: manifest.added_unix_s,
        habits: habits(&manifest.settings),
    }
}

/// Parameters that make no sense are none; the list of models says so.
fn habits(settings: &Settings) -> Habits {
    let own = dialect::ollama::parameters(&settings.parameters).unwrap_or_default();
    Habits {
        system: settings.system.clone().filter(|system| !system.is_empty()),
        messages: settings.messages.iter().filter_map(message).collect(),
        sampling: own.sampling,
        stop: own.stop,
        tokens_max: own.tokens_max,
    }
}

fn message(message: &Message) -> Option<worker_protocol::Message> {
    let role = match &*message.role {
        "system" => Role::System,
        "user" => Role::User,
        "assistant" => Role::Assistant,
        _ => return None,
    };
    Some(worker_protocol::Message::text(role, &*message.content))
}

/// The chat template that the worker is given. Where Go's, as Ollama writes them, cannot be translated, the template in
/// the model's own file serves.
pub(super) fn chat_template(settings: &Settings) -> Option<Arc<str>> {
    let template = settings.template.as_deref().filter(|template| !template.is_empty())?;
    template::jinja(template).ok().map(Arc::from)
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use worker_protocol::Parameter;

    use super::*;

    #[test]
    fn what_a_modelfile_says_is_what_requests_have() {
        let settings: Settings = serde_json::from_value(json!({
            "template": "{% for m in messages %}{{ m.content }}{% endfor %}",
            "system": "You are Mario.",
            "parameters": { "temperature": 0.5, "stop": ["END"], "num_predict": 7, "num_ctx": 512, "odd": 1 },
            "messages": [{ "role": "user", "content": "Hi" }, { "role": "narrator", "content": "x" }],
        }))
        .unwrap();
        let habits = habits(&settings);
        assert_eq!(habits.system.as_deref(), Some("You are Mario."));
        assert_eq!(habits.messages, [worker_protocol::Message::text(Role::User, "Hi")]);
        assert_eq!(habits.sampling.said, [Parameter::Temperature, Parameter::TokensMax]);
        assert_eq!((habits.sampling.temperature, habits.tokens_max), (0.5, Some(7)));
        assert_eq!(habits.stop, ["END"]);
        assert_eq!(chat_template(&settings).as_deref(), settings.template.as_deref());
    }

    #[test]
    fn what_makes_no_sense_is_none() {
        let settings: Settings = serde_json::from_value(json!({
            "template": "{{ nobody .Knows }}",
            "system": "",
            "parameters": { "temperature": "hot", "stop": ["END"] },
        }))
        .unwrap();
        assert_eq!(habits(&settings), Habits::default());
        assert_eq!(
            chat_template(&settings),
            None,
            "what cannot be translated leaves the file's own"
        );
    }

    #[test]
    fn a_template_of_gos_is_translated() {
        let text = "{{ if .System }}<s>{{ .System }}</s>{{ end }}<u>{{ .Prompt }}</u>";
        let settings = Settings { template: Some(text.to_owned()), ..Settings::default() };
        let jinja = chat_template(&settings).unwrap();
        assert!(jinja.contains("{%") && jinja.contains("<u>"), "{jinja}");
    }
}
