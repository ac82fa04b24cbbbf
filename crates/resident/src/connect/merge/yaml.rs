//! YAML changed line by line, as far as clients' settings need it: top-level keys with plain values, and
//! a top-level list of named things.
//!
//! No library changes YAML in place without bringing a parser in C. A parser is here only to read; the
//! caller proves with it that the lines came out right, and what is written in another way than people
//! write settings is refused.

use std::ops::Range;

use serde_json::{Map, Number, Value};
use yaml_rust2::{Yaml, YamlLoader};

use super::{Problem, is_same, merged};

pub(super) fn read(text: &str) -> Result<Value, Problem> {
    let documents = YamlLoader::load_from_str(text).map_err(|error| {
        let (line, column) = (error.marker().line(), error.marker().col() + 1);
        Problem::Broken(format!("line {line}, column {column}: {}", error.info()))
    })?;
    match documents.as_slice() {
        // Nothing but comments.
        [] => Ok(Value::Object(Map::new())),
        [Yaml::Null] => Ok(Value::Object(Map::new())),
        [document] => value(document),
        [_, _, ..] => Err(Problem::Intricate("it holds several documents".to_owned())),
    }
}

fn value(yaml: &Yaml) -> Result<Value, Problem> {
    let odd = |what: &str| Problem::Intricate(what.to_owned());
    Ok(match yaml {
        Yaml::Null => Value::Null,
        Yaml::Boolean(truth) => (*truth).into(),
        Yaml::Integer(number) => (*number).into(),
        Yaml::Real(digits) => {
            let number = digits.parse().ok().and_then(Number::from_f64);
            Value::Number(number.ok_or_else(|| odd("one of its numbers has no end"))?)
        }
        Yaml::String(text) => text.as_str().into(),
        Yaml::Array(items) => Value::Array(items.iter().map(value).collect::<Result<_, _>>()?),
        Yaml::Hash(pairs) => {
            let pair = |(key, inner): (&Yaml, &Yaml)| {
                let key = key.as_str().ok_or_else(|| odd("one of its keys is no word"))?;
                Ok((key.to_owned(), value(inner)?))
            };
            Value::Object(pairs.iter().map(pair).collect::<Result<_, _>>()?)
        }
        Yaml::Alias(_) | Yaml::BadValue => {
            return Err(odd("it points to something that is not there"));
        }
    })
}

pub(super) fn render(value: &Value) -> String {
    // A map without keys is an empty text, to which keys can be added.
    let lines = keys(value).unwrap_or_default();
    lines.into_iter().map(|line| line + "\n").collect()
}

/// `before` is what `text` says.
pub(super) fn put(text: &str, before: &Value, wanted: &Value) -> Result<String, Problem> {
    let (Value::Object(before), Value::Object(wanted)) = (before, wanted) else {
        return Err(Problem::Intricate("it is no map of keys as a whole".to_owned()));
    };
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    for (key, value) in wanted {
        let old = before.get(key);
        match (old, value) {
            (Some(old), value) if merged(old, value) == *old => {}
            (Some(Value::Array(old)), Value::Array(items)) if !old.is_empty() => {
                put_items(&mut lines, key, old, items)?;
            }
            (Some(Value::Object(_)), _) | (_, Value::Object(_)) => {
                return Err(Problem::Intricate(format!("'{key}' holds keys of its own")));
            }
            (_, value) => put_entry(&mut lines, key, value)?,
        }
    }
    Ok(joined(lines, text))
}

/// The lines as one text, with the line ends of `text`.
fn joined(lines: Vec<String>, text: &str) -> String {
    let line_end = if text.contains("\r\n") { "\r\n" } else { "\n" };
    lines.into_iter().map(|line| line + line_end).collect()
}

/// Only top-level keys go: what clients keep deeper down is written over instead.
pub(super) fn take(text: &str, place: &[&str]) -> Result<String, Problem> {
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let key = place.first().filter(|_| place.len() == 1);
    let Some(block) = key.and_then(|key| block(&lines, key)) else {
        let what = format!("'{}' is written unusually", place.join("."));
        return Err(Problem::Intricate(what));
    };
    lines.drain(block);
    Ok(joined(lines, text))
}

/// A key with a plain value, or with a list that was empty.
fn put_entry(lines: &mut Vec<String>, key: &str, value: &Value) -> Result<(), Problem> {
    let Some(block) = block(lines, key) else {
        lines.extend(entry(key, value));
        return Ok(());
    };
    let old: Vec<String> = lines.splice(block.clone(), entry(key, value)).collect();
    // A comment behind the old value is about the key.
    match (old.as_slice(), lines.get_mut(block.start)) {
        ([line], Some(new)) => {
            if let Some(at) = line.find(" #") {
                new.push_str(&line[at..]);
            }
        }
        (several, _) if several.iter().any(|line| line.contains('#')) => {
            return Err(commented(key));
        }
        (_, _) => {}
    }
    Ok(())
}

/// Things with names into a list that holds some.
fn put_items(
    lines: &mut Vec<String>,
    key: &str,
    old: &[Value],
    items: &[Value],
) -> Result<(), Problem> {
    let mut old = old.to_vec();
    for item in items {
        let unusual = || Problem::Intricate(format!("the list '{key}' is written unusually"));
        let block = block(lines, key).ok_or_else(unusual)?;
        let (indent, starts) = starts(lines, block.clone());
        if starts.len() != old.len() {
            return Err(unusual());
        }
        let Some(at) = old.iter().position(|other| is_same(other, item)) else {
            lines.splice(block.end..block.end, listed(item, indent));
            old.push(item.clone());
            continue;
        };
        let end = starts.get(at + 1).copied().unwrap_or(block.end);
        let place = starts[at]..spoken_end(lines, starts[at]..end);
        if lines[place.clone()].iter().any(|line| line.contains('#')) {
            return Err(commented(key));
        }
        old[at] = merged(&old[at], item);
        lines.splice(place, listed(&old[at], indent));
    }
    Ok(())
}

fn commented(key: &str) -> Problem {
    Problem::Intricate(format!("what '{key}' holds has comments"))
}

/// The lines of a top-level key and what it holds, without what stands between it and the next.
fn block(lines: &[String], key: &str) -> Option<Range<usize>> {
    let start = lines.iter().position(|line| {
        line.strip_prefix(key).is_some_and(|rest| rest == ":" || rest.starts_with(": "))
    })?;
    let is_inside = |line: &String| {
        let is_item = line == "-" || line.starts_with("- ");
        is_item || line.starts_with([' ', '\t', '#']) || line.is_empty()
    };
    let inside = lines[start + 1..].iter().take_while(|line| is_inside(line)).count();
    Some(start..spoken_end(lines, start..start + 1 + inside))
}

/// Where the lines end that are more than space and comments.
fn spoken_end(lines: &[String], range: Range<usize>) -> usize {
    let speaks =
        |line: &String| !line.trim_start().is_empty() && !line.trim_start().starts_with('#');
    let last = lines[range.clone()].iter().rposition(speaks);
    last.map_or(range.start, |last| range.start + last + 1)
}

/// How far the items of a list are indented, and the lines that they begin at.
fn starts(lines: &[String], block: Range<usize>) -> (usize, Vec<usize>) {
    let dash = |line: &String| {
        let inner = line.trim_start_matches(' ');
        (inner == "-" || inner.starts_with("- ")).then(|| line.len() - inner.len())
    };
    let indent = lines[block.clone()].iter().find_map(dash).unwrap_or(0);
    let starts = block.filter(|at| dash(&lines[*at]) == Some(indent)).collect();
    (indent, starts)
}

/// A key and what it holds, from the first column on.
fn entry(key: &str, value: &Value) -> Vec<String> {
    let head = scalar(&Value::String(key.to_owned()));
    let inner: Vec<String> = match (keys(value), value) {
        (Some(lines), _) => lines.into_iter().map(|line| format!("  {line}")).collect(),
        (None, Value::Array(items)) => items.iter().flat_map(|item| listed(item, 2)).collect(),
        (None, _) => Vec::new(),
    };
    if inner.is_empty() {
        return vec![format!("{head}: {}", scalar(value))];
    }
    std::iter::once(format!("{head}:")).chain(inner).collect()
}

/// The keys of a map and what they hold; `None` of anything else and of an empty one.
fn keys(value: &Value) -> Option<Vec<String>> {
    let map = value.as_object().filter(|map| !map.is_empty())?;
    Some(map.iter().flat_map(|(key, value)| entry(key, value)).collect())
}

/// An item of a list whose dashes are indented by `indent`.
fn listed(item: &Value, indent: usize) -> Vec<String> {
    let lines = keys(item).unwrap_or_else(|| vec![scalar(item)]);
    let lead = |at: usize| if at == 0 { "- " } else { "  " };
    let line = |(at, line): (usize, String)| format!("{:indent$}{}{line}", "", lead(at));
    lines.into_iter().enumerate().map(line).collect()
}

/// A plain value. JSON's strings are YAML's too, where a bare word would mean something else.
fn scalar(value: &Value) -> String {
    let Value::String(text) = value else { return value.to_string() };
    let is_easy = |c: char| c.is_ascii_alphanumeric() || " ._/:@+-${}()".contains(c);
    let is_bare = text.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '$')
        && text.chars().all(is_easy)
        && !text.contains(": ")
        && !text.ends_with([' ', ':'])
        && Yaml::from_str(text) == Yaml::String(text.clone());
    if is_bare { text.clone() } else { value.to_string() }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;
    use serde_json::json;

    use super::super::{Form, Leftover, merge, take};
    use super::*;

    fn wanted() -> Value {
        json!({ "models": [{
            "name": "qwen on Resident", "provider": "openai", "roles": ["chat", "edit"],
            "defaultCompletionOptions": { "contextLength": 16384 },
        }] })
    }

    #[test]
    fn what_a_person_wrote_stays() {
        let old = "\
# mine
name: My Config
version: 1.0.0
models:
  # the big one
  - name: Big
    provider: ollama
    model: big # the best

# below
rules:
- be brief
";
        let new = merge(Form::Yaml, old, &wanted()).unwrap();
        expect![[r#"
            # mine
            name: My Config
            version: 1.0.0
            models:
              # the big one
              - name: Big
                provider: ollama
                model: big # the best
              - name: qwen on Resident
                provider: openai
                roles:
                  - chat
                  - edit
                defaultCompletionOptions:
                  contextLength: 16384

            # below
            rules:
            - be brief
        "#]]
        .assert_eq(&new);
        assert_eq!(merge(Form::Yaml, &new, &wanted()).as_deref(), Ok(new.as_str()), "again");
        let other = json!({ "models": [{ "name": "qwen on Resident", "roles": ["chat"] }] });
        let changed = merge(Form::Yaml, &new, &other).unwrap();
        assert_eq!(changed, new.replace("      - edit\n", ""));
    }

    #[test]
    fn plain_values_are_put_where_their_key_is_or_behind_the_rest() {
        let wanted =
            json!({ "model": "openai/qwen", "openai-api-base": "http://127.0.0.1:11434/v1" });
        for (old, expected) in [
            (
                "model: sonnet # the usual\ndark-mode: true\n",
                "model: openai/qwen # the usual\ndark-mode: true\n\
                 openai-api-base: http://127.0.0.1:11434/v1\n",
            ),
            (
                "# nothing yet\r\n",
                "# nothing yet\r\nmodel: openai/qwen\r\n\
                 openai-api-base: http://127.0.0.1:11434/v1\r\n",
            ),
            (
                "model:\nread: []",
                "model: openai/qwen\nread: []\nopenai-api-base: http://127.0.0.1:11434/v1\n",
            ),
        ] {
            assert_eq!(merge(Form::Yaml, old, &wanted).as_deref(), Ok(expected), "{old}");
        }
    }

    #[test]
    fn lists_are_found_however_they_are_indented() {
        let item = json!({ "models": [{ "name": "b" }] });
        for (old, expected) in [
            ("models:\n- name: a\nx: 1\n", "models:\n- name: a\n- name: b\nx: 1\n"),
            ("models:\n    -  name: a\n", "models:\n    -  name: a\n    - name: b\n"),
            ("models: []\n", "models:\n  - name: b\n"),
            ("models:\n", "models:\n  - name: b\n"),
        ] {
            assert_eq!(merge(Form::Yaml, old, &item).as_deref(), Ok(expected), "{old}");
        }
    }

    #[test]
    fn what_is_left_over_is_taken_out() {
        let leftover = Leftover { place: &["key"], value: "unused".to_owned() };
        for (old, expected) in [
            ("a: 1\nkey: unused\n\n# b\nb: 2\n", "a: 1\n\n# b\nb: 2\n"),
            ("key: 'unused'\r\na: 1\r\n", "a: 1\r\n"),
            ("key: unused\n", ""),
            ("key: mine\n", "key: mine\n"),
            ("key:\n  - unused\n", "key:\n  - unused\n"),
            ("a:\n  key: unused\n", "a:\n  key: unused\n"),
        ] {
            assert_eq!(take(Form::Yaml, old, &leftover).as_deref(), Ok(expected), "{old}");
        }
        for (old, part) in [
            ("key: unused # why\n", "the comment at 'key'"),
            ("\"key\": unused\n", "'key' is written unusually"),
        ] {
            let problem = take(Form::Yaml, old, &leftover).unwrap_err().to_string();
            assert!(problem.contains(part), "{problem}");
        }
    }

    #[test]
    fn what_cannot_be_changed_surely_is_left_alone() {
        let item = json!({ "models": [{ "name": "b", "model": "c" }] });
        for old in [
            "models: [{ name: a }]\n",
            "\"models\":\n  - name: a\n",
            "{ models: [] }\n",
            "models:\n  - name: b # mine\n    model: d\n",
            "a: 1\n---\nb: 2\n",
            "a: 1\n...\n",
            "- a\n- b\n",
            "models:\n  name: a\n",
        ] {
            let problem = merge(Form::Yaml, old, &item).unwrap_err();
            assert!(matches!(problem, Problem::Intricate(_)), "{old}: {problem}");
        }
    }

    #[test]
    fn a_broken_text_is_named_by_its_place() {
        let Err(Problem::Broken(message)) = merge(Form::Yaml, "a: 1\nb: [\n", &json!({})) else {
            panic!("it was taken")
        };
        assert!(message.starts_with("line "), "{message}");
    }

    #[test]
    fn words_that_mean_something_else_are_quoted() {
        for text in [
            "true",
            "12",
            "1.5",
            "~",
            "null",
            "",
            "a: b",
            "a #b",
            "-x",
            "[a]",
            "yes: ",
            "a\nb",
            "é",
            "${{ secrets.RESIDENT_KEY }}",
            "qwen3:8b",
            "http://127.0.0.1:11434/v1",
            "0x10",
            "a b",
        ] {
            let value = json!({ "key": text });
            assert_eq!(read(&render(&value)), Ok(value), "{text}");
        }
    }
}
