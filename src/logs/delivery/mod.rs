//! How batches reach their stream: what is sent when, what a failure means, when to try again. Pure: results and a
//! time in, decisions out. Not the calls themselves (`sink`), nor the reading (`source`).

pub(crate) mod destination;
pub(crate) mod retry;
pub(crate) mod shipment;
pub(crate) mod slots;
