//! What llama.cpp says about ranking: the form of a question, and scores.

use std::ffi::CStr;

use engine::{RankForm, RankMarks};
use llama_cpp_sys_2 as sys;

use super::{Context, Weights, token_of};

/// The name of the template that says how a query and a document are put to the model.
const TEMPLATE: &CStr = c"rerank";

impl Weights {
    /// Whether it has a head for ranking, as its file says.
    pub(crate) fn ranks(&self) -> bool {
        self.architecture_metadata("pooling_type").as_deref() == Some("4")
    }

    /// How a query and a document are put to it: as llama-server does it.
    pub(crate) fn rank_form(&self) -> RankForm {
        if let Some(template) = self.template(Some(TEMPLATE)) {
            return RankForm::Template(template);
        }
        // SAFETY: getters; -1 means "none".
        let (separator, adds) = unsafe {
            (
                sys::llama_vocab_sep(self.vocabulary),
                [
                    sys::llama_vocab_get_add_bos(self.vocabulary),
                    sys::llama_vocab_get_add_eos(self.vocabulary),
                    sys::llama_vocab_get_add_sep(self.vocabulary),
                ],
            )
        };
        let separator = u32::try_from(separator).ok();
        let (begin, end) = self.boundaries();
        let [adds_begin, adds_end, adds_separator] = adds;
        RankForm::Marks(RankMarks {
            begin: begin.filter(|_| adds_begin),
            end: end.or(separator).filter(|_| adds_end),
            separator: separator.filter(|_| adds_separator),
        })
    }
}

impl Context {
    /// The first number that the head says of a sequence of the last step, in a context that pools by it.
    pub(crate) fn sequence_score(&self, sequence: usize) -> Option<f32> {
        let index = token_of(u32::try_from(sequence).ok()?);
        // SAFETY: null when the sequence has no score, else at least one number.
        let score = unsafe { sys::llama_get_embeddings_seq(self.context.as_ptr(), index).as_ref() };
        score.copied()
    }
}
