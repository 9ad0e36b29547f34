//! The HTTP client under the SDKs: the SDK's own, with the proxy and the CA bundle that the environment names, built
//! when first needed. It also reads the `Date` of every answer, so that a clock which IMDS could not correct is
//! corrected by the first answer of AWS. Not for IMDS: that never goes through a proxy.

use std::fmt;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use aws_smithy_http_client::Connector;
use aws_smithy_http_client::proxy::ProxyConfig;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore};
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use super::Error;
use crate::clock::Clock;

/// How long a connection to AWS, or to the proxy, may take: several round trips round the world.
const CONNECT: Duration = Duration::from_secs(5);

/// How long an unused connection is kept. AWS's load balancers drop theirs after 60 s; ours goes first.
const IDLE: Duration = Duration::from_secs(50);

/// Our HTTP client; clones share its connections.
#[derive(Clone)]
pub(super) struct Client(Arc<Inner>);

struct Inner {
    /// For `http://`: no certificates are loaded for it.
    plain: OnceLock<Connector>,
    /// For `https://`: built by the first request, since parsing the system's certificates takes time and memory.
    secure: OnceLock<Connector>,
    proxy: ProxyConfig,
    ca_bundle: Option<Vec<u8>>,
    clock: Clock,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("http::Client").finish_non_exhaustive()
    }
}

impl Client {
    pub(super) fn new(proxy: ProxyConfig, ca_bundle: Option<Vec<u8>>, clock: Clock) -> Self {
        let (plain, secure) = (OnceLock::new(), OnceLock::new());
        Self(Arc::new(Inner { plain, secure, proxy, ca_bundle, clock }))
    }
}

impl Inner {
    fn connector(&self, secure: bool) -> &Connector {
        if secure {
            self.secure.get_or_init(|| {
                let mut trusted = TrustStore::default();
                if let Some(pem) = &self.ca_bundle {
                    trusted.add_pem_certificate(pem.as_slice());
                }
                connector(trusted, self.proxy.clone())
            })
        } else {
            self.plain.get_or_init(|| connector(TrustStore::empty(), ProxyConfig::disabled()))
        }
    }
}

fn connector(trusted: TrustStore, proxy: ProxyConfig) -> Connector {
    let context = TlsContext::builder().with_trust_store(trusted).build().expect("a trust store is always accepted");
    Connector::builder()
        .connector_settings(HttpConnectorSettings::builder().connect_timeout(CONNECT).build())
        .pool_idle_timeout(IDLE)
        .proxy_config(proxy)
        .tls_provider(Provider::Rustls(CryptoMode::Ring))
        .tls_context(context)
        .build()
}

impl HttpClient for Client {
    /// The SDK's settings are not looked at: `sdk_config` leaves connection timeouts to us.
    fn http_connector(&self, _: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}

impl HttpConnector for Client {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let secure = !request.uri().starts_with("http://");
        let answer = self.0.connector(secure).call(request);
        let clock = self.0.clock.clone();
        HttpConnectorFuture::new(async move {
            let answer = answer.await?;
            if let Some(date) = answer.headers().get("date") {
                clock.observe_date(date);
            }
            Ok(answer)
        })
    }
}

/// The proxy for HTTPS; a URL without a scheme is a plain HTTP proxy, as everywhere.
pub(super) fn proxy(url: Option<&str>, no_proxy: Option<&str>) -> Result<ProxyConfig, Error> {
    let Some(url) = url else {
        return Ok(ProxyConfig::disabled());
    };
    let config = ProxyConfig::https(with_scheme(url)).map_err(|error| Error::Proxy { reason: error.to_string() })?;
    Ok(no_proxy.map_or(config.clone(), |rules| config.no_proxy(rules)))
}

/// A proxy's URL, whole.
pub(super) fn with_scheme(url: &str) -> String {
    if url.contains("://") { url.to_owned() } else { format!("http://{url}") }
}

/// The certificates of a bundle. They are parsed here because the TLS provider would panic on a bad one.
pub(super) fn read_ca_bundle(path: &Path) -> Result<Vec<u8>, Error> {
    let pem = std::fs::read(path).map_err(|source| Error::CaBundle { path: path.to_owned(), source })?;
    let bad = |reason: String| Error::NotCertificates { path: path.to_owned(), reason };
    let mut roots = rustls::RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        let certificate = certificate.map_err(|error| bad(error.to_string()))?;
        roots.add(certificate).map_err(|error| bad(error.to_string()))?;
    }
    if roots.is_empty() {
        return Err(bad("it holds none".to_owned()));
    }
    Ok(pem)
}

#[cfg(test)]
mod tests {
    use aws_smithy_types::body::SdkBody;
    use jiff::SignedDuration;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    /// Answers one connection, and tells its first line.
    async fn serve_once(answer: &'static str) -> (String, tokio::task::JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let served = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(stream.read_u8().await.unwrap());
            }
            stream.write_all(answer.as_bytes()).await.unwrap();
            String::from_utf8(head).unwrap().lines().next().unwrap().to_owned()
        });
        (address, served)
    }

    fn get(url: &str) -> HttpRequest {
        let mut request = HttpRequest::new(SdkBody::empty());
        request.set_uri(url.to_owned()).unwrap();
        request
    }

    const DATED: &str =
        "HTTP/1.1 200 OK\r\nDate: Sun, 22 Nov 2026 12:10:00 GMT\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";

    #[tokio::test]
    async fn an_answer_of_aws_corrects_the_clock_and_plain_http_loads_no_certificates() {
        let (address, served) = serve_once(DATED).await;
        let clock = Clock::stopped("2026-11-22T12:00:00Z".parse().unwrap());
        let client = Client::new(ProxyConfig::disabled(), None, clock.clone());
        client.call(get(&format!("http://{address}/"))).await.unwrap();
        assert_eq!(served.await.unwrap(), "GET / HTTP/1.1");
        assert_eq!(clock.skew(), SignedDuration::from_millis(600_500));
        assert!(client.0.secure.get().is_none());
    }

    #[tokio::test]
    async fn https_goes_through_the_proxy_and_plain_http_does_not() {
        let (address, served) = serve_once("HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n").await;
        let client = Client::new(proxy(Some(&address), None).unwrap(), None, Clock::system());
        assert!(client.call(get("https://sts.eu-west-1.amazonaws.com/")).await.is_err());
        assert_eq!(served.await.unwrap(), "CONNECT sts.eu-west-1.amazonaws.com:443 HTTP/1.1");
        let (direct, served) = serve_once(DATED).await;
        client.call(get(&format!("http://{direct}/x"))).await.unwrap();
        assert_eq!(served.await.unwrap(), "GET /x HTTP/1.1");
    }

    #[tokio::test]
    async fn no_proxy_is_honoured() {
        let proxied = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = proxied.local_addr().unwrap().to_string();
        let client = Client::new(proxy(Some(&address), Some("127.0.0.1")).unwrap(), None, Clock::system());
        // Nothing listens on port 9, and the proxy is not asked for it.
        assert!(client.call(get("https://127.0.0.1:9/")).await.is_err());
        proxied.set_nonblocking(true).unwrap();
        assert_eq!(proxied.accept().unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
    }

    #[test]
    fn a_ca_bundle_that_holds_no_certificates_is_an_error_and_no_panic() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("ca.pem");
        assert!(matches!(read_ca_bundle(&file), Err(Error::CaBundle { .. })));
        for text in ["", "hello", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
            std::fs::write(&file, text).unwrap();
            let error = read_ca_bundle(&file).unwrap_err();
            for said in [error.to_string(), error.hint()] {
                assert!(said.contains("ca.pem") && said.contains("AWS_CA_BUNDLE"), "{said}");
            }
        }
    }
}
