//! Where the policy is for: from the command line, the configuration, the environment, else the metadata service, which is
//! not waited for long. Not what is done with it.

use std::collections::BTreeSet;
use std::time::Duration;

use super::{Args, Error};
use crate::aws::partition;
use crate::clock::Clock;
use crate::config::Config;
use crate::imds::{self, ImdsClient};
use crate::policy::{Document, Place};

/// How long the metadata service has: it answers in milliseconds where there is one, and this is printed elsewhere, too.
const PATIENCE: Duration = Duration::from_secs(2);

/// What is known.
pub(super) struct Whereabouts {
    pub(super) place: Place,
    /// The name of the instance's role.
    pub(super) role: Option<String>,
}

pub(super) fn region(text: &str) -> Result<String, String> {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let is_region =
        text.split('-').count() >= 3 && text.ends_with(|c: char| c.is_ascii_digit()) && text.chars().all(plain);
    if is_region { Ok(text.to_owned()) } else { Err("expected a region's name, as in eu-west-1".to_owned()) }
}

pub(super) fn account(text: &str) -> Result<String, String> {
    let is_account = text.len() == 12 && text.bytes().all(|digit| digit.is_ascii_digit());
    if is_account { Ok(text.to_owned()) } else { Err("expected an account's twelve digits".to_owned()) }
}

/// A name as IAM takes it (`CreateRole` in the API reference), without a path.
pub(super) fn role(text: &str) -> Result<String, String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_+=,.@-".contains(c);
    let is_name = (1..=64).contains(&text.len()) && text.chars().all(plain);
    if is_name { Ok(text.to_owned()) } else { Err("expected a role's name, as in web".to_owned()) }
}

pub(super) fn find(args: &Args, config: &Config) -> Result<Whereabouts, Error> {
    let variable = |name: &str| std::env::var(name).ok().filter(|value| region(value).is_ok());
    let of_environment = || variable("AWS_REGION").or_else(|| variable("AWS_DEFAULT_REGION"));
    let mut found = Whereabouts {
        place: Place {
            partition: String::new(),
            region: args.region.clone().or_else(|| config.region.clone()).or_else(of_environment),
            account: args.account_id.clone(),
        },
        role: None,
    };
    let needs_role = args.trust_of.is_some() && args.role.is_none();
    if found.place.region.is_none() || found.place.account.is_none() || needs_role {
        ask(&mut found, config)?;
    }
    let of_role = || {
        let roles = config.credentials.roles.iter().map(|role| role.role_arn.text());
        let mut named = roles.filter_map(|arn| arn.split(':').nth(1).filter(|name| name.starts_with("aws")));
        named.next().map(str::to_owned)
    };
    let of_region = found.place.region.as_deref().map(partition).map(str::to_owned);
    found.place.partition = of_region.or_else(of_role).unwrap_or_else(|| "aws".to_owned());
    Ok(found)
}

/// Asks the metadata service for what is still missing.
fn ask(found: &mut Whereabouts, config: &Config) -> Result<(), Error> {
    let environment = imds::Environment::from_process().map_err(Error::Environment)?;
    let event_loop = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Error::Loop)?;
    event_loop.block_on(async {
        let Ok(imds) = ImdsClient::new(&config.imds, &environment, &Clock::system()) else { return };
        let asked = async {
            let document = imds.identity_document().await.ok()?;
            found.place.region = found.place.region.take().or(Some(document.region));
            found.place.account = found.place.account.take().or(Some(document.account_id));
            found.role = imds.role_name().await.ok();
            Some(())
        };
        // Whoever is not on an instance is told what could not be known.
        let _ = tokio::time::timeout(PATIENCE, asked).await;
    });
    Ok(())
}

impl Whereabouts {
    /// What only the policy that is looked at tells: the one region and account that its ARNs name.
    pub(super) fn take_from(&mut self, document: &Document) {
        let (region, account) = document.whereabouts();
        self.place.region = self.place.region.take().or(region);
        self.place.account = self.place.account.take().or(account);
        if let Some(region) = self.place.region.as_deref() {
            partition(region).clone_into(&mut self.place.partition);
        }
    }

    /// What stands as `*`, and how to say it; nothing if nothing does.
    pub(super) fn left_open(&self, open: &BTreeSet<String>, is_placeless: bool) -> String {
        let mut lines = Vec::new();
        if !is_placeless {
            for (name, value, option) in
                [("region", &self.place.region, "--region"), ("account", &self.place.account, "--account-id")]
            {
                if value.is_none() {
                    lines.push(format!("the {name} is not known and stands as *: give {option}"));
                }
            }
        }
        let others = open.iter().filter(|name| !["region", "account_id"].contains(&name.as_str()));
        let others: Vec<String> = others.map(|name| format!("{{{name}}}")).collect();
        if !others.is_empty() {
            lines.push(format!("{} differ from host to host, or event to event, and stand as *", others.join(", ")));
        }
        lines.join("\n")
    }
}
