//! Unix sockets as a source: who may write, what is received, and how it gets into the spool. Not what is read from there.

mod messages;
mod syslog;
