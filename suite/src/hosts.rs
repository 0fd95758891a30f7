//! Real devices behind the same two traits: programs of their own, reached over a wire.

mod apart;
mod ask;
pub mod cell;
pub mod descriptors;
mod environment;
mod leftovers;
pub mod limits;
mod output;
pub mod process;
mod reach;
mod reuse;
mod rooms;
pub mod template;
pub mod traffic;
pub mod vfio_user;
pub mod vhost_user;
mod watch;

pub use leftovers::{finish, leave_nothing};
