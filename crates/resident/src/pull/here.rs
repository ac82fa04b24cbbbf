//! A pull that this process does, when no hub runs.

use std::{pin::pin, sync::Arc};

use library::{
    pull::{self, Progress},
    source::Source,
    transfer::Rate,
};
use tokio::sync::watch;

use super::{Ended, Order, Pull, hub::interrupt, screen::Screen, state::State};
use crate::{
    config::Settings,
    exit::{self, Code},
};

/// Pulls and shows it until it ends. Ctrl-C pauses it.
///
/// # Errors
/// With the code of what went wrong.
pub(super) async fn pull(
    order: &Order,
    arguments: &Pull,
    settings: &Settings,
    screen: &mut Screen,
) -> anyhow::Result<Ended> {
    let (access, store) = (super::access(settings)?, super::store(settings)?);
    let mut terms = super::terms(settings);
    terms.connections = arguments.connections.unwrap_or(terms.connections);
    if let Some(bytes_per_s) = arguments.limit_rate {
        terms.rate = Some(Arc::new(Rate::new(bytes_per_s)));
    }
    let source = Source::parse(&order.source);
    // What was resolved is a source; were it none, its text says enough.
    let source = source.ok_or_else(|| exit::error(Code::Model, order.source.clone()))?;
    let source = source.map_err(super::of_source)?;
    let (events, mut seen) = watch::channel(Progress::default());
    let mut pulling =
        pin!(pull::pull(&access, &store, &terms, &source, order.name.clone(), &events));
    let mut interrupt = pin!(interrupt());
    loop {
        let state = State::of(&seen.borrow_and_update());
        screen.show(&state)?;
        tokio::select! {
            pulled = &mut pulling => {
                return pulled.map(|manifest| Ended::Done(manifest.name)).map_err(super::end::of_pull);
            }
            () = &mut interrupt => return Ok(Ended::Paused(State::of(&seen.borrow()))),
            // Its sender lives as long as the pull.
            _sender = seen.changed() => {}
        }
    }
}
