//! Where clients keep their files, on three systems.

use std::path::PathBuf;

use etcetera::{BaseStrategy as _, base_strategy};

use crate::exit::{self, Code};

/// Systems differ in where files are and how shells write variables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum System {
    /// Linux, and whatever follows XDG.
    Linux,
    /// macOS.
    Mac,
    /// Windows.
    Windows,
}

/// The folders that clients look into.
#[derive(Debug, Clone)]
pub(super) struct Places {
    /// Which system's habits count.
    pub(super) system: System,
    /// The home folder.
    pub(super) home: PathBuf,
    /// `$XDG_CONFIG_HOME`, or `.config` in the home folder.
    pub(super) config: PathBuf,
    /// Where programs with windows keep settings: the folder above, `~/Library/Application Support`,
    /// or `%APPDATA%`.
    pub(super) windowed: PathBuf,
    /// Claude Code's folder, which `CLAUDE_CONFIG_DIR` moves.
    pub(super) claude: PathBuf,
    /// Codex's folder, which `CODEX_HOME` moves.
    pub(super) codex: PathBuf,
    /// opencode's file: it reads one with comments too, and who has that keeps it.
    pub(super) opencode: PathBuf,
}

impl Places {
    /// The folders of whoever runs this.
    ///
    /// # Errors
    /// When the system does not say where the home folder is.
    pub(super) fn of_this_machine() -> anyhow::Result<Self> {
        let cannot = |error: etcetera::HomeDirError| {
            exit::error(Code::Usage, format!("cannot tell the home folder: {error}; set HOME"))
        };
        let native = base_strategy::choose_native_strategy().map_err(cannot)?;
        let config = base_strategy::Xdg::new().map_err(cannot)?.config_dir();
        let (system, windowed) = if cfg!(target_os = "macos") {
            (System::Mac, native.data_dir())
        } else if cfg!(windows) {
            (System::Windows, native.config_dir())
        } else {
            (System::Linux, config.clone())
        };
        let places = Self::of(system, native.home_dir().to_owned(), config, windowed);
        let moved = |name: &str, usual: PathBuf| {
            std::env::var_os(name).filter(|path| !path.is_empty()).map_or(usual, PathBuf::from)
        };
        let with_comments = places.opencode.with_extension("jsonc");
        Ok(Self {
            claude: moved("CLAUDE_CONFIG_DIR", places.claude),
            codex: moved("CODEX_HOME", places.codex),
            opencode: if with_comments.exists() { with_comments } else { places.opencode },
            ..places
        })
    }

    /// The folders where nothing was moved.
    pub(super) fn of(system: System, home: PathBuf, config: PathBuf, windowed: PathBuf) -> Self {
        Self {
            claude: home.join(".claude"),
            codex: home.join(".codex"),
            opencode: config.join("opencode").join("opencode.json"),
            system,
            home,
            config,
            windowed,
        }
    }

    /// The lines that set these variables in a shell.
    pub(super) fn variables(&self, variables: &[(&str, String)]) -> String {
        let line = |(name, value): &(&str, String)| match self.system {
            System::Linux | System::Mac => format!("export {name}=\"{value}\""),
            System::Windows => format!("$env:{name} = \"{value}\""),
        };
        variables.iter().map(line).collect::<Vec<_>>().join("\n")
    }

    /// What a shell puts for the variable `name`.
    pub(super) fn value_of(&self, name: &str) -> String {
        match self.system {
            System::Linux | System::Mac => format!("${name}"),
            System::Windows => format!("$env:{name}"),
        }
    }
}
