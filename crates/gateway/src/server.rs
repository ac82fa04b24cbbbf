//! Connections: accepted up to a bound, each with time-outs, closed in peace when the hub stops.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use supervisor::Handle;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::limits::{CONNECTIONS_MAX, HEADER_WAIT_MAX, SHUTDOWN_WAIT_MAX};
use crate::routes::Peer;
use crate::{Config, Door, routes};

/// The port is ours; [`Server::run`] serves on it.
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    router: Router,
    door: Door,
}

impl Server {
    pub(crate) fn new(config: Config, hub: Handle, listener: TcpListener) -> io::Result<Self> {
        let address = listener.local_addr()?;
        let listen = config.listen;
        let (router, site) = routes::router(config, address, hub);
        Ok(Self { listener, address, router, door: Door::new(site, listen, address) })
    }

    /// The way to change who may ask while it runs.
    #[must_use]
    pub fn door(&self) -> Door {
        self.door.clone()
    }

    /// The address in force; a port of 0 was replaced by the system.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `shutdown` comes true, then lets open answers end for a bounded time.
    pub async fn run(self, shutdown: impl Future<Output = ()>) {
        let connections = GracefulShutdown::new();
        let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        tokio::pin!(shutdown);
        loop {
            let accept = accept(&self.listener, Arc::clone(&places));
            let (stream, place) = tokio::select! {
                accepted = accept => accepted,
                () = &mut shutdown => break,
            };
            self.serve(stream, place, &connections);
        }
        drop(self.listener);
        if tokio::time::timeout(SHUTDOWN_WAIT_MAX, connections.shutdown()).await.is_err() {
            tracing::info!("some clients did not end in time and are cut off");
        }
    }

    fn serve(
        &self,
        stream: TcpStream,
        place: OwnedSemaphorePermit,
        connections: &GracefulShutdown,
    ) {
        // Tokens are small and each should leave at once.
        let _ = stream.set_nodelay(true);
        // One that is gone already is nobody near.
        let peer = stream.peer_addr().ok().map(|address| Peer(address.ip().to_canonical()));
        let router = TowerToHyperService::new(self.router.clone());
        let service = service_fn(move |mut request: Request<Incoming>| {
            peer.map(|peer| request.extensions_mut().insert(peer));
            router.call(request)
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEADER_WAIT_MAX)
            .serve_connection(TokioIo::new(stream), service);
        let connection = connections.watch(connection);
        tokio::spawn(async move {
            let _place = place;
            // A client that breaks off is no event of ours.
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection broke");
            }
        });
    }
}

/// The next connection, once there is a place for it. An error of accept (too many open files, a
/// client that was gone at once) concerns one connection, so it is tried again.
async fn accept(
    listener: &TcpListener,
    places: Arc<Semaphore>,
) -> (TcpStream, OwnedSemaphorePermit) {
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else {
            // The semaphore is never closed.
            std::future::pending::<()>().await;
            continue;
        };
        match listener.accept().await {
            Ok((stream, _)) => return (stream, place),
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                // Without open files left an immediate retry would spin.
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            }
        }
    }
}
