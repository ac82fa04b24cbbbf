//! A person's own files, found by what they say: folders become passages, passages are found and cited.
//!
//! The path of a file is `source` (which files there are), `extract` (what one says, in a process of its own),
//! `chunk` (passages of a size that an embedder takes), `store` (SQLite, the truth) and `index` (vectors and words,
//! which can be made anew from the store at any time); `ingest` walks it. The path of a question is `words` and the
//! embedder, `index`, `search`. `document` has the words that all of them share. Not here: models (the hub supplies
//! them through traits), HTTP, and the internet.

pub mod chunk;
pub mod document;
pub mod index;
pub mod ingest;
pub mod limits;
pub mod search;
pub mod source;
pub mod store;
pub mod words;
