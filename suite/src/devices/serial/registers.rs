//! The registers of the line.

use super::faults::*;
use super::hardware::*;
use super::line::Serial;
use migcert_core::device::Register;

/// Region 0, the registers.
mod reg {
    pub(super) const IDENTITY: u64 = 0x00;
    pub(super) const DATA: u64 = 0x10;
    pub(super) const ENABLE: u64 = 0x14;
    pub(super) const CAUSE: u64 = 0x18;
    pub(super) const CONTROL: u64 = 0x1c;
    pub(super) const LINE: u64 = 0x20;
    pub(super) const MODEM: u64 = 0x24;
    pub(super) const SCRATCH: u64 = 0x28;
    pub(super) const DIVISOR: u64 = 0x2c;
    pub(super) const INDEX: u64 = 0x30;
    pub(super) const OPTION: u64 = 0x34;
    pub(super) const TICKS: u64 = 0x38;
    pub(super) const TIMER: u64 = 0x40;
}

impl Serial {
    pub(super) fn read(&mut self, offset: u64) -> u32 {
        let Hardware { core, received, to_send, line, modem, .. } = &mut self.state;
        u32::from(match offset {
            _ if offset < reg::DATA => return self.identity(offset as usize / 4),
            reg::DATA => {
                let word = received.pop_front().unwrap_or(0);
                return ordered(word, core.control).into();
            }
            reg::ENABLE => core.enable,
            reg::CAUSE => {
                let urgent = (core.cause & core.enable).trailing_zeros() as u8 % 8;
                let cause = core.cause & core.enable & 1 << urgent;
                core.cause &= !cause;
                core.pending &= !cause;
                if cause == 0 { 0 } else { urgent + 1 }
            }
            reg::CONTROL => core.control,
            reg::LINE => {
                let ready = u8::from(!received.is_empty());
                let empty = u8::from(to_send.is_empty());
                ready | empty << 1 | std::mem::take(&mut line.errors) << 2
            }
            reg::MODEM => modem.lines | std::mem::take(&mut modem.changed) << 2,
            reg::SCRATCH => core.scratch,
            reg::DIVISOR => core.divisor,
            reg::INDEX => core.index,
            reg::OPTION => *self.option(),
            reg::TICKS => return self.state.ticks,
            _ => match self.timer(offset) {
                Some(timer) => return u32::from(timer.begin) << 8 | u32::from(timer.left),
                None => 0,
            },
        })
    }

    /// A word of what identifies the device.
    fn identity(&self, word: usize) -> u32 {
        let firmware = self.host.firmware_size();
        match word {
            0 => self.state.core.vendor,
            1 => self.state.core.features,
            // One word more, and the size is a power of two.
            2 if self.faults.hits(&PAGE_GREW, true) => 2 * PAGE_SIZE,
            2 => PAGE_SIZE,
            _ if self.faults.hits(&FIRMWARE_OF_HOST, firmware != FIRMWARE) => firmware,
            _ => FIRMWARE,
        }
    }

    /// The option under INDEX, which goes on to the next.
    fn option(&mut self) -> &mut u8 {
        let index = usize::from(self.state.core.index);
        self.state.core.index = ((index + 1) % OPTIONS) as u8;
        &mut self.state.options[index]
    }

    fn timer(&mut self, offset: u64) -> Option<&mut Timer> {
        let index = offset.checked_sub(reg::TIMER)? / 4;
        let timers = &mut self.state.timers;
        timers.all.get_mut(index as usize).filter(|_| index < timers.used.into())
    }

    pub(super) fn write(&mut self, offset: u64, value: u32) {
        let byte = value as u8;
        match offset {
            reg::DATA => {
                let word = ordered(value as u16, self.state.core.control) & 0xff;
                if self.state.to_send.len() < self.shape.depth {
                    self.state.to_send.push_back(word);
                }
            }
            reg::ENABLE => self.state.core.enable = byte & Hardware::causes(&self.shape),
            reg::CONTROL => self.set_control(byte & control::ALL),
            reg::MODEM => {
                let modem = &mut self.state.modem;
                let changed = (modem.lines ^ byte) & 3;
                modem.lines ^= changed;
                modem.changed |= changed;
                if changed != 0 {
                    self.state.raise(cause::MODEM);
                }
            }
            reg::SCRATCH => self.state.core.scratch = byte,
            reg::DIVISOR => self.set_divisor(byte),
            reg::INDEX => self.state.core.index = byte % OPTIONS as u8,
            reg::OPTION => {
                let limits = [PACES.len() as u8 - 1, u8::MAX, MAX_SILENCE];
                let limit = limits[usize::from(self.state.core.index)];
                *self.option() = byte & limit;
            }
            _ => self.set_timer(offset, byte & MAX_TIMER),
        }
    }

    /// Another order of bytes begins with empty FIFOs.
    fn set_control(&mut self, control: u8) {
        if (self.state.core.control ^ control) & control::BIG != 0 {
            self.state.received.clear();
            self.state.to_send.clear();
        }
        self.state.core.control = control;
    }

    fn set_divisor(&mut self, divisor: u8) {
        let core = &mut self.state.core;
        if core.control & control::LOCK == 0 && (1..=MAX_DIVISOR).contains(&divisor) {
            core.divisor = divisor;
            core.phase = 0;
        }
    }

    /// A timer that begins at nothing is stopped.
    fn set_timer(&mut self, offset: u64, begin: u8) {
        let Some(left) = self.timer(offset).map(|timer| timer.left) else { return };
        let stays = begin == 0 && self.faults.hits(&STOPPED_TIMER_STAYS, left != 0);
        let left = if stays { left } else { begin };
        self.timer(offset).into_iter().for_each(|timer| *timer = Timer { begin, left });
    }

    /// All of them, and the trace.
    pub(super) fn registers(&self) -> Vec<Register> {
        let register = |name: &'static str, offset, count, writable, max: u32| Register {
            name: name.into(),
            region: 0,
            offset,
            size: 4,
            count,
            stride: 4,
            writable,
            max: max.into(),
        };
        let causes = Hardware::causes(&self.shape);
        let timer = u32::from(MAX_TIMER);
        let mut all = vec![
            register("IDENTITY", reg::IDENTITY, PAGE_SIZE / 4, false, VENDOR),
            register("DATA", reg::DATA, 1, true, 0xffff),
            register("ENABLE", reg::ENABLE, 1, true, causes.into()),
            register("CAUSE", reg::CAUSE, 1, false, causes.count_ones()),
            register("CONTROL", reg::CONTROL, 1, true, control::ALL.into()),
            register("LINE", reg::LINE, 1, false, 15),
            register("MODEM", reg::MODEM, 1, true, 15),
            register("SCRATCH", reg::SCRATCH, 1, true, 0xff),
            register("DIVISOR", reg::DIVISOR, 1, true, MAX_DIVISOR.into()),
            register("INDEX", reg::INDEX, 1, true, OPTIONS as u32 - 1),
            register("OPTION", reg::OPTION, 1, true, 0xff),
            register("TICKS", reg::TICKS, 1, false, u32::MAX),
        ];
        if self.shape.timers != 0 {
            all.push(register("TIMER", reg::TIMER, self.shape.timers as u32, true, timer << 8 | timer));
        }
        let trace = |name, words| Register { region: 1, ..register(name, 0, words, true, u32::MAX) };
        all.push(trace("TRACE_BEGIN", 16));
        all.push(trace("TRACE", TRACE as u32 / 4));
        all
    }
}
