//! Models from elsewhere: the only crate that reaches the internet.
//!
//! [`remote`] reads the header of a model that lies on a web server or on Hugging Face, at the cost
//! of a few megabytes, so that it can be planned before it is downloaded. Not here: what a header
//! means (`planner`), and models that lie on this machine (`resident`).

pub mod limits;
pub mod remote;
