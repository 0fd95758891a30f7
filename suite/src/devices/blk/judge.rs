//! Whether a state that arrived is one that a guest could have made.

use super::faults::*;
use super::hardware::Blk;
use super::parts::{FIRST, Hardware, Identity, LOG, PLACES, Queue, RING, Registers, SECTORS, SLOTS, feature};
use super::work::{Kind, MAX_WAIT, Request};
use crate::devices::memory;
use migcert_core::envelope::BadState;

impl Blk {
    /// Whether a guest could have brought it there.
    pub(super) fn judge(&self, new: &Hardware) -> Result<(), BadState> {
        let own = Identity::of(&self.shape);
        let Registers { acked, mask, selected, head } = new.registers;
        let offered = feature::CACHE | if self.shape.discard { feature::DISCARD } else { 0 };
        let queues = self.shape.queues;
        let passes = |fault, ok: bool| self.faults.passes(fault, ok);
        let ring = |queue: &Queue| {
            passes(&RING_SIZE_UNCHECKED, (1..=RING).contains(&queue.size))
                && passes(&LOG_SIZE_UNCHECKED, (queue.address as usize) < memory::SIZE)
                && queue.low <= 0xff
        };
        let begun = new.requests.iter().filter(|request| request.done != 0).count();
        let checks = [
            ("the number of queues", passes(&QUEUES_FROM_STATE, new.identity.queues == own.queues)),
            ("the capacity", passes(&CAPACITY_UNCHECKED, new.identity.capacity == own.capacity)),
            ("the serial number", new.identity.serial == own.serial),
            ("a feature", passes(&FEATURES_UNCHECKED, acked & !(offered | self.offered) == 0)),
            ("the interrupt mask", mask < 1 << queues),
            ("the cache", !new.cached || acked & feature::CACHE != 0),
            ("the selected queue", passes(&SELECTED_UNCHECKED, (selected as usize) < queues)),
            ("the next event", passes(&HEAD_UNCHECKED, (head as usize) < LOG / 4)),
            ("the set of queues", new.queues.len() == queues),
            ("a queue", new.queues.iter().all(ring)),
            ("the number of requests", new.requests.len() <= SLOTS && begun <= 1),
            ("a request", new.requests.iter().all(|request| self.judge_request(request))),
            ("the log", new.log.len() == LOG),
        ];
        match checks.into_iter().find(|(_, ok)| !ok) {
            Some((what, _)) => Err(BadState::ByDevice(format!("{what} is out of range"))),
            None => Ok(()),
        }
    }

    fn judge_request(&self, request: &Request) -> bool {
        let Request { kind, queue, tag, sector, sectors, done, place, wait } = *request;
        let passes = |fault, ok: bool| self.faults.passes(fault, ok);
        let capacity = self.shape.capacity;
        let span = sectors == 0 || usize::from(sector) + usize::from(sectors) <= capacity;
        let wraps = usize::from(sector.wrapping_add(sectors)) <= capacity;
        let lengths = sectors <= SECTORS && done <= sectors;
        (kind != Kind::Discard || self.shape.discard)
            && passes(&REQUEST_QUEUE_UNCHECKED, usize::from(queue) < self.shape.queues)
            && tag < 8
            && (done == 0 || wait == 0)
            && passes(&LENGTHS_UNCHECKED, lengths)
            && (span || wraps && self.hits(&SPAN_WRAPS, true))
            && place < PLACES
            && wait <= MAX_WAIT
    }

    /// What only a faulty device refuses.
    pub(super) fn refuses(&self, new: &Hardware) -> bool {
        let overhangs = |queue: &Queue| memory::SIZE < (queue.address + 4 * queue.size) as usize;
        let whole = |request: &Request| request.done != 0 && request.done == request.sectors;
        let differs = |(queue, own): (&Queue, &Queue)| queue.signal != own.signal;
        let runs_freely = |queue: &Queue| queue.submitted != FIRST && queue.size <= queue.submitted.into();
        let refusals = [
            (&WHOLE_TRANSFER_REFUSED, new.requests.iter().any(whole)),
            (&OVERHANGING_RING_REFUSED, new.queues.iter().any(overhangs)),
            (&FREE_INDEX_REFUSED, new.queues.iter().any(runs_freely)),
            (&NEW_FEATURE_REFUSED, new.registers.acked & feature::DISCARD != 0),
            (&SIGNAL_COMPARED, new.queues.iter().zip(&self.state.queues).any(differs)),
            (&BUSY_REFUSED, new.requests.len() == SLOTS),
        ];
        refusals.into_iter().any(|(fault, here)| self.hits(fault, here))
    }
}
