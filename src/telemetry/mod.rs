//! What the daemon says of itself: `tracing` events to the journal when systemd started it (fields kept as journal
//! fields), to stderr otherwise. Not metrics, and not what `status` shows.
