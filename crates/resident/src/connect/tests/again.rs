//! What a second `--write` does: to what the first wrote, to what a person did since, and when it fails.

use std::path::Path;

use super::*;
use crate::{
    connect::merge::{Leftover, take},
    limits::BACKUPS_MAX,
};

/// The folder of one person.
fn home() -> (tempfile::TempDir, Places) {
    let folder = tempfile::tempdir().unwrap();
    let (home, config) = (folder.path().to_owned(), folder.path().join(".config"));
    let places = Places::of(System::Linux, home, config.clone(), config);
    (folder, places)
}

/// What the client's files say after it was connected to this hub.
fn connected(client: &Client, subject: &Subject, places: &Places) -> Vec<(PathBuf, String)> {
    let pieces = (client.pieces)(subject, places);
    write(client, &pieces).unwrap();
    let files = pieces.iter().filter_map(Piece::file).map(|file| file.path.clone());
    files.map(|path| (path.clone(), fs::read_to_string(path).unwrap())).collect()
}

/// What a text says, whatever the order.
fn parts(text: &str) -> BTreeSet<&str> {
    text.lines().map(|line| line.trim().trim_end_matches(',')).collect()
}

#[test]
fn a_key_that_comes_or_goes_leaves_nothing_of_before() {
    let mut names = Vec::new();
    for client in CLIENTS {
        if !(client.pieces)(&subject(), &linux()).iter().any(|piece| piece.file().is_some()) {
            continue;
        }
        names.push(client.name);
        for (first, second) in [(subject(), with_key()), (with_key(), subject())] {
            let ((_once, once), (_twice, twice)) = (home(), home());
            let expected = connected(client, &second, &once);
            connected(client, &first, &twice);
            let found = connected(client, &second, &twice);
            for ((_, expected), (path, found)) in expected.iter().zip(&found) {
                assert_eq!(parts(found), parts(expected), "{}", path.display());
            }
        }
    }
    let all = ["aider", "claude-code", "codex", "continue", "opencode", "vscode", "zed"];
    assert_eq!(names, all);
}

#[test]
fn what_a_person_put_instead_stays() {
    for (name, subjects, ours, own) in [
        ("aider", [subject(), with_key()], "unused", "sk-mine"),
        ("claude-code", [subject(), with_key()], "unused", "sk-mine"),
        ("vscode", [subject(), with_key()], "unused", "${input:mine}"),
        ("claude-code", [with_key(), subject()], "printenv RESIDENT_KEY", "printenv MINE"),
        ("codex", [with_key(), subject()], "RESIDENT_KEY", "MINE"),
    ] {
        let client = client::find(name).unwrap();
        let (_folder, places) = home();
        let [before, after] = subjects;
        let (path, text) = connected(client, &before, &places).swap_remove(0);
        assert!(text.contains(ours), "{name} says no '{ours}':\n{text}");
        fs::write(&path, text.replace(ours, own)).unwrap();
        let (_, text) = connected(client, &after, &places).swap_remove(0);
        assert!(text.contains(own), "{name} lost '{own}':\n{text}");
    }
}

#[test]
fn a_key_that_would_win_is_told_of_and_not_shown() {
    for (name, old, place) in [
        ("claude-code", r#"{ "env": { "ANTHROPIC_API_KEY": "secret" } }"#, "env.ANTHROPIC_API_KEY"),
        (
            "claude-code",
            r#"{ "env": { "ANTHROPIC_AUTH_TOKEN": "secret" } }"#,
            "env.ANTHROPIC_AUTH_TOKEN",
        ),
        ("aider", "openai-api-key: secret\n", "openai-api-key"),
    ] {
        let client = client::find(name).unwrap();
        let (_folder, places) = home();
        let pieces = (client.pieces)(&with_key(), &places);
        let path = &pieces[0].file().unwrap().path;
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, old).unwrap();
        write(client, &pieces).unwrap();
        let told = rivals(client, &pieces).join("\n");
        assert!(told.contains(&format!("{} holds {place}, ", path.display())), "{told}");
        assert!(!told.contains("secret"), "{told}");
        assert_eq!(rivals(client, &(client.pieces)(&subject(), &places)), [""; 0], "without a key");
    }
    for client in CLIENTS {
        let (_folder, places) = home();
        let pieces = (client.pieces)(&subject(), &places);
        if pieces.iter().any(|piece| piece.file().is_some()) {
            connected(client, &subject(), &places);
            connected(client, &with_key(), &places);
            let pieces = (client.pieces)(&with_key(), &places);
            assert_eq!(rivals(client, &pieces), [""; 0], "{} finds its own", client.name);
        }
    }
}

/// The first of two files, whose second cannot be written because its folder is no folder.
fn first_of_two(folder: &Path, old: Option<&str>) -> String {
    let (path, file) = (folder.join("first"), folder.join("file"));
    fs::write(&file, "").unwrap();
    if let Some(old) = old {
        fs::write(&path, old).unwrap();
    }
    let second = file.join("second");
    let prepared = vec![
        (path.as_path(), old.map(str::to_owned), "new".to_owned()),
        (second.as_path(), None, "new".to_owned()),
    ];
    let message = write_all(prepared).unwrap_err().to_string();
    assert!(
        message.starts_with(&format!("{}: it cannot be written", second.display())),
        "{message}"
    );
    message
}

#[test]
fn what_was_written_before_a_failure_is_taken_back() {
    for old in [None, Some("old")] {
        let folder = tempfile::tempdir().unwrap();
        let message = first_of_two(folder.path(), old);
        assert!(message.ends_with("; nothing was written"), "{message}");
        let first = fs::read_to_string(folder.path().join("first")).ok();
        assert_eq!(first.as_deref(), old);
        let left = fs::read_dir(folder.path()).unwrap().count();
        assert_eq!(left, 1 + usize::from(old.is_some()), "no copy is left");
    }
    let gone = tempfile::tempdir().unwrap().path().join("gone");
    let message = taken_back(&anyhow::anyhow!("no room"), &[(&gone, Written::New)]).to_string();
    assert!(message.starts_with(&format!("no room; written: {}", gone.display())), "{message}");
    assert!(message.contains("that could not be taken back"), "{message}");
}

/// As above by way of a client: the copies of its second file are as many as may be.
#[test]
fn a_client_with_two_files_gets_both_or_none() {
    let (folder, places) = home();
    let client = client::find("aider").unwrap();
    let (first, second) = (".aider.conf.yml", ".aider.model.metadata.json");
    fs::write(folder.path().join(second), "{}\n").unwrap();
    for number in 1..=BACKUPS_MAX {
        let number = if number == 1 { String::new() } else { format!(".{number}") };
        fs::write(folder.path().join(format!("{second}.resident-backup{number}")), "").unwrap();
    }
    let message = write(client, &(client.pieces)(&subject(), &places)).unwrap_err().to_string();
    assert!(message.ends_with("delete old ones; nothing was written"), "{message}");
    assert!(!folder.path().join(first).exists());
    assert_eq!(fs::read_to_string(folder.path().join(second)).unwrap(), "{}\n");
}

/// A folder that may only be read binds whoever is not the administrator.
#[cfg(unix)]
#[test]
fn a_folder_that_may_only_be_read_leaves_both_files_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    let (first, closed) = (folder.path().join("first"), folder.path().join("closed"));
    fs::create_dir(&closed).unwrap();
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o555)).unwrap();
    let second = closed.join("second");
    let prepared = [&first, &second].map(|path| (path.as_path(), None, "new".to_owned()));
    let is_bound = fs::write(closed.join("probe"), "").is_err();
    assert_eq!(write_all(prepared.into()).is_err(), is_bound);
    assert_eq!((first.exists(), second.exists()), (!is_bound, !is_bound));
}

#[cfg(unix)]
#[test]
fn the_undo_of_a_linked_file_names_the_file() {
    let (folder, places) = home();
    let dotfiles = folder.path().canonicalize().unwrap().join("dotfiles.toml");
    fs::write(&dotfiles, "# mine\n").unwrap();
    let client = client::find("codex").unwrap();
    let pieces = (client.pieces)(&subject(), &places);
    let link = &pieces[0].file().unwrap().path;
    fs::create_dir_all(link.parent().unwrap()).unwrap();
    std::os::unix::fs::symlink(&dotfiles, link).unwrap();
    let written = file::write(link, Some("# mine\n"), "# new\n").unwrap();
    let real = dotfiles.display();
    let undo = format!("to undo: mv \"{real}.resident-backup\" \"{real}\"");
    assert_eq!(
        crate::connect::told(link, &written),
        format!("written: {}; {undo}", link.display())
    );
}

proptest! {
    /// What is put somewhere and taken out again leaves every comment, and says what was said before.
    #[test]
    fn what_is_taken_out_takes_nothing_along(old in settings()) {
        let wanted = json!({ "zz": { "key": "unused", "url": "here" } });
        let kept = json!({ "zz": { "url": "here" } });
        let leftover = Leftover { place: &["zz", "key"], value: "unused".to_owned() };
        for (form, sign) in [(Form::Json, "//"), (Form::Toml, "#")] {
            let text = commented(&merge::render(form, &old), sign);
            let with = merge(form, &text, &wanted).unwrap();
            let without = take(form, &with, &leftover).unwrap();
            prop_assert!(!without.contains("unused"), "{without}");
            prop_assert_eq!(without.matches(sign).count(), with.matches(sign).count());
            // Each says of itself that it is read back as it should be; and what is kept is all there is.
            prop_assert_eq!(merge(form, &without, &kept).unwrap(), without.clone());
            let again = merge(form, &without, &wanted).unwrap();
            prop_assert_eq!(parts(&again), parts(&with));
        }
        let text = merge::render(Form::Yaml, &old);
        let with = merge(Form::Yaml, &text, &json!({ "zz": "unused" })).unwrap();
        let leftover = Leftover { place: &["zz"], value: "unused".to_owned() };
        prop_assert_eq!(take(Form::Yaml, &with, &leftover).unwrap(), text);
    }
}
