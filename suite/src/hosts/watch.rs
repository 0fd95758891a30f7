//! One thread that drains what all programs print, and enforces their time limits.

use super::cell::Killer;
use super::output::Output;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::event::{EventfdFlags, Timespec, eventfd};
use rustix::io::Errno;
use std::collections::BTreeMap;
use std::io::{self, PipeReader};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError, Weak};
use std::thread;
use std::time::Instant;

/// What the watching thread shares with the owner of a program.
#[derive(Debug)]
pub(super) struct Watched {
    id: u64,
    output: Mutex<Output>,
    limit: Mutex<Limit>,
    killer: Killer,
}

#[derive(Debug, Default)]
struct Limit {
    end: Option<Instant>,
    passed: bool,
}

impl Watched {
    /// What was printed so far.
    pub(super) fn output(&self) -> MutexGuard<'_, Output> {
        let mut output = self.output.lock().unwrap_or_else(PoisonError::into_inner);
        output.drain();
        output
    }

    fn limit(&self) -> MutexGuard<'_, Limit> {
        self.limit.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Unless it ends before, all that runs in the cell is killed then.
    pub(super) fn begin(&self, end: Instant) {
        self.limit().end = Some(end);
    }

    /// It ended before.
    pub(super) fn end(&self) {
        self.limit().end = None;
    }

    /// Whether a limit has passed.
    pub(super) fn was_too_slow(&self) -> bool {
        self.limit().passed
    }

    fn enforce(&self, now: Instant) {
        let mut limit = self.limit();
        if limit.end.is_some_and(|end| end <= now) {
            *limit = Limit { end: None, passed: true };
            self.killer.kill();
        }
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        if let Ok(watch) = &*WATCH {
            watch.all().remove(&self.id);
        }
    }
}

/// Has the output of a program drained, and its time limits enforced, until it is dropped.
///
/// # Errors
/// Those of starting the thread.
pub(super) fn watch(output: PipeReader, killer: Killer) -> io::Result<Arc<Watched>> {
    static COUNT: AtomicU64 = AtomicU64::new(WAKE + 1);
    let watch = WATCH.as_ref().map_err(|why| io::Error::new(why.kind(), why.to_string()))?;
    let id = COUNT.fetch_add(1, Relaxed);
    let watched = Watched { id, output: Mutex::new(Output::new(output)), limit: Mutex::default(), killer };
    let watched = Arc::new(watched);
    let is_first = {
        let mut all = watch.all();
        all.insert(id, Arc::downgrade(&watched));
        all.len() == 1
    };
    epoll::add(&watch.epoll, watched.output().from(), EventData::new_u64(id), EventFlags::IN)?;
    if is_first {
        rustix::io::write(&watch.wake, &1u64.to_ne_bytes())?;
    }
    Ok(watched)
}

static WATCH: LazyLock<io::Result<Watch>> = LazyLock::new(Watch::new);

/// The event that wakes the thread when there is something to watch again.
const WAKE: u64 = 0;

struct Watch {
    epoll: OwnedFd,
    wake: OwnedFd,
    all: Mutex<BTreeMap<u64, Weak<Watched>>>,
}

impl Watch {
    fn new() -> io::Result<Watch> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        let wake = eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?;
        epoll::add(&epoll, &wake, EventData::new_u64(WAKE), EventFlags::IN)?;
        thread::Builder::new().name("watch".to_owned()).spawn(|| {
            if let Ok(watch) = &*WATCH {
                watch.watch();
            }
        })?;
        Ok(Watch { epoll, wake, all: Mutex::default() })
    }

    fn all(&self) -> MutexGuard<'_, BTreeMap<u64, Weak<Watched>>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An idle program costs a look per tick, and none where there is no program.
    fn watch(&self) {
        const TICK: Timespec = Timespec { tv_sec: 0, tv_nsec: 200_000_000 };
        const EVENTS: usize = 64;
        let mut ready = Vec::with_capacity(EVENTS);
        loop {
            let tick = if self.all().is_empty() { None } else { Some(&TICK) };
            ready.clear();
            match epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut ready), tick) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(_) => return,
            }
            for event in &ready {
                match event.data.u64() {
                    WAKE => drop(rustix::io::read(&self.wake, &mut [0u8; 8])),
                    id => self.drain(id),
                }
            }
            let now = Instant::now();
            let all: Vec<Arc<Watched>> = self.all().values().filter_map(Weak::upgrade).collect();
            all.iter().for_each(|watched| watched.enforce(now));
        }
    }

    fn drain(&self, id: u64) {
        let watched = self.all().get(&id).and_then(Weak::upgrade);
        let Some(watched) = watched else { return };
        let output = watched.output();
        if output.ended {
            let _ = epoll::delete(&self.epoll, output.from());
        }
    }
}
