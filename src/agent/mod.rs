//! The composition root: rooms become a daemon. Supervisor, signals, phased shutdown, `sd_notify`. Not the work itself.
