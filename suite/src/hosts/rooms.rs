//! The cells of one program: what its instances share, and what it can't do without.

use super::cell::plan::{Because, Shares, is_kernels, named};
use super::cell::written::Written;
use super::cell::{self, Cell};
use super::template::Template;
use crate::isolation::{ByRule, Known, Needed, ToShare};
use migcert_core::error::Error;
use migcert_core::program::Share;
use std::borrow::Cow;
use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

/// Which files an instance has for itself.
#[derive(Clone, Copy, Debug)]
pub(super) enum Files<'a> {
    /// As many as the program can do with.
    Usual,
    /// All, or all but those that are named; what it writes is noted there.
    Apart(Share, &'a Arc<Written>),
}

/// Where the instances of a program run.
///
/// They share the files that its arguments name. A program that does not even start in a cell of its
/// own, and does with the network of this machine, or with all of it, gets that from then on, and
/// the report says so.
pub(super) struct Rooms {
    /// What it is given, and how often it may still be looked for more.
    given: Mutex<(Shares, u32)>,
    /// What somebody said that they share.
    said: Vec<ToShare>,
    known: Known,
}

impl Rooms {
    /// For a program with these arguments, of which somebody says what else it shares; nothing is
    /// started.
    pub(super) fn of(args: &[Template], said: &[ToShare]) -> Rooms {
        const LOOKS: u32 = 3;
        const NAMED: &str = "named in the arguments of the program";
        const SAID: &str = "the profile says so";
        let named = named(args.iter().map(ToString::to_string));
        let paths = named.iter().map(|path| (path.clone(), NAMED.to_owned()));
        let mut shares = Shares { paths: paths.collect(), ..Shares::default() };
        for each in said {
            match each {
                ToShare::Everything => shares.everything = Some(Because::Said),
                ToShare::Network => shares.network = Some(Because::Said),
                ToShare::Path(path) => drop(shares.paths.insert(path.clone(), SAID.to_owned())),
            }
        }
        let said = named.into_iter().map(ToShare::Path).chain(said.iter().cloned()).collect();
        Rooms { given: Mutex::new((shares, LOOKS)), said, known: Known::default() }
    }

    /// What is known of its isolation.
    pub(super) fn known(&self) -> Known {
        self.known.clone()
    }

    /// What somebody said that its instances share.
    pub(super) fn shares(&self) -> Vec<String> {
        self.said.iter().map(ToString::to_string).collect()
    }

    /// What was said to be shared and is shared whatever files an instance has for itself: the network,
    /// and what is neither a file nor a directory.
    fn always_shared(&self) -> Option<&ToShare> {
        let is_file = |path: &Path| {
            fs::metadata(path).is_ok_and(|found| found.is_file() || found.is_dir()) && !is_kernels(path)
        };
        self.said.iter().find(|said| match said {
            ToShare::Everything | ToShare::Network => true,
            ToShare::Path(path) => !is_file(path),
        })
    }

    /// Why its instances can't have all files for themselves, if they can't.
    ///
    /// # Errors
    /// The reason.
    pub(super) fn can_be_apart(&self, share: Share) -> Result<(), Cow<'static, str>> {
        if let (Share::Nothing, Some(shared)) = (share, self.always_shared()) {
            return Err(format!("its instances share {shared}").into());
        }
        let (shares, _) = self.given();
        let off = cell::is_off().then_some(Because::SwitchedOff);
        if let Some(because) = shares.everything.or(off) {
            let why = because.why(Needed::Everything);
            return Err(format!("its instances share all files: {why}").into());
        }
        if shares.paths.contains_key(Path::new("/")) {
            return Err("the profile says that all files are shared".into());
        }
        let cell = Cell::open(&[], &shares.apart(share));
        match cell.map(|cell| ByRule::of(&cell.isolation())) {
            Ok(ByRule::Shared(why)) => Err(format!("this machine keeps no files apart: {why}").into()),
            Ok(ByRule::Apart(_) | ByRule::NotTried) => Ok(()),
            Err(why) => Err(format!("no place can be made in which all files are apart: {why}").into()),
        }
    }

    /// Starts an instance in a cell of its own that sees these directories of ours.
    ///
    /// # Errors
    /// Those of making a cell, and of `start` in the cell that it would have as the first one.
    pub(super) fn start<T>(
        &self,
        visible: &[&Path],
        files: Files<'_>,
        start: impl Fn(Cell) -> Result<T, Error>,
    ) -> Result<T, Error> {
        if let Files::Apart(share, written) = files {
            let (shares, _) = self.given();
            let cell = Cell::open(visible, &shares.apart(share))?.keeping(written);
            if share == Share::Named {
                self.known.note_by_rule(&cell.isolation());
            }
            return start(cell);
        }
        let begin = |shares: &Shares| {
            let cell = Cell::open(visible, shares)?;
            let isolation = cell.isolation();
            Ok::<_, Error>((start(cell)?, isolation))
        };
        let (shares, looks) = self.given();
        let why = match begin(&shares) {
            Ok((started, isolation)) => {
                self.known.note(&isolation);
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
            let Ok((started, isolation)) = begin(&wider) else { continue };
            // Not every start that fails once fails for that.
            if begin(&shares).is_ok() {
                self.give(|(_, looks)| *looks = 0);
                return Err(why);
            }
            self.known.note(&isolation);
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
    [
        Shares { network: shares.network.or(Some(Because::Needed)), ..shares.clone() },
        Shares { everything: shares.everything.or(Some(Because::Needed)), ..shares.clone() },
    ]
}
