//! Shows how far work of the library is that reads or writes large files here: a bar where a person looks, nothing
//! else.

use std::ops::ControlFlow;

use indicatif::{ProgressBar, ProgressStyle};
use library::store::Progress;

use crate::{size, terminal};

/// How far it is.
pub(crate) struct Steps(Option<ProgressBar>);

impl Steps {
    /// Shows nothing yet, and nothing at all to programs.
    pub(crate) fn start(json: bool) -> Self {
        Self((!json && terminal::stderr_is_screen()).then(|| {
            let bar = ProgressBar::new(1);
            // Were the template wrong, a plain bar would do.
            let style = ProgressStyle::with_template("{prefix:24} {wide_bar} {msg}");
            bar.set_style(
                style.unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("━╸ "),
            );
            bar
        }))
    }

    /// Shows how far it is. It goes on.
    pub(crate) fn show(&mut self, progress: &Progress<'_>) -> ControlFlow<()> {
        if let Some(bar) = &self.0 {
            bar.set_length(progress.whole_bytes.max(1));
            bar.set_position(progress.done_bytes);
            bar.set_prefix(crate::pull::short_name(progress.what));
            bar.set_message(format!(
                "{} of {}",
                size::format(progress.done_bytes),
                size::format(progress.whole_bytes)
            ));
        }
        ControlFlow::Continue(())
    }

    /// Leaves nothing on the screen.
    pub(crate) fn end(&mut self) {
        if let Some(bar) = self.0.take() {
            bar.finish_and_clear();
        }
    }
}
