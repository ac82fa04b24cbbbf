//! An index on a Qdrant elsewhere, for more passages than one machine should hold.
//!
//! Each index is a collection of that server, with a name that its folder remembers, of this server only; the folder has
//! nothing else but what the index was made for. Vectors, their graph and the lists of terms lie in files of the server,
//! which tidies by itself. It multiplies terms with their inverse document frequency, by the formula of the other forms; until it tidies
//! that counts what is gone too, so that scores are off by a little.
//!
//! Only this form speaks to a network, and only where a person named a server.

use std::fmt;
use std::fs;
use std::future::Future;
use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use qdrant_client::Payload;
use qdrant_client::qdrant::points_selector::PointsSelectorOneOf;
use qdrant_client::qdrant::{
    Condition, CountPointsBuilder, CreateCollectionBuilder, CreateFieldIndexCollectionBuilder,
    DeletePointsBuilder, Distance, FieldType, HnswConfigDiffBuilder, Modifier, NamedVectors,
    PointId, PointStruct, PointsIdsList, PointsOperationResponse, Query, QueryPointsBuilder, Range,
    ScalarQuantizationBuilder, ScoredPoint, ScrollPointsBuilder, SearchParamsBuilder,
    SparseIndexConfigBuilder, SparseVectorParamsBuilder, SparseVectorsConfigBuilder, UpdateResult,
    UpdateStatus, UpsertPointsBuilder, Value, Vector, VectorInput, VectorParamsBuilder,
    VectorsConfigBuilder, point_id::PointIdOptions,
};
use qdrant_client::{Qdrant, QdrantError};
use tokio::runtime::{self, Runtime};

use super::{Description, Embedder, Error, Filter, Hit, Index, Labels, Optimized, Point, files};
use crate::limits::{
    CLUSTER_ANSWER_MAX, CLUSTER_CONNECT_MAX, CLUSTER_POINTS_MAX, CLUSTER_WAIT_MAX,
};
use crate::words::Sparse;

/// The names of a passage's vectors.
const MEANING: &str = "meaning";
const TERMS: &str = "terms";

/// What a passage is chosen by. `FOLDERS` has the path and each folder above it.
const COLLECTION: &str = "collection";
const FILE: &str = "file";
const KIND: &str = "kind";
const MODIFIED: &str = "modified_s";
const FOLDERS: &str = "folders";

/// The file that remembers what the server calls the index, and which server.
const NAME_FILE: &str = "collection";
/// How these names begin.
const NAME_START: &str = "resident-";

/// A Qdrant, asked from threads that may block.
pub struct Server {
    url: String,
    client: Qdrant,
    /// Where its connections live; nothing only while it is dropped.
    runtime: Option<Runtime>,
}

impl Server {
    /// The server at `url`, such as `http://127.0.0.1:6334`: its port for gRPC. Nobody is asked yet.
    ///
    /// # Errors
    ///
    /// [`Error::Cluster`] where that is no address.
    pub fn new(url: &str, key: Option<&str>) -> Result<Self, Error> {
        let refuse = |why: String| Error::Cluster { url: url.to_owned(), what: "be asked", why };
        if !["http://", "https://"].iter().any(|scheme| url.starts_with(scheme)) {
            return Err(refuse("its address must begin with http:// or https://".to_owned()));
        }
        let mut client = Qdrant::from_url(url)
            .timeout(CLUSTER_WAIT_MAX)
            .connect_timeout(CLUSTER_CONNECT_MAX)
            // It would print.
            .skip_compatibility_check();
        if let Some(key) = key {
            client.set_api_key(key);
        }
        let client = client.build().map_err(|error| refuse(in_words(&error)))?;
        let runtime = runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("qdrant")
            .enable_all()
            .build()
            .map_err(|error| refuse(error.to_string()))?;
        Ok(Server { url: url.to_owned(), client, runtime: Some(runtime) })
    }

    /// Removes what it has of the index of a folder, if there is one.
    ///
    /// # Errors
    ///
    /// Where the server does not do it.
    pub(super) fn forget(&self, folder: &Path) -> Result<(), Error> {
        match name_in(folder, &self.url) {
            Ok(Some(name)) => {
                self.ask("remove an index", self.client.delete_collection(name))?;
                Ok(())
            }
            // Nobody knows any more what it had.
            Ok(None) | Err(Error::Damaged { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Waits until something is done.
    fn ask<T>(
        &self,
        what: &'static str,
        question: impl Future<Output = Result<T, QdrantError>>,
    ) -> Result<T, Error> {
        self.ask_within(CLUSTER_WAIT_MAX, what, question)
    }

    /// Waits for an answer that somebody else waits for.
    fn answer<T>(
        &self,
        what: &'static str,
        question: impl Future<Output = Result<T, QdrantError>>,
    ) -> Result<T, Error> {
        self.ask_within(CLUSTER_ANSWER_MAX, what, question)
    }

    fn ask_within<T>(
        &self,
        wait_max: Duration,
        what: &'static str,
        question: impl Future<Output = Result<T, QdrantError>>,
    ) -> Result<T, Error> {
        let refuse = |why: String| Error::Cluster { url: self.url.clone(), what, why };
        let Some(runtime) = &self.runtime else { return Err(refuse("it is closed".to_owned())) };
        let ended = runtime.block_on(async { tokio::time::timeout(wait_max, question).await });
        match ended {
            Ok(answer) => answer.map_err(|error| refuse(in_words(&error))),
            Err(_) => Err(refuse(format!("no answer came in {} s", wait_max.as_secs()))),
        }
    }

    /// Whether a change was made.
    fn is_made(&self, what: &'static str, change: &PointsOperationResponse) -> Result<(), Error> {
        let status = change.result.as_ref().map(UpdateResult::status);
        if status == Some(UpdateStatus::Completed) {
            return Ok(());
        }
        let why = format!("it says {status:?} where it should say that it is done");
        Err(Error::Cluster { url: self.url.clone(), what, why })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Whoever drops it may be asynchronous and must not wait.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Server").field("url", &self.url).finish_non_exhaustive()
    }
}

/// See the module.
pub struct Cluster {
    server: Arc<Server>,
    name: String,
    description: Description,
    /// Held for as long as the index is open, so that no second process opens it.
    _lock: fs::File,
}

impl Cluster {
    /// What this form is called.
    pub const FORM: &str = "qdrant";

    /// The index of a folder, made if there is none.
    ///
    /// # Errors
    ///
    /// [`Error::Different`] if it was made for another embedder, [`Error::InUse`], [`Error::Cluster`], and those of
    /// the files.
    pub fn open(
        server: &Arc<Server>,
        folder: &Path,
        embedder: Option<Embedder>,
    ) -> Result<Self, Error> {
        let description = Description::new(Self::FORM, embedder);
        fs::create_dir_all(folder)
            .map_err(|error| Error::file("make the folder", folder, error))?;
        let lock = files::lock(folder)?;
        description.keep(folder)?;
        let name = match name_in(folder, &server.url)? {
            Some(name) => name,
            None => new_name(folder, &server.url)?,
        };
        let cluster = Cluster { server: Arc::clone(server), name, description, _lock: lock };
        cluster.make()?;
        Ok(cluster)
    }

    /// Makes the collection if there is none, and what it is chosen by.
    fn make(&self) -> Result<(), Error> {
        let Server { client, .. } = &*self.server;
        let what = "make an index";
        if !self.server.ask(what, client.collection_exists(&self.name))? {
            self.server.ask(what, client.create_collection(self.form()))?;
        }
        // Again for one that was only half made; what is there already stays.
        for (field, kind) in [
            (COLLECTION, FieldType::Keyword),
            (FILE, FieldType::Integer),
            (KIND, FieldType::Keyword),
            (MODIFIED, FieldType::Integer),
            (FOLDERS, FieldType::Keyword),
        ] {
            let index = CreateFieldIndexCollectionBuilder::new(&self.name, field, kind).wait(true);
            self.server.ask(what, client.create_field_index(index))?;
        }
        Ok(())
    }

    /// Everything in files: memory, there too, belongs to others.
    fn form(&self) -> CreateCollectionBuilder {
        let mut terms = SparseVectorsConfigBuilder::default();
        let lists = SparseIndexConfigBuilder::default().on_disk(true);
        let params = SparseVectorParamsBuilder::default().index(lists).modifier(Modifier::Idf);
        terms.add_named_vector_params(TERMS, params);
        let form = CreateCollectionBuilder::new(&self.name)
            .on_disk_payload(true)
            .sparse_vectors_config(terms);
        let Some(Embedder { dimension, .. }) = &self.description.embedder else { return form };
        let mut meaning = VectorsConfigBuilder::default();
        let params = VectorParamsBuilder::new(*dimension as u64, Distance::Cosine)
            .on_disk(true)
            .hnsw_config(HnswConfigDiffBuilder::default().on_disk(true))
            .quantization_config(ScalarQuantizationBuilder::default().always_ram(false));
        meaning.add_named_vector_params(MEANING, params);
        form.vectors_config(meaning)
    }

    fn query(
        &self,
        query: VectorInput,
        using: &str,
        is_exact: bool,
        filter: &Filter,
        limit: usize,
    ) -> Result<Vec<Hit>, Error> {
        if limit == 0 {
            return Ok(Vec::new());
        }
        let query = QueryPointsBuilder::new(&self.name)
            .query(Query::new_nearest(query))
            .using(using)
            .filter(chosen(filter))
            .params(SearchParamsBuilder::default().exact(is_exact))
            .with_payload(false)
            .limit(limit as u64);
        let answer = self.server.answer("find passages", self.server.client.query(query))?;
        Ok(answer.result.into_iter().filter_map(hit).collect())
    }

    fn by_meaning(
        &self,
        vector: &[f32],
        is_exact: bool,
        filter: &Filter,
        limit: usize,
    ) -> Result<Vec<Hit>, Error> {
        self.description.check(vector)?;
        if vector.is_empty() {
            return Ok(Vec::new());
        }
        self.query(VectorInput::new_dense(vector), MEANING, is_exact, filter, limit)
    }

    fn delete(&self, which: impl Into<PointsSelectorOneOf>) -> Result<(), Error> {
        let delete = DeletePointsBuilder::new(&self.name).points(which).wait(true);
        let what = "remove passages";
        let change = self.server.ask(what, self.server.client.delete_points(delete))?;
        self.server.is_made(what, &change)
    }
}

impl Index for Cluster {
    fn description(&self) -> &Description {
        &self.description
    }

    fn upsert(&self, points: Vec<Point>) -> Result<(), Error> {
        self.description.check_all(&points)?;
        let mut points = points.into_iter().map(sent).peekable();
        while points.peek().is_some() {
            let some: Vec<PointStruct> = points.by_ref().take(CLUSTER_POINTS_MAX).collect();
            let upsert = UpsertPointsBuilder::new(&self.name, some).wait(true);
            let what = "take passages";
            let change = self.server.ask(what, self.server.client.upsert_points(upsert))?;
            self.server.is_made(what, &change)?;
        }
        Ok(())
    }

    fn remove(&self, ids: &[u64]) -> Result<(), Error> {
        ids.chunks(CLUSTER_POINTS_MAX).try_for_each(|some| {
            self.delete(PointsIdsList { ids: some.iter().map(|&id| id.into()).collect() })
        })
    }

    fn remove_files(&self, files: &[u64]) -> Result<(), Error> {
        files.chunks(CLUSTER_POINTS_MAX).try_for_each(|some| {
            self.delete(qdrant_client::qdrant::Filter::must([among_numbers(FILE, some)]))
        })
    }

    fn flush(&self) -> Result<(), Error> {
        // Each change was waited for, which the server answers when it is in its log.
        Ok(())
    }

    fn optimize(&self, _: &AtomicBool) -> Result<Optimized, Error> {
        Ok(Optimized::Whole)
    }

    fn nearest(&self, vector: &[f32], filter: &Filter, limit: usize) -> Result<Vec<Hit>, Error> {
        self.by_meaning(vector, false, filter, limit)
    }

    fn nearest_exact(
        &self,
        vector: &[f32],
        filter: &Filter,
        limit: usize,
    ) -> Result<Vec<Hit>, Error> {
        self.by_meaning(vector, true, filter, limit)
    }

    fn lexical(&self, query: &Sparse, filter: &Filter, limit: usize) -> Result<Vec<Hit>, Error> {
        if query.is_empty() {
            return Ok(Vec::new());
        }
        let (terms, counts): (Vec<u32>, Vec<f32>) = query.terms.iter().copied().unzip();
        self.query(VectorInput::new_sparse(terms, counts), TERMS, false, filter, limit)
    }

    fn count(&self, filter: &Filter) -> Result<u64, Error> {
        let count = CountPointsBuilder::new(&self.name).filter(chosen(filter)).exact(true);
        let answer = self.server.ask("count passages", self.server.client.count(count))?;
        Ok(answer.result.map_or(0, |result| result.count))
    }

    fn ids(&self, after: Option<u64>, limit: usize) -> Result<Vec<u64>, Error> {
        let Some(from) = after.map_or(Some(0), |after| after.checked_add(1)) else {
            return Ok(Vec::new());
        };
        if limit == 0 {
            return Ok(Vec::new());
        }
        let scroll = ScrollPointsBuilder::new(&self.name)
            .offset(from)
            .limit(u32::try_from(limit).unwrap_or(u32::MAX))
            .with_payload(false)
            .with_vectors(false);
        let answer = self.server.ask("list passages", self.server.client.scroll(scroll))?;
        Ok(answer.result.into_iter().filter_map(|point| number(point.id)).collect())
    }
}

/// A passage as the server takes it.
fn sent(point: Point) -> PointStruct {
    let mut vectors = NamedVectors::default();
    if let Some(dense) = point.dense {
        vectors = vectors.add_vector(MEANING, Vector::new_dense(dense));
    }
    if !point.sparse.is_empty() {
        let (terms, weights): (Vec<u32>, Vec<f32>) = point.sparse.terms.into_iter().unzip();
        vectors = vectors.add_vector(TERMS, Vector::new_sparse(terms, weights));
    }
    let Labels { collection, file, kind, modified_s, path } = point.labels;
    let mut payload = Payload::new();
    payload.insert(
        FOLDERS,
        folders(&path).map(|folder| Value::from(folder.to_owned())).collect::<Vec<_>>(),
    );
    payload.insert(COLLECTION, collection);
    payload.insert(FILE, file.cast_signed());
    payload.insert(KIND, kind);
    payload.insert(MODIFIED, modified_s);
    PointStruct::new(point.id, vectors, payload)
}

/// The path, and each folder above it.
fn folders(path: &str) -> impl Iterator<Item = &str> {
    let above = path.match_indices('/').map(|(at, _)| &path[..at]);
    above.chain([path])
}

/// A filter as the server takes it.
fn chosen(filter: &Filter) -> qdrant_client::qdrant::Filter {
    let mut must = Vec::new();
    if !filter.collections.is_empty() {
        must.push(Condition::matches(COLLECTION, filter.collections.clone()));
    }
    if !filter.files.is_empty() {
        must.push(among_numbers(FILE, &filter.files));
    }
    let folders: Vec<String> =
        filter.folders.iter().map(|folder| folder.trim_end_matches('/').to_owned()).collect();
    // The folder of everything is above no part of a path that begins without it.
    if !folders.is_empty() && !folders.iter().any(String::is_empty) {
        must.push(Condition::matches(FOLDERS, folders));
    }
    if !filter.kinds.is_empty() {
        must.push(Condition::matches(KIND, filter.kinds.clone()));
    }
    if let Some(modified_s) = &filter.modified_s {
        // Such numbers have whole seconds for 285 million years.
        let (from, before) = (Some(modified_s.start as f64), Some(modified_s.end as f64));
        must.push(Condition::range(MODIFIED, Range { gte: from, lt: before, ..Range::default() }));
    }
    qdrant_client::qdrant::Filter::must(must)
}

fn among_numbers(field: &str, numbers: &[u64]) -> Condition {
    Condition::matches(
        field,
        numbers.iter().map(|number| number.cast_signed()).collect::<Vec<i64>>(),
    )
}

fn hit(point: ScoredPoint) -> Option<Hit> {
    Some(Hit { id: number(point.id)?, score: point.score })
}

fn number(id: Option<PointId>) -> Option<u64> {
    match id?.point_id_options? {
        PointIdOptions::Num(number) => Some(number),
        PointIdOptions::Uuid(_) => None,
    }
}

/// What the server at `url` calls the index of a folder; nothing where it was never told, or another one was.
fn name_in(folder: &Path, url: &str) -> Result<Option<String>, Error> {
    let path = folder.join(NAME_FILE);
    let noted = match fs::read(&path) {
        Ok(noted) => noted,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Error::file("read", &path, error)),
    };
    let noted = String::from_utf8_lossy(&noted);
    let named = noted.split_once('\n').filter(|(name, _)| name.starts_with(NAME_START));
    let Some((name, of)) = named else {
        let why = format!("{NAME_FILE} has no name");
        return Err(Error::Damaged { path: folder.to_owned(), why });
    };
    Ok((of == url).then(|| name.to_owned()))
}

/// A name that no other index has, remembered before the server hears of it.
fn new_name(folder: &Path, url: &str) -> Result<String, Error> {
    let mut random = [0; 16];
    getrandom::fill(&mut random)
        .map_err(|error| Error::Engine { what: "be given a name", why: error.to_string() })?;
    let name = format!("{NAME_START}{:032x}", u128::from_le_bytes(random));
    files::write_whole(&folder.join(NAME_FILE), format!("{name}\n{url}").as_bytes())?;
    Ok(name)
}

/// What went wrong, without what only a programmer would read.
fn in_words(error: &QdrantError) -> String {
    match error {
        QdrantError::ResponseError { status }
        | QdrantError::ResourceExhaustedError { status, .. } => {
            let said = status.message();
            let is_locked = ["Unauthenticated", "PermissionDenied"]
                .contains(&format!("{:?}", status.code()).as_str());
            if said.contains("Connection refused") {
                // The client's own words for it are a programmer's.
                "nobody answers there".to_owned()
            } else if is_locked {
                format!("it wants another key ({said}), from key_variable or key_file")
            } else {
                format!("{said} ({})", status.code())
            }
        }
        QdrantError::ConversionError(_)
        | QdrantError::InvalidUri(_)
        | QdrantError::NoSnapshotFound(_)
        | QdrantError::Io(_) => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_in_each_folder_above_it() {
        let all = |path| folders(path).collect::<Vec<&str>>();
        assert_eq!(all("home/notes/a.md"), ["home", "home/notes", "home/notes/a.md"]);
        assert_eq!(all("/home/a.md"), ["", "/home", "/home/a.md"]);
        assert_eq!(all("a.md"), ["a.md"]);
    }

    #[test]
    fn names_of_indexes_are_remembered_of_their_server_and_differ() {
        let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        assert_eq!(name_in(one.path(), "http://a").unwrap(), None);
        let name = new_name(one.path(), "http://a").unwrap();
        assert!(name.starts_with("resident-") && name.len() == "resident-".len() + 32, "{name}");
        assert_eq!(name_in(one.path(), "http://a").unwrap(), Some(name.clone()));
        assert_eq!(name_in(one.path(), "http://b").unwrap(), None);
        assert_ne!(new_name(other.path(), "http://a").unwrap(), name);
        for broken in [&b""[..], b"\xff", b"resident-", b"other\nhttp://a"] {
            fs::write(one.path().join(NAME_FILE), broken).unwrap();
            let refused = name_in(one.path(), "http://a").unwrap_err();
            assert!(matches!(refused, Error::Damaged { .. }), "{refused}");
            let server = Server::new("http://127.0.0.1:1", None).unwrap();
            server.forget(one.path()).unwrap();
        }
    }

    #[test]
    fn a_server_that_is_not_there_is_named() {
        // A port that was free a moment ago.
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let url = format!("http://127.0.0.1:{port}");
        let server = Arc::new(Server::new(&url, Some("key")).unwrap());
        let folder = tempfile::tempdir().unwrap();
        let refused = Cluster::open(&server, folder.path(), None).err().unwrap().to_string();
        assert!(refused.contains(&url) && refused.contains("[knowledge.qdrant] url"), "{refused}");
        assert!(refused.contains(": nobody answers there; "), "{refused}");
        // The name stays for when it is there again, and nothing is removed meanwhile.
        assert!(
            server.forget(folder.path()).is_err()
                && name_in(folder.path(), &url).unwrap().is_some()
        );
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for wrong in ["127.0.0.1:6334", "", "ftp://x", "http://"] {
            let refused = Server::new(wrong, None).map(|_| ()).unwrap_err();
            assert!(matches!(refused, Error::Cluster { .. }), "{wrong}: {refused}");
        }
    }
}
