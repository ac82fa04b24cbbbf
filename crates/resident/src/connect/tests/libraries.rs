//! What libraries are told, to the letter.

use expect_test::expect;

use super::{check, subject, with_key};

#[test]
fn langchain() {
    check(
        "langchain",
        &subject(),
        &expect![[r#"
        == in Python:
        # pip install langchain-openai
        from langchain_openai import ChatOpenAI

        model = ChatOpenAI(
            model="qwen3-8b",
            base_url="http://127.0.0.1:11434/v1",
            api_key="unused",
            use_responses_api=False,
        )

    "#]],
    );
    check(
        "langchain",
        &with_key(),
        &expect![[r#"
        == in Python:
        # pip install langchain-openai
        import os
        from langchain_openai import ChatOpenAI

        model = ChatOpenAI(
            model="qwen3-8b",
            base_url="http://127.0.0.1:11434/v1",
            api_key=os.environ["RESIDENT_KEY"],
            use_responses_api=False,
        )

        from langchain_openai import OpenAIEmbeddings

        embeddings = OpenAIEmbeddings(
            model="bge-m3",
            base_url="http://127.0.0.1:11434/v1",
            api_key=os.environ["RESIDENT_KEY"],
            check_embedding_ctx_length=False,  # texts, not OpenAI's tokens
        )

    "#]],
    );
}

#[test]
fn llamaindex() {
    check(
        "llamaindex",
        &subject(),
        &expect![[r#"
        == in Python:
        # pip install llama-index-llms-openai-like
        from llama_index.llms.openai_like import OpenAILike

        llm = OpenAILike(
            model="qwen3-8b",
            api_base="http://127.0.0.1:11434/v1",
            api_key="unused",
            context_window=40960,
            is_chat_model=True,
            is_function_calling_model=True,
        )

    "#]],
    );
    check(
        "llamaindex",
        &with_key(),
        &expect![[r#"
        == in Python:
        # pip install llama-index-llms-openai-like llama-index-embeddings-openai-like
        import os
        from llama_index.llms.openai_like import OpenAILike

        llm = OpenAILike(
            model="qwen3-8b",
            api_base="http://127.0.0.1:11434/v1",
            api_key=os.environ["RESIDENT_KEY"],
            context_window=40960,
            is_chat_model=True,
            is_function_calling_model=True,
        )

        from llama_index.embeddings.openai_like import OpenAILikeEmbedding

        embeddings = OpenAILikeEmbedding(
            model_name="bge-m3",
            api_base="http://127.0.0.1:11434/v1",
            api_key=os.environ["RESIDENT_KEY"],
        )

    "#]],
    );
}
