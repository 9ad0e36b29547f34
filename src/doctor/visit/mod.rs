//! A visit: which checks are made, in which order and how far, what they found, and how that is told. Not the checks.

mod check;
mod diagnosis;
mod facts;
mod finding;
mod ground;
mod order;
mod render;

pub use self::diagnosis::Diagnosis;
pub use self::finding::{Finding, Outcome};
pub use self::ground::Ground;
pub use self::order::{Step, UnknownCheck, visit};
pub use self::render::render;

pub(super) use self::check::{Check, Found, Host, look};
