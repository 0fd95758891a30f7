//! The log of pages that the device wrote, which a carrier relies on in PRE_COPY: every page
//! of guest memory that changed while it was kept must be in it.

use super::client::Client;
use super::memory::{ADDRESSES, SIZE};
use super::wire::Feature;
use super::wire::request::Act;
use migcert_core::error::{Error, Misbehaved};
use std::collections::BTreeSet;

const PAGE: u64 = 4096;

/// See the module.
#[derive(Default)]
pub(super) struct DmaLog {
    /// Pages that were seen to change; `None` while no log is kept.
    changed: Option<BTreeSet<u64>>,
}

impl DmaLog {
    /// Has the device keep a log, if it can.
    pub(super) fn start(&mut self, client: &mut Client) -> Result<(), Error> {
        const RANGES: u32 = 1;
        if !client.has(Feature::LogStart)? || !client.has(Feature::LogReport)? {
            return Ok(());
        }
        let mut data = PAGE.to_le_bytes().to_vec();
        data.extend(RANGES.to_le_bytes());
        data.extend([0; 4]);
        data.extend(ADDRESSES.start.to_le_bytes());
        data.extend((SIZE as u64).to_le_bytes());
        if client.set(Feature::LogStart, &data)?.is_ok() {
            self.changed = Some(BTreeSet::new());
        }
        Ok(())
    }

    /// A page with this address was seen to change.
    pub(super) fn saw(&mut self, address: u64) {
        if let Some(changed) = &mut self.changed {
            changed.insert((address - ADDRESSES.start) / PAGE);
        }
    }

    /// Looks whether all that changed is in the log, and ends it.
    ///
    /// # Errors
    /// [`Misbehaved::Protocol`] for a page that is not.
    pub(super) fn end(&mut self, client: &mut Client) -> Result<(), Error> {
        let Some(changed) = self.changed.take() else { return Ok(()) };
        let words = [ADDRESSES.start, SIZE as u64, PAGE];
        let asked: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        let bitmap = client
            .get(Feature::LogReport, &asked, |data| Ok(data.get(asked.len()..).map(super::wire::value)))?;
        client.set(Feature::LogStop, &[]).map(drop)?;
        let during = format!("{} {}", Act::Get, Feature::LogReport.name());
        let Some(bitmap) = bitmap else {
            return Err(Misbehaved::Protocol { during, what: "no bitmap".to_owned() }.into());
        };
        match changed.into_iter().find(|page| bitmap & 1 << page == 0) {
            None => Ok(()),
            Some(page) => {
                let address = ADDRESSES.start + page * PAGE;
                let what = format!("{bitmap:#x}, without the page at {address:#x} that it wrote");
                Err(Misbehaved::Protocol { during, what }.into())
            }
        }
    }

    /// The device was reset: there is no log any more.
    pub(super) fn forget(&mut self) {
        self.changed = None;
    }
}
