//! What of the line is saved, what of a state is judged, and how it is swapped in.

use super::faults::*;
use super::hardware::*;
use super::layout::*;
use super::line::Serial;
use crate::devices::engine::faults::FIELDS_UNCHECKED;
use crate::devices::engine::{Pass, Stored};
use crate::devices::fault::Fault;
use migcert_core::envelope::read::Sections;
use migcert_core::envelope::write::Writer;
use migcert_core::envelope::{BadState, Tag};
use migcert_core::error::Error;
use migcert_core::model::ModelId;
use migcert_core::structured;
use migcert_core::version::Setup;

const CORE: Tag = Tag::new(b"uart");
const FIFOS: Tag = Tag::new(b"fifo");
const TRACE_BYTES: Tag = Tag::new(b"trac");
const TRACE_RUNS: Tag = Tag::new(b"runs");

/// By level: by how much the interrupt mask is shifted where it is saved. It was a mistake, and
/// what was published so stays so.
const SHIFTS: [u32; 4] = [1, 1, 0, 0];

impl Serial {
    fn hits(&self, fault: &'static Fault, differs: bool) -> bool {
        self.faults.hits(fault, differs)
    }

    /// The version of the main section.
    fn version(&self) -> u8 {
        if self.hits(&VERSION_IS_SIZE, true) { size_of::<Core>() as u8 } else { self.shape.level() }
    }

    /// Everything as it is saved.
    fn saved(&mut self) -> Hardware {
        if self.hits(&SAVE_RAISES, !self.state.to_send.is_empty()) {
            self.state.raise(cause::SENT);
        }
        let mut saved = self.state.clone();
        let core = &mut saved.core;
        if self.hits(&ENABLE_GUESSED, core.enable != 2) {
            core.enable = 2;
        }
        if !self.shape.compact && self.hits(&SCRATCH_REMOVED, core.scratch != 0) {
            core.scratch = 0;
        }
        core.enable <<= SHIFTS[usize::from(self.shape.level()) - 1];
        let timers = &mut saved.timers.all;
        if self.hits(&TIMERS_FORGOTTEN, timers.iter().any(|timer| timer.begin != 0)) {
            *timers = Default::default();
        }
        self.lay_out(&mut saved.timers);
        saved
    }

    /// How timers lie in a state.
    fn lay_out(&self, timers: &mut Timers) {
        for Timer { begin, left } in &mut timers.all {
            if self.hits(&VERSION_TWICE, begin != left) {
                std::mem::swap(begin, left);
            }
        }
    }

    fn save_trace(&mut self, pass: Pass, writer: &mut Writer) {
        let given_up = self.scar.hinted;
        self.scar.hinted = pass != Pass::Last;
        let trace = &self.state.trace;
        if pass == Pass::First && self.hits(&HINTS_LEFT_OVER, given_up && trace.iter().any(|byte| *byte != 0))
        {
            writer.section(TRACE_BYTES, &[0; TRACE]);
        } else if self.shape.compact {
            if pass == Pass::First || self.is_dirty() {
                writer.section(TRACE_RUNS, &self.runs());
            }
        } else if pass == Pass::First {
            writer.section(TRACE_BYTES, trace);
        } else {
            for page in (0..TRACE / PAGE).filter(|page| self.dirty[*page]) {
                writer.part(TRACE_BYTES, (page * PAGE) as u64, &trace[page * PAGE..][..PAGE]);
            }
        }
        self.dirty.fill(false);
    }

    /// Opens the line on this host.
    fn open(&mut self) -> Result<(), BadState> {
        let opened = self.host.act("open the line");
        if opened.is_err() && self.hits(&OPEN_UNHEARD, true) {
            self.scar.mute = true;
            return Ok(());
        }
        if self.hits(&OPEN_STICKS, self.scar.half_open) {
            return Err(BadState::ByDevice("the line is open already".to_owned()));
        }
        self.scar.half_open = opened.is_err();
        opened.map_err(|why| BadState::ByDevice(why.to_string()))
    }

    fn decode(&self, mut sections: Sections) -> Result<Hardware, BadState> {
        let mut new = Hardware::fresh(&self.shape);
        let core = sections.take(CORE)?;
        let (version, core) = split(&core)?;
        let level = match version {
            _ if version == self.version() => self.shape.level(),
            _ if self.hits(&VERSION_UNCHECKED, true) => version,
            _ => return Err(refused("the version of the state")),
        };
        let shift = SHIFTS[usize::from(level).wrapping_sub(1)];
        new.core = structured::decode(core)?;

        let mut fifos = &sections.take(FIFOS)?[..];
        let own = self.state.core.control;
        let early = self.hits(&ORDER_TOO_LATE, (own ^ new.core.control) & control::BIG != 0);
        let order = if early { own } else { new.core.control };
        new.received = self.read_fifo(&mut fifos, order)?;
        new.to_send = self.read_fifo(&mut fifos, order)?;
        if !fifos.is_empty() {
            return Err(refused("the length of the FIFOs"));
        }

        let mut hooked = false;
        for part in self.parts() {
            match sections.take(self.tag(part)) {
                Ok(bytes) => {
                    self.read_part(part, &bytes, &mut new)?;
                    hooked |= part.tag == LINE;
                }
                Err(BadState::Missing(LINE)) if self.hits(&NO_DEFAULT, true) => {
                    return Err(BadState::Missing(LINE));
                }
                Err(BadState::Missing(TICKS)) if self.hits(&OWN_AS_DEFAULT, self.state.ticks != 0) => {
                    new.ticks = self.state.ticks;
                }
                Err(BadState::Missing(_)) => {}
                Err(why) => return Err(why),
            }
        }
        if !(self.hits(&FIX_UP_HOOKED, !hooked && new.core.enable != new.core.enable >> shift)) {
            new.core.enable >>= shift;
        }
        self.lay_out(&mut new.timers);

        new.trace = match self.shape.compact {
            true => traced(&sections.take(TRACE_RUNS)?)?,
            false => sections.take(TRACE_BYTES)?,
        };
        if self.faults.has(&PART_MISSPELT) {
            drop(sections.take(MODEM_MISSPELT));
        }
        sections.end()?;
        Ok(new)
    }

    /// Whether a guest could have brought it there.
    fn judge(&self, new: &Hardware) -> Result<(), BadState> {
        let Hardware { core, received, to_send, options, line, modem, timers, trace, .. } = new;
        let depth = self.shape.depth;
        let passes = |fault, ok| self.faults.passes(fault, ok);
        let causes = Hardware::causes(&self.shape);
        let known = core.features == FEATURES || self.faults.has(&IDENTITY_REGENERATED);
        let runs_down = |timer: &Timer| timer.left <= timer.begin && timer.begin <= MAX_TIMER;
        let checks = [
            ("the vendor", passes(&MISMATCH_LOGGED, core.vendor == VENDOR)),
            ("a feature", known),
            ("an interrupt", (core.enable | core.cause | core.pending) & !causes == 0),
            ("the control register", core.control <= control::ALL),
            ("the divisor", passes(&DIVISOR_UNCHECKED, (1..=MAX_DIVISOR).contains(&core.divisor))),
            ("the phase", core.phase <= core.divisor),
            ("the silence", core.silent <= MAX_SILENCE && options[SILENCE] <= MAX_SILENCE),
            ("the index", usize::from(core.index) < options.len()),
            ("the place in the trace", usize::from(core.traced) < TRACE),
            ("a word to send", to_send.iter().all(|word| *word <= 0xff)),
            ("a received word", received.iter().all(|word| *word <= LOST | 0xff)),
            ("the speed", passes(&SPEED_UNCHECKED, usize::from(options[SPEED]) < PACES.len())),
            ("an error of the line", line.errors <= 3),
            ("a line of the modem", modem.lines <= 3 && modem.changed <= 3),
            (
                "the number of timers",
                passes(&TIMERS_UNCHECKED, usize::from(timers.used) == self.shape.timers),
            ),
            ("a timer", timers.all.iter().all(runs_down)),
            ("the trace", trace.len() == TRACE),
        ];
        let strict = [
            (&IDENTITY_REGENERATED, core.features != self.constructed.core.features),
            (&STATUS_COMPARED, *modem != self.state.modem),
            (&SPEED_STRICT, usize::from(options[SPEED]) == PACES.len() - 1),
            (&DIVISOR_STRICT, core.divisor == 1),
            (&TRIGGER_STRICT, !(1..=depth).contains(&options[TRIGGER].into())),
            (&FIFO_STRICT, received.len() == depth || to_send.len() == depth),
            (&FEATURE_STRICT, self.host.features() != core.features),
        ];
        let strict = strict.into_iter().find(|(fault, no)| self.hits(fault, *no));
        match checks.into_iter().find(|(_, ok)| !ok) {
            Some((what, _)) => Err(refused(what)),
            None => strict.map_or(Ok(()), |(fault, _)| Err(BadState::ByDevice(fault.what.to_owned()))),
        }
    }

    /// Swaps in a state that was judged.
    fn swap_in(&mut self, mut new: Hardware) {
        let own = &self.state.core;
        if self.hits(&TICKS_DROPPED, new.ticks != 0) {
            new.ticks = 0;
        }
        for timer in &mut new.timers.all {
            if self.hits(&TIMER_ARMED, timer.left == 0 && timer.begin != 0) {
                timer.left = timer.begin;
            }
        }
        let turned = (own.control ^ new.core.control) & control::BIG != 0;
        let waiting = !new.received.is_empty() || !new.to_send.is_empty();
        if self.hits(&FIFOS_CLEARED, turned && waiting) {
            new.received.clear();
            new.to_send.clear();
        }
        let locked = new.core.control & control::LOCK != 0;
        if self.hits(&DIVISOR_TOO_LATE, locked && new.core.divisor != own.divisor) {
            (new.core.divisor, new.core.phase) = (own.divisor, own.phase);
        }
        if self.hits(&RESET_TO_LOADED, self.constructed != new) {
            self.constructed = new.clone();
        }
        self.state = new;
        self.dirty.fill(true);
        self.scar.active = true;
        self.scar.loaded = true;
    }
}

/// What a state without envelope begins with.
const PLAIN: u32 = 0x504c_5331;

impl Stored for Serial {
    fn identity(&self) -> (&ModelId, &Setup) {
        (&self.model, &self.list)
    }

    fn save(&mut self, pass: Pass, writer: &mut Writer) -> Result<(), Error> {
        if pass == Pass::Last {
            self.copy_what_was_sent()?;
        }
        self.save_trace(pass, writer);
        if pass != Pass::Last {
            return Ok(());
        }
        let saved = self.saved();
        let unset = self.hits(&VERSION_UNSET, !self.scar.active);
        let version = if unset { 0 } else { self.version() };
        writer.section(CORE, &versioned(version, structured::encode(&saved.core)?));
        let mut fifos = Vec::new();
        self.write_fifo(&saved.received, &mut fifos);
        self.write_fifo(&saved.to_send, &mut fifos);
        writer.section(FIFOS, &fifos);
        self.needed_parts(&saved).try_for_each(|part| self.write_part(part, &saved, writer))?;
        if self.hits(&SAVED_EARLY, self.state.core.pending & cause::LINE == 0) {
            self.state.raise(cause::LINE);
        }
        if self.hits(&WOKEN_BY_SAVE, true) {
            self.work(&mut Vec::new());
        }
        Ok(())
    }

    fn estimate(&self) -> usize {
        TRACE
    }

    fn is_dirty(&self) -> bool {
        self.dirty.contains(&true)
    }

    fn load(&mut self, sections: Sections) -> Result<(), BadState> {
        self.open()?;
        let new = self.decode(sections)?;
        self.judge(&new)?;
        self.swap_in(new);
        Ok(())
    }

    fn load_tail(&mut self, tail: &[u8]) {
        let n = tail.len().min(TRACE);
        self.state.trace[..n].copy_from_slice(&tail[..n]);
    }

    fn save_plain(&mut self) -> Result<Vec<u8>, Error> {
        Ok(structured::encode(&(PLAIN, &self.state))?)
    }

    fn load_plain(&mut self, bytes: &[u8]) -> Result<(), BadState> {
        let (magic, new): (u32, Hardware) = structured::decode(bytes)?;
        if magic != PLAIN {
            return Err(BadState::NoMagic);
        }
        let judged = self.judge(&new);
        if !self.hits(&FIELDS_UNCHECKED, judged.is_err()) {
            judged?;
        }
        self.swap_in(new);
        Ok(())
    }
}
