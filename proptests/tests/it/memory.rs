//! what a load takes is bounded by the bytes that came.

use migcert_core::envelope::Tag;
use migcert_core::envelope::read::Reader;
use migcert_core::envelope::write::Writer;
use migcert_core::model::ModelId;
use migcert_core::structured;
use migcert_core::version::Setup;

#[test]
fn a_claimed_length_takes_no_memory() {
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

#[test]
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
fn takes_at_most(bytes: u64, work: impl FnOnce()) {
    let peak = allocation_counter::measure(work).bytes_max;
    assert!(peak <= bytes, "{peak} bytes");
}
