//! Tests that take long, or that depend on time, chance or the machine: `scripts/check --long` runs them,
//! a module at a time.

mod apart;
mod control;
#[path = "../common/example.rs"]
mod example;
mod leftovers;
mod pins;
mod programs;
mod served;
mod virtiofsd;
