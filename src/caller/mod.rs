//! Who is calling at a unix socket: the user by the kernel's word, the groups and the unit by what /proc says of that very
//! process. And whether a list of rules names them. Not what they are allowed then.
//!
//! A process that is gone when it is looked at keeps the user and the group that the kernel attested, and has neither
//! other groups nor a unit. One in a container that is not ours is nobody that these rules could name.

mod cgroup;
mod process;
mod rules;

pub use process::Caller;
pub use rules::{Accounts, Rule, Rules};
