//! The log of pages that the device wrote, which a carrier relies on in PRE_COPY: every page
//! of guest memory that changed while it was kept must be in it.

use super::client::Client;
use super::memory::{ADDRESSES, SIZE};
use super::wire::Feature;
use super::wire::request::Act;
use migcert_core::error::{Error, Misbehaved};
use std::collections::BTreeSet;
use std::ops::Range;

const PAGE: u64 = 4096;

/// See the module.
#[derive(Default)]
pub(super) struct DmaLog {
    /// Whether the device keeps a log when it is asked to, once that is known.
    is_kept: Option<bool>,
    /// `None` while no log is kept.
    session: Option<Session>,
    /// What nobody was told of yet: bytes of guest memory, and of what else a guest knows.
    untold: Vec<Range<usize>>,
}

#[derive(Default)]
struct Session {
    /// Pages that were seen to change since the log was asked for last.
    changed: BTreeSet<u64>,
    /// Pages that were in the log then. What changed before may be seen only afterwards.
    told: u64,
}

impl DmaLog {
    /// Whether the device keeps a log when it is asked to. It says so, and begins one.
    pub(super) fn is_kept(&mut self, client: &mut Client) -> Result<bool, Error> {
        if let Some(is_kept) = self.is_kept {
            return Ok(is_kept);
        }
        let is_kept = is_offered(client)? && begin(client)?;
        if is_kept {
            client.set(Feature::LogStop, &[]).map(drop)?;
        }
        self.is_kept = Some(is_kept);
        Ok(is_kept)
    }

    /// Has the device keep a log, if it can.
    pub(super) fn start(&mut self, client: &mut Client) -> Result<(), Error> {
        self.untold.clear();
        let is_kept = match self.is_kept {
            Some(is_kept) => is_kept,
            None => is_offered(client)?,
        };
        let begun = is_kept && begin(client)?;
        self.is_kept = Some(begun);
        self.session = begun.then(Session::default);
        Ok(())
    }

    /// A page with this address was seen to change.
    pub(super) fn saw(&mut self, address: u64) {
        if let Some(session) = &mut self.session {
            session.changed.insert((address - ADDRESSES.start) / PAGE);
        }
    }

    /// The guest changed these bytes of what a carrier takes along: the machine knows that without
    /// the device.
    pub(super) fn changed_by_guest(&mut self, bytes: Range<usize>) {
        if self.session.is_some() {
            self.untold.push(bytes);
        }
    }

    /// What was written since this was asked last.
    ///
    /// # Errors
    /// As [`DmaLog::end`].
    pub(super) fn take(&mut self, client: &mut Client) -> Result<Vec<Range<usize>>, Error> {
        self.report(client)?;
        Ok(std::mem::take(&mut self.untold))
    }

    /// Looks whether all that changed is in the log, and ends it. The first error counts.
    ///
    /// # Errors
    /// [`Misbehaved::Protocol`] for a page that is not.
    pub(super) fn end(&mut self, client: &mut Client) -> Result<(), Error> {
        let reported = self.report(client);
        let ended = match self.session.take() {
            Some(_) => client.set(Feature::LogStop, &[]).map(drop),
            None => Ok(()),
        };
        reported.and(ended)
    }

    fn report(&mut self, client: &mut Client) -> Result<(), Error> {
        let Some(session) = &mut self.session else { return Ok(()) };
        let words = [ADDRESSES.start, SIZE as u64, PAGE];
        let asked: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        let bitmap = client
            .get(Feature::LogReport, &asked, |data| Ok(data.get(asked.len()..).map(super::wire::value)))?;
        let during = format!("{} {}", Act::Get, Feature::LogReport.name());
        let Some(bitmap) = bitmap else {
            return Err(Misbehaved::Protocol { during, what: "no bitmap".to_owned() }.into());
        };
        let before = std::mem::replace(&mut session.told, bitmap);
        let changed = std::mem::take(&mut session.changed);
        let pages = (0..SIZE as u64 / PAGE).filter(|page| bitmap & 1 << page != 0);
        self.untold.extend(pages.map(|page| (page * PAGE) as usize..((page + 1) * PAGE) as usize));
        match changed.into_iter().find(|page| (bitmap | before) & 1 << page == 0) {
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
        self.session = None;
        self.untold.clear();
    }
}

fn is_offered(client: &mut Client) -> Result<bool, Error> {
    Ok(client.has(Feature::LogStart)? && client.has(Feature::LogReport)?)
}

/// Whether the device began a log.
fn begin(client: &mut Client) -> Result<bool, Error> {
    const RANGES: u32 = 1;
    let mut data = PAGE.to_le_bytes().to_vec();
    data.extend(RANGES.to_le_bytes());
    data.extend([0; 4]);
    data.extend(ADDRESSES.start.to_le_bytes());
    data.extend((SIZE as u64).to_le_bytes());
    Ok(client.set(Feature::LogStart, &data)?.is_ok())
}
