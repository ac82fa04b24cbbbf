//! What the index has yet to take or to forget, as the store says.

use std::collections::HashMap;

use half::f16;

use super::{Error, Event, Run};
use crate::{
    chunk,
    index::{Labels, Point},
    limits::{EMBED_TEXTS, INDEX_IDS_PAGE, INDEX_PASSAGES, OPTIMIZE_PASSAGES},
    search::Purpose,
    store::{Due, VectorKey, label},
    words,
};

impl Run<'_, '_> {
    /// Embeds what was not embedded, gives the index what it does not have, and notes it. Says whether it came to its
    /// end.
    pub(super) fn index_due(&mut self) -> Result<bool, Error> {
        loop {
            if !self.goes_on()? {
                return Ok(false);
            }
            let due = self.ingest.store.due(&self.collection, 0, INDEX_PASSAGES)?;
            if due.is_empty() {
                return Ok(true);
            }
            let Some(due) = self.embedded(due)? else { return Ok(false) };
            let ids: Vec<u64> = due.iter().map(|due| due.id).collect();
            let points = due.into_iter().map(|due| point(&self.collection.name, due)).collect();
            let index = self.ingest.index;
            index.upsert(points).and_then(|()| index.flush()).map_err(Error::Index)?;
            let whole = self.ingest.store.indexed(&ids)?;
            self.progress.passages += ids.len() as u64;
            self.untidy += ids.len() as u64;
            for path in &whole {
                (self.tell)(&Event::Indexed(path));
            }
            self.told_progress();
            if self.untidy >= OPTIMIZE_PASSAGES {
                index.optimize(&self.control.stop).map_err(Error::Index)?;
                self.untidy = 0;
            }
        }
    }

    /// The same passages with their vectors; nothing if it was stopped. Equal texts are embedded once, and each batch is
    /// kept as soon as it came.
    fn embedded(&mut self, mut due: Vec<Due>) -> Result<Option<Vec<Due>>, Error> {
        let Some(embed) = self.ingest.embed else { return Ok(Some(due)) };
        let mut missing: Vec<(VectorKey, String)> = Vec::new();
        let mut vectors: HashMap<VectorKey, Vec<f32>> = HashMap::new();
        for due in due.iter().filter(|due| due.vector.is_none()) {
            if let Some(key) = due.key
                && vectors.insert(key, Vec::new()).is_none()
            {
                missing.push((key, due.embedded()));
            }
        }
        for batch in missing.chunks(EMBED_TEXTS) {
            if !self.goes_on()? {
                return Ok(None);
            }
            let texts: Vec<&str> = batch.iter().map(|(_, text)| text.as_str()).collect();
            let embedded = embed.embed(&texts, Purpose::Passage).map_err(Error::Embed)?;
            self.check(&embedded, texts.len())?;
            let rounded = |vector: Vec<f32>| {
                vector.into_iter().map(|value| f16::from_f32(value).to_f32()).collect()
            };
            // As they are kept, so that an index that is made again is the same.
            let embedded = embedded.into_iter().map(rounded);
            let kept: Vec<(VectorKey, Vec<f32>)> =
                batch.iter().map(|(key, _)| *key).zip(embedded).collect();
            self.ingest.store.put_vectors(&kept)?;
            self.progress.embedded += kept.len() as u64;
            vectors.extend(kept);
        }
        for due in due.iter_mut().filter(|due| due.vector.is_none()) {
            due.vector = due.key.and_then(|key| vectors.get(&key).cloned());
        }
        Ok(Some(due))
    }

    fn check(&self, vectors: &[Vec<f32>], asked: usize) -> Result<(), Error> {
        let Some(embed) = self.ingest.embed else { return Ok(()) };
        let told = |got: String, wanted: String| {
            Err(Error::Shape { embedder: embed.name().to_owned(), got, wanted })
        };
        if vectors.len() != asked {
            return told(format!("{} vectors", vectors.len()), format!("{asked}"));
        }
        let dimension = embed.dimension();
        if let Some(other) = vectors.iter().find(|vector| vector.len() != dimension) {
            return told(format!("a vector of {} dimensions", other.len()), format!("{dimension}"));
        }
        if vectors.iter().flatten().any(|value| !value.is_finite()) {
            return told("numbers that are none".to_owned(), "finite ones".to_owned());
        }
        Ok(())
    }

    /// Has the index forget what is gone.
    pub(super) fn forget_gone(&mut self) -> Result<(), Error> {
        loop {
            let gone = self.ingest.store.gone(self.collection.id, INDEX_IDS_PAGE)?;
            if gone.is_empty() {
                return Ok(());
            }
            let index = self.ingest.index;
            index.remove(&gone).and_then(|()| index.flush()).map_err(Error::Index)?;
            self.ingest.store.forget_gone(&gone)?;
        }
    }

    /// Compares the index with the store: what it lost is due again, and what the store does not know it forgets.
    pub(super) fn compare_index(&mut self) -> Result<(), Error> {
        let (store, index) = (self.ingest.store, self.ingest.index);
        let mut said = Ids::default();
        let mut held = Ids::default();
        let (mut lost, mut unknown) = (Vec::new(), Vec::new());
        loop {
            let of_store = said.peek(|after| {
                Ok(store.indexed_ids(self.collection.id, after.unwrap_or(0), INDEX_IDS_PAGE)?)
            })?;
            let of_index =
                held.peek(|after| index.ids(after, INDEX_IDS_PAGE).map_err(Error::Index))?;
            match (of_store, of_index) {
                (Some(store), Some(index)) if store == index => {
                    said.take();
                    held.take();
                }
                (Some(store), index) if index.is_none_or(|index| store < index) => {
                    lost.push(store);
                    said.take();
                }
                (_, Some(index)) => {
                    unknown.push(index);
                    held.take();
                }
                (Some(_), None) | (None, None) => break,
            }
            if lost.len() >= INDEX_IDS_PAGE {
                store.not_indexed(self.collection.id, Some(&lost))?;
                lost.clear();
            }
            if unknown.len() >= INDEX_IDS_PAGE {
                self.forget_unknown(&unknown)?;
                unknown.clear();
            }
        }
        if !lost.is_empty() {
            store.not_indexed(self.collection.id, Some(&lost))?;
        }
        self.forget_unknown(&unknown)
    }

    fn forget_unknown(&self, ids: &[u64]) -> Result<(), Error> {
        // Those of other collections, and those that are due, are known.
        let unknown = self.ingest.store.unknown_ids(ids)?;
        if unknown.is_empty() {
            return Ok(());
        }
        let index = self.ingest.index;
        index.remove(&unknown).and_then(|()| index.flush()).map_err(Error::Index)
    }

    /// Cuts files anew that were cut for an earlier embedder. Says whether it came to its end.
    pub(super) fn recut(&mut self) -> Result<bool, Error> {
        while let Some(stale) = self.ingest.store.stale(&self.collection)? {
            if !self.goes_on()? {
                return Ok(false);
            }
            let pieces =
                stale.passages.iter().map(|(text, pieces)| (text.as_str(), pieces.as_slice()));
            let document = chunk::document(stale.title, pieces);
            let (sizes, tokens) = self.ingest.sizes();
            let passages = chunk::passages(&document, sizes, &tokens)?;
            self.ingest.store.recut(&self.collection, stale.file, &passages)?;
            self.forget_gone()?;
            if !self.index_due()? {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// Ascending numbers, a page at a time.
#[derive(Default)]
struct Ids {
    page: std::collections::VecDeque<u64>,
    after: Option<u64>,
    is_over: bool,
}

impl Ids {
    fn peek(
        &mut self,
        more: impl FnOnce(Option<u64>) -> Result<Vec<u64>, Error>,
    ) -> Result<Option<u64>, Error> {
        if self.page.is_empty() && !self.is_over {
            self.page = more(self.after)?.into();
            self.is_over = self.page.is_empty();
        }
        Ok(self.page.front().copied())
    }

    fn take(&mut self) {
        self.after = self.page.pop_front().or(self.after);
    }
}

fn point(collection: &str, due: Due) -> Point {
    Point {
        id: due.id,
        // A passage is found by the words of its title and headings too.
        sparse: words::passage(&due.embedded()),
        dense: due.vector,
        labels: Labels {
            collection: collection.to_owned(),
            file: due.file,
            kind: due.kind,
            modified_s: due.modified_ns.div_euclid(1_000_000_000),
            path: label(&due.path),
        },
    }
}
