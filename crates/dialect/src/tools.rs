//! The tools that a model may call, in the form that OpenAI and Ollama share, and what of a request's
//! choice among them all dialects check alike.

use serde_json::Value;
use worker_protocol::ToolChoice;

use crate::{
    Error,
    limits::TOOLS_MAX,
    read::{Object, Path},
};

/// The tools of a request, and how they are to be called.
#[derive(Debug, Default)]
pub(crate) struct Offered {
    pub(crate) tools: Vec<Value>,
    pub(crate) choice: ToolChoice,
    pub(crate) one_call: bool,
}

/// Takes the tools out of a request. They stay as the client wrote them, which is the form that
/// chat templates expect; only what templates rely on is checked.
pub(crate) fn decode(fields: &mut Object<'_>) -> Result<Vec<Value>, Error> {
    let path = fields.path("tools");
    let tools = fields.list("tools", TOOLS_MAX)?.unwrap_or_default();
    for (index, tool) in tools.iter().enumerate() {
        check(&Path::Index(&path, index), tool)?;
    }
    Ok(tools)
}

/// A tool's name.
pub(crate) fn name(tool: &Value) -> &str {
    tool.pointer("/function/name").and_then(Value::as_str).unwrap_or_default()
}

/// The name of an offered tool, which stands at `path`.
pub(crate) fn known(path: &Path<'_>, wanted: String, tools: &[Value]) -> Result<String, Error> {
    if tools.iter().any(|tool| name(tool) == wanted) {
        return Ok(wanted);
    }
    Err(path.refuse(format_args!(
        "is {wanted:?}, and no tool of this name is offered; name one of `tools`"
    )))
}

/// A call can only be demanded where there is something to call.
pub(crate) fn some(path: &Path<'_>, tools: &[Value]) -> Result<(), Error> {
    if tools.is_empty() {
        return Err(path.refuse("demands a call, and no tools are offered; send `tools` too"));
    }
    Ok(())
}

fn check(path: &Path<'_>, tool: &Value) -> Result<(), Error> {
    let Value::Object(fields) = tool else {
        return Err(path.wrong("an object", tool));
    };
    let kind = fields.get("type").unwrap_or(&Value::Null);
    if kind != "function" {
        return Err(Path::Key(path, "type").wrong("\"function\"", kind));
    }
    let function_path = Path::Key(path, "function");
    let function = fields.get("function").ok_or_else(|| function_path.missing())?;
    let Value::Object(function) = function else {
        return Err(function_path.wrong("an object", function));
    };
    let name_path = Path::Key(&function_path, "name");
    match function.get("name") {
        Some(Value::String(_)) => Ok(()),
        Some(other) => Err(name_path.wrong("a string", other)),
        None => Err(name_path.missing()),
    }
}
