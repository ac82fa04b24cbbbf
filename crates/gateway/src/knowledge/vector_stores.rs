//! `/v1/vector_stores`: the collections as OpenAI's clients ask for them. The words are `dialect`'s; here they become
//! questions to the collections, and what is found becomes theirs.

use std::collections::HashMap;

use axum::body::Body;
use axum::response::Response;
use dialect::Error;
use dialect::openai::vector_store::{self, Hit, Page, Store};
use serde_json::{Map, Value};

use super::{Collection, Found, Knowledge, Passage, Search, ask, decoded};
use crate::answer;
use crate::routes::Site;

/// What stands behind the name of a store that is to be searched.
const SEARCH: &str = "/search";

pub(crate) async fn list(site: &Site, query: Option<&str>) -> Result<Response, Error> {
    let query: Vec<_> = form_urlencoded::parse(query.unwrap_or_default().as_bytes()).collect();
    let page = Page::decode(query.iter().map(|(key, value)| (&**key, &**value)))?;
    let collections = ask(site, |knowledge| knowledge.collections()).await?;
    let stores: Vec<Store> = collections.into_iter().map(store).collect();
    vector_store::list(&stores, &page).map(answer::json)
}

/// `rest` is the path behind `/v1/vector_stores/`; only a name alone names something.
pub(crate) async fn one(site: &Site, rest: &str) -> Result<Response, Error> {
    if rest.contains('/') {
        return Err(vector_store::refused());
    }
    let id = decoded(rest);
    let collections = ask(site, |knowledge| knowledge.collections()).await?;
    let found = collections.into_iter().find(|collection| collection.name == id);
    let found = found.ok_or_else(|| vector_store::not_found(&id))?;
    Ok(answer::json(vector_store::one(&store(found))))
}

pub(crate) async fn search(site: &Site, rest: &str, body: Body) -> Result<Response, Error> {
    let body = answer::read_body(body).await?;
    let Some(id) = rest.strip_suffix(SEARCH) else { return Err(vector_store::refused()) };
    let asked = vector_store::decode(&body)?;
    let (id, queries) = (decoded(id), asked.queries.clone());
    let found = ask(site, move |knowledge| search_all(knowledge, id, &asked)).await?;
    let hits = found.passages.into_iter().map(hit).collect();
    Ok(answer::json(vector_store::found(&queries, hits, &found.notes)))
}

/// What is made, filled, changed or deleted elsewhere.
pub(crate) async fn refused(body: Body) -> Result<Response, Error> {
    answer::read_body(body).await?;
    Err(vector_store::refused())
}

/// The best passages for any of several queries. Scores of one collection are alike, whatever was asked.
fn search_all(
    knowledge: &dyn Knowledge,
    collection: String,
    asked: &vector_store::Search,
) -> Result<Found, Error> {
    let vector_store::Search { queries, limit, filter } = asked;
    let mut search = Search {
        collections: vec![collection],
        limit: Some(*limit),
        folders: filter.paths.clone(),
        kinds: filter.kinds.clone(),
        changed_from: filter.changed_from,
        changed_before: filter.changed_before,
        ..Search::default()
    };
    let mut all = Found::default();
    let mut places: HashMap<u64, usize> = HashMap::new();
    for query in queries {
        search.query.clone_from(query);
        let Found { passages, notes } = knowledge.search(&search)?;
        for passage in passages {
            let place = *places.entry(passage.id).or_insert(all.passages.len());
            match all.passages.get_mut(place) {
                Some(known) => known.score = known.score.max(passage.score),
                None => all.passages.push(passage),
            }
        }
        let fresh: Vec<String> =
            notes.into_iter().filter(|note| !all.notes.contains(note)).collect();
        all.notes.extend(fresh);
    }
    all.passages.sort_by(|a, b| b.score.total_cmp(&a.score));
    all.passages.truncate(*limit as usize);
    Ok(all)
}

fn store(collection: Collection) -> Store {
    let waiting = collection.files_to_read.saturating_sub(collection.files_done);
    let is_in_step = collection.state == "done";
    let told = [
        ("state", Some(collection.state)),
        ("embedder", collection.embedder),
        ("error", collection.error),
    ];
    Store {
        id: collection.name,
        bytes: collection.bytes,
        files_done: collection.files,
        files_failed: collection.skipped,
        files_waiting: waiting,
        is_in_step,
        metadata: told.into_iter().filter_map(|(key, value)| Some((key, value?))).collect(),
    }
}

fn hit(passage: Passage) -> Hit {
    let Passage { place, headings, .. } = &passage;
    let filename = passage.path.rsplit(['/', '\\']).next().unwrap_or(&passage.path).to_owned();
    let text = |text: &str| (!text.is_empty()).then(|| Value::from(text));
    let attributes = [
        ("path", text(&passage.path)),
        ("kind", text(&passage.kind)),
        ("modified", Some(passage.changed.into())),
        ("passage", Some(passage.id.into())),
        ("place", text(&place.said)),
        ("headings", text(&headings.join(" > "))),
        ("page", place.page.map(Value::from)),
        ("first_byte", place.first_byte.map(Value::from)),
        ("end_byte", place.end_byte.map(Value::from)),
    ];
    let known = |(key, value): (&str, Option<Value>)| Some((key.to_owned(), value?));
    let attributes: Map<String, Value> = attributes.into_iter().filter_map(known).collect();
    Hit { file: passage.file, filename, score: passage.score, attributes, text: passage.text }
}
