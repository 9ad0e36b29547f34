//! IMDSv2, a container's credentials, STS and CloudWatch Logs over real HTTP on loopback, as strict as AWS, and of SSM, ECR
//! and Secrets Manager what a host reads at its start, with faults that tests set. It imports nothing of ours, so that one misreading of a protocol can't pass on both sides. Not a place
//! to keep anything: all of it is memory, and all of its credentials are made up.
//!
//! One listener serves all of them, so `AWS_EC2_METADATA_SERVICE_ENDPOINT` and `AWS_ENDPOINT_URL` may be the same URL:
//!
//! ```text
//! PUT, GET  /latest/…              IMDSv2                       imds.rs, metadata.rs
//! GET       /v2/credentials/…      a container's credentials    container.rs
//! POST /    X-Amz-Target: Logs_…   CloudWatch Logs (awsJson1_1) logs/
//! POST /    Action=…               STS (query protocol, XML)    sts.rs, session.rs
//! POST /    X-Amz-Target: …        SSM, ECR, Secrets Manager    vault.rs
//! any       /_emulator/…           what tests set and read      control.rs
//! ```
//!
//! A client that is further away than the hop limit gets its connection and never its token, by the TTL of real packets.
//!
//! A request passes `server` (sockets), `exchange` (the pipeline: read, fault plan, service, count, answer) and then
//! the pure rooms, which take a request and a time and return an answer. Every decision about time comes from the
//! emulator's own clock, which `Date` headers show and [`Change::clock_skew_seconds`] moves.

mod answer;
mod clock;
mod container;
mod control;
mod counts;
mod exchange;
mod fault;
mod handle;
mod imds;
mod keyring;
mod logs;
mod metadata;
mod operation;
mod options;
mod server;
mod session;
mod shared;
mod sigv4;
mod sts;
mod vault;

pub use counts::{Counts, PutCounts, RoleCounts};
pub use fault::{Denial, Effect, Fault, Policy};
pub use handle::Emulator;
pub use logs::{Event, GroupSummary, StreamSummary};
pub use options::{Change, Door, Gzip, Options};
pub use session::SessionRequest;
pub use shared::Activity;
