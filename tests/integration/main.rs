//! The promises, tested from outside: the house's plan, and the binary against the emulator and against moto. Not the
//! rooms' own logic: unit tests stand beside that.

mod clients;
mod commands;
mod crash;
mod credentials;
mod delivery;
mod demo;
mod doctor;
mod doors;
mod emulator_conformance;
mod endpoints;
mod explain;
mod files;
mod framing;
mod harness;
mod house;
mod https;
mod import;
mod journal;
mod metadata;
mod names;
mod policy;
mod reload;
mod roles;
mod scenarios;
mod secrets;
mod shipping;
mod sockets;
mod start;
mod telemetry;
mod torture;
mod watching;
