//! Numbers of errors.

use std::fmt;

/// The number of an error, as `errno.h` of Linux has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Errno(pub u32);

impl fmt::Display for Errno {
    /// Its name; the number of one that has none here.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const NAMES: &[(u32, &str)] = &[
            (1, "EPERM"),
            (2, "ENOENT"),
            (3, "ESRCH"),
            (4, "EINTR"),
            (5, "EIO"),
            (6, "ENXIO"),
            (7, "E2BIG"),
            (9, "EBADF"),
            (11, "EAGAIN"),
            (12, "ENOMEM"),
            (13, "EACCES"),
            (14, "EFAULT"),
            (16, "EBUSY"),
            (17, "EEXIST"),
            (19, "ENODEV"),
            (22, "EINVAL"),
            (24, "EMFILE"),
            (25, "ENOTTY"),
            (27, "EFBIG"),
            (28, "ENOSPC"),
            (32, "EPIPE"),
            (33, "EDOM"),
            (34, "ERANGE"),
            (38, "ENOSYS"),
            (42, "ENOMSG"),
            (52, "EBADE"),
            (61, "ENODATA"),
            (62, "ETIME"),
            (71, "EPROTO"),
            (74, "EBADMSG"),
            (75, "EOVERFLOW"),
            (77, "EBADFD"),
            (90, "EMSGSIZE"),
            (95, "ENOTSUP"),
            (103, "ECONNABORTED"),
            (104, "ECONNRESET"),
            (107, "ENOTCONN"),
            (110, "ETIMEDOUT"),
            (111, "ECONNREFUSED"),
            (114, "EALREADY"),
            (115, "EINPROGRESS"),
            (117, "EUCLEAN"),
            (125, "ECANCELED"),
        ];
        match (self.0, NAMES.iter().find(|row| row.0 == self.0)) {
            (0, _) => f.write_str("an error without a number"),
            (_, Some((_, name))) => f.write_str(name),
            (number, None) => write!(f, "error {number}"),
        }
    }
}
