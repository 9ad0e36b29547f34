//! The screen of `status --watch`: a [`View`] takes what happens (keys, reports, time) and is drawn into a frame. Not the
//! terminal, and not where reports come from: the command has those.

mod detail;
mod draw;
mod figures;
mod meters;
mod news;
mod overview;
mod rows;
mod view;

pub use draw::draw;
pub use view::{Answer, Flow, Input, Key, Moment, Trouble, View};
