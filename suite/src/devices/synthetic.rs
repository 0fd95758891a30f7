//! A device that behaves as a description says: any description.
//!
//! The configuration determines all of it. The base has an interrupt mask, causes and a small
//! memory. Each parameter that is not off adds a *unit*: a region of registers, a section of the
//! state, and behaviour that depends on the name and the value. What is off adds nothing, to the
//! byte. A version string (r4) is one unit of its own.
//!
//! A unit has words behind a data register whose index nothing shows, a sum over all that was
//! written, and jobs that wait until the device gets time for them. Which of the optional states
//! there are depends on the model id, so all four kinds occur.

use super::engine::Engine;
use super::fault::Faults;
use super::kept::{Alone, Planted};
use hardware::Synthetic;
use migcert_core::device::{Device, Outside};
use migcert_core::error::{Error, Refusal};
use migcert_core::model::ModelId;
use migcert_core::program::{Apart, Culprit, Manifest, Model, Program, Share, Unsupported};
use migcert_core::version::Setup;
use std::borrow::Cow;

mod hardware;

/// The device program that is described so.
pub fn program(manifest: Manifest, faults: Faults) -> Box<dyn Program> {
    Box::new(Described { manifest, faults })
}

struct Described {
    manifest: Manifest,
    faults: Faults,
}

impl Program for Described {
    fn describe(&self) -> Result<Manifest, Error> {
        Ok(self.manifest.clone())
    }

    fn outside(&self) -> Result<Outside, Error> {
        Ok(Outside::none())
    }

    fn start(&self, model: &ModelId, setup: &Setup, outside: &Outside) -> Result<Box<dyn Device>, Error> {
        self.start_with(model, setup, outside, &self.faults)
    }

    fn apart(&self, _share: Share) -> Result<Box<dyn Apart + '_>, Cow<'static, str>> {
        Ok(Box::new(Alone::of(self)))
    }
}

impl Planted for Described {
    fn faults(&self) -> &Faults {
        &self.faults
    }

    fn start_with(
        &self,
        model: &ModelId,
        setup: &Setup,
        _outside: &Outside,
        faults: &Faults,
    ) -> Result<Box<dyn Device>, Error> {
        let list = self.list(model, setup).map_err(Refusal::from)?;
        let device = Synthetic::new(model.clone(), list, faults.clone());
        Ok(Box::new(Engine::new(device, faults.clone())))
    }
}

impl Described {
    /// The migration parameter list that an instance of this setup has, if it can be
    /// started. What is not named has its init value.
    fn list(&self, model: &ModelId, setup: &Setup) -> Result<Setup, Unsupported> {
        let Some(described) = self.manifest.models.get(model) else {
            return Err(Unsupported(vec![Culprit::Model(model.clone())]));
        };
        let full = match (described, setup) {
            (Model::Params(description), Setup::Params(some)) => {
                let mut full = description.init();
                full.extend(some.clone());
                Setup::Params(full)
            }
            (Model::Versions(versions), Setup::Params(none)) if none.is_empty() => {
                Setup::Version(versions.latest().clone())
            }
            (_, setup) => setup.clone(),
        };
        let culprits = described.faults(&full);
        if !culprits.is_empty() {
            return Err(Unsupported(culprits));
        }
        Ok(match (described, full) {
            (Model::Params(description), Setup::Params(full)) => {
                Setup::Params(description.parameter_list(&full).named)
            }
            (_, full) => full,
        })
    }
}

/// What a value makes of its unit.
#[derive(Clone, Debug)]
struct Shape {
    kind: u32,
    words: usize,
    /// The bits that a word has.
    mask: u32,
    /// What the sum is multiplied with before a value is added.
    factor: u32,
}

/// One for each parameter that is not off.
fn shapes(list: &Setup) -> Vec<Shape> {
    let shape = |text: String| {
        let hash = hash(text.as_bytes());
        Shape {
            kind: hash as u32,
            words: 1 + (hash >> 32) as usize % 4,
            mask: (1 << (8 + (hash >> 40) % 17)) - 1,
            factor: (hash >> 16) as u32 | 1,
        }
    };
    match list {
        Setup::Version(version) => vec![shape(version.to_string())],
        Setup::Params(list) => {
            list.iter().map(|(name, value)| shape(format!("{name}={} {value}", value.ty()))).collect()
        }
    }
}

/// FNV-1a: the same on every machine and in every version.
fn hash(bytes: &[u8]) -> u64 {
    let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, step)
}
