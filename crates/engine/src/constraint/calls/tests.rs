//! The grammars of calls, and what of a schema they say.

use serde_json::json;

use super::*;
use crate::text::{Family, Thinks};

fn markup(form: Calls) -> Markup {
    Markup::new(Family { thinks: Some(Thinks::Tag), calls: Some(form) }, "", &[])
}

fn wanted(form: Calls, tool: &Value, loosely: bool) -> Result<Grammar, String> {
    let markup = markup(form);
    let tools = std::slice::from_ref(tool);
    let wanted = Wanted { markup: &markup, tools, names: &[], one_call: true, answer: None };
    wanted.grammar(loosely)
}

fn tool(parameters: &Value, strict: bool) -> Value {
    json!({ "function": { "name": "f", "strict": strict, "parameters": parameters } })
}

#[test]
fn parameters_that_are_not_listed_are_not_made_up() {
    let listed = json!({ "type": "object", "properties": { "a": {} } });
    let closed = parameters(Some(&listed)).unwrap();
    assert_eq!(closed["additionalProperties"], false);
    for key in ["patternProperties", "anyOf"] {
        let mut open = listed.clone();
        open[key] = json!({});
        assert_eq!(parameters(Some(&open)).unwrap().get("additionalProperties"), None, "{key}");
    }
    assert_eq!(parameters(None).unwrap()["type"], "object");
    assert!(parameters(Some(&json!({ "type": "array" }))).is_err());
}

#[test]
fn a_schema_that_cannot_be_enforced_is_loosened_unless_it_is_strict() {
    let hard = json!({ "type": "object", "properties": {
        "a": { "type": "string", "pattern": "^a$|^b$" },
        "b": { "type": "object", "not": {} } }, "required": ["a", "c"] });
    assert!(wanted(Calls::Xml, &tool(&hard, true), false).unwrap_err().contains("pattern"));
    let loose = loose(&hard);
    assert_eq!(
        loose["properties"],
        json!({ "a": { "type": "string" }, "b": { "type": "object" } })
    );
    assert_eq!(loose["required"], json!(["a"]));
    wanted(Calls::Hermes, &tool(&hard, false), true).unwrap();
}

#[test]
fn too_much_of_schemas_is_refused() {
    let long = "x".repeat(SCHEMA_BYTES_MAX / 2);
    let tools: Vec<Value> = (0..3)
        .map(|index| {
            let parameters = json!({ "type": "object", "description": long });
            json!({ "function": { "name": format!("f{index}"), "parameters": parameters } })
        })
        .collect();
    let markup = markup(Calls::Hermes);
    let wanted =
        Wanted { markup: &markup, tools: &tools, names: &[], one_call: true, answer: None };
    assert!(wanted.grammar(false).unwrap_err().contains("fewer"));
}
