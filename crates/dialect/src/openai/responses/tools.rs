//! The tools that a model may call, and what its calls are called for the client. Whether it must call one is
//! said as in chat (`chat::tools`).
//!
//! A model knows functions with JSON for arguments. A tool of free text is offered as a function with one
//! text, and tools of a namespace by the namespace's name before their own; calls are told in the client's
//! form again. What OpenAI runs itself has nothing that could be offered and is left out.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::{
    Error,
    limits::{NAMESPACE_BYTES_MAX, TOOLS_MAX},
    read::{Object, Path},
    request,
};

/// The namespace of tools that are in none.
const NO_NAMESPACE: &str = "functions";

/// The argument in which a tool of free text gets it.
pub(super) const INPUT: &str = "input";

/// What a model is offered.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Offered {
    /// In the form that chat templates expect.
    pub(super) offered: Vec<Value>,
    /// As the client said them, without those that are not offered.
    pub(super) told: Vec<Value>,
    /// By the name that the model knows.
    tools: BTreeMap<String, Tool>,
}

/// What the client knows of a tool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Tool {
    pub(super) name: String,
    pub(super) namespace: Option<String>,
    /// Whether it takes free text.
    pub(super) is_custom: bool,
}

/// The name by which the model knows a tool.
pub(in crate::openai) fn known_name(namespace: Option<&str>, name: &str) -> String {
    match namespace {
        None | Some("" | NO_NAMESPACE) => name.to_owned(),
        Some(namespace) => format!("{namespace}__{name}"),
    }
}

/// The name of a namespace, where one is said.
pub(super) fn namespace(fields: &mut Object<'_>, key: &str) -> Result<Option<String>, Error> {
    let Some(name) = request::word(fields, key)? else { return Ok(None) };
    fields.path(key).bytes_at_most(name.len(), NAMESPACE_BYTES_MAX)?;
    Ok(Some(name))
}

impl Offered {
    /// The tool that the model calls by this name; a function of that name where it was not offered one.
    pub(super) fn called(&self, name: &str) -> Tool {
        let unknown = || Tool { name: name.to_owned(), namespace: None, is_custom: false };
        self.tools.get(name).cloned().unwrap_or_else(unknown)
    }

    /// Takes the tools out of a request, or out of an item that brings more of them.
    pub(super) fn add(&mut self, fields: &mut Object<'_>) -> Result<(), Error> {
        let path = fields.path("tools");
        let entries = fields.list("tools", TOOLS_MAX)?.unwrap_or_default();
        for (index, entry) in entries.into_iter().enumerate() {
            self.told.push(entry.clone());
            if !self.tool(&Path::Index(&path, index), None, entry)? {
                self.told.pop();
            }
        }
        path.at_most(self.offered.len(), TOOLS_MAX)
    }

    /// Whether it can be offered.
    fn tool(
        &mut self,
        path: &Path<'_>,
        namespace: Option<&str>,
        entry: Value,
    ) -> Result<bool, Error> {
        let mut fields = Object::new(path, entry)?;
        let at = fields.path("type");
        let kind = fields.string("type")?.ok_or_else(|| at.missing())?;
        match (&*kind, namespace) {
            ("function", _) => self.function(&mut fields, namespace)?,
            ("custom", _) => self.custom(&mut fields, namespace)?,
            ("namespace", None) => self.namespace(&mut fields)?,
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn namespace(&mut self, fields: &mut Object<'_>) -> Result<(), Error> {
        let at = fields.path("name");
        let name = namespace(fields, "name")?.ok_or_else(|| at.missing())?;
        let path = fields.path("tools");
        let entries = fields.list("tools", TOOLS_MAX)?.unwrap_or_default();
        for (index, entry) in entries.into_iter().enumerate() {
            self.tool(&Path::Index(&path, index), Some(&name), entry)?;
        }
        Ok(())
    }

    fn function(&mut self, fields: &mut Object<'_>, namespace: Option<&str>) -> Result<(), Error> {
        let (tool, mut function) = named(fields, namespace, false)?;
        if let Some(parameters) = fields.object("parameters")? {
            function.insert("parameters".to_owned(), parameters.into());
        }
        if fields.bool("strict")?.unwrap_or(false) {
            function.insert("strict".to_owned(), true.into());
        }
        self.offer(tool, function);
        Ok(())
    }

    fn custom(&mut self, fields: &mut Object<'_>, namespace: Option<&str>) -> Result<(), Error> {
        let (tool, mut function) = named(fields, namespace, true)?;
        let input = json!({ "type": "string", "description": input_form(fields)? });
        let parameters = json!({
            "type": "object",
            "properties": { INPUT: input },
            "required": [INPUT],
            "additionalProperties": false,
        });
        function.insert("parameters".to_owned(), parameters);
        self.offer(tool, function);
        Ok(())
    }

    /// Of two tools with one name the first is meant.
    fn offer(&mut self, tool: Tool, function: Map<String, Value>) {
        self.offered.push(json!({ "type": "function", "function": function }));
        let known = known_name(tool.namespace.as_deref(), &tool.name);
        self.tools.entry(known).or_insert(tool);
    }
}

/// What functions and tools of free text have in common.
fn named(
    fields: &mut Object<'_>,
    namespace: Option<&str>,
    is_custom: bool,
) -> Result<(Tool, Map<String, Value>), Error> {
    let at = fields.path("name");
    let name = request::word(fields, "name")?.ok_or_else(|| at.missing())?;
    let mut function = Map::new();
    function.insert("name".to_owned(), known_name(namespace, &name).into());
    if let Some(description) = fields.string("description")? {
        function.insert("description".to_owned(), description.into());
    }
    let namespace = namespace.filter(|namespace| *namespace != NO_NAMESPACE);
    Ok((Tool { name, namespace: namespace.map(str::to_owned), is_custom }, function))
}

/// What the model is told of the text that a tool takes. A grammar is shown, not enforced.
fn input_form(fields: &mut Object<'_>) -> Result<String, Error> {
    let path = fields.path("format");
    let Some(format) = fields.take("format") else {
        return Ok("The whole input of the tool, as plain text".to_owned());
    };
    let mut format = Object::new(&path, format)?;
    let syntax = request::word(&mut format, "syntax")?.unwrap_or_default();
    Ok(match format.string("definition")? {
        Some(grammar) => format!(
            "The whole input of the tool, as plain text that follows this {syntax} grammar:\n{grammar}"
        ),
        None => "The whole input of the tool, as plain text".to_owned(),
    })
}
