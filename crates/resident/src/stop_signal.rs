//! The signals that end the program: the first asks it to stop, the second ends it at once; and the
//! one that asks a hub to read its configuration again.

use crate::{exit::Code, terminal};

/// Ends with the first SIGINT or SIGTERM (elsewhere: Ctrl-C). After that, the next one ends the
/// program at once. The signals are caught from the call on.
pub(crate) fn first() -> impl Future<Output = ()> + Send + 'static {
    let mut signals = Signals::catch();
    let (tell, told) = tokio::sync::oneshot::channel();
    tokio::spawn(async move {
        signals.next().await;
        let _nobody_waits = tell.send(());
        terminal::note("stopping; once more to leave at once");
        signals.next().await;
        // Workers end by themselves when this process does: their standard input closes.
        std::process::exit(i32::from(Code::Interrupted as u8));
    });
    async {
        let _runtime_gone = told.await;
    }
}

/// Comes each time somebody asks with SIGHUP that the configuration be read again. A hub in a
/// terminal ends with it, as everything in a terminal does; elsewhere there is no such signal.
pub(crate) struct Hangups(Signals);

impl Hangups {
    /// The signals are caught from the call on.
    pub(crate) fn catch() -> Self {
        use std::io::IsTerminal as _;
        let in_terminal = std::io::stdin().is_terminal();
        Self(if in_terminal { Signals::none() } else { Signals::hangups() })
    }

    /// Waits for the next one.
    pub(crate) async fn next(&mut self) {
        self.0.next().await;
    }
}

#[cfg(unix)]
struct Signals(Vec<tokio::signal::unix::Signal>);

#[cfg(unix)]
impl Signals {
    /// Where a handler cannot be had, the signal ends the program by itself.
    fn catch() -> Self {
        use tokio::signal::unix::SignalKind;
        Self::of(&[SignalKind::interrupt(), SignalKind::terminate()])
    }

    fn hangups() -> Self {
        Self::of(&[tokio::signal::unix::SignalKind::hangup()])
    }

    fn none() -> Self {
        Self(Vec::new())
    }

    fn of(kinds: &[tokio::signal::unix::SignalKind]) -> Self {
        let caught = kinds.iter().filter_map(|kind| tokio::signal::unix::signal(*kind).ok());
        Self(caught.collect())
    }

    async fn next(&mut self) {
        std::future::poll_fn(|context| {
            let is_ready = |signal: &mut tokio::signal::unix::Signal| {
                matches!(signal.poll_recv(context), std::task::Poll::Ready(Some(())))
            };
            if self.0.iter_mut().any(is_ready) {
                std::task::Poll::Ready(())
            } else {
                std::task::Poll::Pending
            }
        })
        .await;
    }
}

#[cfg(not(unix))]
struct Signals {
    ends: bool,
}

#[cfg(not(unix))]
impl Signals {
    fn catch() -> Self {
        Self { ends: true }
    }

    fn hangups() -> Self {
        Self::none()
    }

    fn none() -> Self {
        Self { ends: false }
    }

    async fn next(&mut self) {
        if !self.ends || tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
