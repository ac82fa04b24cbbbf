//! The tools that a model may call, and whether it may.

use serde_json::Value;

use crate::{Error, read::Object, tools};

/// Takes the tools out of a request, where the model may call them.
pub(super) fn decode(fields: &mut Object<'_>) -> Result<Vec<Value>, Error> {
    let tools = tools::decode(fields)?;
    Ok(if offers(fields)? { tools } else { Vec::new() })
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
