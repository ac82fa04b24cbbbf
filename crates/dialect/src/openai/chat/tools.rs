//! The tools that a model may call.

use serde_json::Value;

use crate::{
    Error,
    limits::TOOLS_MAX,
    read::{Object, Path},
};

/// Takes the tools out of a request. They stay as the client wrote them, which is the form that
/// chat templates expect; only what templates rely on is checked.
pub(super) fn decode(fields: &mut Object<'_>) -> Result<Vec<Value>, Error> {
    let path = fields.path("tools");
    let tools = fields.list("tools", TOOLS_MAX)?.unwrap_or_default();
    for (index, tool) in tools.iter().enumerate() {
        check(&Path::Index(&path, index), tool)?;
    }
    Ok(if offers(fields)? { tools } else { Vec::new() })
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

/// Whether the model is offered the tools at all.
fn offers(fields: &mut Object<'_>) -> Result<bool, Error> {
    let path = fields.path("tool_choice");
    match fields.take("tool_choice") {
        None => Ok(true),
        Some(Value::String(choice)) if choice == "auto" => Ok(true),
        Some(Value::String(choice)) if choice == "none" => Ok(false),
        Some(Value::String(choice)) if choice != "required" => {
            Err(path.refuse(format_args!("must be \"auto\" or \"none\", but it is {choice:?}")))
        }
        Some(Value::String(_) | Value::Object(_)) => Err(path.unsupported(
            "demands a call, and a model cannot be held to one yet; use \"auto\" or \"none\"",
        )),
        Some(ref other) => Err(path.wrong("a string or an object", other)),
    }
}
