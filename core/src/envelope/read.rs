//! Reading a device state.

use crate::envelope::{BadState, Crc, END, FORMAT, Head, MAGIC, Tag, WHOLE, array, header};
use crate::model::ModelId;
use crate::structured;
use crate::version::Setup;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::mem;

/// Reads one device state, in chunks of any size, aside from the device.
///
/// The header is judged as soon as it is there. Nothing of the state is given out before
/// [`finish`](Reader::finish) has judged it whole, so a device swaps it in or stays as it was.
/// Memory is proportional to the bytes that were pushed.
#[derive(Debug)]
pub struct Reader {
    model: ModelId,
    list: Setup,
    next: Next,
    /// What came of the next piece.
    piece: Vec<u8>,
    crc: Crc,
    number: u32,
    total: u64,
    sections: Sections,
    spare: Sections,
}

/// What comes next in the stream.
#[derive(Debug)]
enum Next {
    Magic,
    Format,
    Length,
    /// With its CRC; so many bytes in all.
    Body(u64),
    Head,
    Bytes(Arriving),
    Nothing,
    /// The stream is refused, for good.
    Refused(BadState),
}

/// A section whose bytes are coming.
#[derive(Debug)]
struct Arriving {
    tag: Tag,
    number: u32,
    content: Vec<u8>,
    at: usize,
    length: u64,
    came: usize,
    stream_crc: u32,
}

impl Arriving {
    const fn left(&self) -> u64 {
        self.length - self.came as u64
    }
}

impl Reader {
    /// A reader that accepts states of this model and parameter list only.
    ///
    /// `list` is as for [`Writer::new`](crate::envelope::write::Writer::new).
    pub fn new(model: &ModelId, list: &Setup) -> Reader {
        Reader {
            model: model.clone(),
            list: list.clone(),
            next: Next::Magic,
            piece: Vec::new(),
            crc: Crc::new(),
            number: 0,
            total: 0,
            sections: Sections::default(),
            spare: Sections::default(),
        }
    }

    /// Reads into the memory of sections that are no longer needed, each into its namesake's.
    pub fn reusing(mut self, spare: Sections) -> Reader {
        self.spare = spare;
        self
    }

    /// Takes the next bytes of the stream.
    ///
    /// # Errors
    /// The first thing that is wrong with the stream, the same however it was chunked; the
    /// reader then stays refused.
    pub fn push(&mut self, mut bytes: &[u8]) -> Result<(), BadState> {
        while !bytes.is_empty() && !matches!(self.next, Next::Refused(_)) {
            if let Err(why) = self.step(&mut bytes) {
                self.next = Next::Refused(why);
            }
        }
        match &self.next {
            Next::Refused(why) => Err(why.clone()),
            _ => Ok(()),
        }
    }

    /// The sections, if the stream was whole.
    ///
    /// # Errors
    /// What [`push`](Reader::push) said, or [`BadState::Short`].
    pub fn finish(self) -> Result<Sections, BadState> {
        match self.next {
            Next::Nothing => Ok(self.sections),
            Next::Refused(why) => Err(why),
            Next::Bytes(section) => Err(BadState::Short { wanted: section.length, left: section.came }),
            next => Err(BadState::Short { wanted: next.piece(), left: self.piece.len() }),
        }
    }

    /// Takes what of `bytes` belongs to the next thing in the stream and judges it when it is whole.
    fn step(&mut self, bytes: &mut &[u8]) -> Result<(), BadState> {
        if let Next::Bytes(section) = &mut self.next {
            let now = take(bytes, section.left());
            self.crc.copy(now, &mut section.content, section.at + section.came);
            section.came += now.len();
            self.total += now.len() as u64;
            return if section.left() == 0 { self.arrived() } else { Ok(()) };
        }
        let now = take(bytes, self.next.piece() - self.piece.len() as u64);
        self.piece.extend_from_slice(now);
        self.total += now.len() as u64;
        if (self.piece.len() as u64) < self.next.piece() {
            return Ok(());
        }
        self.judge_piece()?;
        self.piece.clear();
        // A section without bytes is whole already.
        if matches!(&self.next, Next::Bytes(section) if section.left() == 0) {
            self.arrived()
        } else {
            Ok(())
        }
    }

    fn judge_piece(&mut self) -> Result<(), BadState> {
        self.next = match &self.next {
            Next::Magic if self.piece != MAGIC => return Err(BadState::NoMagic),
            Next::Magic => {
                self.crc.update(&self.piece);
                Next::Format
            }
            Next::Format => {
                self.crc.update(&self.piece);
                let format = u32::from_le_bytes(array(&self.piece, 0));
                if format != FORMAT {
                    return Err(BadState::Format(format));
                }
                Next::Length
            }
            Next::Length => {
                self.crc.update(&self.piece);
                // The CRC comes with the body.
                Next::Body(u64::from_le_bytes(array(&self.piece, 0)).saturating_add(4))
            }
            Next::Body(_) => {
                let (body, crc) = self.piece.split_at(self.piece.len() - 4);
                self.crc.update(body);
                if crc != self.crc.value().to_le_bytes() {
                    return Err(BadState::DamagedHeader);
                }
                header::judge(body, &self.model, &self.list)?;
                Next::Head
            }
            Next::Head => self.judge_head()?,
            Next::Nothing => return Err(BadState::AfterEnd),
            Next::Bytes(_) | Next::Refused(_) => return Ok(()),
        };
        Ok(())
    }

    fn judge_head(&mut self) -> Result<Next, BadState> {
        let piece: [u8; Head::SIZE] = array(&self.piece, 0);
        let head = Head::read(&piece);
        let number = self.number;
        if u32::from_le_bytes(array(&piece, Head::PLAIN)) != Crc::of(&piece[..Head::PLAIN]) {
            return Err(BadState::DamagedHead { number });
        }
        if head.number != number {
            return Err(BadState::Order { wanted: number, found: head.number });
        }
        self.crc.update(&piece[..Head::PLAIN]);
        self.number = number.wrapping_add(1);
        let stream_crc = u32::from_le_bytes(array(&piece, Head::PLAIN + 4));
        if head.tag == END {
            return match head {
                Head { length: 1.., .. } => Err(BadState::OddEnd),
                Head { offset, .. } if offset != self.total => {
                    Err(BadState::Total { wanted: offset, found: self.total })
                }
                _ if stream_crc != self.crc.value() => Err(BadState::DamagedEnd),
                _ => Ok(Next::Nothing),
            };
        }
        let tag = Tag::read(head.tag).ok_or(BadState::Untagged { number })?;
        let mut content = self.sections.0.remove(&tag).unwrap_or_else(|| self.spare.empty(tag));
        if head.offset == WHOLE {
            content.clear();
        }
        let hole = || BadState::Hole { tag, offset: head.offset, len: content.len() };
        let at = match head.offset {
            WHOLE => 0,
            offset => usize::try_from(offset).ok().filter(|at| *at <= content.len()).ok_or_else(hole)?,
        };
        Ok(Next::Bytes(Arriving { tag, number, content, at, length: head.length, came: 0, stream_crc }))
    }

    /// Judges a section whose last byte is here.
    fn arrived(&mut self) -> Result<(), BadState> {
        let Next::Bytes(section) = mem::replace(&mut self.next, Next::Head) else { return Ok(()) };
        let Arriving { tag, number, content, stream_crc, .. } = section;
        if stream_crc != self.crc.value() {
            return Err(BadState::Damaged { tag, number });
        }
        self.sections.0.insert(tag, content);
        Ok(())
    }
}

impl Next {
    /// How many bytes it has: they are collected before they are judged.
    const fn piece(&self) -> u64 {
        match self {
            Next::Magic | Next::Length => 8,
            Next::Format => 4,
            Next::Body(length) => *length,
            Next::Head => Head::SIZE as u64,
            Next::Nothing => 1,
            Next::Bytes(_) | Next::Refused(_) => 0,
        }
    }
}

/// The first `n` of the bytes, or all there are.
fn take<'a>(bytes: &mut &'a [u8], n: u64) -> &'a [u8] {
    let n = usize::try_from(n).unwrap_or(usize::MAX).min(bytes.len());
    let (now, later) = bytes.split_at(n);
    *bytes = later;
    now
}

/// The sections of a state that came whole.
///
/// A device takes out what it knows, [`end`](Sections::end)s, and only then swaps it in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sections(BTreeMap<Tag, Vec<u8>>);

impl Sections {
    /// Takes a section out, as its bytes.
    ///
    /// # Errors
    /// [`BadState::Missing`].
    pub fn take(&mut self, tag: Tag) -> Result<Vec<u8>, BadState> {
        self.0.remove(&tag).ok_or(BadState::Missing(tag))
    }

    /// Takes out bulk memory of a known length in bytes.
    ///
    /// # Errors
    /// [`BadState::Missing`], [`BadState::Size`].
    pub fn take_sized(&mut self, tag: Tag, wanted: usize) -> Result<Vec<u8>, BadState> {
        let bytes = self.take(tag)?;
        if bytes.len() == wanted {
            Ok(bytes)
        } else {
            Err(BadState::Size { tag, wanted, found: bytes.len() })
        }
    }

    /// Takes out a structured part.
    ///
    /// # Errors
    /// [`BadState::Missing`], [`BadState::Structure`].
    pub fn take_structured<T: DeserializeOwned>(&mut self, tag: Tag) -> Result<T, BadState> {
        structured::decode(&self.take(tag)?)
    }

    /// Judges that nothing is left that the device doesn't know.
    ///
    /// # Errors
    /// [`BadState::Unknown`].
    pub fn end(self) -> Result<(), BadState> {
        self.0.into_keys().next().map_or(Ok(()), |tag| Err(BadState::Unknown(tag)))
    }

    /// Puts a section in: memory for [`Reader::reusing`].
    pub fn put(&mut self, tag: Tag, bytes: Vec<u8>) {
        self.0.insert(tag, bytes);
    }

    fn empty(&mut self, tag: Tag) -> Vec<u8> {
        let mut bytes = self.0.remove(&tag).unwrap_or_default();
        bytes.clear();
        bytes
    }
}
