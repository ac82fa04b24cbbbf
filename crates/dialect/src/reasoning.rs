//! How much a model reasons before its answer: efforts, switches and budgets of all dialects become
//! variables of chat templates and a bound in tokens.
//!
//! Qwen and its kin know `enable_thinking`, GPT-OSS `reasoning_effort`. The bound holds whatever the
//! template knows; who enforces it is not here (`engine`).

use serde_json::{Map, Value};

use crate::{Error, read::Object, request};

/// What a request says about reasoning.
#[derive(Debug, Default)]
pub(crate) struct Reasoning {
    pub(crate) variables: Map<String, Value>,
    pub(crate) tokens_max: Option<u32>,
}

/// Names of a bound in tokens: llama-server's two, vLLM's, and that of Qwen's own service.
const BUDGETS: [&str; 5] = [
    "thinking_budget_tokens",
    "reasoning_budget_tokens",
    "reasoning_budget",
    "thinking_token_budget",
    "thinking_budget",
];

impl Reasoning {
    /// Takes what OpenAI's clients and those of servers with its dialect say. `variables` are those that
    /// the request gives itself, which count more.
    pub(crate) fn openai(
        fields: &mut Object<'_>,
        variables: Map<String, Value>,
    ) -> Result<Self, Error> {
        let mut reasoning = Self { variables, tokens_max: None };
        reasoning.take_thinking(fields)?;
        let path = fields.path("reasoning");
        if let Some(form) = fields.take("reasoning") {
            let mut form = Object::new(&path, form)?;
            if let Some(effort) = request::word(&mut form, "effort")? {
                reasoning.effort(&effort);
            }
            reasoning.budget(&form, "max_tokens")?;
        }
        if let Some(effort) = request::word(fields, "reasoning_effort")? {
            reasoning.effort(&effort);
        }
        for key in BUDGETS {
            reasoning.budget(fields, key)?;
        }
        Ok(reasoning)
    }

    /// Takes Anthropic's fields.
    pub(crate) fn anthropic(fields: &mut Object<'_>) -> Result<Self, Error> {
        let mut reasoning = Self::default();
        reasoning.take_thinking(fields)?;
        let path = fields.path("output_config");
        if let Some(config) = fields.take("output_config") {
            let mut config = Object::new(&path, config)?;
            if let Some(effort) = request::word(&mut config, "effort")? {
                reasoning.effort(&effort);
            }
        }
        Ok(reasoning)
    }

    /// Takes Ollama's field.
    pub(crate) fn ollama(fields: &mut Object<'_>) -> Result<Self, Error> {
        let path = fields.path("think");
        let mut reasoning = Self::default();
        match fields.take("think") {
            None => {}
            Some(Value::Bool(true)) => reasoning.say("enable_thinking", true),
            Some(Value::Bool(false)) => reasoning.none(),
            Some(Value::String(effort)) if ["low", "medium", "high", "max"].contains(&&*effort) => {
                reasoning.effort(&effort);
            }
            Some(ref other) => {
                return Err(
                    path.wrong("true, false, \"low\", \"medium\", \"high\" or \"max\"", other)
                );
            }
        }
        Ok(reasoning)
    }

    /// Anthropic's switch with its budget, which servers with OpenAI's dialect took over.
    fn take_thinking(&mut self, fields: &mut Object<'_>) -> Result<(), Error> {
        let path = fields.path("thinking");
        let Some(thinking) = fields.take("thinking") else { return Ok(()) };
        let mut thinking = Object::new(&path, thinking)?;
        let at = thinking.path("type");
        match thinking.string("type")?.ok_or_else(|| at.missing())?.as_str() {
            "enabled" | "adaptive" => self.say("enable_thinking", true),
            "disabled" => {
                self.none();
                return Ok(());
            }
            kind => {
                return Err(at.refuse(format_args!(
                    "must be \"enabled\", \"adaptive\" or \"disabled\", but it is {kind:?}"
                )));
            }
        }
        self.budget(&thinking, "budget_tokens")
    }

    /// An effort as chat templates know it. Other words than OpenAI's are left to the template.
    fn effort(&mut self, effort: &str) {
        let known = match effort {
            "none" => return self.none(),
            "minimal" => "low",
            "xhigh" | "ultra" | "max" => "high",
            other => other,
        };
        self.say("enable_thinking", true);
        self.say("reasoning_effort", known);
    }

    /// None at all: where a template cannot turn it off, it is closed as soon as it is opened.
    fn none(&mut self) {
        self.say("enable_thinking", false);
        self.tokens_max = Some(0);
    }

    fn say(&mut self, name: &str, value: impl Into<Value>) {
        self.variables.entry(name.to_owned()).or_insert(value.into());
    }

    /// -1 means no bound, as llama-server's clients say it.
    fn budget(&mut self, fields: &Object<'_>, key: &str) -> Result<(), Error> {
        let path = fields.path(key);
        if let Some(value) = fields.peek(key).filter(|value| !value.is_null()) {
            let tokens = path.integer(value, -1..=u32::MAX.into())?;
            self.tokens_max = u32::try_from(tokens).ok();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::read::Path;

    #[track_caller]
    fn check(body: Value, variables: Value, tokens_max: Option<u32>) {
        let mut fields = Object::new(&Path::Root, body).unwrap();
        let said = Reasoning::openai(&mut fields, Map::new()).unwrap();
        assert_eq!((Value::Object(said.variables), said.tokens_max), (variables, tokens_max));
    }

    #[test]
    fn efforts_become_what_templates_know() {
        let thinks = |effort: &str| json!({ "enable_thinking": true, "reasoning_effort": effort });
        check(json!({ "reasoning_effort": "medium" }), thinks("medium"), None);
        check(json!({ "reasoning_effort": "minimal" }), thinks("low"), None);
        check(json!({ "reasoning": { "effort": "xhigh" } }), thinks("high"), None);
        check(json!({ "reasoning_effort": "none" }), json!({ "enable_thinking": false }), Some(0));
        check(json!({}), json!({}), None);
    }

    #[test]
    fn budgets_have_many_names() {
        for key in BUDGETS {
            check(json!({ key: 100 }), json!({}), Some(100));
            check(json!({ key: -1 }), json!({}), None);
        }
        check(json!({ "reasoning": { "max_tokens": 7 } }), json!({}), Some(7));
        let on = json!({ "enable_thinking": true });
        let thinking = json!({ "thinking": { "type": "enabled", "budget_tokens": 9 } });
        check(thinking, on, Some(9));
        let off = json!({ "enable_thinking": false });
        check(json!({ "thinking": { "type": "disabled" } }), off, Some(0));
    }

    #[test]
    fn what_the_request_tells_the_template_itself_counts_more() {
        let mut fields = Object::new(&Path::Root, json!({ "reasoning_effort": "high" })).unwrap();
        let own = json!({ "enable_thinking": false }).as_object().cloned().unwrap();
        let said = Reasoning::openai(&mut fields, own).unwrap();
        let expected = json!({ "enable_thinking": false, "reasoning_effort": "high" });
        assert_eq!(Value::Object(said.variables), expected);
    }

    #[test]
    fn a_wrong_budget_is_named() {
        let mut fields = Object::new(&Path::Root, json!({ "thinking_budget": "much" })).unwrap();
        let error = Reasoning::openai(&mut fields, Map::new()).unwrap_err();
        assert_eq!(error.param.as_deref(), Some("thinking_budget"));
        assert!(error.message.contains("much"), "{}", error.message);
    }
}
