//! How one answer is read: the marks of its model's family, where its reasoning begins, and what is looked for.
//!
//! Not here: finding the family (`planner::family`), and reading an answer (`parser`).

use std::collections::BTreeMap;
use std::sync::Arc;

pub use planner::family::{Calls, Family, Thinks};
use serde_json::{Map, Value};

use super::parser;
use crate::model::Model;

/// The control token that a mark is.
fn control_token<M: Model>(model: &M, mark: &str) -> Option<u32> {
    let tokens = model.tokenize(mark, false, true);
    let [token] = tokens[..] else { return None };
    let is_it = model.token_bytes(token, false).is_empty()
        && model.token_bytes(token, true) == mark.as_bytes();
    is_it.then_some(token)
}

/// All that marks something in answers of this family.
pub(super) fn marks(family: Family) -> Vec<&'static str> {
    let thinks = family.thinks.map(|thinks| {
        let (open, close) = thinks.markers();
        // A channel's mark is followed by its name.
        [open.strip_suffix("thought").unwrap_or(open), close]
    });
    let calls = family.calls.map(parser::marks).unwrap_or_default();
    thinks.into_iter().flatten().chain(calls).collect()
}

/// Where in its reasoning an answer begins.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Begins {
    /// Before it, if there is any.
    #[default]
    Open,
    /// In it: the prompt has opened it.
    Inside,
    /// Behind it: the prompt has closed it, because none is wanted.
    Behind,
}

/// How one answer is read.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Markup {
    pub(super) family: Family,
    pub(super) begins: Begins,
    /// The prompt ended with the mark of a header, which the answer goes on with.
    pub(super) in_header: bool,
    pub(super) tools: Arc<Tools>,
    pub(super) reads: Reads,
    /// Marks that are control tokens of the model: what spells one of them otherwise is text.
    pub(super) control: Arc<BTreeMap<&'static str, u32>>,
}

/// What is looked for behind the reasoning.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Reads {
    /// Calls and text, as they come.
    #[default]
    Calls,
    /// Calls, or a text that holds none.
    CallsOrText,
    /// Text, whatever it looks like.
    Text,
}

impl Markup {
    /// The answer of such a model to a prompt in which these tools, in OpenAI's form, were offered.
    #[must_use]
    pub fn new(family: Family, prompt: &str, tools: &[Value]) -> Self {
        let end = prompt.trim_end();
        let begins = match family.thinks.map(Thinks::markers) {
            Some((open, _)) if end.ends_with(open) => Begins::Inside,
            Some((_, close)) if end.ends_with(close) => Begins::Behind,
            Some(_) | None => Begins::Open,
        };
        let in_header = match family.calls {
            Some(Calls::Harmony) => true,
            Some(Calls::Recipient) => end.ends_with(">>>"),
            Some(_) | None => false,
        };
        let tools = Arc::new(Tools::new(tools));
        Self { family, begins, in_header, tools, ..Self::default() }
    }

    /// What stands between the prompt and the text of the answer, with this reasoning in it.
    pub(super) fn behind_reasoning(&self, reasoning: Option<&str>) -> String {
        let header = match self.family.calls.filter(|_| self.in_header) {
            Some(Calls::Harmony) => "<|channel|>final<|message|>",
            Some(Calls::Recipient) => "all\n",
            Some(_) | None => "",
        };
        let Some((open, close)) = self.family.thinks.map(Thinks::markers) else {
            return header.to_owned();
        };
        match (self.begins, reasoning) {
            (Begins::Inside, said) => format!("{}\n{close}\n\n", said.unwrap_or_default()),
            (Begins::Open, Some(said)) => format!("{open}\n{said}\n{close}\n\n"),
            (Begins::Open | Begins::Behind, _) => String::new(),
        }
    }

    /// The same answer behind a beginning that the prompt holds already: its reasoning is over, and so is
    /// its header.
    pub(super) fn continued(self) -> Self {
        Self { begins: Begins::Behind, in_header: false, ..self }
    }

    /// The answer as this model writes it, of whose marks some are tokens that no text is.
    pub(crate) fn of_model<M: Model>(self, model: &M) -> Self {
        let control = marks(self.family).into_iter();
        let control = control.filter_map(|mark| Some((mark, control_token(model, mark)?)));
        Self { control: Arc::new(control.collect()), ..self }
    }

    pub(crate) fn reading(self, reads: Reads) -> Self {
        Self { reads, ..self }
    }

    /// How the model calls tools. One that knows no way does it as an object and nothing before it.
    pub(crate) fn calling(mut self) -> Self {
        self.family.calls.get_or_insert(Calls::Llama);
        self
    }

    pub(crate) fn form(&self) -> Option<Calls> {
        self.family.calls
    }

    /// Whether the model says before each part of its answer what it is.
    pub(crate) fn has_headers(&self) -> bool {
        self.family.calls.is_some_and(Calls::has_headers)
    }

    pub(crate) fn is_in_header(&self) -> bool {
        self.in_header
    }

    /// Whether any of its marks is a control token.
    pub(crate) fn has_control_token(&self) -> bool {
        !self.control.is_empty()
    }

    /// The token that a mark is, where it is a control token.
    pub(crate) fn control_token(&self, mark: &str) -> Option<u32> {
        self.control.get(mark).copied()
    }

    /// How calls are read: only where tools were offered.
    pub(super) fn calls(&self) -> Option<Calls> {
        self.family.calls.filter(|_| !self.tools.0.is_empty())
    }
}

/// What a parameter's schema allows, as far as it decides how a text without quotes is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A text, whatever it looks like.
    Text,
    /// Anything but a text, where it can be read as such.
    Value,
    /// Nobody says; what can be read as another value than a text is that.
    Any,
}

/// The offered tools: their parameters by name. Of two with one name the first counts, as in the grammar of
/// calls.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Tools(BTreeMap<String, Map<String, Value>>);

impl Tools {
    fn new(tools: &[Value]) -> Self {
        let tool = |tool: &Value| {
            let function = tool.get("function").unwrap_or(tool);
            let name = function.get("name")?.as_str()?.to_owned();
            let properties = function.pointer("/parameters/properties").and_then(Value::as_object);
            Some((name, properties.cloned().unwrap_or_default()))
        };
        let mut known = BTreeMap::new();
        for (name, properties) in tools.iter().filter_map(tool) {
            known.entry(name).or_insert(properties);
        }
        Self(known)
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    pub(super) fn kind(&self, tool: &str, parameter: &str) -> Kind {
        self.0.get(tool).and_then(|properties| properties.get(parameter)).map_or(Kind::Any, kind)
    }
}

/// A schema that allows texts among other things leaves the choice to how the value looks.
pub(crate) fn kind(schema: &Value) -> Kind {
    let is_text = |name: &Value| name == "string";
    match schema.get("type") {
        Some(Value::Array(types)) if types.iter().all(|name| is_text(name) || name == "null") => {
            if types.iter().any(is_text) {
                Kind::Text
            } else {
                Kind::Value
            }
        }
        Some(Value::Array(types)) if types.iter().any(is_text) => Kind::Any,
        Some(name) if is_text(name) => Kind::Text,
        Some(_) => Kind::Value,
        None => match schema.get("enum").and_then(Value::as_array) {
            Some(values) if values.iter().all(Value::is_string) => Kind::Text,
            Some(_) | None => Kind::Any,
        },
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_end_of_the_prompt_says_where_reasoning_stands() {
        let family = Family { thinks: Some(Thinks::Tag), calls: None };
        let begins = |prompt| Markup::new(family, prompt, &[]).begins;
        assert_eq!(begins("<|im_start|>assistant\n<think>\n"), Begins::Inside);
        assert_eq!(begins("<|im_start|>assistant\n<think>\n\n</think>\n\n"), Begins::Behind);
        assert_eq!(begins("<|im_start|>assistant\n"), Begins::Open);
        let silent = Family::default();
        assert_eq!(Markup::new(silent, "<think>", &[]).begins, Begins::Open);
    }

    #[test]
    fn calls_are_read_where_tools_were_offered() {
        let family = Family { thinks: None, calls: Some(Calls::Hermes) };
        assert_eq!(Markup::new(family, "", &[]).calls(), None);
        let tools = [json!({"type": "function", "function": {"name": "now"}})];
        assert_eq!(Markup::new(family, "", &tools).calls(), Some(Calls::Hermes));
    }

    #[test]
    fn the_schema_says_what_is_a_text() {
        let kind = |schema: Value| kind(&schema);
        assert_eq!(kind(json!({"type": "string"})), Kind::Text);
        assert_eq!(kind(json!({"type": ["string", "null"]})), Kind::Text);
        assert_eq!(kind(json!({"type": ["string", "integer"]})), Kind::Any);
        assert_eq!(kind(json!({"type": "integer"})), Kind::Value);
        assert_eq!(kind(json!({"type": ["integer", "null"]})), Kind::Value);
        assert_eq!(kind(json!({"enum": ["a", "b"]})), Kind::Text);
        assert_eq!(kind(json!({"enum": [1, 2]})), Kind::Any);
        assert_eq!(kind(json!({})), Kind::Any);
    }
}
