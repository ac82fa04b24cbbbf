//! The grammar of an answer that must call a tool, or may and must be something certain else: calls in the
//! form of the model's family, with arguments as the tools' schemas say.
//!
//! What is written here is what `text::parser` reads. Values of forms that are no JSON are in `values`.
//! Not here: when an answer is held to it (`generation`).

mod texts;
mod values;

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::{check, expansion, parts, with_options};
use crate::limits::{CALLS_BYTES_MAX, SCHEMA_BYTES_MAX};
use crate::text::{Calls, Markup, is_name};

/// What an answer with calls may be.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted<'a> {
    /// How calls are written, and which marks are control tokens.
    pub(crate) markup: &'a Markup,
    /// All tools that were offered.
    pub(crate) tools: &'a [Value],
    /// Those that may be called; all where none is named.
    pub(crate) names: &'a [String],
    /// It ends behind the first call.
    pub(crate) one_call: bool,
    /// What it may be instead of calls.
    pub(crate) answer: Option<&'a Value>,
}

/// A grammar, and the control tokens that it names.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Grammar {
    pub(super) lark: String,
    pub(super) marks: Vec<u32>,
}

impl<'a> Wanted<'a> {
    /// As a grammar. Of the tools named in `loose` it has no more than names and kinds of their parameters,
    /// of all others their schemas.
    pub(super) fn grammar(&self, loose: &BTreeSet<&str>) -> Result<Grammar, String> {
        let form = self.markup.form().unwrap_or(Calls::Llama);
        let tools = self.callable(loose)?;
        let mut writer = Writer::new(self.markup, form);
        let calls = writer.calls(&tools, self.one_call)?;
        let answer = self.answer.map(|schema| writer.answer(schema)).transpose()?;
        let start = writer.answers(calls, answer);
        writer.add("start".to_owned(), &start);
        writer.check()?;
        writer.marks.sort_unstable();
        writer.marks.dedup();
        Ok(Grammar { lark: writer.rules.join("\n"), marks: writer.marks })
    }

    /// Tools that may be called and need not be held to all of their schemas.
    pub(super) fn lenient(&self) -> Vec<(&'a str, &'a Value)> {
        self.functions().into_iter().filter(|(_, function)| !is_strict(function)).collect()
    }

    /// The tools that may be called, of several with one name the first.
    fn functions(&self) -> Vec<(&'a str, &'a Value)> {
        let mut seen = BTreeSet::new();
        let named = self.tools.iter().map(function).map(|function| {
            (function.get("name").and_then(Value::as_str).unwrap_or_default(), function)
        });
        let is_wanted =
            |name: &str| self.names.is_empty() || self.names.iter().any(|one| one == name);
        named.filter(|(name, _)| is_wanted(name) && seen.insert(*name)).collect()
    }

    fn callable(&self, loose: &BTreeSet<&str>) -> Result<Vec<Tool>, String> {
        let mut tools: Vec<Tool> = Vec::new();
        let mut bytes = 0;
        for (name, function) in self.functions() {
            let tool = tool(name, function, loose.contains(name))?;
            bytes += tool.bytes();
            if bytes > SCHEMA_BYTES_MAX {
                return Err(format!(
                    "the schemas of the tools that may be called have more than {SCHEMA_BYTES_MAX} bytes \
                     together; allow fewer of them"
                ));
            }
            tools.push(tool);
        }
        if tools.is_empty() {
            return Err("none of the offered tools may be called".to_owned());
        }
        Ok(tools)
    }
}

/// A tool that may be called.
struct Tool {
    name: String,
    /// The schema of an object, without what is written for people.
    parameters: Map<String, Value>,
    is_strict: bool,
}

impl Tool {
    /// Of its schema, written without blanks.
    fn bytes(&self) -> usize {
        serde_json::to_string(&self.parameters).map_or(usize::MAX, |text| text.len())
    }
}

fn function(tool: &Value) -> &Value {
    tool.get("function").unwrap_or(tool)
}

/// Whether any of these tools wants its calls to be held to its schema.
pub(crate) fn any_strict(tools: &[Value]) -> bool {
    tools.iter().any(|tool| is_strict(function(tool)))
}

fn is_strict(function: &Value) -> bool {
    function.get("strict").and_then(Value::as_bool).unwrap_or(false)
}

fn tool(name: &str, function: &Value, is_loose: bool) -> Result<Tool, String> {
    if !is_name(name) {
        return Err(format!(
            "a call of the tool {name:?} cannot be told from text; name it with letters, digits and _-.:/ only"
        ));
    }
    let is_strict = is_strict(function);
    let parameters = match parameters(function.get("parameters")) {
        Ok(parameters) if is_strict || !is_loose => parameters,
        Ok(parameters) => loose(&parameters),
        Err(reason) if is_strict => {
            return Err(format!("the schema of the tool {name:?}: {reason}"));
        }
        Err(_) => {
            loose(function.get("parameters").and_then(Value::as_object).unwrap_or(&Map::new()))
        }
    };
    Ok(Tool { name: name.to_owned(), parameters, is_strict })
}

/// The schema of the arguments, which are an object. Parameters that it does not list are not made up.
fn parameters(schema: Option<&Value>) -> Result<Map<String, Value>, String> {
    let mut schema = match schema {
        None | Some(Value::Null) => Map::new(),
        Some(schema) => parts::plain(check::schema(schema)?),
    };
    let kind = schema.entry("type").or_insert_with(|| "object".into());
    if kind != "object" {
        return Err("its type must be \"object\"".to_owned());
    }
    let is_open = ["additionalProperties", "patternProperties", "$ref", "allOf", "anyOf", "oneOf"];
    if !is_open.iter().any(|key| schema.contains_key(*key)) {
        schema.insert("additionalProperties".to_owned(), false.into());
    }
    Ok(schema)
}

/// What of a schema can always be enforced: which parameters there are, which must be there, and what
/// kinds of values the simple ones have.
fn loose(schema: &Map<String, Value>) -> Map<String, Value> {
    const SIMPLE: [&str; 6] = ["string", "integer", "number", "boolean", "null", "array"];
    let simple = |schema: &Value| match schema.get("type").and_then(Value::as_str) {
        Some(kind) if SIMPLE.contains(&kind) => json!({ "type": kind }),
        Some("object") => json!({ "type": "object" }),
        Some(_) | None => json!({}),
    };
    let object = |fields: Vec<(&str, Value)>| {
        fields.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
    };
    let kind = ("type", "object".into());
    let properties = schema.get("properties").and_then(Value::as_object);
    let Some(properties) = properties.filter(|properties| properties.len() <= LOOSE_MAX) else {
        return object(vec![kind]);
    };
    // One that is never allowed is not made up.
    let may_be = |name: &str| properties.get(name).is_some_and(|schema| *schema != false);
    let required = schema.get("required").and_then(Value::as_array).into_iter().flatten();
    let required = required.filter(|name| name.as_str().is_some_and(may_be)).cloned().collect();
    let properties = properties.iter().filter(|(name, _)| may_be(name));
    let properties = properties.map(|(name, schema)| (name.clone(), simple(schema))).collect();
    object(vec![
        kind,
        ("properties", properties),
        ("required", required),
        ("additionalProperties", false.into()),
    ])
}

/// Parameters that are looked at where a schema cannot be enforced.
const LOOSE_MAX: usize = 256;

/// Writes the rules of a grammar.
struct Writer<'a> {
    markup: &'a Markup,
    form: Calls,
    rules: Vec<String>,
    marks: Vec<u32>,
    /// Bytes of all rules.
    bytes: usize,
    /// What schemas come to where their parts meet.
    expanded: u64,
}

/// A text that stands as it is. The blank behind it keeps flags away.
fn literal(text: &str) -> String {
    format!("{} ", Value::from(text))
}

/// These one after the other.
fn sequence(parts: &[&str]) -> String {
    parts.join(" ")
}

/// One of these.
fn either(alternatives: &[String]) -> String {
    format!("({})", alternatives.join(" | "))
}

/// What may stand between two calls, in front of a call and behind it.
const BREAK: &str = "\"\\n\"?";

impl<'a> Writer<'a> {
    fn new(markup: &'a Markup, form: Calls) -> Self {
        Self { markup, form, rules: Vec::new(), marks: Vec::new(), bytes: 0, expanded: 0 }
    }

    /// Whether what was written is within its bound.
    fn check(&self) -> Result<(), String> {
        if self.bytes > CALLS_BYTES_MAX {
            return Err(format!(
                "calls of the tools that may be called come to a grammar of more than {CALLS_BYTES_MAX} \
                 bytes, since each parameter comes with the definitions that it refers to; refer to smaller \
                 ones, or allow fewer tools"
            ));
        }
        Ok(())
    }

    /// A mark: a control token, or the text that it is.
    fn mark(&mut self, mark: &str) -> String {
        match self.markup.control_token(mark) {
            Some(token) => {
                self.marks.push(token);
                format!("<[{token}]>")
            }
            None => literal(mark),
        }
    }

    /// Adds a rule and gives its name.
    fn rule(&mut self, body: &str) -> String {
        self.add(format!("r{}", self.rules.len()), body)
    }

    fn add(&mut self, name: String, body: &str) -> String {
        let rule = format!("{name}: {body}");
        self.bytes = self.bytes.saturating_add(rule.len());
        self.rules.push(rule);
        name
    }

    /// JSON of a schema.
    fn json(&mut self, schema: &Map<String, Value>) -> Result<String, String> {
        let schema = with_options(schema.clone());
        self.expanded = expansion::check(&schema, self.expanded)?;
        let rule = self.rule(&format!("%json {schema}"));
        self.check()?;
        Ok(rule)
    }

    /// What an answer without calls is.
    fn answer(&mut self, schema: &Value) -> Result<String, String> {
        let json = self.json(&parts::plain(check::schema(schema)?))?;
        Ok(match self.form {
            Calls::Harmony => {
                let (channel, message) = (self.mark("<|channel|>"), self.mark("<|message|>"));
                let constrain = self.mark("<|constrain|>");
                let (last, kind, blank) = (literal("final"), literal("json"), literal(" "));
                format!("{channel} {last} ({blank} {constrain} {kind})? {message} {json}")
            }
            Calls::Recipient => {
                let begin = if self.markup.is_in_header() { "all\n" } else { ">>>all\n" };
                sequence(&[&literal(begin), &json])
            }
            Calls::Hermes
            | Calls::Xml
            | Calls::Glm
            | Calls::Llama
            | Calls::Mistral
            | Calls::DeepSeek
            | Calls::Gemma
            | Calls::List
            | Calls::Python
            | Calls::Function => json,
        })
    }

    /// The whole: calls or the other answer, behind what the model thinks where that is a part of it.
    fn answers(&mut self, calls: String, answer: Option<String>) -> String {
        let alternatives: Vec<String> = [calls].into_iter().chain(answer).collect();
        let said = either(&alternatives);
        if self.form != Calls::Harmony {
            return said;
        }
        let (channel, message) = (self.mark("<|channel|>"), self.mark("<|message|>"));
        let (start, speaker) = (self.mark("<|start|>"), literal("assistant"));
        let (kind, text) = (literal("analysis"), self.text_until("<|end|>"));
        let thought = format!("{channel} {kind} {message} {text} {start} {speaker}");
        let thought = self.rule(&thought);
        format!("{thought}* {said}")
    }

    /// Any text up to a mark, and the mark.
    fn text_until(&mut self, mark: &str) -> String {
        if self.markup.control_token(mark).is_some() {
            let mark = self.mark(mark);
            return format!("/(?s:.+)/? {mark}");
        }
        self.terminal_rule(&values::ended(mark))
    }

    /// One call, or as many as the form allows.
    fn calls(&mut self, tools: &[Tool], one_call: bool) -> Result<String, String> {
        match self.form {
            Calls::Hermes => {
                let one = self.each(tools, |writer, tool| writer.object(tool, "arguments"))?;
                Ok(self.marked("<tool_call>", &one, "</tool_call>", one_call))
            }
            Calls::Xml => {
                let one = self.each(tools, Self::xml)?;
                Ok(self.marked("<tool_call>", &one, "</tool_call>", one_call))
            }
            Calls::Glm => {
                let one = self.each(tools, Self::glm)?;
                Ok(self.marked("<tool_call>", &one, "</tool_call>", one_call))
            }
            Calls::Gemma => {
                let one = self.each(tools, Self::gemma)?;
                let (open, close) = (self.mark("<|tool_call>"), self.mark("<tool_call|>"));
                Ok(several(&format!("{open} {one} {close}"), "", one_call))
            }
            Calls::Python => {
                let one = self.each(tools, Self::python)?;
                let list = self.list(&one, one_call);
                let (open, close) =
                    (self.mark("<|tool_call_start|>"), self.mark("<|tool_call_end|>"));
                Ok(sequence(&[&open, &list, &close]))
            }
            Calls::Llama => {
                let one = self.each(tools, |writer, tool| writer.bare_object(tool))?;
                // These models set the mark in front of calls now and then.
                let mark = "<|python_tag|>";
                let is_token = self.markup.control_token(mark).is_some();
                Ok(if is_token { format!("{}? {one}", self.mark(mark)) } else { one })
            }
            Calls::List => {
                let one = self.each(tools, |writer, tool| writer.object(tool, "arguments"))?;
                let list = self.list(&one, one_call);
                let opens = either(&[self.mark("<|tool_call|>"), literal("functools")]);
                Ok(sequence(&[&opens, &list]))
            }
            Calls::Mistral => self.mistral(tools, one_call),
            Calls::DeepSeek => self.deepseek(tools, one_call),
            Calls::Function => {
                let one = self.each(tools, |writer, tool| {
                    let (open, json) = (
                        literal(&format!("<function={}>", tool.name)),
                        writer.json(&tool.parameters)?,
                    );
                    Ok(sequence(&[&open, &json, &literal("</function>")]))
                })?;
                Ok(several(&one, BREAK, one_call))
            }
            Calls::Recipient => {
                let one = self.each(tools, |writer, tool| {
                    let json = writer.json(&tool.parameters)?;
                    Ok(sequence(&[&literal(&format!("{}\n", tool.name)), &json]))
                })?;
                let more = several(&one, &literal(">>>"), one_call);
                Ok(if self.markup.is_in_header() {
                    more
                } else {
                    sequence(&[&literal(">>>"), &more])
                })
            }
            Calls::Harmony => self.each(tools, Self::harmony),
        }
    }

    /// A rule for a call of any of the tools.
    fn each(
        &mut self,
        tools: &[Tool],
        mut one: impl FnMut(&mut Self, &Tool) -> Result<String, String>,
    ) -> Result<String, String> {
        let calls = tools.iter().map(|tool| {
            one(self, tool).map_err(|reason| format!("the tool {:?}: {reason}", tool.name))
        });
        let calls: Vec<String> = calls.collect::<Result<_, _>>()?;
        Ok(self.rule(&calls.join(" | ")))
    }

    fn marked(&mut self, open: &str, one: &str, close: &str, one_call: bool) -> String {
        let (open, close) = (self.mark(open), self.mark(close));
        several(&format!("{open} {BREAK} {one} {BREAK} {close}"), BREAK, one_call)
    }

    fn list(&mut self, one: &str, one_call: bool) -> String {
        let more = if one_call { String::new() } else { format!("({} {one})*", literal(", ")) };
        format!("{} {one} {more} {}", literal("["), literal("]"))
    }

    /// An object with name and arguments.
    fn object(&mut self, tool: &Tool, arguments: &str) -> Result<String, String> {
        let json = self.json(&tool.parameters)?;
        let begin = format!("{{\"name\": {}, \"{arguments}\": ", Value::from(&*tool.name));
        Ok(sequence(&[&literal(&begin), &json, &literal("}")]))
    }

    /// The same where no mark says that a call begins: the model may have begun it in its own way before it was
    /// seen to be one.
    fn bare_object(&mut self, tool: &Tool) -> Result<String, String> {
        let json = self.json(&tool.parameters)?;
        let name = literal(&Value::from(&*tool.name).to_string());
        let open = r#"/\{[ \n]{0,4}"name"[ ]?:[ ]?/"#;
        let between = r#"/[ ]?,[ \n]{0,4}"(parameters|arguments)"[ ]?:[ ]?/"#;
        Ok(sequence(&[open, &name, between, &json, r"/[ \n]{0,4}\}/"]))
    }

    /// Newer models write a name and its arguments, older ones a list of objects.
    fn mistral(&mut self, tools: &[Tool], one_call: bool) -> Result<String, String> {
        let begin = self.mark("[TOOL_CALLS]");
        let objects = self.each(tools, |writer, tool| writer.object(tool, "arguments"))?;
        let list = self.list(&objects, one_call);
        let list = format!("{begin} {list}");
        if !self.markup.has_control_token() || self.markup.control_token("[ARGS]").is_some() {
            let arguments = self.mark("[ARGS]");
            let one = self.each(tools, |writer, tool| {
                let json = writer.json(&tool.parameters)?;
                Ok(sequence(&[&begin, &literal(&tool.name), &arguments, &json]))
            })?;
            return Ok(either(&[several(&one, "", one_call), list]));
        }
        Ok(list)
    }

    /// The name alone, or behind a type and with a fence around the arguments.
    fn deepseek(&mut self, tools: &[Tool], one_call: bool) -> Result<String, String> {
        let separator = self.mark("<｜tool▁sep｜>");
        let one = self.each(tools, |writer, tool| {
            let (name, json) = (literal(&tool.name), writer.json(&tool.parameters)?);
            let fence = literal(&format!("{}\n```json\n", tool.name));
            let (kind, end) = (literal("function"), literal("\n```"));
            Ok(format!("{name} {separator} {json} | {kind} {separator} {fence} {json} {end}"))
        })?;
        let (open, close) = (self.mark("<｜tool▁call▁begin｜>"), self.mark("<｜tool▁call▁end｜>"));
        let calls = several(&format!("{open} {one} {close}"), BREAK, one_call);
        let (begin, end) = (self.mark("<｜tool▁calls▁begin｜>"), self.mark("<｜tool▁calls▁end｜>"));
        Ok(sequence(&[&begin, &calls, &end]))
    }

    /// The recipient behind the channel, as these models write it, or before it, as their templates do.
    fn harmony(&mut self, tool: &Tool) -> Result<String, String> {
        let json = self.json(&tool.parameters)?;
        let (channel, message) = (self.mark("<|channel|>"), self.mark("<|message|>"));
        let (constrain, kind) = (self.mark("<|constrain|>"), literal("json"));
        let behind = literal(&format!("commentary to=functions.{} ", tool.name));
        let before = literal(&format!(" to=functions.{}", tool.name));
        let shown = literal("commentary json");
        Ok(format!(
            "{channel} {behind} {constrain} {kind} {message} {json} | {before} {channel} {shown} {message} {json}"
        ))
    }
}

fn several(one: &str, between: &str, one_call: bool) -> String {
    if one_call { format!("({one})") } else { format!("({one} ({between} {one})*)") }
}

#[cfg(test)]
mod tests;
