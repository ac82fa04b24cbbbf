//! Files that were not met: those that are gone leave the collection, those of which nothing is proved stay.

use std::path::PathBuf;

use super::{Error, Event, Run, Walked};
use crate::{
    source::{Absence, Proof},
    store::{Kind, Vanished},
};

impl Run<'_, '_> {
    /// Removes files of a source that are gone or left out now. Says whether it came to its end.
    pub(super) fn prune(&mut self, walked: &Walked) -> Result<bool, Error> {
        let store = self.ingest.store;
        let source = &walked.source;
        let mut proof = Proof::new(&source.path, &walked.walk, walked.renamed.clone());
        let mut after = 0;
        loop {
            if !self.goes_on()? {
                return Ok(false);
            }
            let page = store.vanished(source.id, walked.scopes.as_deref(), after)?;
            let Some(last) = page.last() else { return Ok(true) };
            after = last.file;
            let (mut gone, mut present) = (Vec::new(), Vec::new());
            for file in page {
                match proof.of(&file.path, file.device) {
                    Absence::Gone => gone.push(file),
                    Absence::Present => present.push(file),
                    Absence::Unproven(why) => self.keep(&file, &why),
                }
            }
            gone.extend(self.left_out(walked, present)?);
            store.remove_files(&gone.iter().map(|file| file.file).collect::<Vec<u64>>())?;
            for file in &gone {
                self.progress.removed += 1;
                (self.tell)(&Event::Removed(&file.path));
            }
        }
    }

    /// Those of `present` that the rules leave out. Others are there after all: something put them there again while
    /// nobody looked, as editors do.
    fn left_out(
        &mut self,
        walked: &Walked,
        present: Vec<Vanished>,
    ) -> Result<Vec<Vanished>, Error> {
        if present.is_empty() || walked.source.kind != Kind::Folder {
            return Ok(Vec::new());
        }
        let paths: Vec<PathBuf> = present.iter().map(|file| file.path.clone()).collect();
        let walk = self.look(&walked.source, Some(&paths))?;
        if walk.stopped {
            return Ok(Vec::new());
        }
        let first = present.first().map_or(0, |file| file.file);
        let unseen: Vec<u64> = self
            .ingest
            .store
            .vanished(walked.source.id, Some(&paths), first.saturating_sub(1))?
            .iter()
            .map(|file| file.file)
            .collect();
        let mut out = Vec::new();
        let mut proof = Proof::new(&walked.source.path, &walk, Vec::new());
        for file in present.into_iter().filter(|file| unseen.contains(&file.file)) {
            match proof.of(&file.path, file.device) {
                Absence::Present => out.push(file),
                Absence::Gone => {}
                Absence::Unproven(why) => self.keep(&file, &why),
            }
        }
        Ok(out)
    }

    fn keep(&mut self, file: &Vanished, why: &str) {
        self.progress.kept += 1;
        (self.tell)(&Event::Kept(&file.path, why));
    }
}
