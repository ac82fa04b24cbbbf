//! TOML changed in place by `toml_edit`.

use serde_json::{Map, Value};
use toml_edit::{DocumentMut, Item, Table, TableLike};

use super::Problem;

pub(super) fn read(text: &str) -> Result<Value, Problem> {
    toml::from_str(text).map_err(|error| {
        let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
        let line = before.matches('\n').count() + 1;
        Problem::Broken(format!("line {line}: {}", error.message()))
    })
}

pub(super) fn render(value: &Value) -> String {
    put("", value).unwrap_or_default()
}

pub(super) fn put(text: &str, wanted: &Value) -> Result<String, Problem> {
    let mut document = parse(text)?;
    if let Value::Object(wanted) = wanted {
        into_table(document.as_table_mut(), wanted);
    }
    Ok(document.to_string())
}

pub(super) fn take(text: &str, place: &[&str]) -> Result<String, Problem> {
    let mut document = parse(text)?;
    if let Some((key, tables)) = place.split_last() {
        let whole: &mut dyn TableLike = document.as_table_mut();
        let table = tables
            .iter()
            .try_fold(whole, |table, step| table.get_mut(step).and_then(Item::as_table_like_mut));
        if let Some(table) = table {
            table.remove(key);
        }
    }
    Ok(document.to_string())
}

fn parse(text: &str) -> Result<DocumentMut, Problem> {
    text.parse().map_err(|error: toml_edit::TomlError| Problem::Broken(error.message().to_owned()))
}

fn into_table(table: &mut dyn TableLike, wanted: &Map<String, Value>) {
    for (key, value) in wanted {
        if let Value::Object(wanted) = value {
            if !table.get(key).is_some_and(Item::is_table_like) {
                let mut inner = Table::new();
                // A table of tables alone needs no heading of its own.
                inner.set_implicit(wanted.values().all(Value::is_object));
                table.insert(key, Item::Table(inner));
            }
            if let Some(inner) = table.get_mut(key).and_then(Item::as_table_like_mut) {
                into_table(inner, wanted);
            }
        } else if let Some(Item::Value(old)) = table.get_mut(key) {
            // What stands around the old value is its comment.
            let decor = old.decor().clone();
            *old = scalar(value);
            *old.decor_mut() = decor;
        } else {
            table.insert(key, Item::Value(scalar(value)));
        }
    }
}

fn scalar(value: &Value) -> toml_edit::Value {
    match value {
        Value::Bool(truth) => (*truth).into(),
        Value::Number(number) => match number.as_i64() {
            Some(whole) => whole.into(),
            None => number.as_f64().unwrap_or_default().into(),
        },
        Value::String(text) => text.as_str().into(),
        Value::Array(items) => items.iter().map(scalar).collect::<toml_edit::Array>().into(),
        Value::Object(map) => {
            let pairs = map.iter().map(|(key, value)| (key.as_str(), scalar(value)));
            pairs.collect::<toml_edit::InlineTable>().into()
        }
        // TOML has no null; the proof refuses what says something else.
        Value::Null => "".into(),
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
        let old =
            "# mine\nmodel = \"gpt-5\" # the usual\n\n[mcp_servers.docs]\ncommand = \"docs\"\n";
        let wanted = json!({
            "model": "qwen",
            "model_provider": "resident",
            "model_providers": { "resident": { "name": "Resident", "base_url": "http://127.0.0.1:11434/v1" } },
        });
        let new = merge(Form::Toml, old, &wanted).unwrap();
        expect![[r#"
            # mine
            model = "qwen" # the usual
            model_provider = "resident"

            [mcp_servers.docs]
            command = "docs"

            [model_providers.resident]
            name = "Resident"
            base_url = "http://127.0.0.1:11434/v1"
        "#]]
        .assert_eq(&new);
        assert_eq!(merge(Form::Toml, &new, &wanted).as_deref(), Ok(new.as_str()), "again");
    }

    #[test]
    fn inline_and_dotted_tables_are_changed_where_they_are() {
        let wanted = json!({ "a": { "b": { "c": 2 } } });
        for (old, expected) in [
            ("a = { b = { c = 1, d = 3 } }\n", "a = { b = { c = 2, d = 3 } }\n"),
            ("a.b.c = 1 # one\n", "a.b.c = 2 # one\n"),
            ("[a.b]\nd = 3\n", "[a.b]\nd = 3\nc = 2\n"),
        ] {
            assert_eq!(merge(Form::Toml, old, &wanted).as_deref(), Ok(expected));
        }
    }

    #[test]
    fn what_is_left_over_is_taken_out() {
        let leftover = Leftover { place: &["a", "b", "key"], value: "KEY".to_owned() };
        for (old, expected) in [
            ("[a.b]\n# d\nd = 3\nkey = \"KEY\"\n\n[c]\n", "[a.b]\n# d\nd = 3\n\n[c]\n"),
            ("a = { b = { d = 3, key = \"KEY\" } }\n", "a = { b = { d = 3} }\n"),
            ("a.b.key = \"KEY\"\na.b.d = 3 # d\n", "a.b.d = 3 # d\n"),
            ("[a.b]\nkey = \"MINE\"\n", "[a.b]\nkey = \"MINE\"\n"),
            ("a = \"b\"\n", "a = \"b\"\n"),
        ] {
            assert_eq!(take(Form::Toml, old, &leftover).as_deref(), Ok(expected), "{old}");
        }
        for told in ["[a.b]\nkey = \"KEY\" # why\nd = 3\n", "[a.b]\n# why\nkey = \"KEY\"\n"] {
            let problem = take(Form::Toml, told, &leftover).unwrap_err().to_string();
            assert!(problem.contains("the comment at 'a.b.key'"), "{problem}");
        }
    }

    #[test]
    fn a_broken_text_is_named_by_its_line() {
        let Err(Problem::Broken(message)) = merge(Form::Toml, "a = 1\nb = = 2\n", &json!({}))
        else {
            panic!("it was taken")
        };
        assert!(message.starts_with("line 2: "), "{message}");
    }
}
