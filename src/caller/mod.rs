//! Who is calling: at a unix socket the user by the kernel's word, the groups, the unit and the container by what /proc
//! says of that very process; at a TCP socket of this host by what the kernel says of the other end. And whether a list
//! of rules names them. Not what they are allowed then.
//!
//! A process that is gone when it is looked at keeps the user and the group that the kernel attested, and has neither
//! other groups nor a unit; [`Caller::is_known`] tells. One in a container that is not ours is named by rules about
//! containers only: its root is none of this host's.

mod accounts;
mod cgroup;
mod hierarchy;
mod process;
mod rules;
mod sock_diag;
mod tcp;

pub use accounts::Accounts;
pub use cgroup::Container;
pub use process::Caller;
pub use rules::{Rule, Rules, Uids};
pub use tcp::{Refused, TcpCallers};
