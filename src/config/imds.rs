//! The syntax of `[imds]`. Not its meaning: that is the room of the same name.

use std::time::Duration;

use url::Url;

use super::report::Problem;
use super::table::{Located, Reader};
use super::units::Span;
use crate::imds::{EndpointMode, Settings};

/// What `endpoint_mode` can be.
pub(super) const ENDPOINT_MODES: [(&str, EndpointMode); 3] =
    [("ipv4", EndpointMode::Ipv4), ("ipv6", EndpointMode::Ipv6), ("auto", EndpointMode::Auto)];

/// What IMDS accepts in `X-aws-ec2-metadata-token-ttl-seconds`: 1 to 21600 s.
const TOKEN_TTL: (Span, Span) = (Span(Duration::from_secs(1)), Span(Duration::from_hours(6)));

pub(super) fn read(mut table: Reader<'_>) -> Settings {
    let default = Settings::default();
    let endpoint = table.string("endpoint").and_then(|text| endpoint(&table, &text));
    let endpoint_mode = table.choice("endpoint_mode", &ENDPOINT_MODES).unwrap_or(default.endpoint_mode);
    let token_ttl = table.quantity("token_ttl", "6h", Span::parse, TOKEN_TTL).map_or(default.token_ttl, |span| span.0);
    let v1_fallback = table.boolean("v1_fallback").unwrap_or(default.v1_fallback);
    table.finish();
    Settings { endpoint, endpoint_mode, token_ttl, v1_fallback }
}

/// Scheme, host and perhaps a port, without the slash behind them.
fn endpoint(table: &Reader<'_>, text: &Located<String>) -> Option<String> {
    let fault = match Url::parse(&text.value) {
        Err(error) => format!("is not a URL: {error}"),
        Ok(url) if url.scheme() != "http" => "must begin with http://, which is all that IMDS speaks".to_owned(),
        Ok(url) if url.path() != "/" || url.query().is_some() || url.fragment().is_some() => {
            "must end behind the host and port; IMDS's paths are added to it".to_owned()
        }
        Ok(url) if !url.username().is_empty() || url.password().is_some() => {
            "can't hold a user or a password; IMDS knows none".to_owned()
        }
        Ok(_) => return Some(text.value.trim_end_matches('/').to_owned()),
    };
    let hint = "as in \"http://169.254.169.254\" or \"http://[fd00:ec2::254]\"";
    table.report().add(Problem::new(text.place, format!("`endpoint` {fault}")).hint(hint));
    None
}
