//! Right checksums on damaged states.

use crc32c::{crc32c, crc32c_append};
use std::ops::Range;

const MAGIC: &[u8] = b"MIGSTATE";
const HEADER: usize = 20;
const HEAD: usize = 32;

/// The ranges of the contents of the sections, as far as a stream in the core's envelope can be followed;
/// the whole state if it is not in that envelope.
pub fn contents(state: &[u8]) -> Vec<Range<usize>> {
    let mut contents = Vec::new();
    let length = state.get(12..HEADER).filter(|_| state.starts_with(MAGIC)).and_then(number);
    let mut next = length.and_then(|length| length.checked_add(HEADER + 4));
    while let Some(at) = next {
        let head = at.checked_add(HEAD).and_then(|end| state.get(at..end));
        let length = head.filter(|head| head[..4] != [0; 4]).and_then(|head| number(&head[16..24]));
        let content = length.and_then(|length| Some(at + HEAD..(at + HEAD).checked_add(length)?));
        next = content.as_ref().map(|content| content.end).filter(|end| *end <= state.len());
        contents.extend(content.filter(|_| next.is_some()));
    }
    if contents.is_empty() { std::iter::once(0..state.len()).collect() } else { contents }
}

/// Makes what looks like a state in the core's envelope look undamaged: every checksum, number and
/// total is set right, as far as the stream can be followed.
///
/// So damage reaches what is behind the envelope: a device must refuse nonsense itself, or take
/// it as a state that means something. Returns whether an end mark was reached.
pub fn reseal(state: &mut [u8]) -> bool {
    resealed(state).is_some()
}

/// Makes the content of a section longer, with zeros, or shorter, and says so in its head.
pub fn resize(state: &mut Vec<u8>, content: Range<usize>, len: usize) {
    if let Some(length) = content.start.checked_sub(HEAD / 2).and_then(|at| state.get_mut(at..at + 8)) {
        length.copy_from_slice(&(len as u64).to_le_bytes());
    }
    let mut bytes = state[content.clone()].to_vec();
    bytes.resize(len, 0);
    state.splice(content, bytes);
}

fn resealed(state: &mut [u8]) -> Option<()> {
    let length = number(state.get(12..HEADER).filter(|_| state.starts_with(MAGIC))?)?;
    let mut at = HEADER.checked_add(length)?;
    let mut sum = crc32c(state.get(..at)?);
    put(state.get_mut(at..at + 4)?, sum);
    at += 4;
    for count in 0u32.. {
        let item = state.get_mut(at..)?;
        let head = item.get_mut(..HEAD)?;
        let is_end = head[..4] == [0; 4];
        put(&mut head[4..8], count);
        if is_end {
            head[8..16].copy_from_slice(&((at + HEAD) as u64).to_le_bytes());
            head[16..24].fill(0);
        }
        let length = number(&head[16..24])?;
        let head_sum = crc32c(&head[..24]);
        put(&mut head[24..28], head_sum);
        let bytes = item.get(HEAD..HEAD.checked_add(length)?)?;
        sum = crc32c_append(crc32c_append(sum, &item[..24]), bytes);
        put(&mut item[28..HEAD], sum);
        if is_end {
            return Some(());
        }
        at += HEAD + length;
    }
    None
}

fn number(bytes: &[u8]) -> Option<usize> {
    usize::try_from(u64::from_le_bytes(bytes.try_into().ok()?)).ok()
}

fn put(field: &mut [u8], value: u32) {
    field.copy_from_slice(&value.to_le_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use migcert_core::envelope::Tag;
    use migcert_core::envelope::read::Reader;
    use migcert_core::envelope::write::Writer;
    use migcert_core::model::ModelId;
    use migcert_core::version::Setup;

    #[test]
    fn damage_gets_through_when_resealed() {
        let (model, list, tag) = (ModelId::from("x"), Setup::Params([].into()), Tag::new(b"regs"));
        let mut writer = Writer::new(&model, &list);
        writer.section(tag, b"good");
        writer.section(tag, b"better");
        let good = writer.finish().into_bytes();
        let load = |state: &[u8]| {
            let mut reader = Reader::new(&model, &list);
            reader.push(state)?;
            reader.finish()?.take(tag)
        };
        let mut state = good.clone();
        assert!(reseal(&mut state));
        assert_eq!(state, good);
        let at = good.len() - 32 - 6;
        state[at] = b'B';
        assert!(load(&state).is_err());
        assert!(reseal(&mut state));
        assert_eq!(load(&state).as_deref(), Ok(b"Better".as_slice()));
        assert!(!reseal(&mut state[..at]));
        let contained = contents(&good).into_iter().map(|content| &good[content]);
        assert_eq!(contained.collect::<Vec<_>>(), [b"good".as_slice(), b"better"]);
        let first = contents(&state).remove(0);
        resize(&mut state, first, 5);
        assert!(reseal(&mut state));
        assert_eq!(load(&state).as_deref(), Ok(b"Better".as_slice()));
        assert_eq!(state[contents(&state).remove(0)], *b"good\0");
    }
}
