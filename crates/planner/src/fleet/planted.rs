//! Bugs on purpose: each can be switched on by a test, which then shows that the simulated machine
//! notices. Without the feature `planted` nothing of this is compiled in.

/// One way to get the fleet wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bug {
    /// A worker that was told to leave counts as gone.
    LeavingCountsAsGone,
    /// Memory that is about to be free is given to whoever comes first.
    ForgetsPledges,
    /// Pins mean nothing when memory is wanted.
    EvictsPinned,
    /// Exclusive groups mean nothing.
    IgnoresGroups,
    /// Every idle worker leaves when one must.
    EvictsAll,
    /// Newcomers may overtake for ever.
    NeverDrains,
    /// No request is ever refused for waiting too long.
    WaitsForEver,
    /// Background requests come first.
    BackgroundFirst,
    /// A model that is in use by turns is evicted at the first chance.
    HoldsNothing,
    /// A dear model that is idle is evicted though a cheap one will soon be.
    SparesNothing,
    /// All models count as equally dear.
    IgnoresCosts,
    /// What was evicted for a load that failed stays away.
    BringsNothingBack,
    /// A failed load leaves those who waited for it in the queue.
    FailedLoadAnswersNobody,
    /// A model that keeps failing is tried again each time.
    NeverCoolsOff,
    /// It is left alone for the same time each time.
    BackOffNeverGrows,
    /// What a worker was seen to hold is not booked.
    IgnoresMeasurements,
    /// A request's word on how long its worker stays is lost.
    ForgetsKeepAlive,
    /// Under pressure all idle workers leave at once.
    PressureStopsAll,
    /// Under pressure workers are trimmed at every event.
    TrimsAgain,
    /// What is wanted is started beside others although the machine is about to swap.
    StartsUnderPressure,
    /// The warm model is brought back although the machine is short of memory.
    WarmsUnderPressure,
    /// The warm model is started once only.
    WarmOnlyOnce,
    /// The warm model is unloaded when it was idle, and comes back, and so on.
    UnloadsWarm,
    /// Workers over a smaller budget stay although nobody uses them.
    NeverRelieves,
    /// What is not served any more stays although nobody uses it.
    KeepsWithdrawn,
    /// What is used once is remembered as if it came again.
    RemembersWhatPasses,
}

/// Whether the code is to behave as if it had this bug.
#[cfg(not(feature = "planted"))]
pub(super) const fn planted(_: Bug) -> bool {
    false
}

/// Whether the code is to behave as if it had this bug.
#[cfg(feature = "planted")]
pub(super) fn planted(bug: Bug) -> bool {
    PLANTED.get() == Some(bug)
}

/// Switches one bug on for this thread, and any other off.
#[cfg(feature = "planted")]
pub fn plant(bug: Option<Bug>) {
    PLANTED.set(bug);
}

#[cfg(feature = "planted")]
thread_local! {
    static PLANTED: std::cell::Cell<Option<Bug>> = const { std::cell::Cell::new(None) };
}

/// Whether any bug is switched on.
#[cfg(not(feature = "planted"))]
pub(super) const fn any() -> bool {
    false
}

/// Whether any bug is switched on.
#[cfg(feature = "planted")]
pub(super) fn any() -> bool {
    PLANTED.get().is_some()
}
