//! How far a pull is, in one form whoever pulls: the hub, which says it in JSON, or this process.

use library::pull;
use serde::{Deserialize, Serialize};

/// How far a pull is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct State {
    /// What is done now.
    pub(crate) stage: Option<Stage>,
    /// Bytes of all files that are here.
    pub(crate) done_bytes: u64,
    /// Bytes of all files, once they are known.
    pub(crate) whole_bytes: Option<u64>,
    /// How fast it goes.
    #[serde(default)]
    pub(crate) bytes_per_s: u64,
    /// How long it will take, where that can be said.
    #[serde(default)]
    pub(crate) left_s: Option<u64>,
    /// Connections in use.
    #[serde(default)]
    pub(crate) connections: usize,
    /// What is waited for, or what went wrong and is tried again.
    #[serde(default)]
    pub(crate) note: Option<String>,
    /// File by file.
    #[serde(default)]
    pub(crate) files: Vec<FileState>,
}

/// How far one file is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FileState {
    /// What people call it.
    pub(crate) name: String,
    /// Bytes that are here.
    pub(crate) done_bytes: u64,
    /// Its length, once it is known.
    pub(crate) whole_bytes: Option<u64>,
}

/// What a pull does now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Stage {
    /// It asks the source what there is.
    Manifest,
    /// Files come.
    Files,
    /// What came is looked at once more.
    Verifying,
    /// The model is entered.
    Writing,
}

impl State {
    /// How far a pull of this process is.
    pub(crate) fn of(progress: &pull::Progress) -> Self {
        let file = |file: &pull::FileProgress| FileState {
            name: file.name.clone(),
            done_bytes: file.done_bytes,
            whole_bytes: file.whole_bytes,
        };
        Self {
            stage: match progress.stage {
                pull::Stage::Manifest => Some(Stage::Manifest),
                pull::Stage::Files => Some(Stage::Files),
                pull::Stage::Verifying => Some(Stage::Verifying),
                pull::Stage::Writing => Some(Stage::Writing),
                pull::Stage::Done => None,
            },
            done_bytes: progress.done_bytes(),
            whole_bytes: progress.whole_bytes(),
            bytes_per_s: progress.bytes_per_s,
            left_s: progress.left.map(|left| left.as_secs()),
            connections: progress.connections,
            note: progress.note.clone(),
            files: progress.files.iter().map(file).collect(),
        }
    }

    /// Parts of a hundred that are here, rounded down, so that only all of it is 100.
    pub(crate) fn percent(&self) -> Option<u64> {
        percent(self.done_bytes, self.whole_bytes)
    }

    /// Files that have begun and are not whole.
    pub(crate) fn moving(&self) -> impl Iterator<Item = &FileState> {
        self.files.iter().filter(|file| file.done_bytes > 0 && !file.is_whole())
    }

    /// Files that are here.
    pub(crate) fn whole_files(&self) -> usize {
        self.files.iter().filter(|file| file.is_whole()).count()
    }
}

impl FileState {
    /// Whether all of it is here.
    pub(crate) fn is_whole(&self) -> bool {
        self.whole_bytes.is_some_and(|whole| self.done_bytes >= whole)
    }

    /// Parts of a hundred that are here, rounded down.
    pub(crate) fn percent(&self) -> Option<u64> {
        percent(self.done_bytes, self.whole_bytes)
    }
}

fn percent(done_bytes: u64, whole_bytes: Option<u64>) -> Option<u64> {
    let whole_bytes = whole_bytes.filter(|bytes| *bytes > 0)?;
    let hundredths = u128::from(done_bytes.min(whole_bytes)) * 100 / u128::from(whole_bytes);
    u64::try_from(hundredths).ok()
}
