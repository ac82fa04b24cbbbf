//! What an engine may know of the hub's environment: a list of what is needed, since a list of
//! secrets is never complete.

use std::ffi::{OsStr, OsString};

/// Where programs, libraries, temporary files and the system are, and how to talk.
const KEPT: [&str; 24] = [
    "PATH",
    "HOME",
    "USER",
    "LANG",
    "LANGUAGE",
    "TZ",
    "TMPDIR",
    "TEMP",
    "TMP",
    "RUST_LOG",
    "RUST_BACKTRACE",
    "LD_LIBRARY_PATH",
    "DYLD_LIBRARY_PATH",
    "DYLD_FALLBACK_LIBRARY_PATH",
    "SYSTEMROOT",
    "SYSTEMDRIVE",
    "WINDIR",
    "COMSPEC",
    "PATHEXT",
    "USERPROFILE",
    "LOCALAPPDATA",
    "APPDATA",
    "PROGRAMDATA",
    "NUMBER_OF_PROCESSORS",
];

/// Families that configure the engine and its devices, and language.
const KEPT_PREFIXES: [&str; 9] =
    ["LC_", "GGML_", "LLAMA_", "CUDA_", "NVIDIA_", "HIP_", "ROCR_", "VK_", "RESIDENT_WORKER_"];

/// Parts of names that hold secrets, in whatever family.
const SECRET_PARTS: [&str; 5] = ["TOKEN", "KEY", "SECRET", "PASSWORD", "CREDENTIAL"];

/// The variables that an engine gets.
pub(crate) fn kept(
    variables: impl Iterator<Item = (OsString, OsString)>,
) -> impl Iterator<Item = (OsString, OsString)> {
    variables.filter(|(name, _)| is_kept(name))
}

/// Windows does not care about case, so neither does this. A name that is not Unicode is none of
/// these.
fn is_kept(name: &OsStr) -> bool {
    let Some(name) = name.to_str().map(str::to_ascii_uppercase) else { return false };
    let secret = SECRET_PARTS.iter().any(|part| name.contains(part));
    let listed = KEPT.contains(&name.as_str());
    listed || (!secret && KEPT_PREFIXES.iter().any(|prefix| name.starts_with(prefix)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_stay_with_the_hub() {
        for name in ["PATH", "Path", "HOME", "LC_ALL", "CUDA_VISIBLE_DEVICES", "SystemRoot"] {
            assert!(is_kept(name.as_ref()), "{name} is needed");
        }
        for name in
            ["RESIDENT_KEY", "OPENAI_API_KEY", "HF_TOKEN", "LLAMA_API_KEY", "SSH_AUTH_SOCK", ""]
        {
            assert!(!is_kept(name.as_ref()), "{name} is none of a worker's business");
        }
    }
}
