//! The servers that serve one model: which of them gets the next request, and which are well.
//!
//! Not here: how a server is asked whether it is well (`conversation`).

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use super::http::{Connection, Endpoint};
use crate::engine::Server;

/// Servers that serve the same model.
pub(super) struct Pool {
    members: Vec<Arc<Member>>,
    /// Where the next choice begins, so that equals take turns.
    turn: Mutex<usize>,
}

/// One server and what is known about it.
pub(super) struct Member {
    pub(super) endpoint: Endpoint,
    /// Requests that are under way at it.
    busy: AtomicUsize,
    /// Why it is not asked while others are well.
    down: Mutex<Option<String>>,
}

/// A request's place at a server, which counts as busy while this exists.
pub(super) struct Seat {
    member: Arc<Member>,
}

/// No server could be reached, so no byte of the request has left.
pub(super) struct Unreachable {
    /// The server that was tried last.
    pub(super) shown: String,
    /// A fragment that goes on after its name.
    pub(super) reason: String,
}

impl Pool {
    /// A pool of these; everyone counts as well until something else is seen.
    ///
    /// # Errors
    /// An address or key that cannot be used, or no server at all.
    pub(super) fn new(servers: &[Server]) -> Result<Self, String> {
        if servers.is_empty() {
            return Err("no server is configured; give at least one address".to_owned());
        }
        let member = |server| {
            let endpoint = Endpoint::new(server)?;
            Ok(Arc::new(Member { endpoint, busy: AtomicUsize::new(0), down: Mutex::new(None) }))
        };
        let members = servers.iter().map(member).collect::<Result<_, String>>()?;
        Ok(Self { members, turn: Mutex::new(0) })
    }

    pub(super) fn members(&self) -> &[Arc<Member>] {
        &self.members
    }

    /// A connection to the least busy server that is well. One that cannot be reached is marked,
    /// and the next is tried once; more would only make a client wait while everything is down.
    pub(super) async fn connect(
        &self,
        wait_max: Duration,
    ) -> Result<(Seat, Connection), Unreachable> {
        let first = self.seat(None);
        let unreachable = match first.connect(wait_max).await {
            Ok(connection) => return Ok((first, connection)),
            Err(unreachable) => unreachable,
        };
        if self.members.len() == 1 {
            return Err(unreachable);
        }
        let second = self.seat(Some(&first));
        drop(first);
        let connection = second.connect(wait_max).await?;
        Ok((second, connection))
    }

    /// A place at the least busy server other than `without`, at one that is well if there is any.
    /// When none is, trying one is the quickest way to see whether it came back.
    fn seat(&self, without: Option<&Seat>) -> Seat {
        let mut turn = locked(&self.turn);
        let (before, after) = self.members.split_at(*turn % self.members.len());
        *turn = turn.wrapping_add(1);
        let others = after
            .iter()
            .chain(before)
            .filter(|member| without.is_none_or(|without| !Arc::ptr_eq(member, &without.member)));
        // Of equals the first stays.
        let least = others.min_by_key(|member| (!member.is_well(), member.busy()));
        // Whoever excludes one has seen that there are others.
        let member = Arc::clone(least.unwrap_or(&self.members[0]));
        member.busy.fetch_add(1, Ordering::Relaxed);
        Seat { member }
    }
}

impl Member {
    pub(super) fn is_well(&self) -> bool {
        locked(&self.down).is_none()
    }

    pub(super) fn busy(&self) -> usize {
        self.busy.load(Ordering::Relaxed)
    }

    /// Notes what was seen of it. A change is worth a line in the log, each further look is not.
    pub(super) fn mark(&self, seen: Result<(), &str>) {
        let mut down = locked(&self.down);
        let server = self.endpoint.shown();
        match (down.is_some(), seen) {
            (true, Ok(())) => tracing::info!(server, "a server is well again"),
            (false, Err(reason)) => tracing::warn!(server, reason, "a server is not well"),
            (true, Err(_)) | (false, Ok(())) => {}
        }
        *down = seen.err().map(str::to_owned);
    }
}

impl Seat {
    pub(super) fn member(&self) -> &Member {
        &self.member
    }

    async fn connect(&self, wait_max: Duration) -> Result<Connection, Unreachable> {
        let endpoint = &self.member.endpoint;
        endpoint.connect(wait_max).await.map_err(|reason| {
            self.member.mark(Err(&reason));
            Unreachable { shown: endpoint.shown().to_owned(), reason }
        })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.member.busy.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Nobody panics while holding one of these locks, so a poisoned one is still sound.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool(servers: usize) -> Pool {
        let server = |number| Server { base_url: format!("http://s{number}"), key: None };
        Pool::new(&(0..servers).map(server).collect::<Vec<_>>()).unwrap()
    }

    fn shown(seat: &Seat) -> &str {
        seat.member.endpoint.shown()
    }

    #[test]
    fn equals_take_turns() {
        let pool = pool(3);
        let order: Vec<String> = (0..4).map(|_| shown(&pool.seat(None)).to_owned()).collect();
        assert_eq!(order, ["http://s0", "http://s1", "http://s2", "http://s0"]);
    }

    #[test]
    fn the_least_busy_is_chosen_whoseever_turn_it_is() {
        let pool = pool(2);
        let (_first, second) = (pool.seat(None), pool.seat(None));
        assert_eq!(shown(&second), "http://s1");
        drop(second);
        for _ in 0..3 {
            assert_eq!(shown(&pool.seat(None)), "http://s1");
        }
    }

    #[test]
    fn one_that_is_down_is_asked_only_when_all_are() {
        let pool = pool(2);
        pool.members[0].mark(Err("gone"));
        let seats = [pool.seat(None), pool.seat(None), pool.seat(None)];
        assert!(seats.iter().all(|seat| shown(seat) == "http://s1"));
        pool.members[1].mark(Err("gone"));
        assert_eq!(shown(&pool.seat(None)), "http://s0");
        pool.members[1].mark(Ok(()));
        assert_eq!(shown(&pool.seat(None)), "http://s1");
    }

    #[test]
    fn the_next_is_never_the_one_that_failed() {
        let pool = pool(2);
        let failed = pool.seat(None);
        let (_busy, _busier) = (pool.seat(None), pool.seat(Some(&failed)));
        assert_eq!(shown(&pool.seat(Some(&failed))), "http://s1");
    }

    #[test]
    fn a_pool_without_servers_is_refused() {
        assert!(Pool::new(&[]).err().unwrap().contains("no server"));
    }
}
