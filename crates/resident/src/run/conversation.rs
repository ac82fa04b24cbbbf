//! What was said so far, and the request that continues it.
//!
//! Pure. Not here: sending it (`client`), showing the answer (`answer`).

use serde_json::{Value, json};

use super::compose::Setting;

/// A conversation with one model.
#[derive(Debug, Clone, Default)]
pub(crate) struct Conversation {
    system: Option<String>,
    /// What was said, alternately by the person and the model.
    turns: Vec<(String, String)>,
    temperature: Option<f32>,
    top_p: Option<f32>,
    max_tokens: Option<u32>,
    seed: Option<u32>,
}

impl Conversation {
    /// A conversation with these instructions.
    pub(crate) fn new(system: Option<String>, temperature: Option<f32>) -> Self {
        Self { system, temperature, ..Self::default() }
    }

    /// Forgets what was said; instructions and settings stay.
    pub(crate) fn clear(&mut self) {
        self.turns.clear();
    }

    /// Changes the instructions.
    pub(crate) fn instruct(&mut self, system: Option<String>) {
        self.system = system;
    }

    /// Changes how the model answers.
    pub(crate) fn set(&mut self, setting: Setting) {
        match setting {
            Setting::Temperature(value) => self.temperature = value,
            Setting::TopP(value) => self.top_p = value,
            Setting::MaxTokens(value) => self.max_tokens = value,
            Setting::Seed(value) => self.seed = value,
        }
    }

    /// Keeps a question and its answer. A question that was not answered is not kept, so that it
    /// can be asked again.
    pub(crate) fn keep(&mut self, question: &str, answer: &str) {
        if !answer.is_empty() {
            self.turns.push((question.to_owned(), answer.to_owned()));
        }
    }

    /// The request for an answer to `question`, in OpenAI's form.
    pub(crate) fn request(&self, model: &str, question: &str) -> Value {
        let mut messages = Vec::new();
        if let Some(system) = &self.system {
            messages.push(json!({"role": "system", "content": system}));
        }
        for (asked, answered) in &self.turns {
            messages.push(json!({"role": "user", "content": asked}));
            messages.push(json!({"role": "assistant", "content": answered}));
        }
        messages.push(json!({"role": "user", "content": question}));
        let mut request = json!({
            "model": model,
            "messages": messages,
            "stream": true,
        });
        for (name, value) in self.settings() {
            request[name] = value;
        }
        request
    }

    /// What is set, for the person.
    pub(crate) fn describe(&self) -> String {
        let system = self.system.as_deref().unwrap_or("none");
        let settings: Vec<String> =
            self.settings().iter().map(|(name, value)| format!("{name} {value}")).collect();
        let settings = if settings.is_empty() {
            "the model's defaults".to_owned()
        } else {
            settings.join(", ")
        };
        format!("  instructions: {system}\n  settings: {settings}\n  turns: {}", self.turns.len())
    }

    fn settings(&self) -> Vec<(&'static str, Value)> {
        let settings = [
            ("temperature", self.temperature.map(decimal)),
            ("top_p", self.top_p.map(decimal)),
            ("max_tokens", self.max_tokens.map(Value::from)),
            ("seed", self.seed.map(Value::from)),
        ];
        settings.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
    }
}

/// The number as it was typed: 0.7 as `f32` would otherwise be written 0.699999988079071.
fn decimal(value: f32) -> Value {
    value.to_string().parse::<f64>().map_or(Value::Null, Value::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_carries_instructions_turns_and_settings() {
        let mut conversation = Conversation::new(Some("be brief".into()), Some(0.7));
        conversation.keep("hi", "hello");
        conversation.keep("unanswered", "");
        conversation.set(Setting::Seed(Some(3)));
        let expected = json!({
            "model": "demo",
            "messages": [
                {"role": "system", "content": "be brief"},
                {"role": "user", "content": "hi"},
                {"role": "assistant", "content": "hello"},
                {"role": "user", "content": "why?"},
            ],
            "stream": true,
            "temperature": 0.7,
            "seed": 3,
        });
        assert_eq!(conversation.request("demo", "why?"), expected);
        assert_eq!(
            conversation.describe(),
            "  instructions: be brief\n  settings: temperature 0.7, seed 3\n  turns: 1"
        );
    }

    #[test]
    fn clearing_forgets_what_was_said_and_nothing_else() {
        let mut conversation = Conversation::new(Some("s".into()), None);
        conversation.keep("a", "b");
        conversation.clear();
        conversation.set(Setting::Temperature(None));
        let request = conversation.request("m", "q");
        assert_eq!(request["messages"].as_array().map(Vec::len), Some(2));
        assert_eq!(request.get("temperature"), None);
    }
}
