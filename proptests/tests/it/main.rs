//! The properties of migcert, the replay of what was found before, and what must hold among the files of
//! this repository.

mod corpus;
mod devices;
mod engine;
mod entries;
mod envelope;
mod memory;
mod meta;
mod minimize;
mod windows;
