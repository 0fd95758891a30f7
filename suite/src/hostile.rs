//! Bytes that nobody vouches for, and what must become of them.

use crate::damage::reseal::reseal;
use crate::finding::{Finding, Outcome};
use crate::hosts::vfio_user::wire;
use allocation_counter::measure;
use migcert_core::envelope::BadState;
use migcert_core::envelope::read::{Reader, Sections};
use migcert_core::model::ModelId;
use migcert_core::param::Value;
use migcert_core::program::Manifest;
use migcert_core::version::{Request, Setup};

/// Any bytes are migration info, a request for a configuration or a state, or they are refused;
/// what is understood means the same when it is written and read again.
pub fn bytes_are_understood_or_refused(bytes: &[u8]) -> Outcome {
    for reader in [manifest, request, state, resealed_state] {
        if let Err(finding) = reader(bytes) {
            return Outcome::Broken(*finding);
        }
    }
    Outcome::Held
}

/// Any bytes are messages of vfio-user, or they are refused; what is understood means the same when
/// it is written and read again, and takes no more memory than it has bytes.
pub fn messages_are_understood_or_refused(bytes: &[u8]) -> Outcome {
    let mut read = Ok(());
    let taken = measure(|| read = wire::any_bytes(bytes));
    if let Err(differs) = read {
        let (expected, observed) = *differs;
        let summary = "a message changed when it was written".to_owned();
        return Outcome::Broken(Finding { summary, expected, observed, ..Finding::default() });
    }
    let bound = 64 * bytes.len() as u64 + 4096;
    if taken.bytes_max <= bound {
        return Outcome::Held;
    }
    Outcome::Broken(Finding {
        summary: "a message took more memory than the bytes that came allow".to_owned(),
        expected: format!("at most {bound} bytes for {}", bytes.len()),
        observed: format!("{} bytes", taken.bytes_max),
        ..Finding::default()
    })
}

fn manifest(bytes: &[u8]) -> Result<(), Box<Finding>> {
    let Ok(manifest) = Manifest::from_json(bytes) else { return Ok(()) };
    for model in manifest.models.values() {
        same("the latest configuration can't be had (R-4.4)", &vec![], &model.faults(&model.latest()))?;
    }
    let again = Manifest::from_json(manifest.to_json().as_bytes());
    same("migration info changed when it was written (R-8.3)", &Ok(manifest), &again)
}

/// A configuration is read from what it is printed as.
fn request(bytes: &[u8]) -> Result<(), Box<Finding>> {
    let Ok(text) = str::from_utf8(bytes) else { return Ok(()) };
    let Ok(request) = Request::parse([text]) else { return Ok(()) };
    let settings = request.settings.clone().into_iter().map(|(name, value)| (name, Value::Str(value)));
    let printed = Setup::Params(settings.collect()).to_string();
    same("a request changed when it was printed (R-4.1)", &Ok(request), &Request::parse([printed]))
}

fn state(bytes: &[u8]) -> Result<(), Box<Finding>> {
    let mut at_once = Ok(Sections::default());
    let taken = measure(|| at_once = read(bytes, usize::MAX));
    let bound = 4 * bytes.len() as u64 + 4096;
    if taken.bytes_max > bound {
        return Err(Box::new(Finding {
            summary: "the envelope took more memory than the bytes that came allow (R-6.7)".to_owned(),
            expected: format!("at most {bound} bytes for {}", bytes.len()),
            observed: format!("{} bytes", taken.bytes_max),
            ..Finding::default()
        }));
    }
    let chunk = bytes.last().map_or(1, |byte| usize::from(*byte) + 1);
    same("the envelope sees how a state was chunked (R-6.6)", &at_once, &read(bytes, chunk))
}

/// A fuzzer doesn't guess checksums: with right ones, it gets further.
fn resealed_state(bytes: &[u8]) -> Result<(), Box<Finding>> {
    let mut resealed = bytes.to_owned();
    reseal(&mut resealed);
    if resealed == bytes { Ok(()) } else { state(&resealed) }
}

/// As a device without a name and without parameters, so that the header is short.
fn read(bytes: &[u8], chunk: usize) -> Result<Sections, BadState> {
    let mut reader = Reader::new(&ModelId::from(""), &Setup::Params([].into()));
    for bytes in bytes.chunks(chunk) {
        reader.push(bytes)?;
    }
    reader.finish()
}

fn same<T: PartialEq + std::fmt::Debug>(
    summary: &str,
    expected: &T,
    observed: &T,
) -> Result<(), Box<Finding>> {
    if expected == observed {
        return Ok(());
    }
    Err(Box::new(Finding {
        summary: summary.to_owned(),
        expected: format!("{expected:?}"),
        observed: format!("{observed:?}"),
        ..Finding::default()
    }))
}
