//! The servers that serve one model: which of them gets the next request, and which are well.
//!
//! What is seen of a server decides whether it is asked. One that cannot be reached, or does not
//! pass a look at its health, is down at once. One that breaks its answers (closes before their end,
//! says what makes no sense, answers 500) is down after [`FAULTS_MAX`] in a row, since a single
//! request may break any server. Whoever says that it is busy (429, 503) or refuses a request is
//! well. One that is down is asked again when it has passed a look, or when all are down.
//!
//! Not here: how a server is asked whether it is well (`conversation`).

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::sync::Notify;
use worker_protocol::FailureKind;

use super::http::{Connection, Endpoint};
use crate::{
    engine::Server,
    limits::{FAULTS_MAX, SERVERS_TRIED_MAX},
};

/// Servers that serve the same model.
pub(super) struct Pool {
    members: Vec<Arc<Member>>,
    /// Where the next choice begins, so that equals take turns.
    turn: Mutex<usize>,
    /// Told when a server went down.
    lost: Arc<Notify>,
}

/// One server and what is known about it.
pub(super) struct Member {
    pub(super) endpoint: Endpoint,
    /// Requests that are under way at it.
    busy: AtomicUsize,
    health: Mutex<Health>,
    lost: Arc<Notify>,
}

#[derive(Debug, Default)]
struct Health {
    /// Answers that it broke since the last one that was whole.
    faults: usize,
    /// Why it is not asked while others are well.
    down: Option<String>,
}

/// What a server's failure says about the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// Nothing of the request has left.
    Unreachable,
    /// It broke its answer.
    Broken,
    /// It has too much to do just now.
    Busy,
    /// It is well, and does not do what was asked.
    Refused,
}

/// A request's way along the servers: each once, and no more than [`SERVERS_TRIED_MAX`].
pub(super) struct Round<'a> {
    pool: &'a Pool,
    tried: Vec<Arc<Member>>,
}

/// A request's place at a server, which counts as busy while this exists.
pub(super) struct Seat {
    member: Arc<Member>,
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
        let lost = Arc::new(Notify::new());
        let member = |server| {
            Ok(Arc::new(Member {
                endpoint: Endpoint::new(server)?,
                busy: AtomicUsize::new(0),
                health: Mutex::default(),
                lost: Arc::clone(&lost),
            }))
        };
        let members = servers.iter().map(member).collect::<Result<_, String>>()?;
        Ok(Self { members, turn: Mutex::new(0), lost })
    }

    pub(super) fn members(&self) -> &[Arc<Member>] {
        &self.members
    }

    /// Why none is well, if none is.
    pub(super) fn all_down(&self) -> Option<String> {
        let reason =
            |member: &Arc<Member>| Some(format!("{} {}", member.endpoint.shown(), member.down()?));
        let reasons: Option<Vec<String>> = self.members.iter().map(reason).collect();
        reasons.map(|reasons| reasons.join("; "))
    }

    pub(super) fn is_busy(&self) -> bool {
        self.members.iter().any(|member| member.busy() > 0)
    }

    /// Waits until a server went down, also one that did so since the last wait.
    pub(super) async fn someone_went_down(&self) {
        self.lost.notified().await;
    }

    /// The first server for a request, and the way to further ones.
    pub(super) fn begin(&self) -> (Seat, Round<'_>) {
        let mut round = Round { pool: self, tried: Vec::new() };
        let seat = self.seat(&[]).unwrap_or_else(|| Seat::at(&self.members[0]));
        round.tried.push(Arc::clone(&seat.member));
        (seat, round)
    }

    /// A place at the least busy of the servers that were not tried, at one that is well if there is
    /// any. When none is, trying one is the quickest way to see whether it came back.
    fn seat(&self, tried: &[Arc<Member>]) -> Option<Seat> {
        let mut turn = locked(&self.turn);
        let (before, after) = self.members.split_at(*turn % self.members.len());
        *turn = turn.wrapping_add(1);
        let is_new = |member: &&Arc<Member>| !tried.iter().any(|other| Arc::ptr_eq(other, member));
        let others = after.iter().chain(before).filter(is_new);
        // Of equals the first stays.
        let least = others.min_by_key(|member| (!member.is_well(), member.busy()))?;
        Some(Seat::at(least))
    }
}

impl Round<'_> {
    /// The server to try after the last one failed.
    pub(super) fn next(&mut self) -> Option<Seat> {
        if self.tried.len() >= SERVERS_TRIED_MAX {
            return None;
        }
        let seat = self.pool.seat(&self.tried)?;
        self.tried.push(Arc::clone(&seat.member));
        Some(seat)
    }
}

impl Fault {
    /// What a failure of this kind says, of a server that was reached.
    pub(super) fn of(kind: FailureKind) -> Self {
        match kind {
            FailureKind::Broken => Self::Broken,
            FailureKind::Overloaded => Self::Busy,
            FailureKind::Invalid | FailureKind::Constraint | FailureKind::ContextLength { .. } => {
                Self::Refused
            }
        }
    }

    /// Whether another server may do better.
    pub(super) fn moves_on(self) -> bool {
        match self {
            Self::Unreachable | Self::Broken | Self::Busy => true,
            Self::Refused => false,
        }
    }
}

impl Member {
    pub(super) fn is_well(&self) -> bool {
        self.down().is_none()
    }

    pub(super) fn busy(&self) -> usize {
        self.busy.load(Ordering::Relaxed)
    }

    fn down(&self) -> Option<String> {
        locked(&self.health).down.clone()
    }

    /// Notes how a look at it ended.
    pub(super) fn looked_at(&self, seen: Result<(), &str>) {
        match seen {
            Ok(()) => self.is_fine(true),
            Err(reason) => self.is_down(reason),
        }
    }

    /// It does its work. `for_sure` when it was seen to do all of it.
    fn is_fine(&self, for_sure: bool) {
        let mut health = locked(&self.health);
        if for_sure {
            health.faults = 0;
        }
        if health.down.take().is_some() {
            tracing::info!(server = self.endpoint.shown(), "a server is well again");
        }
    }

    /// A change is worth a line in the log, each further look is not.
    fn is_down(&self, reason: &str) {
        let mut health = locked(&self.health);
        if health.down.replace(reason.to_owned()).is_none() {
            tracing::warn!(server = self.endpoint.shown(), reason, "a server is not well");
        }
        drop(health);
        self.lost.notify_one();
    }

    fn broke(&self, reason: &str) {
        let faults = {
            let mut health = locked(&self.health);
            health.faults = health.faults.saturating_add(1);
            health.faults
        };
        if faults >= FAULTS_MAX {
            self.is_down(&format!("broke {faults} answers in a row, the last so: it {reason}"));
        }
    }
}

impl Seat {
    fn at(member: &Arc<Member>) -> Self {
        member.busy.fetch_add(1, Ordering::Relaxed);
        Self { member: Arc::clone(member) }
    }

    pub(super) fn endpoint(&self) -> &Endpoint {
        &self.member.endpoint
    }

    pub(super) async fn connect(&self, wait_max: Duration) -> Result<Connection, String> {
        self.endpoint().connect(wait_max).await
    }

    /// The first of the answer is there.
    pub(super) fn answers(&self) {
        self.member.is_fine(false);
    }

    /// The whole answer was there.
    pub(super) fn answered(self) {
        self.member.is_fine(true);
    }

    /// The request failed here. `reason` goes on after the server's name.
    pub(super) fn failed(self, fault: Fault, reason: &str) {
        let member = Arc::clone(&self.member);
        // Before it is marked, so that whoever hears of it does not take this request for one that
        // is still being answered.
        drop(self);
        match fault {
            Fault::Unreachable => member.is_down(reason),
            Fault::Broken => member.broke(reason),
            Fault::Busy => {}
            Fault::Refused => member.is_fine(true),
        }
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
        seat.endpoint().shown()
    }

    fn first(pool: &Pool) -> Seat {
        pool.begin().0
    }

    #[test]
    fn equals_take_turns() {
        let pool = pool(3);
        let order: Vec<String> = (0..4).map(|_| shown(&first(&pool)).to_owned()).collect();
        assert_eq!(order, ["http://s0", "http://s1", "http://s2", "http://s0"]);
    }

    #[test]
    fn the_least_busy_is_chosen_whoseever_turn_it_is() {
        let pool = pool(2);
        let (_first, second) = (first(&pool), first(&pool));
        assert_eq!(shown(&second), "http://s1");
        drop(second);
        for _ in 0..3 {
            assert_eq!(shown(&first(&pool)), "http://s1");
        }
    }

    #[test]
    fn one_that_is_down_is_asked_only_when_all_are() {
        let pool = pool(2);
        pool.members[0].looked_at(Err("is gone"));
        assert_eq!(pool.all_down(), None);
        let seats = [first(&pool), first(&pool), first(&pool)];
        assert!(seats.iter().all(|seat| shown(seat) == "http://s1"));
        pool.members[1].looked_at(Err("is away"));
        assert_eq!(pool.all_down().unwrap(), "http://s0 is gone; http://s1 is away");
        assert_eq!(shown(&first(&pool)), "http://s0");
        pool.members[1].looked_at(Ok(()));
        assert_eq!(shown(&first(&pool)), "http://s1");
    }

    #[test]
    fn a_request_is_put_to_each_server_once_and_not_to_all_of_many() {
        let pool = pool(2);
        let (failed, mut round) = pool.begin();
        let _busy = first(&pool);
        assert_eq!(shown(&round.next().unwrap()), "http://s1");
        assert!(round.next().is_none());
        drop(failed);
        let pool = self::pool(SERVERS_TRIED_MAX + 1);
        let (_failed, mut round) = pool.begin();
        assert_eq!(std::iter::from_fn(|| round.next()).count(), SERVERS_TRIED_MAX - 1);
    }

    #[test]
    fn what_is_seen_of_a_server_decides_whether_it_is_well() {
        use Fault::{Broken, Busy, Refused, Unreachable};
        let many = [Broken; FAULTS_MAX];
        let (few, last) = many.split_at(FAULTS_MAX - 1);
        for (seen, well) in [
            (vec![], true),
            (vec![Unreachable], false),
            (vec![Busy; 2 * FAULTS_MAX], true),
            (few.to_vec(), true),
            (many.to_vec(), false),
            ([few, &[Busy], last].concat(), false),
            ([few, &[Refused], last].concat(), true),
            ([&many, &[Refused][..]].concat(), true),
        ] {
            let pool = pool(1);
            for fault in &seen {
                first(&pool).failed(*fault, "said no");
            }
            assert_eq!(pool.all_down().is_none(), well, "{seen:?}");
        }
        // An answer that has begun brings a server back, but only a whole one clears its record.
        let pool = pool(1);
        for fault in many {
            first(&pool).failed(fault, "said no");
        }
        let reason = pool.all_down().unwrap();
        assert_eq!(reason, "http://s0 broke 3 answers in a row, the last so: it said no");
        let seat = first(&pool);
        seat.answers();
        assert_eq!(pool.all_down(), None);
        seat.failed(Broken, "said no");
        assert!(pool.all_down().is_some());
        first(&pool).answered();
        first(&pool).failed(Broken, "said no");
        assert_eq!(pool.all_down(), None);
        assert!(!pool.is_busy());
    }

    #[test]
    fn a_pool_without_servers_is_refused() {
        assert!(Pool::new(&[]).err().unwrap().contains("no server"));
    }
}
