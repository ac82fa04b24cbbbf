//! Models: found elsewhere, pulled, and kept. The only crate that reaches the internet.
//!
//! [`remote`] reads the header of a model that lies on a web server or on Hugging Face, at the cost
//! of a few megabytes, so that it can be planned before it is downloaded. [`outside`] is the one way out, with
//! the switch that closes it. A model of this machine is a [`manifest`] under a [`name`], its files called by
//! their [`digest`]s; both lie in the [`store`]. Not here: what a header means (`planner`).

pub mod digest;
pub mod limits;
pub mod manifest;
pub mod modelfile;
pub mod name;
pub mod outside;
pub mod remote;
pub mod store;
