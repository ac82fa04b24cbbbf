//! The tools that a model may call, in the form that OpenAI and Ollama share.

use serde_json::Value;

use crate::{
    Error,
    limits::TOOLS_MAX,
    read::{Object, Path},
};

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
