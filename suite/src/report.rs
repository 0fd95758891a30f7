//! Reports: writers of a [`Certificate`](crate::certificate::Certificate), which read nothing else.

mod json;
mod text;

pub use json::json;
pub use text::{QUOTED, text};
