//! What the servers of open pools have, by their own lists. A list is asked for again when somebody
//! wants to know and it has grown old; meanwhile, and while a server does not answer, the old one
//! counts.
//!
//! Not here: asking a server (`foreign`), and which pools there are ([`crate::Models`]).

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::watch,
    time::{Instant, timeout},
};

use crate::{engine::Server, foreign::served_models, limits::LIST_WAIT_MAX, model::OpenPool};

/// The lists of all servers of open pools.
#[derive(Debug, Default)]
pub(crate) struct Elsewhere {
    /// As many as the pools that were last asked about have.
    lists: Mutex<HashMap<Server, Arc<Mutex<List>>>>,
}

/// What one server has.
#[derive(Debug, Default)]
struct List {
    /// `None` while it has not said: it may have anything.
    names: Option<BTreeSet<String>>,
    /// When it was last asked, whatever came of it.
    asked: Option<Instant>,
    /// Closed as soon as it has answered, while it is being asked.
    under_way: Option<watch::Receiver<()>>,
}

impl Elsewhere {
    /// Asks the servers of these pools whose lists are older than that, and waits for them, but not
    /// for long. `all` are the pools that there are.
    pub(crate) async fn look(&self, pools: &[OpenPool], all: &[OpenPool], age_max: Duration) {
        self.forget_others(all);
        let answers = self.ask(pools, age_max);
        let answered = async {
            for mut answer in answers {
                // Nothing is ever sent; the end is what is waited for.
                while answer.changed().await.is_ok() {}
            }
        };
        // Who takes longer is heard by the next one who asks.
        timeout(LIST_WAIT_MAX, answered).await.ok();
    }

    /// The same without a wait.
    pub(crate) fn ask(&self, pools: &[OpenPool], age_max: Duration) -> Vec<watch::Receiver<()>> {
        let servers = pools.iter().flat_map(|pool| &pool.servers);
        servers.filter_map(|server| ask(server, &self.list(server), age_max)).collect()
    }

    /// The names of a pool's models, as its servers call them.
    pub(crate) fn names(&self, pool: &OpenPool) -> BTreeSet<String> {
        let lists = pool.servers.iter().map(|server| self.list(server));
        lists.flat_map(|list| locked(&list).names.clone().unwrap_or_default()).collect()
    }

    /// Whether some server of a pool has a model of this name; `None` when one that has not said may
    /// have it.
    pub(crate) fn has(&self, pool: &OpenPool, name: &str) -> Option<bool> {
        let mut all_said = true;
        for server in &pool.servers {
            let list = self.list(server);
            match &locked(&list).names {
                Some(names) if is_among(names, name) => return Some(true),
                Some(_) => {}
                None => all_said = false,
            }
        }
        all_said.then_some(false)
    }

    fn list(&self, server: &Server) -> Arc<Mutex<List>> {
        Arc::clone(locked(&self.lists).entry(server.clone()).or_default())
    }

    fn forget_others(&self, all: &[OpenPool]) {
        let is_there = |server: &Server| all.iter().any(|pool| pool.servers.contains(server));
        locked(&self.lists).retain(|server, _| is_there(server));
    }
}

/// Ollama lists `name:latest` for what people call `name`.
fn is_among(names: &BTreeSet<String>, name: &str) -> bool {
    names.contains(name) || names.contains(&format!("{name}:latest"))
}

/// Asks a server for its list if that is older than this. The end of what is returned is the answer.
fn ask(server: &Server, list: &Arc<Mutex<List>>, age_max: Duration) -> Option<watch::Receiver<()>> {
    let mut known = locked(list);
    if let Some(under_way) = &known.under_way {
        return Some(under_way.clone());
    }
    if known.asked.is_some_and(|asked| asked.elapsed() < age_max) {
        return None;
    }
    let (answered, under_way) = watch::channel(());
    known.under_way = Some(under_way.clone());
    let (server, list) = (server.clone(), Arc::clone(list));
    tokio::spawn(async move {
        let said = served_models(&server).await;
        let mut list = locked(&list);
        match said {
            // A server that lists nothing may be one that only has no list.
            Ok(names) => {
                list.names = Some(names.into_iter().collect())
                    .filter(|names: &BTreeSet<_>| !names.is_empty())
            }
            Err(reason) => tracing::debug!(reason, "a server does not list its models"),
        }
        list.asked = Some(Instant::now());
        list.under_way = None;
        drop(answered);
    });
    Some(under_way)
}

/// Nobody panics while holding one of these locks, so a poisoned one is still sound.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
