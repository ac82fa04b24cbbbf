//! An index in memory-mapped files, searched in this process by Qdrant's own engine (`qdrant-edge`).
//!
//! Vectors, their quantized form, the graph, the terms and the labels are all mapped and read when a search needs
//! them, so that the memory they take is the system's to take back. What was put in since the last
//! [`Index::optimize`] is in the heap and compared one by one.
//!
//! Three habits of the engine (0.7) decide how it is used here. It never cuts its write-ahead log, and does not read
//! it when it is opened, so that the log is cut here (`log`) and [`Index::flush`] is the only moment from which
//! changes stay. It panics where its files cannot be written, so that its calls are caught. And it panics when it is
//! flushed while it is changed, so that changes take turns.

use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock};

use qdrant_edge::{
    CountRequest, EdgeConfig, EdgeShard, FieldIndexOperations, NamedQuery, PointId,
    PointInsertOperations, PointOperations, PointStruct, PointStructPersisted, QueryEnum,
    ScrollRequest, SearchRequest, SparseVector, UpdateOperation, Vector, VectorInternal, Vectors,
    WithPayloadInterface, WithVector,
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::{Description, Embedder, Error, Filter, Hit, Index, Optimized, Point, exact};
use crate::limits::{EDGE_LOG_BYTES_MAX, EDGE_OVERSAMPLING};
use crate::words::Sparse;

mod log;
mod wording;

/// What the two vectors of a passage are called.
const DENSE: &str = "dense";
const TERMS: &str = "terms";

/// See the module.
pub struct Edge {
    description: Description,
    folder: PathBuf,
    /// Absent only while the log is cut, and after that has failed.
    shard: RwLock<Option<EdgeShard>>,
    /// Held by whoever changes something.
    turn: Mutex<()>,
    /// Held for as long as the index is open, so that no second process opens it.
    _lock: File,
}

impl Edge {
    /// The index in a folder, made if there is none.
    ///
    /// # Errors
    ///
    /// [`Error::Different`] if it was made for another embedder, [`Error::InUse`], [`Error::Damaged`], and those of
    /// the files.
    pub fn open(folder: &Path, embedder: Option<Embedder>) -> Result<Self, Error> {
        let description = Description::new("edge", embedder);
        std::fs::create_dir_all(folder)
            .map_err(|error| Error::file("make the folder", folder, error))?;
        let lock = exact::lock(folder)?;
        description.keep(folder)?;
        let folder = folder.join("shard");
        std::fs::create_dir_all(&folder)
            .map_err(|error| Error::file("make the folder", &folder, error))?;
        let shard = open_shard(&folder, &description)?;
        Ok(Edge {
            description,
            folder,
            shard: RwLock::new(Some(shard)),
            turn: Mutex::new(()),
            _lock: lock,
        })
    }

    /// Asks the engine something.
    fn ask<T>(
        &self,
        what: &'static str,
        ask: impl FnOnce(&EdgeShard) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let shard = self.shard.read().unwrap_or_else(PoisonError::into_inner);
        let shard = shard.as_ref().ok_or_else(|| Error::Damaged {
            path: self.folder.clone(),
            why: "it could not be opened again after its log was cut".to_owned(),
        })?;
        caught(what, || ask(shard))
    }

    /// Has the engine change something, in its turn.
    fn change(&self, what: &'static str, operation: PointOperations) -> Result<(), Error> {
        let _turn = self.turn();
        self.ask(what, |shard| {
            shard
                .update(UpdateOperation::PointOperation(operation))
                .map_err(|error| refused(what, &error))
        })
    }

    fn turn(&self) -> MutexGuard<'_, ()> {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn search(&self, what: &'static str, request: SearchRequest) -> Result<Vec<Hit>, Error> {
        let points =
            self.ask(what, |shard| shard.search(request).map_err(|error| refused(what, &error)))?;
        let hit = |point: qdrant_edge::ScoredPoint| {
            number(point.id).map(|id| Hit { id, score: point.score })
        };
        Ok(points.into_iter().filter_map(hit).collect())
    }

    fn dense(
        &self,
        vector: &[f32],
        filter: &Filter,
        limit: usize,
        params: Value,
    ) -> Result<Vec<Hit>, Error> {
        self.description.check(vector)?;
        let query = QueryEnum::Nearest(NamedQuery {
            query: VectorInternal::Dense(vector.to_vec()),
            using: Some(DENSE.to_owned()),
        });
        self.search("find by vector", request(query, filter, limit, Some(params))?)
    }

    /// Closes the engine, cuts its log and opens it again, if the log has grown too long.
    fn cut_log(&self) -> Result<(), Error> {
        if log::cuttable_bytes(&self.folder) <= EDGE_LOG_BYTES_MAX {
            return Ok(());
        }
        let mut shard = self.shard.write().unwrap_or_else(PoisonError::into_inner);
        let open = shard.take();
        // Closing flushes.
        caught("close", || {
            drop(open);
            Ok(())
        })?;
        *shard = Some(open_shard(&self.folder, &self.description)?);
        Ok(())
    }
}

impl Drop for Edge {
    fn drop(&mut self) {
        let shard = self.shard.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        // Closing flushes and panics where it cannot; whoever had to know has flushed before.
        drop(catch_unwind(AssertUnwindSafe(|| drop(shard))));
    }
}

impl Index for Edge {
    fn description(&self) -> &Description {
        &self.description
    }

    fn upsert(&self, points: Vec<Point>) -> Result<(), Error> {
        for vector in points.iter().filter_map(|point| point.dense.as_ref()) {
            self.description.check(vector)?;
        }
        if points.is_empty() {
            return Ok(());
        }
        let points: Result<Vec<PointStructPersisted>, Error> =
            points.into_iter().map(persisted).collect();
        self.change(
            "put passages in",
            PointOperations::UpsertPoints(PointInsertOperations::PointsList(points?)),
        )
    }

    fn remove(&self, ids: &[u64]) -> Result<(), Error> {
        if ids.is_empty() {
            return Ok(());
        }
        let ids = ids.iter().map(|&id| PointId::NumId(id)).collect();
        self.change("take passages out", PointOperations::DeletePoints { ids })
    }

    fn remove_files(&self, files: &[u64]) -> Result<(), Error> {
        if files.is_empty() {
            return Ok(());
        }
        let of_files = Filter { files: files.to_vec(), ..Filter::default() };
        let Some(filter) = worded("choose passages", wording::filter(&of_files))? else {
            return Ok(());
        };
        self.change("take files out", PointOperations::DeletePointsByFilter(filter))
    }

    fn flush(&self) -> Result<(), Error> {
        let _turn = self.turn();
        self.ask("write itself", |shard| {
            shard.flush();
            Ok(())
        })
    }

    fn optimize(&self, stop: &AtomicBool) -> Result<Optimized, Error> {
        if stop.load(Ordering::Relaxed) {
            return Ok(Optimized::Stopped);
        }
        let _turn = self.turn();
        self.ask("tidy itself", |shard| {
            shard.optimize().map_err(|error| refused("tidy itself", &error))
        })?;
        self.cut_log()?;
        Ok(Optimized::Whole)
    }

    fn nearest(&self, vector: &[f32], filter: &Filter, limit: usize) -> Result<Vec<Hit>, Error> {
        let quantization = json!({ "rescore": true, "oversampling": EDGE_OVERSAMPLING });
        self.dense(vector, filter, limit, json!({ "quantization": quantization }))
    }

    fn nearest_exact(
        &self,
        vector: &[f32],
        filter: &Filter,
        limit: usize,
    ) -> Result<Vec<Hit>, Error> {
        self.dense(
            vector,
            filter,
            limit,
            json!({ "exact": true, "quantization": { "ignore": true } }),
        )
    }

    fn lexical(&self, query: &Sparse, filter: &Filter, limit: usize) -> Result<Vec<Hit>, Error> {
        if query.is_empty() {
            return Ok(Vec::new());
        }
        let query = QueryEnum::Nearest(NamedQuery {
            query: VectorInternal::Sparse(sparse(query)?),
            using: Some(TERMS.to_owned()),
        });
        self.search("find by terms", request(query, filter, limit, None)?)
    }

    fn count(&self, filter: &Filter) -> Result<u64, Error> {
        let filter = worded("choose passages", wording::filter(filter))?;
        let count = |shard: &EdgeShard| {
            shard
                .count(CountRequest { filter, exact: true })
                .map_err(|error| refused("count passages", &error))
        };
        Ok(self.ask("count passages", count)? as u64)
    }

    /// Its parts are mapped, and the engine does not say what it keeps beside them.
    fn memory_bytes(&self) -> u64 {
        0
    }

    fn ids(&self, after: Option<u64>, limit: usize) -> Result<Vec<u64>, Error> {
        let Some(from) = after.map_or(Some(0), |after| after.checked_add(1)) else {
            return Ok(Vec::new());
        };
        let request = ScrollRequest {
            offset: Some(PointId::NumId(from)),
            limit: Some(limit),
            filter: None,
            with_payload: Some(WithPayloadInterface::Bool(false)),
            with_vector: WithVector::Bool(false),
            order_by: None,
        };
        let list = |shard: &EdgeShard| {
            shard.scroll(request).map_err(|error| refused("list passages", &error))
        };
        let (records, _) = self.ask("list passages", list)?;
        Ok(records.into_iter().filter_map(|record| number(record.id)).collect())
    }
}

fn open_shard(folder: &Path, description: &Description) -> Result<EdgeShard, Error> {
    log::cut(folder)?;
    let dimension = description.embedder.as_ref().map(|embedder| embedder.dimension);
    let config: EdgeConfig = worded("be set up", wording::config(dimension))?;
    let is_new = !folder.join("segments").is_dir();
    let damaged = |why: String| Error::Damaged { path: folder.to_owned(), why };
    let open = || {
        let shard = if is_new {
            EdgeShard::new(folder, config)
        } else {
            EdgeShard::load(folder, Some(config))
        };
        shard.map_err(|error| damaged(error.to_string()))
    };
    let shard = caught("open", open)?;
    // Doing it again changes nothing, and makes up for a process that ended in between.
    for field in wording::labels() {
        let field = FieldIndexOperations::CreateIndex(worded("be set up", field)?);
        caught("be set up", || {
            shard
                .update(UpdateOperation::FieldIndexOperation(field))
                .map_err(|error| refused("be set up", &error))
        })?;
    }
    Ok(shard)
}

fn request(
    query: QueryEnum,
    filter: &Filter,
    limit: usize,
    params: Option<Value>,
) -> Result<SearchRequest, Error> {
    Ok(SearchRequest {
        query,
        filter: worded("choose passages", wording::filter(filter))?,
        params: params.map(|params| worded("search", params)).transpose()?,
        limit,
        offset: 0,
        with_payload: None,
        with_vector: None,
        score_threshold: None,
    })
}

fn persisted(point: Point) -> Result<PointStructPersisted, Error> {
    let labels = wording::payload(&point.labels);
    let mut vectors: Vec<(&str, Vector)> = Vec::with_capacity(2);
    if let Some(dense) = point.dense {
        vectors.push((DENSE, Vector::new_dense(dense)));
    }
    if !point.sparse.is_empty() {
        vectors.push((TERMS, Vector(VectorInternal::Sparse(sparse(&point.sparse)?))));
    }
    Ok(PointStruct::new(PointId::NumId(point.id), Vectors::new_named(vectors), labels).into())
}

fn sparse(terms: &Sparse) -> Result<SparseVector, Error> {
    let (indices, values) = terms.terms.iter().copied().unzip();
    SparseVector::new(indices, values).map_err(|error| refused("take these terms", &error))
}

/// The number of a passage. All that are put in have one.
fn number(id: PointId) -> Option<u64> {
    match id {
        PointId::NumId(id) => Some(id),
        PointId::Uuid(_) => None,
    }
}

/// A structure of the engine from the words of its interface, which stay the same where its types move.
fn worded<T: DeserializeOwned>(what: &'static str, words: Value) -> Result<T, Error> {
    serde_json::from_value(words).map_err(|error| refused(what, &error))
}

fn refused(what: &'static str, why: &dyn std::fmt::Display) -> Error {
    Error::Engine { what, why: why.to_string() }
}

/// A call of the engine, whose panics become errors: it has them where a disk is full.
fn caught<T>(what: &'static str, call: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
    catch_unwind(AssertUnwindSafe(call)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let why =
            text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("it gave no reason");
        Err(Error::Engine { what, why: format!("the engine panicked: {why}") })
    })
}
