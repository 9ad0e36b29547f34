//! The composition root: rooms become a daemon. Supervisor, signals, reload, phased shutdown, `sd_notify`. Not the work
//! itself.

mod configured;
mod credential_doors;
mod daemon;
mod directories;
mod doors;
mod environment;
mod error;
mod identity;
mod instance_lock;
mod log_doors;
mod notify;
mod overview;
mod reload;
mod rooms;
pub mod shutdown;
mod supervisor;

pub use configured::Configured;
pub use daemon::Daemon;
pub use directories::{Directories, Error as DirectoryError};
pub use doors::Inherited;
pub use environment::{Environment, Error as EnvironmentError};
pub use error::Error;
pub use instance_lock::Error as LockError;
pub use notify::Notifier;
