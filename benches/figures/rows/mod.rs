//! The rows of the table, by what they measure.

pub(crate) mod idle;
pub(crate) mod shipping;
pub(crate) mod sigkill;
pub(crate) mod start;
