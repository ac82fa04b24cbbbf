//! The wall to whoever keeps the models of this machine: what pulls, makes, copies and deletes them.
//!
//! Not here: where they lie and where they are from (`library`, which the gateway does not know).

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use dialect::Error;
use dialect::ollama::library::Create;
use dialect::ollama::model;
use dialect::ollama::progress::Step;
use tokio::sync::{mpsc, watch};

use crate::control::pulls::{NewPull, Pull};
use crate::routes::Site;

/// What is done, step by step: the last is [`Step::Success`] or an error. Whoever drops it wants no more of it.
pub type Steps = mpsc::Receiver<Result<Step, Error>>;

/// What goes with a model of the library beside its files.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct About {
    /// Its chat template, as it was written.
    pub template: Option<String>,
    /// Its licences, each a text.
    pub licenses: Vec<String>,
    /// The rest of it.
    pub settings: model::Settings,
}

/// What becomes of a pull.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PullChange {
    /// It stops, and keeps what it has.
    Pause,
    /// It goes on, also where it failed.
    Resume,
    /// It ends, and what it has is thrown away.
    Cancel,
}

/// Who keeps the models of this machine. All of it may touch the disk, so it is asked where blocking is allowed,
/// on a thread of the runtime. Errors are those that the client hears.
pub trait Library: Send + Sync + fmt::Debug {
    /// Begins to pull what this names, for somebody who looks on. When nobody does any more it stops, and keeps
    /// what it has.
    ///
    /// # Errors
    /// It names no source.
    fn pull(&self, source: &str) -> Result<Steps, Error>;

    /// Begins to make a model.
    ///
    /// # Errors
    /// What it is to be made of makes no sense.
    fn create(&self, create: Create) -> Result<Steps, Error>;

    /// Gives a model another name beside its own.
    ///
    /// # Errors
    /// There is no such model, or the name cannot be one.
    fn copy(&self, source: &str, destination: &str) -> Result<(), Error>;

    /// Deletes a model. Who uses it keeps it until then.
    ///
    /// # Errors
    /// There is no such model.
    fn delete(&self, name: &str) -> Result<(), Error>;

    /// Whether a file of this digest is here.
    ///
    /// # Errors
    /// It is no digest.
    fn has_blob(&self, digest: &str) -> Result<bool, Error>;

    /// Takes a file in as it comes, until nothing comes any more.
    ///
    /// # Errors
    /// What came has another digest, or cannot be kept.
    fn put_blob(&self, digest: &str, pieces: mpsc::Receiver<Bytes>) -> Result<(), Error>;

    /// What goes with a model that is served from here; `None` where there is none of this name.
    fn about(&self, name: &str) -> Option<About>;

    /// The pulls that wait, go on or have ended a moment ago, in their order.
    fn pulls(&self) -> Vec<Pull>;

    /// Puts a pull behind the others. It goes on whoever looks.
    ///
    /// # Errors
    /// It names no source, or too many wait already.
    fn begin_pull(&self, new: &NewPull) -> Result<Pull, Error>;

    /// Changes what becomes of a pull.
    ///
    /// # Errors
    /// There is none of this number, or it has ended.
    fn change_pull(&self, id: u64, change: PullChange) -> Result<Pull, Error>;

    /// Sees a change whenever [`Self::pulls`] would say something else.
    fn pulls_changed(&self) -> watch::Receiver<u64>;
}

/// The library of this hub.
pub(crate) fn of(site: &Site) -> Result<Arc<dyn Library>, Error> {
    site.library().ok_or_else(|| {
        Error::new(503, "this hub keeps no models; put their files into its models folder")
            .code("no_library")
    })
}

/// Asks it where blocking is allowed.
pub(crate) async fn ask<T: Send + 'static>(
    site: &Site,
    question: impl FnOnce(&dyn Library) -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    let library = of(site)?;
    let asked = tokio::task::spawn_blocking(move || question(&*library)).await;
    asked.unwrap_or_else(|error| Err(Error::new(500, error.to_string())))
}
