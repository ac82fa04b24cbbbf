//! Bugs at the boundary: what the fleet is told, or what is heard of its answer, is falsified, as if
//! the fleet had ignored or invented it.

use planner::fleet::{Action, Event, Fleet, Pressure, When};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lie {
    /// A worker counts as gone when it was told to leave.
    ExitAtStop,
    /// A request counts as ended when it was granted.
    ReleaseAtGrant,
    /// Ends of requests are missed.
    ReleasesLost,
    /// Requests that gave up still count as waiting.
    AbandonsLost,
    /// The alarm goes off, and nothing is done.
    TicksLost,
    /// Requests are granted twice.
    GrantsTwice,
    /// Refusals are never said.
    RefusalsLost,
    /// Pins are ignored, the operator's and the configured.
    PinsLost,
    /// Every request counts as interactive.
    PrioritiesLost,
    /// The new policy is ignored.
    PolicyLost,
    /// The machine's shortage is ignored.
    PressureLost,
    /// The operator's stop is ignored.
    StopsLost,
}

impl Lie {
    pub(crate) const ALL: [Self; 12] = [
        Self::ExitAtStop,
        Self::ReleaseAtGrant,
        Self::ReleasesLost,
        Self::AbandonsLost,
        Self::TicksLost,
        Self::GrantsTwice,
        Self::RefusalsLost,
        Self::PinsLost,
        Self::PrioritiesLost,
        Self::PolicyLost,
        Self::PressureLost,
        Self::StopsLost,
    ];

    pub(crate) fn tell(self, now: When, event: Event, fleet: &mut Fleet, heard: &mut Vec<Action>) {
        // Not even the time is told then.
        if self == Self::TicksLost && event == Event::Tick {
            return;
        }
        fleet.handle(now, self.falsified(event), heard);
        match self {
            Self::ExitAtStop => {
                let stopped: Vec<_> = heard.iter().filter_map(stopped).collect();
                for worker in stopped {
                    fleet.handle(now, Event::Exited { worker, reason: String::new() }, heard);
                }
            }
            Self::ReleaseAtGrant => {
                let granted: Vec<_> = heard.iter().filter_map(granted).collect();
                for request in granted {
                    fleet.handle(now, Event::Released { request }, heard);
                }
            }
            Self::GrantsTwice => {
                let grants = heard.iter().filter(|action| granted(action).is_some());
                let again: Vec<_> = grants.cloned().collect();
                heard.extend(again);
            }
            Self::RefusalsLost => heard.retain(|action| !matches!(action, Action::Refuse { .. })),
            Self::ReleasesLost
            | Self::AbandonsLost
            | Self::TicksLost
            | Self::PinsLost
            | Self::PrioritiesLost
            | Self::PolicyLost
            | Self::PressureLost
            | Self::StopsLost => {}
        }
    }

    fn falsified(self, event: Event) -> Event {
        use planner::fleet::Priority::Interactive;
        match (self, event) {
            (Self::ReleasesLost, Event::Released { .. })
            | (Self::AbandonsLost, Event::Abandoned { .. })
            | (Self::PinsLost, Event::PinAsked { .. })
            | (Self::PolicyLost, Event::PolicyChanged { .. })
            | (Self::StopsLost, Event::StopAsked { .. }) => Event::Tick,
            (Self::PressureLost, Event::Pressure { .. }) => {
                Event::Pressure { level: Pressure::Calm }
            }
            (Self::PinsLost, Event::Wanted { request, model, mut terms, priority, keep_alive }) => {
                terms.pinned = false;
                Event::Wanted { request, model, terms, priority, keep_alive }
            }
            (Self::PrioritiesLost, Event::Wanted { request, model, terms, keep_alive, .. }) => {
                Event::Wanted { request, model, terms, priority: Interactive, keep_alive }
            }
            (_, event) => event,
        }
    }
}

fn stopped(action: &Action) -> Option<planner::fleet::WorkerId> {
    match action {
        Action::Stop { worker, .. } => Some(*worker),
        Action::Start { .. }
        | Action::Grant { .. }
        | Action::Refuse { .. }
        | Action::Trim { .. } => None,
    }
}

fn granted(action: &Action) -> Option<planner::fleet::RequestId> {
    match action {
        Action::Grant { request, .. } => Some(*request),
        Action::Start { .. }
        | Action::Stop { .. }
        | Action::Refuse { .. }
        | Action::Trim { .. } => None,
    }
}
