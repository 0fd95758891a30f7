//! Generators, rules, devices and hosts of migcert.

#![warn(clippy::print_stderr, clippy::print_stdout)]

pub mod bench;
pub mod bucket;
pub mod case;
pub mod certify;
pub mod coverage;
pub mod deadline;
pub mod devices;
pub mod document;
pub mod entry;
pub mod explore;
pub mod files;
pub mod generate;
pub mod guests;
pub mod honest;
pub mod hostile;
pub mod hosts;
pub mod implementation;
pub mod impls;
pub mod known;
pub mod learned;
pub mod minimize;
pub mod mutate;
pub mod oracle;
pub mod own;
pub mod parallel;
pub mod profile;
pub mod report;
pub mod rules;
pub mod shard;
pub mod text;
pub mod zoo;
