//! OpenAI's dialect: chat, responses, completions, embeddings, speech, transcriptions, pictures, vector stores and the
//! list of models, and in `upstream` the same as the client of another server.
//!
//! What llama.cpp, vLLM and OpenRouter clients add to it (`top_k`, `min_p`, `reasoning`, …) is
//! understood too. Not here: the Ollama and Anthropic dialects.

mod answer;
pub mod chat;
mod choices;
pub mod completion;
pub mod embedding;
pub mod image;
pub mod model;
pub mod responses;
pub mod speech;
pub mod transcription;
pub mod upstream;
pub mod vector_store;
