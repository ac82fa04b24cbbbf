//! The vendors' routes as an OpenAPI document describes them: what is read, with the bounds that hold for it, what
//! is answered, whole and streamed, and what errors look like.
//!
//! Each operation is a function in the file of its vendor, in the list at its head: a new one is added there.
//! `shape` has the words in which values are described, `shared` what several routes read or answer.
//! `tests/openapi.rs` holds the document and the golden cases together.
//!
//! Not here: which routes there are and the hub's own (`gateway`).

mod anthropic;
mod error;
mod llama_server;
mod ollama;
mod openai;
mod operation;
mod rerank;
pub mod shape;
mod shared;

use std::collections::BTreeMap;

use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{Components, Info, OpenApi, OpenApiBuilder, Paths, RefOr, Response};

pub use error::Words;
use operation::{API_KEY, BEARER, Parts, TOKEN};
pub use operation::{Access, Operation};
use shape::Named;

/// The operations of all vendors' routes.
#[must_use]
pub fn operations() -> Vec<Operation> {
    let operations = [
        openai::operations(),
        rerank::operations(),
        llama_server::operations(),
        anthropic::operations(),
        ollama::operations(),
    ];
    operations.into_iter().flatten().collect()
}

/// Operations, and the shapes that they refer to.
#[derive(Default)]
pub struct Api {
    paths: Paths,
    named: Named,
    /// Answers that are no success.
    refusals: BTreeMap<String, RefOr<Response>>,
}

impl Api {
    /// Adds operations.
    pub fn extend(&mut self, operations: impl IntoIterator<Item = Operation>) {
        for operation in operations {
            let (method, path) = (operation.method.clone(), operation.path);
            let Parts { operation, named, refusals } = operation.into_parts();
            self.paths.add_path_operation(path, vec![method], operation);
            for (name, schema) in named {
                debug_assert!(
                    self.named.get(&name).is_none_or(|known| *known == schema),
                    "two shapes are named {name}"
                );
                self.named.insert(name, schema);
            }
            self.refusals
                .extend(refusals.into_iter().map(|(name, refusal)| (name, refusal.into())));
        }
    }

    /// The document.
    #[must_use]
    pub fn document(self, info: Info) -> OpenApi {
        let mut components = Components::new();
        components.schemas.extend(self.named);
        components.responses.extend(self.refusals);
        components.add_security_schemes_from_iter(security());
        OpenApiBuilder::new().info(info).paths(self.paths).components(Some(components)).build()
    }
}

fn security() -> [(&'static str, SecurityScheme); 3] {
    let bearer = |about| {
        let http = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).description(Some(about));
        SecurityScheme::Http(http.build())
    };
    let header =
        ApiKeyValue::with_description("x-api-key", "The same key, as Anthropic's clients send it.");
    [
        (BEARER, bearer("The hub's key, where it has one (`key` in its configuration).")),
        (API_KEY, SecurityScheme::ApiKey(ApiKey::Header(header))),
        (TOKEN, bearer("The token in the file `token` of the hub's data folder.")),
    ]
}
