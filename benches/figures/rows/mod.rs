//! What is measured: a file for each kind of figure. Not how it is printed.

pub(crate) mod credentials;
pub(crate) mod growth;
pub(crate) mod idle;
pub(crate) mod journal;
pub(crate) mod shipping;
pub(crate) mod sigkill;
pub(crate) mod start;
