//! Names that a server gives, made into names of files and models here: one step, plain, and bounded.

use std::collections::BTreeSet;

use super::{Error, FoundFile};
use crate::{
    limits::{NAME_CHARACTERS_MAX, PLAIN_NAME_BYTES_MAX},
    name::Name,
};

/// What stands for a name of which nothing is left.
const NAMELESS: &str = "model";

/// What is no part of a file's name on some system.
const FORBIDDEN: [char; 9] = ['/', '\\', ':', '*', '?', '"', '<', '>', '|'];

/// Names that mean a device on Windows, whatever their ending.
const DEVICES: [&str; 6] = ["CON", "PRN", "AUX", "NUL", "COM", "LPT"];

/// The last step of `path` as a plain file name: no separators, no signs that move a cursor or turn a line around,
/// no dot in front, nothing that is more than a name on any system.
pub(super) fn file_name(path: &str) -> String {
    let last = path.rsplit(['/', '\\']).next().unwrap_or_default();
    let is_kept = |c: char| !c.is_control() && !is_invisible(c) && !FORBIDDEN.contains(&c);
    let plain: String = last.chars().map(|c| if is_kept(c) { c } else { '-' }).collect();
    // Parts of one model are told apart by the end of their names.
    let over = plain.len().saturating_sub(PLAIN_NAME_BYTES_MAX);
    let from = (over..=plain.len()).find(|at| plain.is_char_boundary(*at)).unwrap_or_default();
    let plain = plain[from..].trim_start_matches(['.', ' ', '-']).trim_end_matches(['.', ' ']);
    if plain.is_empty() {
        return NAMELESS.to_owned();
    }
    if is_device(plain) { format!("_{plain}") } else { plain.to_owned() }
}

/// Signs without width, and those that turn the direction of a line.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

fn is_device(name: &str) -> bool {
    let stem = name.split('.').next().unwrap_or_default().trim_end().to_ascii_uppercase();
    let letters = stem.trim_end_matches(|c: char| c.is_ascii_digit());
    let digits = stem.len() - letters.len();
    DEVICES.contains(&letters) && (digits == 0 || digits == 1 && letters.len() == 3)
}

/// Gives files with the same name, capitals aside, numbers in front.
pub(super) fn make_distinct(files: &mut [FoundFile]) {
    let mut known = BTreeSet::new();
    for file in files {
        let own = file.name.clone();
        let mut number = 2_u32;
        while !known.insert(file.name.to_lowercase()) {
            file.name = format!("{number}-{own}");
            number += 1;
        }
    }
}

/// What a model could be called here: its own name and its encoding, in small letters, as in `qwen3-8b:q4_k_m`.
pub(super) fn model_name(own: &str, tag: Option<&str>) -> Result<Name, Error> {
    let own = own.to_lowercase();
    let own = own.strip_suffix(".gguf").unwrap_or(&own);
    let own = own.strip_suffix("-gguf").unwrap_or(own);
    let whole = match tag {
        Some(tag) => format!("{}:{}", part(own), part(&tag.to_lowercase())),
        None => part(own),
    };
    name(&whole)
}

/// `text`, in which each part is plain, as a model's name.
pub(super) fn name(text: &str) -> Result<Name, Error> {
    Name::new(text).map_err(|error| Error::Answer {
        url: text.to_owned(),
        why: format!("{error}; give it a name with --name"),
    })
}

/// `text` with nothing in it that cannot stand in a part of a name.
fn part(text: &str) -> String {
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || "._-+@".contains(c);
    let plain = text.chars().map(|c| if is_allowed(c) { c } else { '-' });
    // Two of them and a colon are a name.
    let plain: String = plain.take(NAME_CHARACTERS_MAX / 2 - 1).collect();
    let plain = plain.trim_start_matches(|c: char| !c.is_ascii_alphanumeric());
    if plain.is_empty() { NAMELESS.to_owned() } else { plain.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{manifest::Role, wanted::Wanted};

    #[test]
    fn plain_names_of_files() {
        for (path, expected) in [
            ("m-Q8_0.gguf", "m-Q8_0.gguf"),
            ("BF16/m-00001-of-00002.gguf", "m-00001-of-00002.gguf"),
            ("通义.gguf", "通义.gguf"),
            ("../../etc/passwd", "passwd"),
            ("..\\..\\evil.exe", "evil.exe"),
            ("C:evil", "C-evil"),
            ("a\u{202e}fugg.exe", "a-fugg.exe"),
            ("a\0b\nc", "a-b-c"),
            (".bashrc", "bashrc"),
            ("--help", "help"),
            ("nul.gguf", "_nul.gguf"),
            ("COM7", "_COM7"),
            ("com.gguf", "_com.gguf"),
            ("command.gguf", "command.gguf"),
            ("a. .", "a"),
            ("..", "model"),
            ("", "model"),
            ("x/", "model"),
        ] {
            assert_eq!(file_name(path), expected, "{path:?}");
        }
        let long = format!("{}-00001-of-00002.gguf", "é".repeat(200));
        let plain = file_name(&long);
        assert!(plain.len() <= PLAIN_NAME_BYTES_MAX && plain.ends_with("-00001-of-00002.gguf"));
    }

    #[test]
    fn names_in_one_model_differ() {
        let file = |name: &str| FoundFile {
            role: Role::Model,
            name: name.to_owned(),
            wanted: Wanted {
                addresses: Vec::new(),
                bytes: None,
                digest: None,
                name: String::new(),
            },
        };
        let mut files = vec![file("a"), file("A"), file("2-a"), file("a")];
        make_distinct(&mut files);
        let names: Vec<&str> = files.iter().map(|file| file.name.as_str()).collect();
        assert_eq!(names, ["a", "2-A", "2-2-a", "3-a"]);
    }

    #[test]
    fn names_of_models() {
        for (own, tag, expected) in [
            ("Qwen3-8B", Some("Q4_K_M"), "qwen3-8b:q4_k_m"),
            ("Qwen3-8B-GGUF", None, "qwen3-8b"),
            ("model.gguf", None, "model"),
            ("My model (v2)", Some("UD-Q4_K_XL"), "my-model--v2-:ud-q4_k_xl"),
            ("通义", None, "model"),
            ("-x", None, "x"),
            ("", Some(""), "model:model"),
        ] {
            assert_eq!(model_name(own, tag).unwrap().as_str(), expected);
        }
        let long = "a".repeat(500);
        assert!(model_name(&long, Some(&long)).is_ok());
    }
}
