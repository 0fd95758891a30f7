//! A 64 MiB state through the envelope, against `memcpy` and against bincode of the same bytes.
//!
//! All rates come from one run, taken in turns, and the best turn counts. Buffers are warm on both
//! sides, as a device's are that saves or loads for the second time: `memcpy` copies warm memory
//! over warm memory, saving writes into the buffer of the save before, loading into the memory of
//! the load before. What the first time costs, mostly page faults, is shown as *fresh memory*.
//!
//! The bincode of the targets is what serde derives for a `Vec<u8>`, written to a warm `Vec`;
//! decoding gives a fresh one, as it always does. Three more ways are shown and not judged: into a
//! fresh `Vec`; into a slice of the right length, where the compiler makes a `memcpy` of it; and
//! bincode's own traits instead of serde's, with a special case for bytes. None has a checksum.
//!
//! `cargo bench -p migcert-benches --bench envelope` fails when a ratio misses its target;
//! with `-- --test` it takes a few turns and only prints.

use migcert_core::envelope::Tag;
use migcert_core::envelope::read::{Reader, Sections};
use migcert_core::envelope::write::Writer;
use migcert_core::model::ModelId;
use migcert_core::version::Setup;
use std::hint::black_box;
use std::process::ExitCode;
use std::time::Instant;

const SIZE: usize = 64 << 20;
const MEMORY: Tag = Tag::new(b"pmem");
/// What a carrier moves at a time.
const CHUNK: usize = 1 << 20;

/// Ratio, to what, and the least it must be.
const TARGETS: &[(&str, &str, f64)] = &[
    ("save", "memcpy", 0.5),
    ("load", "memcpy", 0.4),
    ("save", "bincode encode", 2.5),
    ("load", "bincode decode", 2.5),
];

fn main() -> ExitCode {
    let quick = std::env::args().any(|arg| arg == "--test");
    let rates = Bench::new().run(if quick { 3 } else { 25 });
    for (name, rate) in &rates {
        println!("{name:<24}{:>8.2} GB/s", rate / 1e9);
    }
    let rate = |name| rates.iter().find(|row| row.0 == name).map_or(f64::NAN, |row| row.1);
    let mut missed = false;
    for &(name, peer, least) in TARGETS {
        let ratio = rate(name) / rate(peer);
        missed |= ratio < least;
        println!("{name} is {ratio:.2} times {peer} (at least {least})");
    }
    if missed && !quick { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// Everything that is reused from turn to turn.
struct Bench {
    model: ModelId,
    list: Setup,
    memory: Vec<u8>,
    copy: Vec<u8>,
    chunk: Vec<u8>,
    out: Vec<u8>,
    stream: Vec<u8>,
    spare: Sections,
    plain: Vec<u8>,
}

type Turn = fn(&mut Bench);

const TURNS: &[(&str, Turn)] = &[
    ("memcpy", Bench::memcpy),
    ("save", Bench::save),
    ("save, drained in parts", Bench::save_in_parts),
    ("save, fresh memory", Bench::save_fresh),
    ("load", Bench::load),
    ("load, in chunks", Bench::load_in_chunks),
    ("load, fresh memory", Bench::load_fresh),
    ("bincode encode", Bench::encode),
    ("bincode decode", Bench::decode),
    ("encode, fresh Vec", Bench::encode_to_vec),
    ("encode, into a slice", Bench::encode_into_slice),
    ("decode, native", Bench::decode_native),
];

impl Bench {
    fn new() -> Bench {
        let memory: Vec<u8> = (0..SIZE).map(|i| (i ^ (i >> 8) ^ (i >> 16)) as u8).collect();
        let model = ModelId::from("https://example.org/devices/nic");
        let list = Setup::Params([].into());
        let mut writer = Writer::new(&model, &list);
        writer.section(MEMORY, &memory);
        let stream = writer.finish().into_bytes();
        let mut spare = Sections::default();
        spare.put(MEMORY, memory.clone());
        let copy = memory.clone();
        let plain = vec![1; SIZE + 8];
        Bench { model, list, memory, copy, chunk: vec![1; CHUNK], out: stream.clone(), stream, spare, plain }
    }

    /// Bytes per second of each row of [`TURNS`].
    fn run(&mut self, turns: usize) -> Vec<(&'static str, f64)> {
        let mut rates: Vec<(&str, f64)> = TURNS.iter().map(|row| (row.0, 0.0)).collect();
        for turn in 0..=turns {
            for ((_, work), (_, best)) in TURNS.iter().zip(&mut rates) {
                let start = Instant::now();
                work(self);
                let rate = SIZE as f64 / start.elapsed().as_secs_f64();
                // The first turn warms up.
                if turn > 0 {
                    *best = best.max(rate);
                }
            }
        }
        rates
    }

    fn memcpy(&mut self) {
        self.copy.copy_from_slice(black_box(&self.memory));
        black_box(&mut self.copy);
    }

    fn save(&mut self) {
        let mut writer = Writer::reusing(std::mem::take(&mut self.out), &self.model, &self.list);
        writer.section(MEMORY, black_box(&self.memory));
        self.out = black_box(writer.finish().into_bytes());
    }

    /// As in PRE_COPY: a part is written when the one before is on its way.
    fn save_in_parts(&mut self) {
        let mut writer = Writer::reusing(std::mem::take(&mut self.out), &self.model, &self.list);
        for (i, part) in black_box(&self.memory).chunks(256 << 10).enumerate() {
            writer.part(MEMORY, (i * (256 << 10)) as u64, part);
            while writer.out.read(&mut self.chunk) > 0 {
                black_box(&mut self.chunk);
            }
        }
        self.out = writer.finish().into_bytes();
    }

    fn save_fresh(&mut self) {
        let mut writer = Writer::new(&self.model, &self.list);
        writer.section(MEMORY, black_box(&self.memory));
        black_box(writer.finish().into_bytes());
    }

    fn load(&mut self) {
        let mut reader = Reader::new(&self.model, &self.list).reusing(std::mem::take(&mut self.spare));
        reader.push(black_box(&self.stream)).expect("good");
        self.spare = black_box(reader.finish().expect("whole"));
    }

    fn load_in_chunks(&mut self) {
        let mut reader = Reader::new(&self.model, &self.list).reusing(std::mem::take(&mut self.spare));
        for chunk in black_box(&self.stream).chunks(CHUNK) {
            reader.push(chunk).expect("good");
        }
        self.spare = black_box(reader.finish().expect("whole"));
    }

    fn load_fresh(&mut self) {
        let mut reader = Reader::new(&self.model, &self.list);
        reader.push(black_box(&self.stream)).expect("good");
        black_box(reader.finish().expect("whole"));
    }

    fn encode(&mut self) {
        self.plain.clear();
        bincode::serde::encode_into_std_write(black_box(&self.memory), &mut self.plain, CONFIG)
            .expect("room");
        black_box(&mut self.plain);
    }

    fn encode_to_vec(&mut self) {
        black_box(bincode::serde::encode_to_vec(black_box(&self.memory), CONFIG).expect("room"));
    }

    fn encode_into_slice(&mut self) {
        bincode::serde::encode_into_slice(black_box(&self.memory), &mut self.plain, CONFIG).expect("room");
        black_box(&mut self.plain);
    }

    fn decode(&mut self) {
        let memory: (Vec<u8>, usize) =
            bincode::serde::decode_from_slice(black_box(&self.plain), CONFIG).expect("good");
        black_box(memory);
    }

    fn decode_native(&mut self) {
        let memory: (Vec<u8>, usize) =
            bincode::decode_from_slice(black_box(&self.plain), CONFIG).expect("good");
        black_box(memory);
    }
}

const CONFIG: bincode::config::Configuration<bincode::config::LittleEndian, bincode::config::Fixint> =
    bincode::config::standard().with_fixed_int_encoding();
