//! JSON as editors write it, changed in place: comments, trailing commas and spacing stay.

use jsonc_parser::{
    ParseOptions,
    cst::{CstArray, CstInputValue, CstNode, CstObject, CstObjectProp, CstRootNode},
};
use serde_json::{Map, Value};

use super::{Problem, are_named, is_same, name};

/// Comments and trailing commas are what editors forgive; the rest would be wrong for most of them.
const FORGIVING: ParseOptions = ParseOptions {
    allow_comments: true,
    allow_trailing_commas: true,
    allow_loose_object_property_names: false,
    allow_missing_commas: false,
    allow_single_quoted_strings: false,
    allow_hexadecimal_numbers: false,
    allow_unary_plus_numbers: false,
    allow_bare_decimal_point_numbers: false,
    allow_non_finite_numbers: false,
    allow_extended_string_escapes: false,
};

pub(super) fn read(text: &str) -> Result<Value, Problem> {
    // Of a key that is there twice this takes the last and `put` the first, which is then refused.
    Ok(parse(text)?.to_serde_value().unwrap_or(Value::Null))
}

pub(super) fn render(value: &Value) -> String {
    // A value of strings and numbers always has a JSON form.
    let text = serde_json::to_string_pretty(value).unwrap_or_default();
    format!("{text}\n")
}

pub(super) fn put(text: &str, wanted: &Value) -> Result<String, Problem> {
    let root = parse(text)?;
    let other = || Problem::Intricate("it holds another kind of value as a whole".to_owned());
    match wanted {
        Value::Object(wanted) => {
            into_object(&root.object_value_or_create().ok_or_else(other)?, wanted)
        }
        Value::Array(wanted) => {
            into_array(&root.array_value_or_create().ok_or_else(other)?, wanted)
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => return Err(other()),
    }
    Ok(root.to_string())
}

pub(super) fn take(text: &str, place: &[&str]) -> Result<String, Problem> {
    let root = parse(text)?;
    if let Some(property) = root.value().and_then(|whole| property_at(&whole, place)) {
        property.remove();
    }
    Ok(root.to_string())
}

fn property_at(node: &CstNode, place: &[&str]) -> Option<CstObjectProp> {
    let (step, rest) = place.split_first()?;
    if let Some(array) = node.as_array() {
        let is_it =
            |node: &CstNode| node.to_serde_value().is_some_and(|item| name(&item) == Some(*step));
        return property_at(&array.elements().into_iter().find(is_it)?, rest);
    }
    let property = node.as_object()?.get(step)?;
    if rest.is_empty() { Some(property) } else { property_at(&property.value()?, rest) }
}

fn parse(text: &str) -> Result<CstRootNode, Problem> {
    CstRootNode::parse(text, &FORGIVING).map_err(|error| {
        Problem::Broken(format!(
            "line {}, column {}: {}",
            error.line_display(),
            error.column_display(),
            error.kind()
        ))
    })
}

fn into_object(object: &CstObject, wanted: &Map<String, Value>) {
    for (key, value) in wanted {
        match object.get(key) {
            Some(property) => into_property(&property, value),
            None => {
                object.append(key, input(value));
            }
        }
    }
}

fn into_property(property: &CstObjectProp, wanted: &Value) {
    match (wanted, property.object_value(), property.array_value()) {
        (Value::Object(wanted), Some(object), _) => into_object(&object, wanted),
        (Value::Array(wanted), _, Some(array)) if are_named(wanted) => into_array(&array, wanted),
        _ if property.to_serde_value().as_ref() == Some(wanted) => {}
        _ => property.set_value(input(wanted)),
    }
}

fn into_array(array: &CstArray, wanted: &[Value]) {
    for item in wanted {
        let is_it = |node: &CstNode| node.to_serde_value().is_some_and(|old| is_same(&old, item));
        let found = array.elements().into_iter().find(is_it).and_then(|node| node.as_object());
        match (found, item) {
            (Some(object), Value::Object(item)) => into_object(&object, item),
            _ => {
                array.append(input(item));
            }
        }
    }
}

fn input(value: &Value) -> CstInputValue {
    match value {
        Value::Null => CstInputValue::Null,
        Value::Bool(truth) => CstInputValue::Bool(*truth),
        Value::Number(number) => CstInputValue::Number(number.to_string()),
        Value::String(text) => CstInputValue::String(text.clone()),
        Value::Array(items) => CstInputValue::Array(items.iter().map(input).collect()),
        Value::Object(map) => CstInputValue::Object(
            map.iter().map(|(key, value)| (key.clone(), input(value))).collect(),
        ),
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;
    use serde_json::json;

    use super::super::{Form, Leftover, merge, take};
    use super::*;

    #[test]
    fn what_a_person_wrote_stays() {
        let old = r#"// Zed settings
{
    "theme": "One Dark", // at night
    /* models */
    "language_models": {
        "ollama": { "api_url": "http://elsewhere:1" },
    },
    "list": [1, 2,],
}
"#;
        let wanted = json!({
            "language_models": {
                "ollama": {
                    "api_url": "http://127.0.0.1:11434",
                    "available_models": [{ "name": "qwen", "max_tokens": 8192 }],
                },
            },
        });
        let new = merge(Form::Json, old, &wanted).unwrap();
        expect![[r#"
            // Zed settings
            {
                "theme": "One Dark", // at night
                /* models */
                "language_models": {
                    "ollama": {
                        "api_url": "http://127.0.0.1:11434",
                        "available_models": [
                            {
                                "name": "qwen",
                                "max_tokens": 8192
                            }
                        ]
                    },
                },
                "list": [1, 2,],
            }
        "#]]
        .assert_eq(&new);
        assert_eq!(merge(Form::Json, &new, &wanted).as_deref(), Ok(new.as_str()), "again");
    }

    #[test]
    fn a_named_thing_of_a_list_is_changed_and_another_is_added() {
        let old = r#"[
  { "name": "Resident", "vendor": "customendpoint", "models": [{ "id": "a", "vision": true }] },
  { "name": "Azure" }
]"#;
        let wanted =
            json!([{ "name": "Resident", "models": [{ "id": "a", "name": "A" }, { "id": "b" }] }]);
        let new = merge(Form::Json, old, &wanted).unwrap();
        let expected = json!([
            {
                "name": "Resident", "vendor": "customendpoint",
                "models": [{ "id": "a", "vision": true, "name": "A" }, { "id": "b" }],
            },
            { "name": "Azure" },
        ]);
        assert_eq!(read(&new), Ok(expected));
    }

    #[test]
    fn a_broken_text_is_named_by_its_place() {
        let broken = merge(Form::Json, "{\n  \"a\": 1\n  \"b\": 2\n}", &json!({}));
        let place = "line 2, column 9: Expected comma".to_owned();
        assert_eq!(broken, Err(Problem::Broken(place)));
    }

    #[test]
    fn what_is_left_over_is_taken_out_with_its_comma() {
        let leftover = Leftover { place: &["env", "KEY"], value: "unused".to_owned() };
        for (old, expected) in [
            (
                "{\n  \"env\": {\n    \"A\": 1, // a\n    \"KEY\": \"unused\"\n  } // e\n}\n",
                "{\n  \"env\": {\n    \"A\": 1 // a\n  } // e\n}\n",
            ),
            (
                "{\r\n  \"env\": {\r\n    \"KEY\": \"unused\",\r\n    \"A\": 1,\r\n  },\r\n}\r\n",
                "{\r\n  \"env\": {\r\n    \"A\": 1,\r\n  },\r\n}\r\n",
            ),
        ] {
            assert_eq!(take(Form::Json, old, &leftover).as_deref(), Ok(expected), "{old}");
        }
        for own in [r#"{ "env": { "KEY": "mine" } }"#, r#"{ "env": "KEY" }"#, "[]", "{}"] {
            assert_eq!(take(Form::Json, own, &leftover).as_deref(), Ok(own));
        }
        let told = "{ \"env\": {\n  \"KEY\": \"unused\" // by a person\n} }";
        let problem = take(Form::Json, told, &leftover).unwrap_err().to_string();
        assert!(problem.contains("the comment at 'env.KEY'"), "{problem}");
    }

    #[test]
    fn what_cannot_be_changed_surely_is_left_alone() {
        let twice = r#"{ "env": { "A": "1" }, "env": { "B": "2" } }"#;
        let problem = merge(Form::Json, twice, &json!({ "env": { "C": "3" } })).unwrap_err();
        assert!(matches!(problem, Problem::Intricate(_)), "{problem}");
        let list = merge(Form::Json, "[1]", &json!({ "env": {} })).unwrap_err();
        assert!(matches!(list, Problem::Intricate(_)), "{list}");
    }
}
