//! What is wrong on this host, why, and the cure: one check a file, in order, each with outcome, evidence and cure. It
//! looks for itself, whether the daemon is up or not, and changes nothing. Not the daemon's own account of its work
//! (`status`), nor how the findings are printed for a person on which terminal (`cli`).

mod clock;
mod command;
mod configuration;
mod credentials;
mod daemon;
mod daemon_state;
mod ec2;
mod file_access;
mod imds_identity;
mod imds_route;
mod imds_token;
mod journal_access;
mod kms;
mod logs_permissions;
mod logs_reach;
mod names;
mod plain_file;
mod probes;
mod proxy;
mod reach;
mod refused;
mod region;
mod roles;
mod self_fetch;
mod service;
mod service_environment;
mod ssm_agent;
mod state_directory;
mod static_keys;
mod sts_identity;
mod sts_reach;
mod systemd;
mod unit;
mod visit;

pub use self::service_environment::service_environment;
pub use self::visit::{Diagnosis, Finding, Ground, Outcome, Step, UnknownCheck, render, visit};

use self::visit::Check;

/// All checks, in the order in which they are shown. One that needs others stands below them.
const CHECKS: &[Check] = &[
    configuration::CHECK,
    daemon::CHECK,
    ec2::CHECK,
    imds_route::CHECK,
    imds_token::CHECK,
    imds_identity::CHECK,
    region::CHECK,
    credentials::CHECK,
    static_keys::CHECK,
    proxy::CHECK,
    clock::CHECK,
    unit::CHECK,
    state_directory::CHECK,
    file_access::CHECK,
    journal_access::CHECK,
    self_fetch::CHECK,
    ssm_agent::CHECK,
    sts_reach::CHECK,
    logs_reach::CHECK,
    sts_identity::CHECK,
    roles::CHECK,
    logs_permissions::CHECK,
    kms::CHECK,
    probes::CHECK,
    daemon_state::CHECK,
];

/// The names that `--only` takes.
pub fn names() -> impl Iterator<Item = &'static str> {
    CHECKS.iter().map(|check| check.name)
}
