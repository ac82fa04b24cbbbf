//! Bodies of `/v1/rerank` and `/v2/rerank`: each gives words for the worker that fit its frames, and a
//! form for the answer, or an error that the client can read.

use dialect::{
    limits::RANK_DOCUMENTS_MAX,
    rerank::{self, Form, Route},
};
use serde_json::Value;
use worker_protocol::{Command, Event, RequestId};

use crate::openai::{finished, json, refused, through_a_frame};

/// The same body by both routes.
pub fn rerank(body: &[u8]) {
    for route in [Route::V1, Route::V2] {
        let request = match rerank::decode(route, body) {
            Ok(request) => request,
            Err(error) => {
                json(&rerank::cohere_error(&error));
                refused(&error);
                continue;
            }
        };
        let documents = request.rank.documents.len();
        assert!((1..=RANK_DOCUMENTS_MAX).contains(&documents), "{documents} documents");
        assert!(!request.rank.query.is_empty() && request.model.as_deref() != Some(""));
        let rank = Command::Rank { request: RequestId(1), rank: request.rank.clone() };
        through_a_frame(body, &rank);
        let mut whole = rerank::WholeEncoder::new(&request, "id", "m");
        for (index, _) in (0..).zip(&request.rank.documents) {
            whole.event(&Event::Ranked { index, score: -0.5 });
        }
        whole.event(&finished());
        let told = match whole.finish() {
            Ok(answer) => serde_json::from_str::<Value>(&answer),
            Err(error) => panic!("an answer that ended well is no answer: {error}"),
        };
        let results = told.ok().and_then(|mut told| match request.form {
            Form::Tei => told.as_array().map(Vec::len),
            Form::Jina | Form::Cohere => told["results"].take().as_array().map(Vec::len),
        });
        assert_eq!(results, Some(request.top_n.unwrap_or(usize::MAX).min(documents)));
    }
}
