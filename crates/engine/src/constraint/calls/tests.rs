//! The grammars of calls, and what of a schema they say.

use serde_json::json;

use super::texts::Texts;
use super::*;
use crate::text::{Family, Thinks};

/// Forms in which each parameter stands by itself.
const BARE: [Calls; 4] = [Calls::Xml, Calls::Glm, Calls::Gemma, Calls::Python];

fn markup(form: Calls) -> Markup {
    Markup::new(Family { thinks: Some(Thinks::Tag), calls: Some(form) }, "", &[])
}

fn wanted(form: Calls, tool: &Value, loosely: bool) -> Result<Grammar, String> {
    let markup = markup(form);
    let tools = std::slice::from_ref(tool);
    let wanted = Wanted { markup: &markup, tools, names: &[], one_call: true, answer: None };
    let loose = if loosely { BTreeSet::from(["f"]) } else { BTreeSet::new() };
    wanted.grammar(&loose)
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
    let mut listed = hard.clone();
    listed["required"] = json!(["a"]);
    assert!(wanted(Calls::Xml, &tool(&listed, true), false).unwrap_err().contains("pattern"));
    let loose = loose(hard.as_object().unwrap());
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
    let long = json!({ "a": { "const": long } });
    let tools: Vec<Value> = (0..3)
        .map(|index| {
            let parameters = json!({ "type": "object", "properties": long });
            json!({ "function": { "name": format!("f{index}"), "parameters": parameters } })
        })
        .collect();
    let markup = markup(Calls::Hermes);
    let wanted =
        Wanted { markup: &markup, tools: &tools, names: &[], one_call: true, answer: None };
    assert!(wanted.grammar(&BTreeSet::new()).unwrap_err().contains("fewer"));
}

/// Parameters that all refer to one definition.
fn referring(count: usize, definition: &Value) -> Value {
    let parameter = |i| (format!("p{i}"), json!({ "$ref": "#/$defs/d" }));
    json!({ "type": "object", "properties": (0..count).map(parameter).collect::<Map<_, _>>(),
        "$defs": { "d": definition, "unused": { "const": "x".repeat(10_000) } } })
}

#[test]
fn what_many_parameters_refer_to_is_not_written_without_end() {
    let long = "x".repeat(200 << 10);
    let described = referring(1000, &json!({ "type": "integer", "description": long }));
    let large = referring(1000, &json!({ "const": long }));
    for form in BARE {
        for strict in [true, false] {
            let grammar = wanted(form, &tool(&described, strict), false).unwrap();
            let bytes = grammar.lark.len();
            assert!(bytes < 1 << 20, "{form:?}: {bytes} bytes for words and what is not used");
            let reason = wanted(form, &tool(&large, strict), false).unwrap_err();
            assert!(reason.contains(&CALLS_BYTES_MAX.to_string()), "{form:?}: {reason}");
        }
        let few = referring(3, &json!({ "const": "x" }));
        let lark = wanted(form, &tool(&few, true), false).unwrap().lark;
        assert_eq!(lark.matches("\"const\":\"x\"").count(), 3, "{form:?}: {lark}");
    }
}

/// Each parameter by itself comes to little.
#[test]
fn what_parts_come_to_where_they_meet_is_added_up_over_parameters_and_tools() {
    let words: Vec<String> = (0..200).map(|i| format!("w{i}")).collect();
    let met = json!({ "type": "array", "items": { "enum": words },
        "anyOf": vec![json!({ "type": "array", "minItems": 1 }); 50] });
    for form in BARE {
        wanted(form, &tool(&referring(5, &met), true), false).unwrap();
        let reason = wanted(form, &tool(&referring(100, &met), true), false).unwrap_err();
        assert!(reason.contains("parts"), "{form:?}: {reason}");
    }
    let parameters = json!({ "type": "object", "properties": { "a": met } });
    let tools: Vec<Value> = (0..50)
        .map(|i| json!({ "function": { "name": format!("f{i}"), "parameters": parameters } }))
        .collect();
    let markup = markup(Calls::Hermes);
    let wanted =
        Wanted { markup: &markup, tools: &tools, names: &[], one_call: true, answer: None };
    assert!(wanted.grammar(&BTreeSet::new()).unwrap_err().contains("parts"));
}

#[test]
fn a_parameter_comes_with_the_definitions_that_it_leads_to() {
    let schema = json!({ "type": "object", "properties": { "a": { "$ref": "#/$defs/tree/properties/to" },
        "b": { "type": "array", "items": { "$ref": "#/definitions/leaf" } } },
        "$defs": { "tree": { "properties": { "to": { "$ref": "#/$defs/leaf" } } },
            "leaf": { "const": 1 }, "other": { "const": 2 } },
        "definitions": { "leaf": { "const": 3 } } });
    for form in BARE {
        let lark = wanted(form, &tool(&schema, true), false).unwrap().lark;
        for (value, times) in [(1, 1), (2, 0), (3, 1)] {
            let said = format!("\"const\":{value}}}");
            assert_eq!(lark.matches(&said).count(), times, "{form:?} {said}: {lark}");
        }
        for target in ["#", "#/properties/b", "#/$defs/none"] {
            let schema = json!({ "type": "object", "properties": {
                "a": { "type": "array", "items": { "$ref": target } }, "b": {} } });
            let reason = wanted(form, &tool(&schema, true), false).unwrap_err();
            assert!(reason.contains(target), "{form:?}: {reason}");
        }
    }
}

#[test]
fn what_is_no_schema_of_a_parameter_is_left_out_or_refused() {
    let schema = |never: Value, required: &[&str]| {
        json!({ "type": "object", "required": required,
            "properties": { "never": never, "open": true, "one": { "type": "integer" } } })
    };
    for form in BARE {
        let lark = wanted(form, &tool(&schema(json!(false), &[]), true), false).unwrap().lark;
        assert!(!lark.contains("never") && lark.contains("open") && lark.contains("one"), "{lark}");
        let required = schema(json!(false), &["never"]);
        assert!(wanted(form, &tool(&required, true), false).unwrap_err().contains("never"));
        // In part only.
        let lark = wanted(form, &tool(&required, false), true).unwrap().lark;
        assert!(!lark.contains("never") && lark.contains("one"), "{lark}");
        let odd = wanted(form, &tool(&schema(json!("text"), &[]), true), false);
        assert!(odd.unwrap_err().contains("must be an object"));
        let unlisted = wanted(form, &tool(&schema(json!({}), &["else"]), true), false);
        assert!(unlisted.unwrap_err().contains("else"));
    }
}

#[test]
fn all_that_a_schema_says_of_a_text_is_kept_to_or_refused_where_it_is_strict() {
    let texts = |schema: &Value, is_strict| {
        let schema = schema.as_object().unwrap();
        match Texts::of(schema, is_strict) {
            Ok(Texts::OneOf(texts)) => Ok(texts.join(" ")),
            Ok(Texts::Like { limits, .. }) => Ok(limits),
            Err(reason) => Err(reason),
        }
    };
    for (schema, kept) in [
        (json!({ "const": "ab" }), "ab"),
        (json!({ "const": 5 }), ""),
        (json!({ "enum": ["ab", null, "c"], "const": "c" }), "c"),
        (json!({ "enum": ["ab", "é", "abcd"], "minLength": 2, "maxLength": 3 }), "ab"),
        (json!({ "minLength": 2, "description": "no more" }), " & /(?s:.{2,})/"),
        (json!({ "pattern": "^a$", "x-order": 1 }), " & /(a)/"),
    ] {
        for is_strict in [true, false] {
            assert_eq!(texts(&schema, is_strict).as_deref(), Ok(kept), "{schema}");
        }
    }
    for (schema, word) in [
        (json!({ "format": "date" }), "format"),
        (json!({ "not": { "const": "a" } }), "not"),
        (json!({ "anyOf": [{ "const": "a" }] }), "anyOf"),
        (json!({ "$ref": "#/$defs/a" }), "$ref"),
        (json!({ "enum": ["a"], "pattern": "^b$" }), "pattern"),
        (json!({ "minLength": 1.5 }), "minLength"),
        (json!({ "pattern": "^a|b$" }), "pattern"),
    ] {
        assert!(texts(&schema, true).unwrap_err().contains(word), "{schema}");
        texts(&schema, false).unwrap();
    }
}
