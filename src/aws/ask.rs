//! One request outside the SDKs' clients, by the way that theirs take: the same proxy, certificates and clock. Not what is
//! asked, and no retries.

use aws_smithy_runtime_api::client::http::HttpConnector as _;
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use hyper_util::client::proxy::matcher::Matcher;

use super::{Environment, Error, http};
use crate::clock::Clock;

/// A proxy, as far as it may be shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proxy {
    /// Its name or address.
    pub host: String,
    /// Its port.
    pub port: u16,
}

impl Environment {
    /// The proxy that a request for `url` goes through.
    #[must_use]
    pub fn proxy_for(&self, url: &str) -> Option<Proxy> {
        let proxy = http::with_scheme(self.https_proxy.as_deref()?);
        let matcher = Matcher::builder().https(proxy).no(self.no_proxy.as_deref().unwrap_or_default()).build();
        let found = matcher.intercept(&url.parse().ok()?)?;
        let uri = found.uri();
        let usual = if uri.scheme_str() == Some("https") { 443 } else { 80 };
        Some(Proxy { host: uri.host()?.to_owned(), port: uri.port_u16().unwrap_or(usual) })
    }

    /// Sends `request` as the SDKs' clients would; the `Date` of the answer corrects `clock`.
    ///
    /// # Errors
    /// When the CA bundle can't be read.
    pub fn ask(
        &self,
        request: HttpRequest,
        clock: &Clock,
    ) -> Result<impl Future<Output = Result<HttpResponse, ConnectorError>> + use<>, Error> {
        Ok(self.client(clock)?.call(request))
    }
}
