//! Engines: starts, guards, watches, measures and stops the processes that serve models, talks to
//! servers that run already, and carries out what `planner::fleet` decides.
//!
//! One task ([`start`]) owns the fleet; everything else talks to it through [`Handle`]. A caller
//! acquires a [`Lease`] on a model, asks it for [`Answer`]s, and drops both; a dropped wait, lease
//! or answer is abandoned, released or cancelled by itself.
//!
//! Not here: which model may be resident (`planner`), what the frames mean (`worker-protocol`),
//! HTTP (`gateway`), and where models come from (whoever implements [`Models`]).

mod answer;
mod assignment;
mod bytes;
pub mod chore;
mod config;
mod elsewhere;
mod engine;
mod environment;
mod error;
mod execute;
mod foreign;
pub mod guard;
mod guarded;
mod habits;
mod handle;
mod happening;
pub mod journal;
mod lease;
pub mod limits;
mod link;
mod log;
mod memory;
mod model;
mod preflight;
mod pressure;
mod process_tree;
mod report;
mod reservation;
mod run_loop;
mod senses;
pub mod tool;
mod worker;

pub use answer::{Answer, Loss};
pub use chore::Chore;
pub use config::{Config, KeepMode, KeepSettings, Patience, Settings};
pub use engine::{
    Engine, GgufFile, ManagedCommand, Manner, ProjectorFile, Ready, Server, StopSignal, Upstream,
};
pub use error::{AcquireError, StopError};
pub use foreign::{Delivered, Errand};
pub use habits::Habits;
pub use handle::{Edition, Form, Handle, Outlook, Progress, Purpose, Served, Stage, Watch, start};
pub use happening::Happening;
pub use lease::{Lease, Wish};
pub use model::{
    Facts, Group, HeaderFacts, Kept, Model, ModelSummary, Models, Need, OpenPool, Residence, Skills,
};
/// The words in which the fleet explains itself.
pub use planner::fleet;
pub use planner::fleet::{Pressure, Priority};
/// What is in the header of a model's file.
pub use planner::gguf;
pub use planner::{
    footprint::{CacheType, Place},
    roles::{self, Roles},
};
pub use preflight::{guessing_by_default, read_header, read_projector};
pub use report::{Metrics, ModelMetrics, Requests, Resident, ResidentState};
pub use reservation::Reservation;
pub use tool::{Content, Input, Output, Serves, Tool, ToolError, ToolOutput};
