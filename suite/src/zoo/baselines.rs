//! Baselines, as projects test today: random bytes with a crash as the oracle, and the round trip
//! `save(load(s)) == s`.

use super::open;
use crate::devices::Faulty;
use crate::generate::script;
use crate::guests;
use crate::subject::Subject;
use arbitrary::Unstructured;
use migcert_core::device::{Device, Outside, State, Step};
use migcert_core::error::Error;
use migcert_core::migrate::Carrier;
use migcert_core::model::ModelId;
use migcert_core::version::Setup;

/// A faulty device at its latest configuration.
pub struct Baseline {
    subject: Subject,
    model: ModelId,
    setup: Setup,
}

impl Baseline {
    /// The device with a fault.
    ///
    /// # Errors
    /// Why it can't be opened.
    pub fn of(faulty: &Faulty) -> Result<Baseline, String> {
        let (mut subjects, _) = open(faulty)?;
        let subject = subjects.swap_remove(0);
        let (model, described) = subject.manifest.models.first_key_value().ok_or("it has no model")?;
        let (model, setup) = (model.clone(), described.latest());
        Ok(Baseline { subject, model, setup })
    }

    fn start(&self, outside: &Outside) -> Result<Box<dyn Device>, Error> {
        self.subject.program.start(&self.model, &self.setup, outside)
    }

    /// Loads bytes, and uses the device if it accepted them: only a panic is a finding.
    ///
    /// # Errors
    /// The device's own; they are not findings.
    pub fn load_blindly(&self, bytes: &[u8]) -> Result<(), Error> {
        let mut device = self.start(&self.subject.program.outside()?)?;
        Carrier::default().load(&mut *device, bytes)?;
        device.set_state(State::Running)?;
        let steps = guests::of(&device.capabilities().interface).look_around();
        steps.iter().try_for_each(|step| device.guest(step).map(drop))
    }

    /// States to begin with: of a fresh device, and of one that was used.
    ///
    /// # Errors
    /// The device's own.
    pub fn seeds(&self) -> Result<Vec<Vec<u8>>, Error> {
        let device = self.start(&self.subject.program.outside()?)?;
        let used = guests::of(&device.capabilities().interface).look_around();
        [&[], &used[..used.len() / 2], &used[..]]
            .map(|steps| self.saved(steps).map(|(_, state)| state))
            .into_iter()
            .collect()
    }

    fn saved(&self, steps: &[Step]) -> Result<(Outside, Vec<u8>), Error> {
        let outside = self.subject.program.outside()?;
        let mut device = self.start(&outside)?;
        steps.iter().try_for_each(|step| device.guest(step).map(drop))?;
        let state = Carrier::default().save(&mut *device, None)?;
        Ok((outside, state))
    }

    /// Whether a state that was saved after drawn guest steps is the same when it is loaded and
    /// saved again.
    pub fn round_trips(&self, drawn: &[u8]) -> bool {
        self.round_trip(drawn).unwrap_or(false)
    }

    fn round_trip(&self, drawn: &[u8]) -> Result<bool, Error> {
        let interface = self.start(&self.subject.program.outside()?)?.capabilities().interface;
        let mut guest = guests::of(&interface);
        let steps = script::script(&mut Unstructured::new(drawn), &mut *guest).unwrap_or_default();
        let (outside, state) = self.saved(&steps)?;
        let mut device = self.start(&outside)?;
        Carrier::default().load(&mut *device, &state)?;
        device.set_state(State::Running)?;
        Ok(Carrier::default().save(&mut *device, None)? == state)
    }
}
