//! How the engine behaves, with real files and a scripted sink.
