//! Models: found elsewhere, pulled, and kept. The only crate that reaches the internet.
//!
//! [`source`] is what people write to name a model elsewhere, and [`sources`] say what there is under that name.
//! [`remote`] reads its header at the cost of a few megabytes, so that it can be planned before it is downloaded.
//! [`outside`] is the one way out, with the switch that closes it. A model of this machine is a [`manifest`] under
//! a [`name`], its files called by their [`digest`]s; both lie in the [`store`]. A [`pull`] brings one here, file by file
//! by [`transfer`], and a [`queue`] several. Not here: what a header means (`planner`).

pub mod digest;
pub mod limits;
pub mod manifest;
pub mod modelfile;
pub mod name;
pub mod outside;
mod private;
pub mod projector;
pub mod pull;
pub mod queue;
pub mod remote;
pub mod source;
pub mod sources;
pub mod store;
pub mod template;
pub mod transfer;
pub mod wanted;
