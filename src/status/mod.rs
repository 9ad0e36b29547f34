//! The report of what the daemon is doing now: its shape (DESIGN: schema 1, keys may be added, never renamed), its
//! socket, and how it is drawn for a person. Not how the facts are gathered: rooms hand out snapshots.
