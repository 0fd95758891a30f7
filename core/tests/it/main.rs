//! What the core promises, through its public items.

mod check;
mod manifest;
mod oracle;
mod requests;
mod walks;
