//! The signals that end the program: the first asks it to stop, the second ends it at once.

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

#[cfg(unix)]
struct Signals(Vec<tokio::signal::unix::Signal>);

#[cfg(unix)]
impl Signals {
    /// Where a handler cannot be had, the signal ends the program by itself.
    fn catch() -> Self {
        use tokio::signal::unix::{SignalKind, signal};
        let kinds = [SignalKind::interrupt(), SignalKind::terminate()];
        Self(kinds.into_iter().filter_map(|kind| signal(kind).ok()).collect())
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
struct Signals;

#[cfg(not(unix))]
impl Signals {
    fn catch() -> Self {
        Self
    }

    async fn next(&mut self) {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
