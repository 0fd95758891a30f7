//! System calls for which there is no safe wrapper, for use in the process that was forked: none
//! of them allocates or takes a lock.

#![expect(unsafe_code, reason = "fork, spawn and a few system calls; each block says why it is sound")]

use rustix::fd::{AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd};
use rustix::fs::{Mode, OFlags};
use rustix::io::{Errno, Result};
use rustix::process::{Pid, getpid};
use rustix::thread::UnshareFlags;
use std::ffi::{CStr, c_char, c_int};
use std::mem::{MaybeUninit, zeroed};
use std::ptr::{null, null_mut};

/// Where a fork returns.
pub(super) enum Forked {
    /// In the process that forked; the child's number.
    Parent(Pid),
    /// In the child, which has this one thread.
    Child,
}

/// Forks, with all signals blocked in the child.
///
/// # Safety
/// Where the process has other threads, the child must not allocate, nor take a lock that one of
/// them may hold: nothing but system calls until its end, which must be [`exit`].
pub(super) unsafe fn fork() -> Result<Forked> {
    let mut before = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: the sets are valid for writes, and `before` is read only where it was written.
    let child = unsafe {
        let mut all = MaybeUninit::<libc::sigset_t>::uninit();
        libc::sigfillset(all.as_mut_ptr());
        // A handler must not run in the child: it would write to what the parent listens to.
        if libc::pthread_sigmask(libc::SIG_SETMASK, all.as_ptr(), before.as_mut_ptr()) != 0 {
            return Err(Errno::INVAL);
        }
        let child = libc::fork();
        if child != 0 {
            // It returns its error, and leaves `errno` alone.
            libc::pthread_sigmask(libc::SIG_SETMASK, before.as_ptr(), null_mut());
        }
        child
    };
    match child {
        0 => Ok(Forked::Child),
        // A negative one is no number of a process, and not to be taken for one.
        child => Pid::from_raw(child.max(0)).map(Forked::Parent).ok_or_else(last_error),
    }
}

/// Ends this process at once: nothing is flushed, no destructor runs.
pub(super) fn exit(status: c_int) -> ! {
    // SAFETY: it has no preconditions.
    unsafe { libc::_exit(status) }
}

/// Room for the stack of a process between its fork and its program.
pub(super) const STACK: usize = 64 << 10;

/// What a child does before it is the program.
struct Before<'a> {
    directory: &'a CStr,
    program: &'a CStr,
    argv: *const *const c_char,
    envp: *const *const c_char,
    stdio: [c_int; 3],
    /// Why there is no program, if there is none.
    errno: c_int,
}

/// Starts a program in a directory and a process group of its own, with no signal blocked, and with
/// three descriptors. `argv` and `envp` end with a null; `stack` is for the child.
///
/// It is a `vfork`: nothing is copied, and this process goes on when the program has begun.
pub(super) fn spawn(
    directory: &CStr,
    program: &CStr,
    [argv, envp]: [&[*const c_char]; 2],
    stdio: [BorrowedFd<'_>; 3],
    stack: &mut [u8],
) -> Result<Pid> {
    if argv.last() != Some(&null()) || envp.last() != Some(&null()) || stack.len() < STACK {
        return Err(Errno::INVAL);
    }
    let (argv, envp) = (argv.as_ptr(), envp.as_ptr());
    let stdio = stdio.map(|fd| fd.as_raw_fd());
    let mut before = Before { directory, program, argv, envp, stdio, errno: 0 };
    let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD;
    // SAFETY: the stack is large enough for what `begin` calls and nobody else's, and its end is
    // aligned; `before` outlives the child's use of it, as this process waits meanwhile.
    let pid = unsafe {
        let end = stack.as_mut_ptr_range().end;
        let end = end.wrapping_sub(end as usize % 64);
        libc::clone(begin, end.cast(), flags, (&raw mut before).cast())
    };
    match Pid::from_raw(pid.max(0)) {
        Some(pid) if before.errno != 0 => {
            let _ = rustix::process::waitpid(Some(pid), rustix::process::WaitOptions::empty());
            Err(Errno::from_raw_os_error(before.errno))
        }
        Some(pid) => Ok(pid),
        None => Err(last_error()),
    }
}

/// See `capabilities(7)`.
const CAP_SYS_PTRACE: libc::c_ulong = 19;

/// Runs in the child, on a stack of its own, while the parent waits.
extern "C" fn begin(before: *mut libc::c_void) -> c_int {
    // SAFETY: it is what `spawn` made, and nobody else uses it now. The strings end with a null, and
    // the arrays with a null pointer. There are only system calls.
    unsafe {
        let before = &mut *before.cast::<Before<'_>>();
        let mut signals = zeroed::<libc::sigset_t>();
        libc::sigemptyset(&mut signals);
        // What other processes keep for themselves stays theirs, also where this user is root.
        libc::prctl(libc::PR_CAPBSET_DROP, CAP_SYS_PTRACE, 0, 0, 0);
        let is_ready = libc::chdir(before.directory.as_ptr()) == 0
            && libc::setpgid(0, 0) == 0
            && (0..).zip(before.stdio).all(|(number, fd)| libc::dup2(fd, number) == number)
            && libc::sigprocmask(libc::SIG_SETMASK, &signals, null_mut()) == 0;
        if is_ready {
            libc::execve(before.program.as_ptr(), before.argv, before.envp);
        }
        before.errno = *libc::__errno_location();
        libc::_exit(127)
    }
}

/// Has no signal ignored or handled, which programs would inherit. Signals must be blocked.
pub(super) fn heed_no_signal() {
    // SAFETY: the default action needs nothing, and comes only once signals are not blocked.
    unsafe {
        for signal in 1..=libc::SIGRTMAX() {
            libc::signal(signal, libc::SIG_DFL);
        }
    }
}

/// Readable when a child has ended; signals must be blocked.
pub(super) fn ended_children() -> Result<OwnedFd> {
    // SAFETY: the set is valid; a descriptor that is returned is open, and nobody else's.
    unsafe {
        let mut signals = zeroed::<libc::sigset_t>();
        libc::sigemptyset(&mut signals);
        libc::sigaddset(&mut signals, libc::SIGCHLD);
        match libc::signalfd(-1, &signals, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) {
            -1 => Err(last_error()),
            fd => Ok(OwnedFd::from_raw_fd(fd)),
        }
    }
}

/// Kills every process of the name space of processes whose first process this is.
pub(super) fn kill_everybody() -> Result<()> {
    // Anywhere else, that would be every process of the user.
    if !getpid().is_init() {
        return Err(Errno::PERM);
    }
    // SAFETY: it has no preconditions.
    match unsafe { libc::kill(-1, libc::SIGKILL) } {
        0 => Ok(()),
        _ => Err(last_error()),
    }
}

/// Moves this process, or its future children, into a name space of its own.
pub(super) fn unshare(space: UnshareFlags) -> Result<()> {
    // SAFETY: there is one thread, so nobody sees descriptors from another table.
    unsafe { rustix::thread::unshare_unsafe(space) }
}

/// Keeps one descriptor, as number 3, beside the first three, which lead nowhere from now on.
pub(super) fn keep_only(fd: OwnedFd) -> Result<OwnedFd> {
    const KEPT: c_int = 3;
    const MOST: c_int = 1 << 16;
    let high = rustix::io::fcntl_dupfd_cloexec(&fd, KEPT)?;
    let null = {
        let null = rustix::fs::open(c"/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
        rustix::io::fcntl_dupfd_cloexec(&null, KEPT)?
    };
    // SAFETY: whatever owned another descriptor was copied from a thread that is not here, or is
    // forgotten below: nobody uses or closes them in this process. Number 3 is open at the end, and
    // owned by what is returned.
    unsafe {
        for number in 0..KEPT {
            if libc::dup2(null.as_raw_fd(), number) == -1 {
                return Err(last_error());
            }
        }
        if high.as_raw_fd() != KEPT && libc::dup3(high.as_raw_fd(), KEPT, libc::O_CLOEXEC) == -1 {
            return Err(last_error());
        }
        for gone in [fd, high, null] {
            let _ = gone.into_raw_fd();
        }
        let (from, to, flags) = (KEPT as libc::c_uint + 1, libc::c_uint::MAX, 0 as libc::c_uint);
        if libc::syscall(libc::SYS_close_range, from, to, flags) != 0 {
            for number in KEPT + 1..MOST {
                libc::close(number);
            }
        }
        Ok(OwnedFd::from_raw_fd(KEPT))
    }
}

/// Turns on the loopback interface of a network of one's own.
pub(super) fn loopback_up() -> Result<()> {
    let socket = rustix::net::socket(rustix::net::AddressFamily::INET, rustix::net::SocketType::DGRAM, None)?;
    // SAFETY: the request is valid for reads and writes, and has a name that ends with a null.
    unsafe {
        let mut request = zeroed::<libc::ifreq>();
        for (to, from) in request.ifr_name.iter_mut().zip(c"lo".to_bytes_with_nul()) {
            *to = *from as c_char;
        }
        if libc::ioctl(socket.as_raw_fd(), libc::SIOCGIFFLAGS as _, &mut request) != 0 {
            return Err(last_error());
        }
        request.ifr_ifru.ifru_flags |= libc::IFF_UP as libc::c_short;
        match libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS as _, &mut request) {
            0 => Ok(()),
            _ => Err(last_error()),
        }
    }
}

/// Takes the keyrings from this process and from all that it starts: they are as on a kernel that has none.
/// No name space has its own, and those of a user are the same for all of its processes.
///
/// # Errors
/// `ENOSYS` where the numbers of the calls are not known here, otherwise those of `seccomp(2)`.
pub(super) fn no_keyrings() -> Result<()> {
    let mut program = keyrings::FILTER;
    let filter = libc::sock_fprog { len: program.len() as u16, filter: program.as_mut_ptr() };
    if program.is_empty() {
        return Err(Errno::NOSYS);
    }
    // SAFETY: the filter is valid for reads, and the kernel copies it.
    let install = || match unsafe {
        libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0 as libc::c_ulong, &raw const filter)
    } {
        0 => Ok(()),
        _ => Err(last_error()),
    };
    match install() {
        // Who may not administer the machine gives up what programs of other users would give it.
        Err(Errno::ACCESS) => {
            rustix::thread::set_no_new_privs(true)?;
            install()
        }
        done => done,
    }
}

/// The filter of system calls, for this architecture and for the one of 32 bits beside it.
mod keyrings {
    use libc::{
        BPF_ABS, BPF_ALU, BPF_AND, BPF_JEQ, BPF_JMP, BPF_K, BPF_LD, BPF_RET, BPF_W, SECCOMP_RET_ALLOW,
        SECCOMP_RET_ERRNO, sock_filter,
    };

    /// An architecture as `linux/audit.h` has it, and `add_key`, `request_key` and `keyctl` on it.
    type Calls = (u32, [u32; 3]);
    #[cfg(target_arch = "x86_64")]
    const CALLS: [Calls; 2] = [(0xc000_003e, [248, 249, 250]), (0x4000_0003, [286, 287, 288])];
    #[cfg(target_arch = "aarch64")]
    const CALLS: [Calls; 2] = [(0xc000_00b7, [217, 218, 219]), (0x4000_0028, [309, 310, 311])];

    /// Where the number of the call and the architecture are in `struct seccomp_data`.
    const NUMBER: u32 = 0;
    const ARCHITECTURE: u32 = 4;
    /// x32 sets it in the numbers of x86_64.
    const X32: u32 = 1 << 30;

    const fn op(code: u32, k: u32, jt: u8, jf: u8) -> sock_filter {
        sock_filter { code: code as u16, jt, jf, k }
    }
    const fn load(offset: u32) -> sock_filter {
        op(BPF_LD | BPF_W | BPF_ABS, offset, 0, 0)
    }
    const fn equal(to: u32, jt: u8, jf: u8) -> sock_filter {
        op(BPF_JMP | BPF_JEQ | BPF_K, to, jt, jf)
    }

    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    pub(super) const FILTER: [sock_filter; 0] = [];
    #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
    pub(super) const FILTER: [sock_filter; 14] = {
        let [(native, [a, b, c]), (other, [d, e, f])] = CALLS;
        [
            load(ARCHITECTURE),
            equal(native, 0, 5),
            load(NUMBER),
            op(BPF_ALU | BPF_AND | BPF_K, !X32, 0, 0),
            equal(a, 8, 0),
            equal(b, 7, 0),
            equal(c, 6, 5),
            equal(other, 0, 4),
            load(NUMBER),
            equal(d, 3, 0),
            equal(e, 2, 0),
            equal(f, 1, 0),
            op(BPF_RET | BPF_K, SECCOMP_RET_ALLOW, 0, 0),
            op(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | libc::ENOSYS as u32, 0, 0),
        ]
    };
}

/// How many System V objects there are: segments, semaphores and queues.
pub(super) fn ipc_objects() -> i32 {
    // SAFETY: each structure is valid for writes and large enough for what the kernel fills in.
    unsafe {
        let mut segments = zeroed::<ShmInfo>();
        let mut semaphores = zeroed::<libc::seminfo>();
        let mut queues = zeroed::<libc::msginfo>();
        libc::shmctl(0, SHM_INFO, (&raw mut segments).cast());
        libc::semctl(0, 0, SEM_INFO, &raw mut semaphores);
        libc::msgctl(0, MSG_INFO, (&raw mut queues).cast());
        segments.used_ids.saturating_add(semaphores.semusz).saturating_add(queues.msgpool)
    }
}

const SHM_INFO: c_int = 14;
const SEM_INFO: c_int = 19;
const MSG_INFO: c_int = 12;

/// `struct shm_info`.
#[repr(C)]
struct ShmInfo {
    used_ids: c_int,
    totals: [libc::c_ulong; 5],
}

/// Keeps to this process what file it runs and what it has open; its memory only from those who don't
/// administer the machine.
pub(super) fn keep_to_itself() {
    let _ = rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable);
}

/// Overwrites the arguments and the environment that others can read of this process. Nothing may
/// read them afterwards.
pub(super) fn wipe_arguments() {
    const FIRST: usize = 47;
    let mut text = [0; 2048];
    let Ok(file) = rustix::fs::open(c"/proc/self/stat", OFlags::CLOEXEC, Mode::empty()) else { return };
    let Ok(count) = rustix::io::read(&file, &mut text) else { return };
    let text = text.get(..count).unwrap_or_default();
    // The name stands in parentheses and may have any in it; it is the second field.
    let Some(end) = text.iter().rposition(|byte| *byte == b')') else { return };
    let fields = text.get(end + 2..).unwrap_or_default().split(|byte| byte.is_ascii_whitespace());
    let mut ranges = [0usize; 4];
    for (to, field) in ranges.iter_mut().zip(fields.skip(FIRST - 2)) {
        *to = field
            .iter()
            .fold(0, |n, digit| n.wrapping_mul(10).wrapping_add(usize::from(digit.wrapping_sub(b'0'))));
    }
    for range in ranges.chunks(2) {
        if let [start, end] = *range
            && start != 0
            && start < end
        {
            // SAFETY: the kernel says that the arguments of this process lie there, on the stack of
            // its first thread; it is a copy that no other process shares.
            unsafe { std::ptr::write_bytes(start as *mut u8, 0, end - start) };
        }
    }
}

fn last_error() -> Errno {
    Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO)
}
