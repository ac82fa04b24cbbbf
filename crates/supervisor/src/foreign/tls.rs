//! TLS to a server, for addresses that begin with `https://`: with the system's certificates, since
//! whoever runs a server for this house may have made its own.

use std::{
    net::IpAddr,
    sync::{Arc, OnceLock},
};

use rustls::{ClientConfig, crypto::ring, pki_types::ServerName};
use rustls_platform_verifier::BuilderVerifierExt as _;
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

/// How to be sure that a server is the one that was named.
#[derive(Clone)]
pub(super) struct Tls {
    pub(super) config: Arc<ClientConfig>,
    server: ServerName<'static>,
}

impl Tls {
    /// For a server of this name or address.
    ///
    /// # Errors
    /// A fragment that goes on after the server's address.
    pub(super) fn to(host: &str) -> Result<Self, String> {
        let server = match host.parse::<IpAddr>() {
            Ok(address) => ServerName::from(address),
            Err(_) => ServerName::try_from(host.to_owned())
                .map_err(|_| "names a host that no certificate can name".to_owned())?,
        };
        Ok(Self { config: config()?, server })
    }

    /// Greets the server on a new connection.
    ///
    /// # Errors
    /// A fragment that goes on after the server's name.
    pub(super) async fn greet(&self, socket: TcpStream) -> Result<TlsStream<TcpStream>, String> {
        let connector = TlsConnector::from(Arc::clone(&self.config));
        let greeted = connector.connect(self.server.clone(), socket).await;
        greeted.map_err(|error| {
            format!(
                "cannot be trusted: {error}; give it a certificate that this system trusts, or write \
                 http:// if it speaks no TLS"
            )
        })
    }
}

/// Made once: the system's certificates are some hundred.
fn config() -> Result<Arc<ClientConfig>, String> {
    static CONFIG: OnceLock<Result<Arc<ClientConfig>, String>> = OnceLock::new();
    let made = || {
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
        let builder = builder.with_safe_default_protocol_versions()?;
        let mut config = builder.with_platform_verifier()?.with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    };
    let told = |error: rustls::Error| {
        format!("is HTTPS, and this system's certificates cannot be used: {error}")
    };
    CONFIG.get_or_init(|| made().map_err(told)).clone()
}
