//! Whether the metadata service gives a token, and takes it. What it answers otherwise has its cause and cure in
//! `imds::Error`; why nothing answers is found by `imds-route`.

use std::sync::Arc;

use super::visit::{Check, Finding, Found, Host, look};
use crate::config::Config;
use crate::imds::{Error, ImdsClient, Problem};

pub(super) const CHECK: Check = Check {
    name: "imds-token",
    title: "the metadata service gives a token, and takes it",
    needs: &["imds-route"],
    after: &["ec2", "daemon"],
    look: |host| look(check(host)),
};

/// There on every instance, whatever its role and tags.
const PATH: &str = "/latest/meta-data/";

async fn check(host: Arc<Host>) -> Found {
    let config = host.config();
    let client = match ImdsClient::new(&config.imds, &host.ground.imds, &host.ground.clock) {
        Ok(client) => client,
        Err(error) => return Finding::fault(error.to_string()).cure_if_known(error.cure(None)).into(),
    };
    match client.get(PATH).await {
        // Some look-alikes have no listings; the token was taken.
        Ok(_) => taken(&host, &config, client),
        Err(error) if matches!(error.problem(), Problem::NotFound { .. }) => taken(&host, &config, client),
        Err(error) => refused(&host, &config, &client, &error),
    }
}

/// Which setting says to ask elsewhere than at the service's own address.
pub(super) fn elsewhere<'a>(host: &'a Host, config: &Config) -> Option<&'a str> {
    let configured = config.imds.endpoint.is_some().then_some("imds.endpoint");
    host.ground.imds.endpoint_setting().or(configured)
}

fn taken(host: &Host, config: &Config, client: ImdsClient) -> Found {
    let snapshot = client.snapshot();
    let _ = host.facts.imds.set(client);
    let mut findings = vec![match elsewhere(host, config) {
        Some(setting) => Finding::note(format!("{} gives tokens", snapshot.endpoint))
            .why(format!("it is asked instead of the instance's own metadata service, because {setting} says so")),
        None => Finding::ok(format!("the metadata service at {} gives tokens", snapshot.endpoint)),
    }];
    if snapshot.version == "v1" {
        findings.push(
            Finding::warning(format!("{} has no IMDSv2, and is asked without a token", snapshot.endpoint))
                .why("imds.v1_fallback = true allows that; any process that makes the host fetch a URL gets credentials then")
                .cure(format!(
                    "aws ec2 modify-instance-metadata-options --instance-id {} --http-endpoint enabled --http-tokens required",
                    host.instance_id().unwrap_or("INSTANCE_ID")
                )),
        );
    } else if config.imds.v1_fallback {
        findings.push(
            Finding::warning("imds.v1_fallback = true is not needed: this host has IMDSv2")
                .why("with it, whoever can make the token request fail gets the agent to ask without one")
                .cure("remove v1_fallback from the [imds] table, then: systemctl reload imds-agent"),
        );
    }
    Found::all(findings)
}

fn refused(host: &Host, config: &Config, client: &ImdsClient, error: &Error) -> Found {
    let endpoint = client.snapshot().endpoint;
    let is_ec2 = host.facts.is_ec2.get() == Some(&true);
    let is_nobodys = matches!(error.problem(), Problem::Absent { .. } | Problem::Disabled);
    // Whoever names an endpoint means that there is a metadata service.
    if is_nobodys && !is_ec2 && elsewhere(host, config).is_none() {
        let finding = Finding::note("there is no metadata service, and nothing says that this is an EC2 instance");
        return Found::stop(finding.evidence(error.to_string()).why_if_known(error.why()));
    }
    let evidence = format!("PUT {endpoint}/latest/api/token: {error}");
    Found::stop(
        Finding::fault(summary(error.problem()))
            .evidence(evidence)
            .why_if_known(error.why())
            .cure_if_known(error.cure(host.instance_id())),
    )
}

fn summary(problem: &Problem) -> &'static str {
    match problem {
        Problem::Disabled => "the metadata service is not asked: AWS_EC2_METADATA_DISABLED is true here",
        Problem::Off { .. } => "the metadata service is switched off for this instance",
        Problem::Blocked { .. } => "the metadata service accepts connections and never answers",
        Problem::Absent { .. } => "the metadata service closes connections without an answer",
        Problem::Throttled { .. } => "the metadata service asks to be asked less often",
        Problem::NotImds { .. } => "what answers at the metadata service's address is something else",
        Problem::TokenRefused { .. } => "the metadata service refuses a token, or the one it gave",
        _ => "the metadata service does not answer as it should",
    }
}
