//! Pictures in requests: refused where nobody sees them, in each dialect's own words.

use serde_json::{Value, json};

use crate::client::Ask;
use crate::site::Site;

const GIF: &str = "R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7";

fn openai() -> Value {
    let url = format!("data:image/gif;base64,{GIF}");
    let parts = json!([{ "type": "image_url", "image_url": { "url": url } }]);
    json!({ "model": "m", "messages": [{ "role": "user", "content": parts }] })
}

#[tokio::test]
async fn a_model_that_does_not_see_says_so_in_every_dialect() {
    let site = Site::new().await;
    let error = Ask::post("/v1/chat/completions", &openai()).send(site.address).await.error(400);
    assert_eq!(
        (&error["code"], &error["param"]),
        (&json!("model_takes_text_only"), &json!("model"))
    );
    let way_out = "put its mmproj file beside it";
    assert!(error["message"].as_str().unwrap().contains(way_out), "{error}");

    let message = json!({ "role": "user", "content": "what is it?", "images": [GIF] });
    let body = json!({ "model": "m", "messages": [message] });
    let error = Ask::post("/api/chat", &body).send(site.address).await.error(400);
    assert!(error.as_str().unwrap().contains(way_out), "{error}");

    let source = json!({ "type": "base64", "media_type": "image/gif", "data": GIF });
    let content = json!([{ "type": "image", "source": source }]);
    let body = json!({ "model": "m", "max_tokens": 9,
                       "messages": [{ "role": "user", "content": content }] });
    let error = Ask::post("/v1/messages", &body).send(site.address).await.error(400);
    assert_eq!(error["type"], "invalid_request_error");
    assert!(error["message"].as_str().unwrap().contains(way_out), "{error}");
    assert_eq!(site.hub.metrics().await.workers_started, 0, "nothing is loaded for it");
    site.ends().await;
}
