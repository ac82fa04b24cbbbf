//! Documents by how well they answer a query. The fixture's score is how often a document has the query.

use dialect::limits::RANK_DOCUMENTS_MAX;
use serde_json::{Value, json};
use supervisor::Roles;

use crate::client::Ask;
use crate::roles::role;
use crate::site::{BUDGET_BYTES, Site, config};

const DOCUMENTS: [&str; 4] = ["b", "a b a", "none", "a"];

async fn site(has_role: bool) -> Site {
    let roles = if has_role { role("rerank", &["ranks"]) } else { Roles::default() };
    Site::with_models(config(), &[("m", 2048), ("ranks", 2048)], roles, BUDGET_BYTES).await
}

fn indices(answer: &Value) -> Vec<u64> {
    let results = answer.as_array().or_else(|| answer["results"].as_array()).unwrap();
    results.iter().map(|result| result["index"].as_u64().unwrap()).collect()
}

#[tokio::test]
async fn every_route_ranks_in_its_own_form() {
    let site = site(false).await;
    let body = json!({ "model": "ranks", "query": "a", "documents": DOCUMENTS, "top_n": 2,
                       "return_documents": true });
    for path in ["/v1/rerank", "/rerank", "/v1/reranking", "/reranking", "/v2/rerank"] {
        let answer = Ask::post(path, &body).send(site.address).await.ok();
        assert_eq!(indices(&answer), [1, 3], "{path}");
        let best = json!({ "index": 1, "relevance_score": 2.0, "document": { "text": "a b a" } });
        assert_eq!(answer["results"][0], best);
        assert_eq!(answer["meta"]["tokens"]["input_tokens"], 11, "{path}");
        let is_cohere = path == "/v2/rerank";
        assert_eq!(answer["model"].as_str(), (!is_cohere).then_some("ranks"));
        assert_eq!(answer["usage"]["total_tokens"].as_u64(), (!is_cohere).then_some(11));
    }
    let texts = json!({ "query": "a", "texts": DOCUMENTS, "return_text": true });
    let answer = Ask::post("/rerank", &texts).send(site.address).await.ok();
    assert_eq!(indices(&answer), [1, 3, 0, 2], "equal ones stay in their order");
    assert_eq!(answer[0], json!({ "index": 1, "score": 2.0, "text": "a b a" }));
    site.ends().await;
}

#[tokio::test]
async fn without_a_name_the_role_or_a_reranker_is_asked() {
    for has_role in [true, false] {
        let site = site(has_role).await;
        let body = json!({ "query": "a", "documents": DOCUMENTS });
        let answer = Ask::post("/v1/rerank", &body).send(site.address).await.ok();
        assert_eq!((indices(&answer), &answer["model"]), (vec![1, 3, 0, 2], &json!("ranks")));
        site.ends().await;
    }
    let site = Site::new().await;
    let body = json!({ "query": "a", "documents": DOCUMENTS });
    let error = Ask::post("/v1/rerank", &body).send(site.address).await.error(400);
    assert_eq!(
        (&error["param"], &error["code"]),
        (&json!("model"), &json!("missing_required_parameter"))
    );
    site.ends().await;
}

#[tokio::test]
async fn whoever_cannot_do_it_says_so_before_it_is_loaded() {
    let site = site(false).await;
    let body = json!({ "model": "m", "query": "a", "documents": DOCUMENTS });
    let error = Ask::post("/v1/rerank", &body).send(site.address).await.error(400);
    assert!(error["message"].as_str().unwrap().contains("name a reranker"), "{error}");
    assert_eq!(site.hub.residents().await, []);
    let refused = Ask::post("/v2/rerank", &body).send(site.address).await;
    assert_eq!((refused.status.as_u16(), &refused.json()["message"]), (400, &error["message"]));
    let many =
        json!({ "model": "ranks", "query": "a", "documents": vec!["a"; RANK_DOCUMENTS_MAX + 1] });
    let error = Ask::post("/v1/rerank", &many).send(site.address).await.error(400);
    assert_eq!(error["param"], "documents");
    // What it is for is seen in the lists.
    let tags = Ask::get("/api/tags").send(site.address).await.ok();
    let row = tags["models"].as_array().unwrap().iter().find(|row| row["name"] == "ranks:latest");
    assert_eq!(row.unwrap()["capabilities"], json!(["rerank"]));
    site.ends().await;
}
