//! The table of descriptors of this process.

use rustix::io::fcntl_dupfd_cloexec;
use rustix::stdio::stdin;

/// Room for descriptors: more than a device and its interrupts take.
const ROOM: i32 = 1023;

/// Makes room for many descriptors while there is one thread. The kernel lets a process with several
/// wait for milliseconds each time that its table grows. Where there is no such room nothing changes.
pub fn make_room() {
    drop(fcntl_dupfd_cloexec(stdin(), ROOM));
}
