//! A segment of System V shared memory, which no mount and no network namespace hides.

use std::ffi::{c_int, c_void};
use std::ptr;

const KEY: c_int = 0x5354_5247;
const CREATE: c_int = 0o1000;
const MODE: c_int = 0o600;
const REMOVE: c_int = 0;

unsafe extern "C" {
    fn shmget(key: c_int, size: usize, flags: c_int) -> c_int;
    fn shmat(id: c_int, address: *const c_void, flags: c_int) -> *mut c_void;
    fn shmdt(address: *const c_void) -> c_int;
    fn shmctl(id: c_int, command: c_int, into: *mut c_void) -> c_int;
}

/// An attached segment.
pub(crate) struct Segment {
    address: *mut u8,
    size: usize,
}

impl Segment {
    /// Attaches the one segment, or makes it.
    pub(crate) fn open(size: usize) -> Option<Segment> {
        // SAFETY: the call takes numbers only.
        let id = unsafe { shmget(KEY, size, CREATE | MODE) };
        if id == -1 {
            return None;
        }
        // SAFETY: with no address given, the kernel chooses one that nothing else uses.
        let address = unsafe { shmat(id, ptr::null(), 0) };
        (address as isize != -1).then_some(Segment { address: address.cast(), size })
    }

    pub(crate) fn write(&mut self, at: usize, bytes: &[u8]) {
        assert!(at + bytes.len() <= self.size);
        // SAFETY: the range is inside of the segment, and `bytes` is not.
        unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), self.address.add(at), bytes.len()) };
    }

    pub(crate) fn read(&self, at: usize, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        assert!(at + len <= self.size);
        // SAFETY: the range is inside of the segment, and `bytes` is not.
        unsafe { ptr::copy_nonoverlapping(self.address.add(at), bytes.as_mut_ptr(), len) };
        bytes
    }

    /// Removes the segment, for all.
    pub(crate) fn remove() {
        // SAFETY: the call takes numbers only, and removing takes no structure.
        unsafe { shmctl(shmget(KEY, 0, 0), REMOVE, ptr::null_mut()) };
    }
}

impl Drop for Segment {
    fn drop(&mut self) {
        // SAFETY: it was attached here, and nothing points into it any more.
        unsafe { shmdt(self.address.cast()) };
    }
}
