//! What the suites stand on.

pub(crate) mod python;
