//! Every bound of the fleet, with its reason.

use std::time::Duration;

/// Requests that may wait, over all models. A person's machine answers a few at a time; whoever
/// would be behind hundreds of others is better told so at once.
pub const WAITING_MAX: usize = 512;

/// Requests that may wait when a background request comes. Half of [`WAITING_MAX`], so that a batch
/// job cannot take the last place from a person.
pub const BACKGROUND_WAITING_MAX: usize = 256;

/// Requests that may use one worker at once. The engine batches far fewer and queues the rest;
/// beyond this its queue would only hide that the fleet is overloaded.
pub const LEASES_PER_WORKER_MAX: usize = 256;

/// How long one request waits at most before it is refused, unless its model is loading, which
/// has its own end. The official clients give up after 10 minutes as well.
pub const WAIT_MAX: Duration = Duration::from_secs(600);

/// How long newcomers of a loaded model may overtake a request that waits for its memory. About
/// one answer: shorter would reload models all day, longer would feel like a hang.
pub const FAIR_WAIT: Duration = Duration::from_secs(15);

/// The same for a background request, which also lets interactive ones go first for as long as
/// that. Nobody looks at a clock for it, yet a busy afternoon must not put it off until the night.
pub const BACKGROUND_FAIR_WAIT: Duration = Duration::from_secs(120);

/// An idle model that others asked for while its memory was wanted may be held for all of
/// [`FAIR_WAIT`]; after each switch where nobody did, for a part less, and soon not at all. So many
/// parts it is counted in.
pub const HOLD_PARTS_MAX: u32 = 4;

/// What a model may be held for before anything is known of it: half of [`FAIR_WAIT`], twice at most
/// for one person who goes from model to model, saves two clients who take turns a reload each.
pub const HOLD_PARTS_FIRST: u32 = 2;

/// How long a request whose turn has come may wait for a worker that has just loaded, instead of an
/// idle one that is dear to bring back. Loads and first answers mostly end within it; a longer answer
/// must not cost the one who waits more than another turn.
pub const SPARING_WAIT: Duration = Duration::from_secs(15);

/// How many times dearer the idle one must be for that: somebody waits meanwhile, so it must be
/// clearly worth it.
pub const WORTH_WAITING_FOR: u64 = 2;

/// A model counts as hot until it was silent for this many times its usual silence. Of requests
/// that come at random moments one in seven comes later than twice the mean.
pub const USUAL_SILENCES: u32 = 2;

/// The usual silence of a model that was wanted only once. It stands behind those that are asked
/// for every minute, and before those that nobody wanted for long.
pub const USUAL_SILENCE_FIRST: Duration = Duration::from_secs(120);

/// A longer silence counts as this, so that one night does not hide how busy the days are.
pub const SILENCE_MAX: Duration = Duration::from_secs(600);

/// A shorter silence counts as this where time is divided by it; a burst of requests is one visit.
pub const SILENCE_MIN: Duration = Duration::from_secs(1);

/// Bytes a second that loading is expected to take at most when nobody has a better figure; a plain
/// solid-state disk gives as much.
pub const LOAD_BYTES_PER_S: u64 = 2_000_000_000;

/// Idle workers of which every set is weighed when some must leave: at most 4,096 sets, which takes
/// microseconds. Of more, which no personal machine holds, the cheapest leave in turn.
pub const VICTIMS_WEIGHED_MAX: usize = 12;

/// When nothing was wanted for this long, the warm model is brought back. A person who turned away
/// for five minutes will not notice, one who only reads an answer is not disturbed.
pub const WARM_AFTER_IDLE: Duration = Duration::from_secs(300);

/// Between an exit and the next idle worker that leaves because the machine is short of memory: the
/// system's own figure is an average of seconds, and follows what was freed that late.
pub const PRESSURE_SETTLES: Duration = Duration::from_secs(2);

/// Models of which the fleet remembers terms and habits beside those that are resident or waited
/// for; the one that was wanted longest ago is forgotten first.
pub const REMEMBERED_MODELS_MAX: usize = 256;

/// A model that failed this often within [`FAILURE_WINDOW`] is not tried for [`COOL_OFF`]. Once may
/// be bad luck and twice an impatient person.
pub const LOAD_FAILURES_MAX: usize = 3;

/// How long a failure is remembered.
pub const FAILURE_WINDOW: Duration = Duration::from_secs(120);

/// How long a model that keeps failing is left alone. Long enough that a client in a retry loop
/// does not keep the disk busy, short enough for a person who has just freed some memory. It
/// doubles with each failure after that.
pub const COOL_OFF: Duration = Duration::from_secs(60);

/// The longest that a model is left alone. A person who mended something and waits for it has
/// changed the file or restarted the hub by then.
pub const COOL_OFF_MAX: Duration = Duration::from_secs(900);

/// A model that has not failed for this long starts with a clean record: longer than
/// [`COOL_OFF_MAX`], or else the longest wait would clear it.
pub const FAILURES_FORGOTTEN_AFTER: Duration = Duration::from_secs(1_800);

/// Models whose failures are remembered; the one that failed longest ago is forgotten first. A
/// person has fewer models, so this only stops a client that keeps changing a file.
pub const FAILING_MODELS_MAX: usize = 64;
