//! imds-agent, by room. Each room is a capability with a door (`mod.rs`) that says what it is for and what it is not.
//!
//! Imports go one way, and `tests/integration/house.rs` holds them to it:
//!
//! ```text
//! cli → agent → doctor → {config, status} → {endpoints, logs, policy} → credentials → imds → leaves
//! ```
//!
//! * [`cli`]: one file per subcommand; the only place that prints or exits.
//! * [`agent`]: composes the rooms into the daemon: supervisor, signals, phased shutdown, `sd_notify`.
//! * [`doctor`]: what is wrong on this host, why, and the cure: one check a file.
//! * [`config`]: a file becomes the validated settings of each room, or errors that cite the place.
//! * [`status`]: the report, its socket, and how it is drawn for a person and for Prometheus.
//! * [`logs`]: lines of files become events in CloudWatch Logs, once; the source is the buffer.
//! * [`endpoints`]: the doors at which the processes of this host get credentials: who is calling, and the answer.
//! * [`policy`]: what the agent's role has to be allowed, as documents; an existing policy held against it.
//! * [`credentials`]: role credentials, the base's and those assumed with them, fresh before they expire, a cache each.
//! * [`imds`]: the instance metadata service, version 2: tokens, requests, documents.
//! * [`telemetry`]: what the daemon says of itself, to the journal or to stderr.
//! * [`emulator`]: IMDSv2, STS and CloudWatch Logs on loopback; it imports nothing of ours.
//!
//! The leaves import nothing of ours: [`aws`] (how every SDK client is built), [`backoff`], [`caller`] (who is at the
//! other end of a socket), [`clock`], [`denial`] (what a refusal of AWS's means, and its cure), [`door`] (how a unix
//! socket comes to be open), [`fault`] (how a failure is reported), [`heartbeat`] (proof of progress for the watchdog),
//! [`rate`] (how often something may be done), [`template`] (`{instance_id}` and its kind).
//!
//! Beside them, for tests only, stands `fuzz`: what a hostile input is.
//!
//! Two more rules: `logs` never imports `credentials` (the agent hands it an SDK configuration that carries a
//! provider), and `emulator` is imported only by `cli` and by tests, so that one misreading of a protocol can't pass
//! on both sides.

pub mod agent;
pub mod aws;
pub mod backoff;
pub mod caller;
pub mod cli;
pub mod clock;
pub mod config;
pub mod credentials;
pub mod denial;
pub mod doctor;
pub mod door;
#[cfg(feature = "emulator")]
pub mod emulator;
pub mod endpoints;
pub mod fault;
#[cfg(test)]
mod fuzz;
pub mod heartbeat;
pub mod imds;
pub mod logs;
pub mod policy;
pub mod rate;
pub mod status;
pub mod telemetry;
pub mod template;
