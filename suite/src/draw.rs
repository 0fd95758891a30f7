//! The parts of every generator. Written against [`arbitrary::Unstructured`]: it asks before each
//! element, so that deleting bytes deletes elements, and zero bytes mean the smallest case.

use arbitrary::{Result, Unstructured};

/// Draws at most `max` elements, as the bytes decide.
pub fn list<'a, T>(
    u: &mut Unstructured<'a>,
    max: usize,
    mut element: impl FnMut(&mut Unstructured<'a>) -> Result<T>,
) -> Result<Vec<T>> {
    let mut out = Vec::new();
    while out.len() < max && u.int_in_range(0..=7u8)? != 0 {
        out.push(element(u)?);
    }
    Ok(out)
}

/// Draws an index below `len` from exactly one byte, so that another `len` does not shift what follows.
pub fn index(u: &mut Unstructured<'_>, len: usize) -> Result<usize> {
    Ok(usize::from(u.arbitrary::<u8>()?) % len.max(1))
}
