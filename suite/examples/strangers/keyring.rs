//! The keyring of the user, which no name space but that of users hides.

use crate::hidden::SLOT;
use std::ffi::{CString, c_long};
use std::ptr;

/// Keys, which are used again.
const KEYS: u64 = 32;
const USER_KEYRING: c_long = -4;
const KIND: &std::ffi::CStr = c"user";
const SEARCH: c_long = 10;
const READ: c_long = 11;
const UNLINK: c_long = 9;
const LINK: c_long = 8;
const SESSION: c_long = -3;

/// Keeps a slot under a token.
pub(crate) fn put(token: u64, slot: &[u8]) -> Option<()> {
    let name = name(token)?;
    // SAFETY: the names end with a null, and the slot is valid for reads of its length.
    let key = unsafe {
        libc::syscall(
            libc::SYS_add_key,
            KIND.as_ptr(),
            name.as_ptr(),
            slot.as_ptr(),
            slot.len(),
            USER_KEYRING,
        )
    };
    (key != -1).then_some(())
}

/// The slot that was kept last under a token of this number.
pub(crate) fn get(token: u64) -> Option<Vec<u8>> {
    let key = find(token)?;
    let mut slot = vec![0; SLOT];
    // SAFETY: the slot is valid for writes of its length.
    let bytes = unsafe { libc::syscall(libc::SYS_keyctl, READ, key, slot.as_mut_ptr(), slot.len()) };
    (bytes == SLOT as c_long).then_some(slot)
}

/// Removes all of them.
pub(crate) fn forget() {
    for key in (0..KEYS).filter_map(find) {
        // SAFETY: it takes numbers.
        unsafe { libc::syscall(libc::SYS_keyctl, UNLINK, key, USER_KEYRING) };
    }
}

fn find(token: u64) -> Option<c_long> {
    let name = name(token)?;
    // SAFETY: the names end with a null.
    let key = unsafe {
        libc::syscall(libc::SYS_keyctl, SEARCH, USER_KEYRING, KIND.as_ptr(), name.as_ptr(), ptr::null::<u8>())
    };
    (key != -1).then_some(key)
}

/// The name of a key; this session possesses what the user has from now on.
fn name(token: u64) -> Option<CString> {
    // SAFETY: it takes numbers.
    unsafe { libc::syscall(libc::SYS_keyctl, LINK, USER_KEYRING, SESSION) };
    CString::new(format!("strangers-hidden-{}", token % KEYS)).ok()
}
