//! Generators, rules, devices and hosts of migcert.

#![warn(clippy::print_stderr, clippy::print_stdout)]

pub mod bench;
pub mod case;
pub mod certificate;
pub mod certify;
pub mod coverage;
pub mod damage;
pub mod deadline;
pub mod devices;
pub mod document;
pub mod draw;
pub mod ending;
pub mod entry;
pub mod explore;
pub mod files;
pub mod finding;
pub mod generate;
pub mod guests;
pub mod hostile;
pub mod hosts;
pub mod implementation;
pub mod impls;
pub mod isolation;
pub mod known;
pub mod learned;
pub mod merge;
pub mod minimize;
pub mod mutate;
pub mod oracle;
pub mod own;
pub mod parallel;
pub mod profile;
pub mod report;
pub mod rule;
pub mod rules;
pub mod scratch;
pub mod self_test;
pub mod subject;
pub mod text;
pub mod zoo;
