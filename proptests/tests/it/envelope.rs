//! The envelope of a device state, exhaustively on small states.

use migcert_core::envelope::read::{Reader, Sections};
use migcert_core::envelope::write::Writer;
use migcert_core::envelope::{BadState, Tag};
use migcert_core::model::ModelId;
use migcert_core::param::Value;
use migcert_core::version::Setup;
use proptest::collection::vec;
use proptest::prelude::*;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

const PMEM: Tag = Tag::new(b"pmem");
const REGS: Tag = Tag::new(b"regs");
const NONE: Tag = Tag::new(b"none");
const CHUNKS: [usize; 8] = [1, 2, 3, 7, 31, 32, 33, usize::MAX];

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Registers {
    control: u32,
    link: bool,
    pending: Vec<u16>,
}

fn nic() -> ModelId {
    ModelId::from("https://example.org/devices/nic")
}

fn list(params: &[(&str, Value)]) -> Setup {
    let entry = |(name, value): &(&str, Value)| (name.parse().expect("a name"), value.clone());
    Setup::Params(params.iter().map(entry).collect())
}

fn rx(size: i64) -> Setup {
    list(&[("rx-filter-size", Value::Int(size))])
}

fn read_as(bytes: &[u8], chunk: usize, model: &ModelId, list: &Setup) -> Result<Sections, BadState> {
    let mut reader = Reader::new(model, list);
    for bytes in bytes.chunks(chunk) {
        reader.push(bytes)?;
    }
    reader.finish()
}

fn read(bytes: &[u8], chunk: usize) -> Result<Sections, BadState> {
    read_as(bytes, chunk, &nic(), &rx(32))
}

/// Reads in all chunkings; they must agree.
#[track_caller]
fn read_all(bytes: &[u8]) -> Result<Sections, BadState> {
    let at_once = read(bytes, usize::MAX);
    for chunk in CHUNKS {
        assert_eq!(read(bytes, chunk), at_once, "in chunks of {chunk}");
    }
    at_once
}

/// The items of a small state: header, packet memory, registers, packet memory again, end mark.
fn items(memory: u8) -> Vec<Vec<u8>> {
    let mut writer = Writer::new(&nic(), &rx(32));
    let mut items = Vec::new();
    let mut drain = |writer: &mut Writer| {
        let mut item = vec![0; writer.out.len()];
        writer.out.read(&mut item);
        items.push(item);
    };
    drain(&mut writer);
    writer.section(PMEM, &[memory; 8]);
    drain(&mut writer);
    writer.structured(REGS, &(memory, 5u32)).expect("plain");
    drain(&mut writer);
    writer.part(PMEM, 4, &[memory + 1; 6]);
    drain(&mut writer);
    items.push(writer.finish().into_bytes());
    items
}

fn small() -> Vec<u8> {
    items(1).concat()
}

#[test]
fn what_was_sent_again_counts() {
    let mut sections = read_all(&small()).expect("whole");
    assert_eq!(sections.take_sized(PMEM, 10), Ok([[1; 4].as_slice(), &[2; 6]].concat()));
    assert_eq!(sections.take_structured(REGS), Ok((1u8, 5u32)));
    assert_eq!(sections.end(), Ok(()));
}

#[test]
fn published_states_load_for_ever() {
    let model = nic();
    let params = list(&[
        ("label", Value::Str("a,b".to_owned())),
        ("num-queues", Value::Int(4)),
        ("offset", Value::Int(-2)),
        ("rss", Value::Bool(true)),
        ("tso", Value::Bool(false)),
    ]);
    let mut writer = Writer::new(&model, &params);
    let memory: Vec<u8> = (0..24).collect();
    let early = Registers { control: 1, link: false, pending: vec![] };
    let late = Registers { control: 3, link: true, pending: vec![5, 9] };
    writer.part(PMEM, 0, &memory);
    writer.structured(REGS, &early).expect("plain");
    writer.part(PMEM, 16, &[0xee; 12]);
    writer.structured(REGS, &late).expect("plain");
    writer.section(NONE, &[]);
    let state = published("v1-parameters.txt");
    assert_eq!(writer.finish().into_bytes(), state);
    let mut sections = read_as(&state, 5, &model, &params).expect("whole");
    assert_eq!(sections.take(PMEM), Ok([&memory[..16], &[0xee; 12]].concat()));
    assert_eq!(sections.take_structured(REGS), Ok(late));
    assert_eq!(sections.take(NONE), Ok(vec![]));
    assert_eq!(sections.end(), Ok(()));

    let model = ModelId::from("vendor-a.com/my-nic");
    let version = Setup::Version("q64-v2".parse().expect("a version"));
    let mut writer = Writer::new(&model, &version);
    writer.structured(REGS, &42u32).expect("plain");
    let state = published("v1-version.txt");
    assert_eq!(writer.finish().into_bytes(), state);
    let mut sections = read_as(&state, 5, &model, &version).expect("whole");
    assert_eq!(sections.take_structured(REGS), Ok(42u32));

    let (model, off) = (ModelId::from(""), list(&[]));
    let state = published("v1-smallest.txt");
    assert_eq!(Writer::new(&model, &off).finish().into_bytes(), state);
    assert_eq!(read_as(&state, 5, &model, &off), Ok(Sections::default()));
}

/// The bytes of a file of hexadecimal numbers; comments begin with `#`.
fn published(name: &str) -> Vec<u8> {
    let path = format!("{}/../corpus/states/{name}", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(path).expect("a published state");
    let numbers = text.lines().flat_map(|line| line.split('#').next().unwrap_or("").split_whitespace());
    numbers.map(|n| u8::from_str_radix(n, 16).expect("hexadecimal")).collect()
}

#[test]
fn every_damage_has_its_error() {
    #[track_caller]
    fn says(expected: &str, damage: impl Fn(&mut Vec<Vec<u8>>)) {
        let mut items = items(1);
        damage(&mut items);
        let why = read_all(&items.concat()).expect_err("damaged");
        assert_eq!(why.to_string(), expected);
    }
    const HEADER: usize = 0;
    const LAST: usize = 4;
    says("8 more bytes were announced and 0 came", |items| items.clear());
    says("8 more bytes were announced and 3 came", |items| {
        items[HEADER].truncate(3);
        items.truncate(1);
    });
    says("32 more bytes were announced and 0 came", |items| drop(items.pop()));
    says("6 more bytes were announced and 2 came", |items| {
        items.pop();
        items[3].truncate(34);
    });
    says("these bytes are not a device state: they do not begin with `MIGSTATE`", |items| {
        items[HEADER][0] = b'm';
    });
    says("the format version is 2, and only 1 is known here", |items| items[HEADER][8] = 2);
    says("the header is damaged", |items| items[HEADER][30] ^= 1);
    says("the head of section 0 is damaged", |items| items[1][0] ^= 1);
    says("the head of section 2 is damaged", |items| items[3][23] ^= 0x80);
    says("section 1, `regs`, is damaged or belongs to another stream", |items| items[2][32] ^= 1);
    says("the head of section 3 is damaged", |items| items[LAST][8] ^= 1);
    says("the end mark is damaged or belongs to another stream", |items| items[LAST][28] ^= 1);
    says("section 1 came in the place of section 0", |items| items.swap(1, 2));
    says("section 1 came in the place of section 0", |items| drop(items.remove(1)));
    says("section 3 came in the place of section 2", |items| drop(items.remove(3)));
    says("section 0 came in the place of section 1", |items| items.insert(2, items[1].clone()));
    says("the stream goes on after its end mark", |items| items.push(vec![0]));
    says("the stream goes on after its end mark", |items| items.extend(items.clone()));
    says("section 1, `regs`, is damaged or belongs to another stream", |all| all[2] = items(3)[2].clone());
    says("the end mark is damaged or belongs to another stream", |all| all[4] = items(3)[4].clone());
}

#[test]
fn another_device_is_refused_at_the_header() {
    #[track_caller]
    fn says(expected: &str, model: &str, list: &Setup) {
        let header = &items(1)[0];
        let mut reader = Reader::new(&ModelId::from(model), list);
        let (last, most) = header.split_last().expect("a header");
        assert_eq!(reader.push(most), Ok(()));
        let why = reader.push(&[*last]).expect_err("foreign");
        assert_eq!(why.to_string(), expected);
        assert_eq!(reader.push(&[0]), Err(why));
    }
    let id = "https://example.org/devices/nic";
    says(
        "it is a state of model `https://example.org/devices/nic`, and this device is a `https://example.org/devices/nic/`",
        "https://example.org/devices/nic/",
        &rx(32),
    );
    let saved = "it was saved with `rx-filter-size=32`, and this device has";
    says(&format!("{saved} `rx-filter-size=64`"), id, &rx(64));
    says(&format!("{saved} every parameter off"), id, &list(&[]));
    says(&format!("{saved} `version=1`"), id, &Setup::Version("1".parse().expect("a version")));
    let text = list(&[("rx-filter-size", Value::Str("32".to_owned()))]);
    says(&format!("{saved} `rx-filter-size=32`"), id, &text);
}

#[test]
fn forged_streams_are_refused() {
    #[track_caller]
    fn says(expected: &str, forge: Forge) {
        let why = read_all(&forge.bytes).expect_err("forged");
        assert_eq!(why.to_string(), expected);
    }
    let header = || Forge::default().header(&body());
    let end = 0u32.to_le_bytes();
    says("the header can't be understood", Forge::default().header(&[]));
    says("the header can't be understood", Forge::default().header(&[&body()[..], &[0]].concat()));
    says("the header can't be understood", Forge::default().header(&[0xff; 8]));
    says("the header can't be understood", Forge::default().header(&[&body()[..39], &[2]].concat()));
    says(
        "a part of section `pmem` begins at 1, where only 0 bytes are there",
        header().item(*b"pmem", 0, 1, &[7]),
    );
    says(
        "a part of section `pmem` begins at 18446744073709551614, where only 0 bytes are there",
        header().item(*b"pmem", 0, u64::MAX - 1, &[]),
    );
    says("section 0 has no printable tag", header().item(*b"a b\n", 0, 0, &[]));
    says("the stream should have 500 bytes and has 135", header().item(end, 0, 500, &[]));
    says("the end mark can't be understood", header().item(end, 0, 135, &[1]));
    says("section 4294967295 came in the place of section 0", header().item(*b"pmem", u32::MAX, 0, &[]));
    assert_eq!(read_all(&header().item(end, 0, 135, &[]).bytes), Ok(Sections::default()));
}

/// The body of the header of [`small`].
fn body() -> Vec<u8> {
    let header = &items(1)[0];
    header[20..header.len() - 4].to_vec()
}

/// A stream put together by hand, with CRCs by another crate than core's.
#[derive(Default)]
struct Forge {
    bytes: Vec<u8>,
    summed: Vec<u8>,
}

impl Forge {
    fn header(mut self, body: &[u8]) -> Forge {
        let length = (body.len() as u64).to_le_bytes();
        self.summed = [b"MIGSTATE\x01\0\0\0", length.as_slice(), body].concat();
        self.bytes = [self.summed.as_slice(), &crc32c::crc32c(&self.summed).to_le_bytes()].concat();
        self
    }

    fn item(mut self, tag: [u8; 4], number: u32, offset: u64, bytes: &[u8]) -> Forge {
        let mut head = [tag, number.to_le_bytes()].concat();
        head.extend([offset.to_le_bytes(), (bytes.len() as u64).to_le_bytes()].concat());
        self.summed.extend([&head, bytes].concat());
        let crcs = [crc32c::crc32c(&head).to_le_bytes(), crc32c::crc32c(&self.summed).to_le_bytes()];
        self.bytes.extend([&head, &crcs.concat(), bytes].concat());
        self
    }
}

#[test]
fn every_strict_prefix_is_refused() {
    let state = small();
    for n in 0..state.len() {
        let why = read_all(&state[..n]).expect_err("cut");
        assert!(matches!(why, BadState::Short { .. }), "{n}: {why}");
    }
}

#[test]
fn every_extension_is_refused() {
    let state = small();
    for byte in 0..=u8::MAX {
        assert_eq!(read_all(&[&state[..], &[byte]].concat()), Err(BadState::AfterEnd));
    }
}

#[test]
fn every_flipped_bit_is_refused() {
    let state = small();
    for bit in 0..state.len() * 8 {
        let mut damaged = state.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        read_all(&damaged).expect_err("flipped");
    }
}

#[test]
fn every_splice_of_two_states_is_refused() {
    let (one, other) = (small(), items(3).concat());
    for n in 0..=one.len() {
        for m in 0..=other.len() {
            let spliced = [&one[..n], &other[m..]].concat();
            assert_eq!(read(&spliced, usize::MAX).is_ok(), spliced == one || spliced == other, "{n}, {m}");
        }
    }
}

#[test]
fn every_byte_that_is_left_out_or_repeated_is_noticed() {
    let state = small();
    for n in 0..state.len() {
        read_all(&[&state[..n], &state[n + 1..]].concat()).expect_err("left out");
        read_all(&[&state[..=n], &state[n..]].concat()).expect_err("repeated");
    }
}

#[test]
fn a_device_takes_all_sections_or_none() {
    let state = small();
    let sections = || read(&state, usize::MAX).expect("whole");
    assert_eq!(sections().take(NONE), Err(BadState::Missing(NONE)));
    assert_eq!(sections().take_sized(PMEM, 9), Err(BadState::Size { tag: PMEM, wanted: 9, found: 10 }));
    assert_eq!(sections().end(), Err(BadState::Unknown(PMEM)));
    let why = sections().take_structured::<u64>(REGS).expect_err("short");
    assert_eq!(why.to_string(), "a structured part can't be read: it ends too early");
}

#[test]
fn memory_that_was_used_before_shows_nothing_of_it() {
    let mut spare = Sections::default();
    spare.put(PMEM, vec![0xaa; 100]);
    spare.put(NONE, vec![0xaa; 100]);
    let mut reader = Reader::new(&nic(), &rx(32)).reusing(spare);
    reader.push(&small()).expect("whole");
    assert_eq!(reader.finish(), read_all(&small()));
    let fresh = Writer::new(&nic(), &rx(32)).finish().into_bytes();
    assert_eq!(Writer::reusing(vec![0xaa; 100], &nic(), &rx(32)).finish().into_bytes(), fresh);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Against contents kept by hand, however it was written, drained and pushed.
    #[test]
    fn sections_come_as_they_were_written(
        writes in vec((0..3usize, any::<Option<u16>>(), vec(any::<u8>(), 0..200)), 0..12),
        drain in 0..300usize,
        chunk in 1..300usize,
    ) {
        let mut contents = BTreeMap::<Tag, Vec<u8>>::new();
        let mut writer = Writer::new(&nic(), &rx(32));
        let mut sent = Vec::new();
        for (tag, offset, bytes) in writes {
            let tag = [PMEM, REGS, NONE][tag];
            let content = contents.entry(tag).or_default();
            if let Some(offset) = offset {
                let at = usize::from(offset) % (content.len() + 1);
                writer.part(tag, at as u64, &bytes);
                content.resize(content.len().max(at + bytes.len()), 0);
                content[at..at + bytes.len()].copy_from_slice(&bytes);
            } else {
                writer.section(tag, &bytes);
                content.clone_from(&bytes);
            }
            let mut buffer = vec![0; drain];
            let n = writer.out.read(&mut buffer);
            sent.extend_from_slice(&buffer[..n]);
        }
        sent.extend(writer.finish().into_bytes());
        let mut sections = read(&sent, chunk).expect("whole");
        for (tag, content) in contents {
            prop_assert_eq!(sections.take(tag), Ok(content));
        }
        prop_assert_eq!(sections.end(), Ok(()));
    }

    #[test]
    fn any_bytes_are_refused(bytes in vec(any::<u8>(), 0..200), kept in 0..200usize, chunk in 1..50usize) {
        let state = small();
        let stream = [&state[..kept.min(state.len())], &bytes].concat();
        prop_assert_eq!(read(&stream, chunk).is_ok(), stream == state);
    }
}
