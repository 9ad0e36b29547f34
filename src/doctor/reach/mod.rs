//! Whether one of AWS's APIs can be reached, stage by stage: its name, a connection, TLS and its certificate, an answer;
//! through the proxy, if there is one. Nothing is signed, and nothing of ours is sent. Not whether it does what is asked.

mod certificate;
mod endpoint;
mod place;
mod way;
mod words;

use std::sync::Arc;

pub(super) use self::endpoint::{Api, Endpoint};
use super::visit::{Finding, Found, Host};

/// Looks at the way to `api`. Where it fails nothing more can be asked of it.
pub(super) async fn check(host: Arc<Host>, api: Api) -> Found {
    look(&host, api).await.map_or_else(Found::stop, Found::from)
}

/// The same, as what is well or what is not: a fault where something that the configuration asks for needs it, otherwise
/// a warning.
pub(super) async fn look(host: &Host, api: Api) -> Result<Finding, Finding> {
    let Some(region) = host.facts.region.get() else {
        return Err(Finding::unseen(format!("without a region {} has no address", api.name())));
    };
    let endpoint = Endpoint::of(api, region, &host.ground.aws).await;
    let endpoint = endpoint.map_err(|reason| words::no_endpoint(api, region, &reason))?;
    let proxy = host.ground.aws.proxy_for(&endpoint.url);
    match way::walk(&endpoint, proxy.as_ref(), &host.ground).await {
        Ok(passed) => Ok(words::well(api, &endpoint, proxy.as_ref(), &passed)),
        Err(stuck) => {
            let place = place::of(host.facts.imds.get()).await;
            let report = words::Report { api, region, endpoint: &endpoint, proxy: proxy.as_ref(), place: &place };
            Err(report.stuck(&stuck, is_needed(host, api)))
        }
    }
}

/// Whether something that is configured does not work without it. Of STS, asking who the base credentials are is all
/// that is lost without roles.
fn is_needed(host: &Host, api: Api) -> bool {
    let Ok(loaded) = &host.ground.config else { return true };
    match api {
        Api::Sts => !loaded.config.credentials.roles.is_empty(),
        Api::Logs => loaded.config.logs.tables() > 0,
        Api::Ssm | Api::Ecr | Api::SecretsManager => true,
    }
}
