//! A query and a document as the one text that a model which ranks wants to read.
//!
//! Not here: packing such texts into steps (`embed`).

use worker_protocol::{Failure, FailureKind, Rank};

use crate::generation::invalid;
use crate::model::{Model, RankForm, RankMarks};

/// Where a template has the query and the document.
const QUERY: &str = "{query}";
const DOCUMENT: &str = "{document}";

/// A query that waits for its documents.
#[derive(Debug)]
pub(crate) struct Asked {
    rank: Rank,
    /// Tokens before and behind a document.
    head: Vec<u32>,
    tail: Vec<u32>,
    /// The same as text, where the tokenizer is to see a text as a whole.
    around: Option<[String; 2]>,
}

impl Asked {
    /// Reads the query.
    ///
    /// # Errors
    /// The model does not rank, or the query leaves no room for a document.
    pub(crate) fn new<M: Model>(model: &M, rank: Rank) -> Result<Self, Failure> {
        let form = model.rank_form().ok_or_else(|| cannot_rank(model))?;
        let asked = match form {
            RankForm::Marks(marks) => Self::marked(model, rank, marks),
            RankForm::Template(template) => Self::filled_in(model, rank, &template)?,
        };
        let (taken, most) =
            (asked.head.len() + asked.tail.len(), model.embed_tokens_max() as usize);
        if taken >= most {
            return Err(too_long(taken, most, |taken, most| {
                format!(
                    "the query takes {taken} tokens, but this model reads at most {most} together with \
                     a document; shorten the query"
                )
            }));
        }
        Ok(asked)
    }

    fn marked<M: Model>(model: &M, rank: Rank, marks: RankMarks) -> Self {
        let RankMarks { begin, end, separator } = marks;
        let query = model.tokenize(&rank.query, false, false);
        let head = begin.into_iter().chain(query).chain(end).chain(separator).collect();
        Self { rank, head, tail: end.into_iter().collect(), around: None }
    }

    fn filled_in<M: Model>(model: &M, rank: Rank, template: &str) -> Result<Self, Failure> {
        let (before, behind) = template.split_once(DOCUMENT).ok_or_else(|| {
            invalid(format!(
                "the model's template for ranking has no {DOCUMENT}; use another file of it"
            ))
        })?;
        // What stands in the template may be special; what the client sends is text.
        let tokens = |part: &str| {
            let mut tokens = Vec::new();
            for (at, words) in part.split(QUERY).enumerate() {
                if at > 0 {
                    tokens.extend(model.tokenize(&rank.query, false, false));
                }
                tokens.extend(model.tokenize(words, false, true));
            }
            tokens
        };
        let whole = |part: &str| part.replace(QUERY, &rank.query);
        let around = is_only_text(model, &rank.query).then(|| [whole(before), whole(behind)]);
        let (head, tail) = (tokens(before), tokens(behind));
        Ok(Self { rank, head, tail, around })
    }

    pub(crate) fn documents(&self) -> usize {
        self.rank.documents.len()
    }

    /// The query with this document as tokens, if there are so many.
    pub(crate) fn with<M: Model>(
        &self,
        model: &M,
        index: usize,
    ) -> Option<Result<Vec<u32>, Failure>> {
        let document = self.rank.documents.get(index)?;
        Some(self.with_document(model, index, document))
    }

    fn with_document<M: Model>(
        &self,
        model: &M,
        index: usize,
        document: &str,
    ) -> Result<Vec<u32>, Failure> {
        let mut tokens = self.tokens(model, document);
        let most = model.embed_tokens_max() as usize;
        let (head, tail) = (self.head.len(), self.tail.len());
        let read = tokens.len().saturating_sub(head + tail);
        let wanted = self.rank.document_tokens_max.map_or(usize::MAX, |most| most as usize);
        let room = if self.rank.truncate { most - head - tail } else { usize::MAX };
        let kept = read.min(wanted).min(room);
        if kept < read {
            tokens.drain(head + kept..head + read);
        }
        if tokens.is_empty() {
            return Err(invalid(format!("query and document {index} are empty; send some text")));
        }
        if tokens.len() > most {
            return Err(too_long(tokens.len(), most, |tokens, most| {
                format!(
                    "document {index} and the query have {tokens} tokens, but this model reads at most \
                     {most}; split it, or have it cut (\"truncate\": true)"
                )
            }));
        }
        Ok(tokens)
    }

    /// The whole text. Words may become other tokens where they touch what stands around them, so that
    /// a template is filled in before it is tokenized, as the model was trained, where nothing in it
    /// would be taken for a special token.
    fn tokens<M: Model>(&self, model: &M, document: &str) -> Vec<u32> {
        if let Some([before, behind]) = &self.around
            && is_only_text(model, document)
        {
            let text = [before, document, behind].concat();
            let tokens = model.tokenize(&text, false, true);
            // Else it could not be cut.
            if tokens.ends_with(&self.tail) {
                return tokens;
            }
        }
        let document = model.tokenize(document, false, false);
        [&*self.head, &*document, &*self.tail].concat()
    }
}

/// Whether nothing in a text would be read as a special token.
fn is_only_text<M: Model>(model: &M, text: &str) -> bool {
    model.tokenize(text, false, true) == model.tokenize(text, false, false)
}

fn cannot_rank<M: Model>(model: &M) -> Failure {
    invalid(format!(
        "a model of architecture {} without a head for ranking cannot rank; choose a reranker, such as \
         bge-reranker-v2-m3",
        model.facts().architecture
    ))
}

fn too_long(tokens: usize, most: usize, says: impl Fn(u32, u32) -> String) -> Failure {
    let [tokens, most] = [tokens, most].map(|count| u32::try_from(count).unwrap_or(u32::MAX));
    let kind = FailureKind::ContextLength { prompt_tokens: tokens, context_tokens: most };
    Failure { kind, message: says(tokens, most) }
}
