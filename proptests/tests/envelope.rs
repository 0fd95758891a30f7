//! on the envelope.

use migcert_core::envelope::read::{Reader, Sections};
use migcert_core::envelope::write::Writer;
use migcert_core::envelope::{BadState, Tag};
use migcert_core::model::ModelId;
use migcert_core::version::Setup;

const MEM: Tag = Tag::new(b"pmem");
const REGS: Tag = Tag::new(b"regs");

fn model() -> ModelId {
    ModelId::from("example.org/nic")
}

fn list() -> Setup {
    Setup::Version("2".parse().expect("a version"))
}

fn read(bytes: &[u8], chunk: usize) -> Result<Sections, BadState> {
    let mut reader = Reader::new(&model(), &list());
    for chunk in bytes.chunks(chunk) {
        reader.push(chunk)?;
    }
    reader.finish()
}

#[test]
fn what_was_written_is_read() {
    let mut writer = Writer::new(&model(), &list());
    writer.part(MEM, 0, &[1; 100]);
    writer.part(MEM, 50, &[2; 100]);
    writer.structured(REGS, &(7u32, true)).expect("plain");
    let mut sent = Vec::new();
    let mut buffer = [0; 7];
    while let n @ 1.. = writer.out.read(&mut buffer) {
        sent.extend_from_slice(&buffer[..n]);
    }
    writer.part(MEM, 0, &[3; 10]);
    writer.structured(REGS, &(8u32, true)).expect("plain");
    sent.extend(writer.finish().into_bytes());
    for chunk in [1, 2, 3, 7, 31, 32, 33, 1000] {
        let mut sections = read(&sent, chunk).expect("whole");
        let memory = sections.take_sized(MEM, 150).expect("there");
        assert_eq!(memory, [vec![3; 10], vec![1; 40], vec![2; 100]].concat());
        assert_eq!(sections.take_structured(REGS), Ok((8u32, true)));
        assert_eq!(sections.end(), Ok(()));
    }
}
