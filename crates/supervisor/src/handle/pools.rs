//! Models of open pools: which there are, and whether a name is one of them.
//!
//! Not here: the lists themselves (`elsewhere`).

use super::{Edition, Handle, edition::nearest};
use crate::{
    error::AcquireError,
    limits::{LIST_AGE_MAX, LIST_AGE_MIN, LISTED_IN_ERROR_MAX},
    model::{Model, OpenPool},
};

impl Handle {
    /// Asks the servers of open pools what they have, where that was long ago; returns after a short
    /// wait whether they have answered or not. [`Self::models`] lists what they said.
    pub async fn look_elsewhere(&self) {
        let pools = self.shared.edition().models.open_pools();
        self.shared.elsewhere.look(&pools, &pools, LIST_AGE_MAX).await;
    }

    /// The models of open pools, as far as their servers have said.
    pub(super) fn models_elsewhere(&self, edition: &Edition) -> Vec<Model> {
        let pools = edition.models.open_pools();
        let names = pools.iter().flat_map(|pool| self.names_of(pool));
        // One whose name cannot be asked for is not listed.
        names.filter_map(|name| edition.models.find(&name)).collect()
    }

    /// Whether servers have said that they have no model of this name.
    pub(super) fn is_denied_elsewhere(&self, edition: &Edition, name: &str) -> bool {
        let pools = edition.models.open_pools();
        let within = pool_of(&pools, name);
        within.is_some_and(|(pool, theirs)| self.shared.elsewhere.has(pool, theirs) == Some(false))
    }

    /// Refuses a name within an open pool that no server of it has.
    pub(super) async fn refuse_unlisted(
        &self,
        edition: &Edition,
        name: &str,
    ) -> Result<(), AcquireError> {
        let pools = edition.models.open_pools();
        let Some((pool, theirs)) = pool_of(&pools, name) else { return Ok(()) };
        let elsewhere = &self.shared.elsewhere;
        let this = std::slice::from_ref(pool);
        if elsewhere.has(pool, theirs) == Some(true) {
            // Looked at for the next one who asks.
            elsewhere.ask(this, LIST_AGE_MAX);
            return Ok(());
        }
        // It may be there since a moment ago.
        elsewhere.look(this, &pools, LIST_AGE_MIN).await;
        if elsewhere.has(pool, theirs) != Some(false) {
            return Ok(());
        }
        let there = self.names_of(pool);
        let mut offered: Vec<String> = there.iter().take(LISTED_IN_ERROR_MAX).cloned().collect();
        if let Some(more) = there.len().checked_sub(offered.len()).filter(|more| *more > 0) {
            offered.push(format!("{more} more"));
        }
        let nearest = nearest(name, there.iter().map(String::as_str));
        Err(AcquireError::UnknownModel { name: name.to_owned(), nearest, offered })
    }

    fn names_of(&self, pool: &OpenPool) -> Vec<String> {
        let names = self.shared.elsewhere.names(pool).into_iter();
        names.map(|theirs| format!("{}{theirs}", pool.prefix)).collect()
    }
}

/// The open pool that a name lies in, and its model there.
fn pool_of<'a>(pools: &'a [OpenPool], name: &'a str) -> Option<(&'a OpenPool, &'a str)> {
    pools.iter().find_map(|pool| Some((pool, name.strip_prefix(&pool.prefix)?)))
}
