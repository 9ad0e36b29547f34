//! The promises, tested from outside.

mod emulator_conformance;
mod harness;
