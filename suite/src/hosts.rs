//! Real devices behind the same two traits: programs of their own, reached over a wire.

pub mod leftovers;
pub mod process;
pub mod vhost_user;
