//! The cells of one program: what its instances share, and what it can't do without.

use super::cell::Cell;
use super::cell::plan::{Shares, named};
use super::isolation::{Known, ToShare};
use migcert_core::error::Error;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

/// Where the instances of a program run.
///
/// They share the files that its arguments name. A program that does not even start in a cell of its
/// own, and does with the network of this machine, or with all of it, gets that from then on, and
/// the report says so.
pub(super) struct Rooms {
    /// What it is given, and how often it may still be looked for more.
    given: Mutex<(Shares, u32)>,
    known: Known,
}

impl Rooms {
    /// For a program with these arguments, of which somebody says what else it shares; nothing is
    /// started.
    pub(super) fn of(args: &[String], said: &[ToShare]) -> Rooms {
        const LOOKS: u32 = 3;
        const NAMED: &str = "named in the arguments of the program";
        const SAID: &str = "the profile says so";
        let named = named(args).into_iter().map(|path| (path, NAMED.to_owned()));
        let mut shares = Shares { paths: named.collect(), ..Shares::default() };
        for each in said {
            match each {
                ToShare::Everything => shares.everything = Some(SAID.to_owned()),
                ToShare::Network => shares.network = Some(SAID.to_owned()),
                ToShare::Path(path) => drop(shares.paths.insert(path.clone(), SAID.to_owned())),
            }
        }
        Rooms { given: Mutex::new((shares, LOOKS)), known: Known::default() }
    }

    /// What is known of its isolation.
    pub(super) fn known(&self) -> Known {
        self.known.clone()
    }

    /// Starts an instance in a cell of its own that sees these directories of ours.
    ///
    /// # Errors
    /// Those of making a cell, and of `start` in the cell that it would have as the first one.
    pub(super) fn start<T>(
        &self,
        visible: &[&Path],
        start: impl Fn(Cell) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let begin = |shares: &Shares| {
            let cell = Cell::open(visible, shares)?;
            let isolation = cell.isolation();
            let started = start(cell)?;
            self.known.note(&isolation);
            Ok(started)
        };
        let (shares, looks) = self.given();
        let why = match begin(&shares) {
            Ok(started) => {
                self.give(|(_, looks)| *looks = 0);
                return Ok(started);
            }
            Err(why) => why,
        };
        // What takes too long would take as long again.
        if looks == 0 || matches!(why, Error::Unavailable(_)) {
            return Err(why);
        }
        self.give(|(_, looks)| *looks = looks.saturating_sub(1));
        for wider in wider(&shares) {
            let Ok(started) = begin(&wider) else { continue };
            // Not every start that fails once fails for that.
            if begin(&shares).is_ok() {
                self.give(|(_, looks)| *looks = 0);
                return Err(why);
            }
            self.give(|given| *given = (wider, 0));
            return Ok(started);
        }
        Err(why)
    }

    fn given(&self) -> (Shares, u32) {
        self.given.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn give(&self, change: impl FnOnce(&mut (Shares, u32))) {
        change(&mut self.given.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

/// Less and less is kept apart.
fn wider(shares: &Shares) -> [Shares; 2] {
    let network = "the program does not start without the network of this machine";
    let everything = "the program does not start where it is kept apart";
    let with_network = Shares { network: Some(network.to_owned()), ..shares.clone() };
    let with_everything = Shares { everything: Some(everything.to_owned()), ..shares.clone() };
    [with_network, with_everything]
}
