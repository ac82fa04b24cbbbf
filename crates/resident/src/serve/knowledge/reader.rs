//! Who makes documents of files: a process for each file, and where a tool for it is configured, pages that are
//! pictures of text read by that, one after the other, behind whoever waits for an answer.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use knowledge::{
    document::Document,
    extract::{Extractor, fill_gaps},
    ingest::{Extract, Unread},
};
use supervisor::{Content, Handle, Priority, Tool, tool::run_with};
use tokio::runtime;

/// What says that work on a file was ended, and not that the file is bad.
const STOPPED: &str = "stopped before all of its pages were read";

/// Reads files for one piece of work. It blocks, so it is used where blocking is allowed.
pub(super) struct Reader {
    pub(super) extractor: Extractor,
    pub(super) hub: Handle,
    pub(super) runtime: runtime::Handle,
    /// What reads pages that are pictures of text.
    pub(super) ocr: Option<Arc<Tool>>,
}

impl Reader {
    async fn page(&self, tool: &Arc<Tool>, pdf: &Path, page: u32) -> Result<String, String> {
        let unread = |error: std::io::Error| error.to_string();
        let content = Content::copy_of(pdf).await.map_err(unread)?;
        let values = BTreeMap::from([("page".to_owned(), page.to_string())]);
        let ran = run_with(&self.hub, Arc::clone(tool), values, content, Priority::Background);
        let text = ran.await.map_err(|error| error.to_string())?.whole().await.map_err(unread)?;
        // Tesseract ends each page with a form feed.
        Ok(String::from_utf8_lossy(&text).replace('\u{c}', "\n"))
    }
}

impl Extract for Reader {
    fn extract(&self, path: &Path, stop: &AtomicBool) -> Result<Document, Unread> {
        let mut document = Extract::extract(&self.extractor, path, stop)?;
        let Some(tool) = &self.ocr else { return Ok(document) };
        let mut read = |pdf: &Path, page: u32| {
            if stop.load(Ordering::Relaxed) {
                return Err(STOPPED.to_owned());
            }
            self.runtime.block_on(self.page(tool, pdf, page))
        };
        let complaint = fill_gaps(&mut document, path, &mut read);
        // A part of its pages is not what the file says.
        if stop.load(Ordering::Relaxed) {
            return Err(Unread { again: true, reason: STOPPED.to_owned() });
        }
        if let Some(complaint) = complaint {
            tracing::warn!(file = %path.display(), "not all pages were read: {complaint}");
        }
        Ok(document)
    }
}
