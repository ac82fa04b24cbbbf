//! Libraries for programs: LangChain, LlamaIndex. What is known of each has its source.

use super::{
    client::Piece,
    places::Places,
    subject::{KEY_VARIABLE, NO_KEY, Subject},
};

/// OpenAI's chat and embeddings. It may ask for responses by itself unless told not to, and sends texts as
/// numbers of OpenAI's tokens, which mean something else to other models, unless told not to.
/// <https://reference.langchain.com/python/langchain-openai/chat_models/base/ChatOpenAI>,
/// <https://reference.langchain.com/python/langchain-openai/embeddings/base/OpenAIEmbeddings>
pub(super) fn langchain(subject: &Subject, _places: &Places) -> Vec<Piece> {
    let (v1, key) = (subject.v1(), key(subject));
    let mut code = format!(
        "from langchain_openai import ChatOpenAI\n\n\
         model = ChatOpenAI(\n    \
             model=\"{}\",\n    \
             base_url=\"{v1}\",\n    \
             api_key={key},\n    \
             use_responses_api=False,\n\
         )\n",
        subject.model.name
    );
    if let Some(embedder) = &subject.embedder {
        code.push_str(&format!(
            "\nfrom langchain_openai import OpenAIEmbeddings\n\n\
             embeddings = OpenAIEmbeddings(\n    \
                 model=\"{embedder}\",\n    \
                 base_url=\"{v1}\",\n    \
                 api_key={key},\n    \
                 check_embedding_ctx_length=False,  # texts, not OpenAI's tokens\n\
             )\n"
        ));
    }
    python("pip install langchain-openai", subject, code)
}

/// OpenAI's chat and embeddings, by the classes for servers that are like OpenAI's: the others look names
/// of models up in a list. What they assume without being told is a model of 3,900 tokens that cannot chat.
/// <https://developers.llamaindex.ai/python/framework-api-reference/llms/openai_like>,
/// <https://pypi.org/project/llama-index-embeddings-openai-like/>
pub(super) fn llamaindex(subject: &Subject, _places: &Places) -> Vec<Piece> {
    let (v1, key) = (subject.v1(), key(subject));
    let tools = if subject.model.tools { "True" } else { "False" };
    let mut code = format!(
        "from llama_index.llms.openai_like import OpenAILike\n\n\
         llm = OpenAILike(\n    \
             model=\"{}\",\n    \
             api_base=\"{v1}\",\n    \
             api_key={key},\n    \
             context_window={},\n    \
             is_chat_model=True,\n    \
             is_function_calling_model={tools},\n\
         )\n",
        subject.model.name,
        subject.context_tokens()
    );
    let mut install = "pip install llama-index-llms-openai-like".to_owned();
    if let Some(embedder) = &subject.embedder {
        install.push_str(" llama-index-embeddings-openai-like");
        code.push_str(&format!(
            "\nfrom llama_index.embeddings.openai_like import OpenAILikeEmbedding\n\n\
             embeddings = OpenAILikeEmbedding(\n    \
                 model_name=\"{embedder}\",\n    \
                 api_base=\"{v1}\",\n    \
                 api_key={key},\n\
             )\n"
        ));
    }
    python(&install, subject, code)
}

/// The key as an expression of Python.
fn key(subject: &Subject) -> String {
    match subject.has_key {
        true => format!("os.environ[\"{KEY_VARIABLE}\"]"),
        false => format!("\"{NO_KEY}\""),
    }
}

fn python(install: &str, subject: &Subject, code: String) -> Vec<Piece> {
    let import = if subject.has_key { "import os\n" } else { "" };
    vec![Piece::Text {
        heading: "in Python:".to_owned(),
        text: format!("# {install}\n{import}{code}"),
    }]
}
