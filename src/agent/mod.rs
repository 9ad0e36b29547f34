//! The composition root: rooms become a daemon. Supervisor, signals, phased shutdown, `sd_notify`. Not the work itself.

mod daemon;
mod directories;
mod environment;
mod error;
mod identity;
mod instance_lock;
mod notify;
mod overview;
pub mod shutdown;
mod supervisor;

pub use daemon::Daemon;
pub use directories::{Directories, Error as DirectoryError};
pub use environment::{Environment, Error as EnvironmentError};
pub use error::Error;
pub use instance_lock::Error as LockError;
pub use notify::Notifier;
