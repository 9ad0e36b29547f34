//! The report of what the daemon is doing now: its shape (DESIGN: schema 1, keys may be added, never renamed), its
//! socket, and how it is drawn for a person, for who watches the host (`health`) and for Prometheus (`openmetrics`). Not how the facts are gathered: rooms hand out snapshots.

mod client;
mod families;
mod headline;
mod health;
mod openmetrics;
mod render;
mod report;
mod screen;
mod server;
pub mod watch;
mod words;

pub use client::{Error as ClientError, fetch, read_within};
pub use headline::{Condition, Problem, count, headline, problems, word};
pub use health::health;
pub use openmetrics::{Format, render as metrics};
pub use render::render;
pub use report::{Configuration, Instance, Logs, Memory, Report, SCHEMA};
pub use screen::Style;
pub use server::{Reporter, StatusServer};
pub use words::{ascii, columns, duration, escape, wrap};

/// The socket's name in the runtime directory.
pub const SOCKET_NAME: &str = "status.sock";

/// The group whose members may read the status, where it exists.
pub const GROUP: &str = "imds-agent";
