//! Drawing the steps of a guest.
use migcert_core::device::Step;
use arbitrary::Unstructured;
/// What exists.
#[derive(Clone, Debug, Default)]
pub struct Drawn {}
/// Draws.
pub fn draw(_: &mut Unstructured<'_>, _: &mut Drawn) -> arbitrary::Result<Step> { Ok(Step::Pass(0)) }
