//! What holds for all clients, and that files keep what was in them. What each is told to the letter stands beside
//! this, by kinds of clients.

use std::{collections::BTreeSet, fs, path::PathBuf};

use clap::CommandFactory as _;
use expect_test::Expect;
use proptest::prelude::*;
use serde_json::{Value, json};

mod again;
mod agents;
mod apps;
mod editors;
mod libraries;

use super::{
    client::{self, Api, CLIENTS, FilePiece, Piece},
    merge::{Form, merge},
    places::{Places, System},
    subject::{Chosen, Subject},
    *,
};

fn linux() -> Places {
    let config = PathBuf::from("/home/me/.config");
    Places::of(System::Linux, "/home/me".into(), config.clone(), config)
}

fn windows() -> Places {
    let home = PathBuf::from("/Users/me");
    let (config, windowed) = (home.join(".config"), home.join("AppData/Roaming"));
    Places::of(System::Windows, home, config, windowed)
}

fn subject() -> Subject {
    Subject {
        url: "http://127.0.0.1:11434".to_owned(),
        has_key: false,
        model: Chosen {
            name: "qwen3-8b".to_owned(),
            context_tokens: Some(40_960),
            tools: true,
            images: false,
        },
        embedder: None,
    }
}

fn with_key() -> Subject {
    Subject { has_key: true, embedder: Some("bge-m3".to_owned()), ..subject() }
}

/// Every piece, with what says where it goes.
fn told(pieces: &[Piece]) -> String {
    let piece = |piece: &Piece| match piece {
        Piece::File(file) => format!("== {}\n{}", file.path.display(), file.fresh()),
        Piece::Text { heading, text } => format!("== {heading}\n{text}\n"),
        Piece::Then(what) => format!("== then {what}\n"),
    };
    pieces.iter().map(piece).collect()
}

fn check(name: &str, subject: &Subject, expected: &Expect) {
    let client = client::find(name).unwrap();
    expected.assert_eq(&told(&(client.pieces)(subject, &linux())));
}

#[test]
fn windows_has_other_folders_and_another_shell() {
    let all = ["claude-code", "vscode", "zed"].map(|name| {
        let pieces = (client::find(name).unwrap().pieces)(&with_key(), &windows());
        told(&pieces).replace('\\', "/")
    });
    let all = all.concat();
    for part in [
        "== /Users/me/.claude/settings.json\n",
        "== /Users/me/AppData/Roaming/Code/User/chatLanguageModels.json\n",
        "== /Users/me/AppData/Roaming/Zed/settings.json\n",
        "\"echo %RESIDENT_KEY%\"",
        "$env:ANTHROPIC_AUTH_TOKEN = \"$env:RESIDENT_KEY\"",
    ] {
        assert!(all.contains(part), "'{part}' is missing in:\n{all}");
    }
}

/// With a key nobody is told to send none, and without one nobody is sent looking for it.
#[test]
fn a_key_is_spoken_of_where_there_is_one() {
    for client in CLIENTS {
        let keyless = told(&(client.pieces)(&subject(), &linux()));
        let keyed = told(&(client.pieces)(&with_key(), &linux()));
        assert!(!keyless.contains("RESIDENT_KEY"), "{keyless}");
        assert!(!keyless.contains("hub's key"), "{keyless}");
        assert!(!keyed.contains("unused"), "{keyed}");
        let asks = keyed.contains("RESIDENT_KEY") || keyed.contains("hub's key");
        assert!(asks, "{} says nothing about the key", client.name);
    }
}

#[test]
fn every_client_is_in_the_help_and_in_the_list_by_its_name() {
    let names: Vec<&str> = CLIENTS.iter().map(|client| client.name).collect();
    assert!(names.is_sorted(), "{names:?}");
    assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len(), "{names:?}");
    let mut command = cli::Cli::command();
    let help = command.find_subcommand_mut("connect").unwrap().render_help().to_string();
    let listed = list().lines(Paint::plain());
    for name in names {
        assert!(help.contains(name), "{name} is not in the help:\n{help}");
        let is_row = |line: &String| line.split_whitespace().next() == Some(name);
        assert!(listed.iter().any(is_row), "{name} is not in the list");
    }
}

#[test]
fn an_unknown_client_is_refused_with_a_way_out() {
    for (name, part) in [
        ("open-code", "did you mean 'opencode'?"),
        ("claude", "did you mean 'claude-code'?"),
        ("xyzzy", "resident connect --list"),
    ] {
        let message = client::find(name).unwrap_err().to_string();
        assert!(message.starts_with(&format!("no client is called '{name}'; ")), "{message}");
        assert!(message.contains(part), "{message}");
    }
}

/// A client is refused exactly while the hub does not speak what it asks for, and then whoever is named
/// instead can be connected.
#[test]
fn who_asks_for_what_the_hub_does_not_speak_is_sent_to_others() {
    for client in CLIENTS {
        assert_eq!(client.check().is_ok(), client.api.is_spoken(), "{}", client.name);
        let others: Vec<&Client> =
            client.instead.iter().map(|name| client::find(name).unwrap()).collect();
        if let Err(refusal) = client.check() {
            assert!(others.iter().any(|other| other.check().is_ok()), "{refusal}");
            assert!(refusal.to_string().contains(client.api.path()), "{refusal}");
        }
    }
    let others = client::find("codex").unwrap().instead;
    let refused = Client { api: Api::Responses, ..*client::find("codex").unwrap() };
    assert!(others.contains(&"opencode"), "{others:?}");
    assert_eq!(refused.check().is_ok(), Api::Responses.is_spoken());
}

#[test]
fn an_agent_is_doubted_with_a_small_model() {
    let mut small = subject();
    small.model.context_tokens = Some(4096);
    small.model.tools = false;
    let of = |name: &str, subject: &Subject| doubts(client::find(name).unwrap(), subject).len();
    assert_eq!((of("opencode", &small), of("opencode", &subject())), (2, 0));
    assert_eq!(of("open-webui", &small), 0, "a chat needs neither");
}

/// Every file of every client, into a folder where something is already.
#[test]
fn files_are_written_beside_what_is_in_them_and_once() {
    let folder = tempfile::tempdir().unwrap();
    let (home, config) = (folder.path().to_owned(), folder.path().join(".config"));
    let places = Places::of(System::Linux, home, config.clone(), config);
    let old = |form: Form| match form {
        Form::Json => "{\n  // mine\n  \"mine\": { \"a\": 1 }\n}\n",
        Form::Toml => "# mine\n[mine]\na = 1\n",
        Form::Yaml => "# mine\nmine:\n  a: 1\n",
    };
    for client in CLIENTS {
        let pieces = (client.pieces)(&subject(), &places);
        for file in pieces.iter().filter_map(Piece::file) {
            let old =
                if file.wanted.is_array() { "[\n  // mine\n  1\n]\n" } else { old(file.form) };
            fs::create_dir_all(file.path.parent().unwrap()).unwrap();
            fs::write(&file.path, old).unwrap();
        }
        let files: Vec<&FilePiece> = pieces.iter().filter_map(Piece::file).collect();
        if files.is_empty() {
            let message = write(client, &pieces).unwrap_err().to_string();
            assert!(message.contains("has no file"), "{message}");
            continue;
        }
        write(client, &pieces).unwrap();
        for file in files {
            let backup = PathBuf::from(format!("{}.resident-backup", file.path.display()));
            let text = fs::read_to_string(&file.path).unwrap();
            assert!(text.contains("mine") && text.contains("qwen3-8b"), "{text}");
            let old = fs::read_to_string(&backup).unwrap();
            assert!(old.contains("mine") && !old.contains("qwen3-8b"), "{old}");
            let again = file::write(&file.path, Some(&text), &file.merged(Some(&text)).unwrap());
            assert_eq!(again.unwrap(), Written::Nothing, "{}", file.path.display());
        }
    }
}

#[test]
fn one_broken_file_keeps_all_from_being_written() {
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path().to_owned();
    let places = Places::of(System::Linux, home.clone(), home.clone(), home);
    let client = client::find("aider").unwrap();
    let pieces = (client.pieces)(&subject(), &places);
    let broken = folder.path().join(".aider.model.metadata.json");
    fs::write(&broken, "{\n  \"a\": \n}\n").unwrap();
    let message = write(client, &pieces).unwrap_err().to_string();
    let place = format!("{}: line 3, column ", broken.display());
    assert!(message.starts_with(&place), "{message}");
    assert!(message.contains("resident connect aider prints"), "{message}");
    assert_eq!(fs::read_to_string(&broken).unwrap(), "{\n  \"a\": \n}\n");
    assert!(
        !folder.path().join(".aider.conf.yml").exists(),
        "the other file is not written either"
    );
}

/// Words, numbers, lists and maps as settings have them.
fn settings() -> impl Strategy<Value = Value> {
    let plain = prop_oneof![
        any::<bool>().prop_map(Value::from),
        (-1000_i64..1000).prop_map(Value::from),
        "[a-zA-Z0-9 #:/'\"-]{0,8}".prop_map(Value::from),
    ];
    let value = plain.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            prop::collection::vec(("[a-e]{1,2}", inner), 0..4)
                .prop_map(|pairs| Value::Object(pairs.into_iter().collect())),
        ]
    });
    prop::collection::vec(("[a-e]{1,2}", value), 0..6)
        .prop_map(|pairs| Value::Object(pairs.into_iter().collect()))
}

/// A comment behind each line, with its number.
fn commented(text: &str, sign: &str) -> String {
    let line = |(at, line): (usize, &str)| format!("{line} {sign} line {at}\n");
    text.lines().enumerate().map(line).collect()
}

proptest! {
    #[test]
    fn what_was_in_a_file_stays(old in settings()) {
        let wanted = json!({ "zz": { "url": "http://127.0.0.1:11434", "models": [{ "name": "q" }] } });
        for (form, sign) in [(Form::Json, "//"), (Form::Toml, "#")] {
            let text = commented(&merge::render(form, &old), sign);
            let new = merge(form, &text, &wanted).unwrap();
            for line in text.lines() {
                let (_, number) = line.rsplit_once(sign).unwrap();
                let comment = format!("{sign}{number}");
                let stays = new.lines().any(|line| line.ends_with(&comment));
                prop_assert!(stays, "{line} is gone from:\n{new}");
            }
            prop_assert_eq!(merge(form, &new, &wanted).unwrap(), new);
        }
    }

    /// Line by line is refused now and then, but never loses anything.
    #[test]
    fn what_was_in_a_file_of_lines_stays(old in settings()) {
        let wanted = json!({ "models": [{ "name": "q", "model": "q" }], "model": "q" });
        let text = merge::render(Form::Yaml, &old);
        let new = merge(Form::Yaml, &text, &wanted).unwrap();
        prop_assert!(new.starts_with(text.as_str()));
        prop_assert_eq!(merge(Form::Yaml, &new, &wanted).unwrap(), new);
    }
}
