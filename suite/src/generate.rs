//! Generators: one for each thing, for every engine, made of the parts in [`draw`](crate::draw).

mod damage;
pub mod family;
pub mod script;
pub mod setup;
mod values;
