//! One operation of the document: what is asked, what is answered, and which errors there are.

use utoipa::openapi::content::Content;
use utoipa::openapi::header::HeaderBuilder;
use utoipa::openapi::path::{OperationBuilder, ParameterBuilder, ParameterIn};
use utoipa::openapi::request_body::RequestBodyBuilder;
use utoipa::openapi::response::Response;
use utoipa::openapi::schema::{Object, Schema, Type};
use utoipa::openapi::security::SecurityRequirement;
use utoipa::openapi::{HttpMethod, Ref, RefOr, Required, path};

use super::error::Words;
use super::shape::{Named, Shape, either, fields, json_in_text, text, word};

/// The key of an inference route, as `Authorization: Bearer`.
pub(super) const BEARER: &str = "key";
/// The same key, as `x-api-key`.
pub(super) const API_KEY: &str = "api_key";
/// The token of control routes.
pub(super) const TOKEN: &str = "control_token";

const JSON: &str = "application/json";

/// Who may ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Anyone who may reach the hub at all.
    Open,
    /// Anyone with the key, if there is one.
    Key,
    /// Only who can read the control token.
    Token,
    /// Programs of this machine, and who can read the control token.
    Manage,
}

/// An operation. Who asks needs the key unless something else is said.
pub struct Operation {
    pub(super) method: HttpMethod,
    pub(super) path: &'static str,
    words: Words,
    access: Access,
    errors: Vec<u16>,
    success: Response,
    /// Successes without a content.
    nothing: Vec<u16>,
    builder: OperationBuilder,
    named: Named,
}

impl Operation {
    /// `GET` of this path, whose last part may be a name in braces. `id` is what generated clients call it.
    #[must_use]
    pub fn get(path: &'static str, words: Words, id: &str, summary: &str) -> Self {
        Self::new(HttpMethod::Get, path, words, id, summary)
    }

    /// `POST` to this path.
    #[must_use]
    pub fn post(path: &'static str, words: Words, id: &str, summary: &str) -> Self {
        Self::new(HttpMethod::Post, path, words, id, summary)
    }

    /// `DELETE` of this path.
    #[must_use]
    pub fn delete(path: &'static str, words: Words, id: &str, summary: &str) -> Self {
        Self::new(HttpMethod::Delete, path, words, id, summary)
    }

    /// `HEAD` of this path.
    #[must_use]
    pub fn head(path: &'static str, words: Words, id: &str, summary: &str) -> Self {
        Self::new(HttpMethod::Head, path, words, id, summary)
    }

    fn new(method: HttpMethod, path: &'static str, words: Words, id: &str, summary: &str) -> Self {
        Self {
            method,
            path,
            words,
            access: Access::Key,
            // Whoever calls the hub by a name that is not its own, or from a page that nobody knows.
            errors: vec![403, 421],
            success: Response::new("The answer."),
            nothing: Vec::new(),
            builder: OperationBuilder::new().operation_id(Some(id)).summary(Some(summary)),
            named: Named::new(),
        }
    }

    /// Under which heading it is found.
    #[must_use]
    pub fn tag(self, tag: &str) -> Self {
        Self { builder: self.builder.tag(tag), ..self }
    }

    /// What there is to say beside its summary.
    #[must_use]
    pub fn about(self, about: &str) -> Self {
        Self { builder: self.builder.description(Some(about)), ..self }
    }

    /// Who may ask.
    #[must_use]
    pub fn access(self, access: Access) -> Self {
        Self { access, ..self }
    }

    /// The name at the end of the path.
    #[must_use]
    pub fn name_in_path(self, name: &str, about: &str, shape: Shape) -> Self {
        self.parameter(name, ParameterIn::Path, Required::True, about, shape)
    }

    /// A value of the query that must be there.
    #[must_use]
    pub fn query(self, name: &str, about: &str, shape: Shape) -> Self {
        self.parameter(name, ParameterIn::Query, Required::True, about, shape)
    }

    /// A value of the query that may be there.
    #[must_use]
    pub fn may_query(self, name: &str, about: &str, shape: Shape) -> Self {
        self.parameter(name, ParameterIn::Query, Required::False, about, shape)
    }

    /// A header that may be sent.
    #[must_use]
    pub fn header(self, name: &str, about: &str, shape: Shape) -> Self {
        self.parameter(name, ParameterIn::Header, Required::False, about, shape)
    }

    fn parameter(
        mut self,
        name: &str,
        place: ParameterIn,
        required: Required,
        about: &str,
        shape: Shape,
    ) -> Self {
        let parameter = ParameterBuilder::new()
            .name(name)
            .parameter_in(place)
            .required(required)
            .description(Some(about))
            .schema(Some(self.keep(shape)));
        Self { builder: self.builder.parameter(parameter), ..self }
    }

    /// A body of JSON.
    #[must_use]
    pub fn takes(self, shape: Shape) -> Self {
        self.takes_as(JSON, shape).fails(&[415])
    }

    /// A body of JSON by whatever name.
    #[must_use]
    pub fn takes_untyped(self, shape: Shape) -> Self {
        self.takes_as(JSON, shape)
    }

    /// A body of this type.
    #[must_use]
    pub fn takes_as(mut self, kind: &str, shape: Shape) -> Self {
        let content = Content::new(Some(self.keep(shape)));
        let body = RequestBodyBuilder::new().content(kind, content).required(Some(Required::True));
        let builder = self.builder.request_body(Some(body.build()));
        Self { builder, ..self }.fails(&[400, 408, 413])
    }

    /// An answer of JSON.
    #[must_use]
    pub fn answers(self, shape: Shape) -> Self {
        self.answers_as(JSON, shape)
    }

    /// A stream of server-sent events, whose data is JSON of this shape. The document describes one of them.
    #[must_use]
    pub fn streams(self, data: Shape) -> Self {
        self.streams_events(json_in_text(data))
    }

    /// The same with a last event that says `[DONE]`.
    #[must_use]
    pub fn streams_until_done(self, data: Shape) -> Self {
        self.streams_events(either([json_in_text(data), word(&["[DONE]"])]))
    }

    fn streams_events(self, data: Shape) -> Self {
        let event = fields("One event.").has("data", "What it says.", data).at_times(
            "event",
            "Its name, where events have names.",
            text(),
        );
        self.answers_as("text/event-stream", event.shape())
    }

    /// A stream of lines, each JSON of this shape. The document describes one of them.
    #[must_use]
    pub fn streams_lines(self, line: Shape) -> Self {
        self.answers_as("application/x-ndjson", line)
    }

    /// An answer of this type.
    #[must_use]
    pub fn answers_as(mut self, kind: &str, shape: Shape) -> Self {
        let content = Content::new(Some(self.keep(shape)));
        self.success.content.insert(kind.to_owned(), content.into());
        self
    }

    /// It succeeds with these statuses and nothing more to say.
    #[must_use]
    pub fn answers_nothing(mut self, statuses: &[u16]) -> Self {
        self.nothing.extend(statuses);
        self
    }

    /// What the success is, where there is more to say than its shape does.
    #[must_use]
    pub fn success(mut self, about: &str) -> Self {
        about.clone_into(&mut self.success.description);
        self
    }

    /// The answer says in its head which cached tokens came from where.
    #[must_use]
    pub fn says_what_was_cached(mut self) -> Self {
        let header = header(
            Type::String,
            "Which cached tokens of the prompt came from where, as `live=1, ram=2, ssd=3`, or `none`. A \
             stream has it where that was known before its first byte.",
        );
        self.success.headers.insert("x-resident-cache".to_owned(), header.build().into());
        self
    }

    /// It is answered by a model: there may be none of this name, it may not have room, and it may break.
    #[must_use]
    pub fn asks_a_model(self) -> Self {
        self.fails(&[400, 404, 500, 503])
    }

    /// It may fail with these statuses besides.
    #[must_use]
    pub fn fails(mut self, statuses: &[u16]) -> Self {
        self.errors.extend(statuses);
        self
    }

    /// Keeps what a shape refers to.
    fn keep(&mut self, shape: Shape) -> RefOr<Schema> {
        let (schema, named) = shape.into_parts();
        self.named.extend(named);
        schema
    }

    /// The operation as the document has it, and what it refers to.
    pub(super) fn into_parts(mut self) -> Parts {
        let needed = match self.access {
            Access::Open => vec![],
            // An empty one says that it can do without, since a hub may have no key.
            Access::Key => vec![needs(BEARER), needs(API_KEY), SecurityRequirement::default()],
            Access::Token => vec![needs(TOKEN)],
            // An empty one for programs of this machine, unless the configuration wants the token.
            Access::Manage => vec![needs(TOKEN), SecurityRequirement::default()],
        };
        if self.access != Access::Open {
            self.errors.push(401);
        }
        let error = self.words.shape();
        let error = self.keep(error);
        let mut builder = self.builder.securities(Some(needed));
        if !self.success.content.is_empty() {
            builder = builder.response("200", self.success);
        }
        for status in self.nothing {
            builder = builder.response(status.to_string(), Response::new("It is so."));
        }
        self.errors.sort_unstable();
        self.errors.dedup();
        let mut refusals = Vec::new();
        for status in self.errors {
            let name = format!("{:?}{status}", self.words);
            builder = builder.response(status.to_string(), Ref::from_response_name(&*name));
            refusals.push((name, refusal(status, error.clone())));
        }
        Parts { operation: builder.build(), named: self.named, refusals }
    }
}

/// An operation, and what it refers to.
pub(super) struct Parts {
    pub(super) operation: path::Operation,
    pub(super) named: Named,
    /// Answers that are no success, by their names.
    pub(super) refusals: Vec<(String, Response)>,
}

fn needs(scheme: &str) -> SecurityRequirement {
    SecurityRequirement::new::<_, [&str; 0], _>(scheme, [])
}

fn refusal(status: u16, error: RefOr<Schema>) -> Response {
    let mut response = Response::new(meaning(status));
    response.content.insert(JSON.to_owned(), Content::new(Some(error)).into());
    if status == 503 {
        let header = header(Type::Integer, "Seconds after which it is worth trying again.");
        response.headers.insert("retry-after".to_owned(), header.build().into());
    }
    response
}

fn header(kind: Type, about: &str) -> HeaderBuilder {
    HeaderBuilder::new().schema(Some(Object::with_type(kind))).description(Some(about))
}

/// What an error's status says.
fn meaning(status: u16) -> &'static str {
    match status {
        400 => "The request makes no sense, or asks for what this hub or this model cannot do.",
        401 => "The key or the token is missing or wrong.",
        403 => "A web page called that is not among the hub's `origins`.",
        404 => "Nothing has this name.",
        408 => "The body did not come in time.",
        409 => "It cannot be done as the hub was started.",
        413 => "The body is too large.",
        415 => "The body is of another type.",
        421 => "The hub was called by a name that is not among its `hosts`.",
        500 => "The model, the tool or the hub broke.",
        503 => "There is no room now, the model is to be left alone for a while, or the hub ends.",
        504 => "The tool took too long.",
        _ => "It failed.",
    }
}
