//! No device at all: it accepts every configuration and every state, shows nothing and does
//! nothing. A certification that is green on it is worth nothing.

use super::release::{description, int};
use migcert_core::device::{Capabilities, Device, Interface, Machine, Options, Outside, Seen, State, Step};
use migcert_core::error::Error;
use migcert_core::model::ModelId;
use migcert_core::param::Value;
use migcert_core::program::{Manifest, Model, Program};
use migcert_core::version::Setup;
use std::ops::Range;

/// The device program that starts it.
pub fn program() -> Box<dyn Program> {
    Box::new(Null)
}

struct Null;

impl Program for Null {
    fn describe(&self) -> Result<Manifest, Error> {
        let versions = (1..=2).map(|version| vec![("size", Value::Int(version))]);
        let description = description([("size", int(2, Some(0), &[0..=4], "of nothing"))], versions);
        let model = ModelId::from("https://migcert.example/devices/null");
        Ok(Manifest { models: [(model, Model::Params(description))].into() })
    }

    fn outside(&self) -> Result<Outside, Error> {
        Ok(Outside::none())
    }

    fn start(&self, _: &ModelId, _: &Setup, _: &Outside) -> Result<Box<dyn Device>, Error> {
        Ok(Box::new(Nothing(State::Running)))
    }
}

/// An instance is in the state that was asked for.
struct Nothing(State);

impl Device for Nothing {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            options: Options { p2p: true, pre_copy: true },
            machine: Machine::Device,
            can_reset: true,
            interface: Interface::Registers([].into()),
        }
    }

    fn state(&mut self) -> Result<State, Error> {
        Ok(self.0)
    }

    fn set_state(&mut self, to: State) -> Result<(), Error> {
        self.0 = to;
        Ok(())
    }

    fn read_state(&mut self, _: &mut [u8]) -> Result<usize, Error> {
        Ok(0)
    }

    fn write_state(&mut self, _: &[u8]) -> Result<(), Error> {
        Ok(())
    }

    fn estimate(&mut self) -> Result<Option<u64>, Error> {
        Ok(None)
    }

    fn reset(&mut self) -> Result<(), Error> {
        self.0 = State::Running;
        Ok(())
    }

    fn guest(&mut self, _: &Step) -> Result<Seen, Error> {
        Ok(Seen::default())
    }

    fn guest_memory(&mut self) -> Result<Vec<u8>, Error> {
        Ok(Vec::new())
    }

    fn set_guest_memory(&mut self, _: &[u8]) -> Result<(), Error> {
        Ok(())
    }

    fn dirty_memory(&mut self) -> Result<Option<Vec<Range<usize>>>, Error> {
        Ok(None)
    }

    fn footprint(&mut self) -> Result<Option<u64>, Error> {
        Ok(None)
    }
}
