//! Secrets are not in the configuration file, which is copied, shown and kept in backups: where it names
//! them, and what in it looks like one.
//!
//! The latter is a guess by names and beginnings. It cannot know every secret; it catches what people paste.
//! The hub's own `key` may stand in the file, since only the hub reads it.

use std::path::Path;

use super::Machine;

/// Parts of variables' names that hold secrets.
const SECRET_PARTS: [&str; 5] = ["TOKEN", "KEY", "SECRET", "PASSWORD", "CREDENTIAL"];

/// Options of programs that take a secret.
const SECRET_OPTIONS: [&str; 8] = [
    "--api-key",
    "--apikey",
    "--api-token",
    "--token",
    "--hf-token",
    "--password",
    "--secret",
    "--auth-token",
];

/// Beginnings of keys: OpenAI and those like it, Hugging Face, GitHub, Slack.
const SECRET_STARTS: [&str; 6] = ["sk-", "hf_", "ghp_", "github_pat_", "xoxb-", "xoxp-"];

/// Shorter words are never keys.
const SECRET_LENGTH_MIN: usize = 16;

/// What stands for the key that the hub makes anew for each start, which is no secret yet.
const OWN_KEY: &str = "{key}";

/// A server's key, as the file names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Found {
    /// This one.
    Key(String),
    /// It says nothing of one.
    Nowhere,
    /// It says where, and there is none: why.
    Missing(String),
}

/// The key of a server, from the variable or the file that the configuration names.
///
/// # Errors
/// A fragment that begins with the word of the configuration: a key that `is_written` in it, or two places for one.
pub(super) fn find(
    machine: &Machine,
    is_written: bool,
    variable: Option<&str>,
    file: Option<&Path>,
) -> Result<Found, String> {
    if is_written {
        return Err("key: a key does not belong into this file; put it into a variable and name \
                    that with key_variable, or into a file of its own and name that with key_file"
            .to_owned());
    }
    let (found, from) = match (variable, file) {
        (None, None) => return Ok(Found::Nowhere),
        (Some(_), Some(_)) => {
            return Err("key_variable and key_file exclude each other; keep one".to_owned());
        }
        (Some(variable), None) => {
            let found = (machine.variable)(variable).ok_or("it is not set".to_owned());
            (found, format!("key_variable {variable}"))
        }
        (None, Some(file)) => ((machine.secret)(file), format!("key_file {}", file.display())),
    };
    let found = found.map(|key| key.trim().to_owned()).and_then(|key| {
        let is_header = !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_graphic());
        if is_header { Ok(key) } else { Err("it holds no key".to_owned()) }
    });
    Ok(match found {
        Ok(key) => Found::Key(key),
        Err(why) => Found::Missing(format!("{from}: {why}")),
    })
}

/// Refuses a variable whose value is a secret.
pub(super) fn refuse_variable(name: &str, value: &str) -> Result<(), String> {
    if value == OWN_KEY {
        return Ok(());
    }
    let upper = name.to_ascii_uppercase();
    let by_name = !value.is_empty() && SECRET_PARTS.iter().any(|part| upper.contains(part));
    if by_name || is_key(value) {
        return Err(format!(
            "environment: {name} looks like a secret, and this file is no place for one; set it \
             where the hub is started and write environment_from = [\"{name}\"]"
        ));
    }
    Ok(())
}

/// Refuses arguments that hold a secret.
pub(super) fn refuse_arguments(argv: &[String]) -> Result<(), String> {
    let mut before = "";
    for argument in argv {
        let (option, value) = argument.split_once('=').unwrap_or((before, argument));
        let by_option =
            SECRET_OPTIONS.contains(&option) && !value.starts_with('-') && value != OWN_KEY;
        if by_option || is_key(value) {
            return Err(format!(
                "the argument after '{option}' looks like a secret, which `ps` would show to \
                 everybody on this machine; pass it in a variable with environment_from"
            ));
        }
        before = argument;
    }
    Ok(())
}

fn is_key(value: &str) -> bool {
    let long = value.len() >= SECRET_LENGTH_MIN && !value.contains([' ', '/', '{']);
    long && SECRET_STARTS.iter().any(|start| value.starts_with(start))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_told_from_ordinary_words() {
        for (name, value, is_fine) in [
            ("HF_TOKEN", "x", false),
            ("lab_api_key", "x", false),
            ("ANYTHING", "sk-0123456789abcdef", false),
            ("HF_TOKEN", "", true),
            ("LAB_API_KEY", "{key}", true),
            ("LAB_API_KEY", "{key}2", false),
            ("HF_HUB_OFFLINE", "1", true),
            ("OMP_NUM_THREADS", "4", true),
        ] {
            assert_eq!(refuse_variable(name, value).is_ok(), is_fine, "{name}={value}");
        }
        for (argv, is_fine) in [
            (&["vllm", "--api-key", "abc"] as &[&str], false),
            (&["vllm", "--api-key=abc"], false),
            (&["vllm", "hf_0123456789abcdef"], false),
            (&["vllm", "--api-key", "--port", "1"], true),
            (&["lab", "--api-key", "{key}"], true),
            (&["vllm", "--max-tokens", "512", "--tokenizer", "qwen"], true),
            (&["vllm", "hf_models/a-model-with-a-long-name"], true),
        ] {
            let argv: Vec<String> = argv.iter().map(|text| (*text).to_owned()).collect();
            assert_eq!(refuse_arguments(&argv).is_ok(), is_fine, "{argv:?}");
        }
    }
}
