//! What people write to name a model, and what servers say is under that name: anything.

use library::{
    limits::{MODEL_FILES_MAX, SETTINGS_MAX},
    manifest::{Role, Settings},
    source::{Hub, Source},
    sources::{
        oci::{self, Text},
        read_list,
    },
};

/// The first letter says what the rest is: what a person wrote, a hub's list, or a part of a registry's answer.
pub fn source(bytes: &[u8]) {
    let Some((kind, rest)) = bytes.split_first() else { return };
    match kind {
        b'h' => list(Hub::HuggingFace, rest),
        b'm' => list(Hub::ModelScope, rest),
        b'o' => manifest(rest),
        b'c' => {
            let _ = oci::configure(rest, true, &mut Settings::default());
        }
        b'p' => text(Text::Parameters, rest),
        b'g' => text(Text::Messages, rest),
        _ => {
            if let Ok(text) = std::str::from_utf8(rest) {
                written(text);
            }
        }
    }
}

/// What is understood can be written again, and means the same.
fn written(text: &str) {
    let Some(Ok(source)) = Source::parse(text) else { return };
    if let Source::Address(_) = &source {
        assert!(!source.to_string().contains(['?', '#']), "{source}");
        return;
    }
    let again = source.to_string();
    match Source::parse(&again) {
        Some(Ok(same)) => assert_eq!(same, source, "{again}"),
        other => panic!("{again} is {other:?}"),
    }
}

/// No path of a model leads anywhere but down, and each part is there once.
fn list(hub: Hub, body: &[u8]) {
    for model in read_list(hub, body).unwrap_or_default() {
        assert!(!model.files.is_empty() && model.files.len() as u64 <= model.parts, "{model:?}");
        for file in &model.files {
            let is_step = |step: &str| !["", ".", ".."].contains(&step);
            assert!(file.path.split('/').all(is_step), "{:?}", file.path);
            assert!(!file.path.contains(char::is_control), "{:?}", file.path);
        }
        let _ = (model.family(), model.label(), model.bytes());
    }
}

/// A manifest that is taken has bounds, and its files are in order.
fn manifest(body: &[u8]) {
    let Ok(contents) = oci::read(body) else { return };
    assert!(contents.files.len() <= MODEL_FILES_MAX && contents.texts.len() <= SETTINGS_MAX);
    let first = contents.files.first().map(|(role, _)| *role);
    assert!(!contents.has_model() || first == Some(Role::Model), "{contents:?}");
}

fn text(text: Text, body: &[u8]) {
    let _ = oci::take(text, body.to_vec(), &mut Settings::default());
}
