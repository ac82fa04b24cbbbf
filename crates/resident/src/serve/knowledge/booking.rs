//! The memory of indexes in the books of the hub, so that models are admitted beside what is really free.
//!
//! It is held already when it is booked, so it is said and not asked for: models leave for it when the next is to come.
//! Whoever stops it by its name (`resident stop`) closes the indexes, and the next question reads them again.

use std::sync::Arc;

use knowledge::base::Base;
use supervisor::{AcquireError, Handle, Priority, Reservation};
use tokio::{sync::Notify, task::spawn_blocking};

use crate::limits::INDEX_BOOKING_STEP_BYTES;

/// What people see. No model can be called this.
const NAME: &str = "knowledge base";

/// What is booked now.
struct Booked {
    reservation: Reservation,
    bytes: u64,
}

/// Keeps the books in step with the indexes until the hub goes down. `changed` says when to look.
pub(super) async fn keep(base: Arc<Base>, hub: Handle, changed: Arc<Notify>) {
    let mut booked: Option<Booked> = None;
    loop {
        let asked = Arc::clone(&base);
        // The runtime goes down.
        let Ok(bytes) = spawn_blocking(move || asked.memory_bytes()).await else { return };
        booked = match book(booked, whole_steps(bytes), &hub).await {
            Ok(booked) => booked,
            Err(AcquireError::ShuttingDown) => return,
            Err(error) => {
                tracing::warn!(bytes, "the memory of indexes is not in the books: {error}");
                None
            }
        };
        tokio::select! {
            () = changed.notified() => {}
            () = revoked(&mut booked) => {
                let closed = Arc::clone(&base);
                // They are closed before the memory counts as free.
                spawn_blocking(move || closed.close_indexes()).await.ok();
                booked = None;
            }
        }
    }
}

/// Few bytes are not worth a line in the books.
fn whole_steps(bytes: u64) -> u64 {
    bytes / INDEX_BOOKING_STEP_BYTES * INDEX_BOOKING_STEP_BYTES
}

/// Books so many bytes. What was booked grows; where it is to shrink it is given back and booked anew.
async fn book(
    booked: Option<Booked>,
    bytes: u64,
    hub: &Handle,
) -> Result<Option<Booked>, AcquireError> {
    let reservation = match booked {
        Some(booked) if booked.bytes == bytes => return Ok(Some(booked)),
        Some(booked) if booked.bytes < bytes => booked.reservation,
        smaller => {
            drop(smaller);
            if bytes == 0 {
                return Ok(None);
            }
            hub.reserve(NAME, 0, Priority::Background).await?
        }
    };
    reservation.measured(bytes).await;
    Ok(Some(Booked { reservation, bytes }))
}

/// Waits until the memory is wanted back.
async fn revoked(booked: &mut Option<Booked>) {
    match booked {
        Some(booked) => drop(booked.reservation.revoked().await),
        None => std::future::pending().await,
    }
}
