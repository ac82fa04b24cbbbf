//! Lines from the person: editing and history on a terminal.
//!
//! The editor blocks, so it lives on a thread of its own and is asked for one line at a time. Not
//! here: what the lines mean (`compose`).

use std::{fs, io, path::Path};

use anyhow::Context as _;
use rustyline::{Config, DefaultEditor, error::ReadlineError, history::FileHistory};
use tokio::sync::{mpsc, oneshot};

use crate::limits::HISTORY_LINES_MAX;

/// What the person did at the prompt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Typed {
    /// A line.
    Line(String),
    /// Ctrl-C.
    Interrupt,
    /// Ctrl-D, or the terminal is gone.
    End,
}

type Asked = (String, oneshot::Sender<anyhow::Result<Typed>>);

/// The editor on its thread.
#[derive(Debug)]
pub(crate) struct Editor {
    ask: mpsc::Sender<Asked>,
}

impl Editor {
    /// Starts the editor with the history in `history_file`, which only its owner may read.
    ///
    /// # Errors
    /// When the terminal cannot be edited on.
    pub(crate) fn start(history_file: &Path) -> anyhow::Result<Self> {
        let config = Config::builder()
            .max_history_size(HISTORY_LINES_MAX)
            .and_then(|config| config.history_ignore_dups(true))
            .context("cannot set up line editing")?
            .build();
        let history = FileHistory::with_config(&config);
        let mut editor = DefaultEditor::with_history(config, history)
            .context("cannot edit lines on this terminal")?;
        let history_file = history_file.to_owned();
        // The history is a comfort: without it the chat goes on.
        let has_history = make_private(&history_file).is_ok();
        if has_history {
            let _unreadable = editor.load_history(&history_file);
        }
        let (ask, mut asked) = mpsc::channel::<Asked>(1);
        std::thread::Builder::new().name("editor".to_owned()).spawn(move || {
            while let Some((prompt, reply)) = asked.blocking_recv() {
                let typed = read_line(&mut editor, &prompt);
                if has_history && matches!(typed, Ok(Typed::Line(_))) {
                    // Written at once, so that a killed chat loses no line.
                    let _full = editor.append_history(&history_file);
                }
                if reply.send(typed).is_err() {
                    return;
                }
            }
        })?;
        Ok(Self { ask })
    }

    /// The next line.
    ///
    /// # Errors
    /// When the terminal cannot be read.
    pub(crate) async fn line(&self, prompt: &str) -> anyhow::Result<Typed> {
        let (reply, typed) = oneshot::channel();
        let gone = "line editing has ended";
        self.ask.send((prompt.to_owned(), reply)).await.ok().context(gone)?;
        typed.await.context(gone)?
    }
}

fn read_line(editor: &mut DefaultEditor, prompt: &str) -> anyhow::Result<Typed> {
    match editor.readline(prompt) {
        Ok(line) => {
            if !line.trim().is_empty() {
                let _repeated = editor.add_history_entry(line.as_str());
            }
            Ok(Typed::Line(line))
        }
        Err(ReadlineError::Interrupted) => Ok(Typed::Interrupt),
        Err(ReadlineError::Eof) => Ok(Typed::End),
        Err(error) => Err(error).context("cannot read from the terminal"),
    }
}

/// Makes the file, or takes away what others may do with it: people tell a model private things.
fn make_private(path: &Path) -> io::Result<()> {
    let mut options = fs::OpenOptions::new();
    options.create(true).append(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
        let file = options.mode(0o600).open(path)?;
        file.set_permissions(fs::Permissions::from_mode(0o600))
    }
    #[cfg(not(unix))]
    options.open(path).map(|_| ())
}

#[cfg(test)]
mod tests {
    #[cfg(unix)]
    #[test]
    fn the_history_is_for_its_owner_alone() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("history");
        std::fs::write(&path, "#V2\nhello\n").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        super::make_private(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "#V2\nhello\n", "nothing is lost");
    }
}
