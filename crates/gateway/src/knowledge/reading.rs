//! What is read of a file: around a passage that was found, or from a passage of a file on.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Place;

/// Body of `POST /api/knowledge/read`: either a passage, or a path.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Read {
    /// The number of a passage, as a search gives it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub passage: Option<u64>,
    /// How many passages before and after it are read too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub neighbours: Option<u32>,
    /// A file of a collection, as a search gives it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// The file's collection; any where none is named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub collection: Option<String>,
    /// Which of the file's passages is the first, from 1, which it is unless it is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<u32>,
    /// How many passages are read at most; 8 unless it is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
}

/// What was read.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Reading {
    /// The collection.
    pub collection: String,
    /// The file.
    pub path: String,
    /// What the file is, such as `pdf`.
    pub kind: String,
    /// What it calls itself.
    pub title: Option<String>,
    /// What it says there.
    pub text: String,
    /// The passages that this is made of, in their order.
    pub passages: Vec<Stretch>,
    /// Which of the file's passages the first is, from 1.
    pub from: u32,
    /// How many passages the file has.
    pub of: u32,
    /// Which passage comes next, to go on with `from`; null at the end of the file.
    pub next: Option<u32>,
}

/// A passage of what was read.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Stretch {
    /// Its number.
    pub id: u64,
    /// The headings that it stands below, the highest first.
    pub headings: Vec<String>,
    /// Where it begins.
    pub place: Place,
}
