//! Real devices behind the same two traits: programs of their own, reached over a wire.

mod ask;
pub mod ending;
pub mod leftovers;
pub mod limits;
pub mod process;
mod reach;
pub mod scratch;
pub mod vfio_user;
pub mod vhost_user;
