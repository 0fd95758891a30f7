//! What is written is read, and what means nothing is an error.

use super::*;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    volatile: Vec<Written>,
}

fn read(element: &str) -> Result<Pin, String> {
    let document = crate::document::toml::<Document>(&format!("volatile = [{element}]"));
    let mut document = document.map_err(|why| why.to_string())?;
    document.volatile.remove(0).pin().map_err(|why| why.to_string())
}

#[test]
fn every_place_is_read_as_it_was_written() {
    let hostile = "a \"b\" \\ '##[' \u{1b}[2J\u{202e}\n\u{7f}é\u{301}\u{301}\u{301}\u{301}".to_owned();
    let places = [
        Place::Bits { region: 7, offset: 0x10, size: 4, bits: 0xff },
        Place::Bits { region: 0, offset: u64::MAX - 8, size: 8, bits: u64::MAX },
        Place::Bits { region: GUEST_MEMORY, offset: 0x1000, size: 8, bits: 1 << 63 },
        Place::Interrupt { vector: u32::MAX, late: true },
        Place::Interrupt { vector: 0, late: false },
        Place::LateMemory,
        Place::LateOutput,
        Place::Output { step: hostile.clone(), byte: None },
        Place::Output { step: "pass".to_owned(), byte: Some(3) },
        Place::Reply { step: hostile.clone(), field: None },
        Place::Reply { step: "read 0:0x10/4".to_owned(), field: Some(0) },
        Place::Value { step: hostile, index: 2, bits: 0xf0 },
    ];
    for place in places {
        let written = place.toml();
        assert!(written.chars().all(|c| matches!(c, ' '..='~')) && !written.contains("##"), "{written}");
        assert_eq!(read(&written), Ok(volatile(place)), "{written}");
    }
    for place in [
        Place::Bits { region: 0, offset: 0x18, size: 8, bits: u64::MAX },
        Place::Reply { step: "a } \"b".to_owned(), field: Some(1) },
        Place::Value { step: "a".to_owned(), index: 0, bits: 1 },
        Place::Bits { region: GUEST_MEMORY, offset: 0x1000, size: 8, bits: 0xff00 },
        Place::Output { step: "pass".to_owned(), byte: Some(6) },
    ] {
        let pin = Pin::Place(place, Nature::Instance);
        assert_eq!(read(&pin.toml()), Ok(pin));
    }
    let range = Pin::Range(Range { region: 0, offset: 0x10, size: 4096 });
    assert_eq!(read(&range.toml()), Ok(range));
}

#[test]
fn what_means_nothing_is_an_error() {
    #[track_caller]
    fn says(element: &str, expected: &str) {
        let said = read(element).expect_err(element);
        assert!(said.contains(expected), "{said}");
    }
    says("{}", "not 0 of them");
    says("{ region = 0, interrupt = 1 }", "not 2 of them");
    says("{ region = 0, offset = 0 }", "only with `size`");
    says("{ region = 0, size = 4 }", "only with `offset`");
    says("{ region = 0, offset = 0, size = 0 }", "it is empty: `size` is 0");
    says("{ region = 0, offset = 0, size = 4, bits = 0 }", "it is empty: `bits` is 0");
    says("{ region = 0, offset = 0, size = 3, bits = 1 }", "size 3 is not 1, 2, 4 or 8");
    says("{ region = 0, offset = 0, size = 1, bits = 0x100 }", "bits 0x100 are not all in 1 bytes");
    says("{ region = 0, offset = '0xffffffffffffffff', size = 4 }", "more than 64 bits");
    says("{ region = 0, offset = -1, size = 4 }", "line 1, column 36: invalid value");
    says("{ region = 0, offset = '+1', size = 4 }", "a number of 64 bits");
    says("{ region = 0, offset = '0x+1', size = 4 }", "a number of 64 bits");
    says("{ region = 0, offset = 0, size = 4, byte = 1 }", "`byte` says nothing about a region");
    says("{ interrupt = 1, bits = 1 }", "`bits` says nothing about an interrupt");
    says("{ interrupt = 1, late = 'memory' }", "not 2 of them");
    says("{ late = true }", "not 0 of them");
    says("{ late = 'never' }", "expected `true` beside an interrupt");
    says("{ output = 'pass', of = 'instance' }", "`of` says nothing about what leaves the device");
    says("{ late = 'memory', of = 'instance' }", "`of` says nothing about what is late");
    says("{ interrupt = 1, of = 'instance' }", "`of` says nothing about an interrupt");
    says("{ region = 0, offset = 0, size = 4, of = 'all' }", "unknown variant");
    says("{ reply = '' }", "from 1 to 4096 bytes");
    says("{ reply = 'a', field = 1, value = 1 }", "`field` says nothing about a value");
    says("{ reply = 'a', word = 1 }", "unknown field `word`");
    says("{ memory = 0, offset = 0, size = 4 }", "`offset` says nothing about guest memory");
}

#[test]
fn what_is_said_twice_overlaps() {
    let overlap = |one: &str, other: &str| {
        let [one, other] = [one, other].map(|text| read(text).expect(text));
        assert_eq!(one.overlaps(&other), other.overlaps(&one));
        one.overlaps(&other)
    };
    let range = "{ region = 0, offset = 0x10, size = 4 }";
    assert!(overlap(range, "{ region = 0, offset = 0x13, size = 100 }"));
    assert!(!overlap(range, "{ region = 0, offset = 0x14, size = 100 }"));
    assert!(!overlap(range, "{ region = 1, offset = 0x10, size = 4 }"));
    let bits = "{ region = 0, offset = 0x10, size = 8, bits = 0xff_0000_0000 }";
    assert!(!overlap(range, bits));
    assert!(overlap("{ region = 0, offset = 0x14, size = 1 }", bits));
    assert!(overlap("{ region = 0, offset = 0x14, size = 1, bits = 1 }", bits));
    assert!(!overlap("{ region = 0, offset = 0x15, size = 1, bits = 1 }", bits));
    assert!(overlap("{ reply = 'a' }", "{ reply = 'a', value = 1 }"));
    assert!(!overlap("{ reply = 'a' }", "{ reply = 'b', value = 1 }"));
    assert!(!overlap("{ reply = 'a', field = 1 }", "{ reply = 'a', field = 2 }"));
    assert!(overlap("{ interrupt = 1 }", "{ interrupt = 1, late = true }"));
}
