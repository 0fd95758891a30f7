//! Generators: one for each part of a case, used by every engine, built from [`draw`](crate::draw).

mod damage;
pub mod family;
pub mod script;
pub mod setup;
mod values;
