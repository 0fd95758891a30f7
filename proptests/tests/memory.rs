//! what a load takes is bounded by the bytes that came. One test, alone in its
//! process, so that nobody else allocates.

use migcert_core::envelope::Tag;
use migcert_core::envelope::read::Reader;
use migcert_core::envelope::write::Writer;
use migcert_core::model::ModelId;
use migcert_core::structured;
use migcert_core::version::Setup;
use peak_alloc::PeakAlloc;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

#[test]
fn a_load_takes_what_came() {
    a_claimed_length_takes_nothing();
    many_small_pushes_take_as_much_as_one();
}

fn a_claimed_length_takes_nothing() {
    let (model, list) = (ModelId::from("example.org/nic"), Setup::Params([].into()));
    let mut stream = Writer::new(&model, &list).finish().into_bytes();

    let mut header = stream.clone();
    header[12..20].copy_from_slice(&(1u64 << 40).to_le_bytes());
    takes_at_most(4 << 10, || {
        let mut reader = Reader::new(&model, &list);
        reader.push(&header).expect("nothing is wrong yet");
        reader.finish().expect_err("cut");
    });

    let head = [b"pmem\0\0\0\0".as_slice(), &[0; 8], &(1u64 << 40).to_le_bytes()].concat();
    stream.truncate(stream.len() - 32);
    stream.extend([head.as_slice(), &crc32c::crc32c(&head).to_le_bytes(), &[0; 4], &[7; 100]].concat());
    takes_at_most(4 << 10, || {
        let mut reader = Reader::new(&model, &list);
        reader.push(&stream).expect("nothing is wrong yet");
        reader.finish().expect_err("cut");
    });

    let claim = (1u64 << 40).to_le_bytes();
    takes_at_most(8 << 10, || drop(structured::decode::<String>(&claim).expect_err("cut")));
    takes_at_most(2 << 20, || drop(structured::decode::<Vec<u64>>(&claim).expect_err("cut")));
}

fn many_small_pushes_take_as_much_as_one() {
    let (model, list) = (ModelId::from("example.org/nic"), Setup::Params([].into()));
    let mut writer = Writer::new(&model, &list);
    writer.section(Tag::new(b"pmem"), &[7; 1 << 20]);
    let stream = writer.finish().into_bytes();
    takes_at_most(3 << 20, || {
        let mut reader = Reader::new(&model, &list);
        for byte in &stream {
            reader.push(&[*byte]).expect("good");
        }
        reader.finish().expect("whole");
    });
}

#[track_caller]
fn takes_at_most(bytes: usize, work: impl FnOnce()) {
    MEMORY.reset_peak_usage();
    let before = MEMORY.current_usage();
    work();
    let peak = MEMORY.peak_usage() - before;
    assert!(peak <= bytes, "{peak} bytes");
}
