//! What every generator is made of. Written against [`arbitrary::Unstructured`]: it asks before each
//! element, so that deleting bytes deletes elements, and zero bytes mean the smallest case.

use arbitrary::{Result, Unstructured};

/// Draws elements while the bytes say so, at most `max`.
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

/// Draws an index from one byte, however many there are: fewer of them don't shift what follows.
pub fn index(u: &mut Unstructured<'_>, len: usize) -> Result<usize> {
    Ok(usize::from(u.arbitrary::<u8>()?) % len.max(1))
}
