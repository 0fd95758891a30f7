//! The messages of vfio-user, 0.0 and 0.1, with those of migration: all that goes over the socket,
//! in one place, for client and server alike.
//!
//! Little endian. A header of 16 bytes (id, command, size with the header, flags, error) precedes
//! every message; a reply has the id and the command of what it answers.
//!
//! Whatever bytes come in, reading them gives a message or says what is wrong: no panic, no claim
//! believed, nothing reserved. A field counts, not the length of what it came in: a server may
//! send more bytes than it says are data.

pub mod reply;
pub mod request;
pub mod version;

use migcert_core::device::State;
use reply::Reply;
use request::Request;

/// Bytes of the header.
pub const HEADER: usize = 16;
/// So many bytes of data are the most in a message, unless less is negotiated.
pub const MAX_DATA: u32 = 1 << 20;
/// No message is longer: the data, the header, and what stands between them.
pub const MAX_MESSAGE: u32 = MAX_DATA + 4096;

macro_rules! numbered {
    ($(#[$meta:meta])* $name:ident: $repr:ident { $($variant:ident = $number:literal $words:literal,)* }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr($repr)]
        pub enum $name {
            $(#[doc = $words] $variant = $number,)*
        }

        impl $name {
            /// All of them, by number.
            pub const ALL: &[$name] = &[$($name::$variant,)*];

            /// The name in the specification, without its prefix.
            pub const fn name(self) -> &'static str {
                match self {
                    $($name::$variant => $words,)*
                }
            }

            fn numbered(number: $repr) -> Option<$name> {
                $name::ALL.iter().copied().find(|known| *known as $repr == number)
            }
        }
    };
}

numbered! {
    /// The commands. 11 and 12 are asked of the client by the server.
    Command: u16 {
        Version = 1 "VERSION",
        DmaMap = 2 "DMA_MAP",
        DmaUnmap = 3 "DMA_UNMAP",
        DeviceInfo = 4 "DEVICE_GET_INFO",
        RegionInfo = 5 "DEVICE_GET_REGION_INFO",
        IrqInfo = 7 "DEVICE_GET_IRQ_INFO",
        SetIrqs = 8 "DEVICE_SET_IRQS",
        RegionRead = 9 "REGION_READ",
        RegionWrite = 10 "REGION_WRITE",
        DmaRead = 11 "DMA_READ",
        DmaWrite = 12 "DMA_WRITE",
        Reset = 13 "DEVICE_RESET",
        Feature = 16 "DEVICE_FEATURE",
        StateRead = 17 "MIG_DATA_READ",
        StateWrite = 18 "MIG_DATA_WRITE",
    }
}

numbered! {
    /// The features of [`Command::Feature`] that concern migration, as `linux/vfio.h` numbers them.
    Feature: u16 {
        Migration = 1 "MIGRATION",
        State = 2 "MIG_DEVICE_STATE",
        LogStart = 6 "DMA_LOGGING_START",
        LogStop = 7 "DMA_LOGGING_STOP",
        LogReport = 8 "DMA_LOGGING_REPORT",
        DataSize = 9 "MIG_DATA_SIZE",
    }
}

/// Why bytes are no message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// A number that must be another.
    #[error("{what} {is} instead of {should}")]
    Other {
        /// Which number.
        what: &'static str,
        /// What it is.
        is: u64,
        /// What it must be.
        should: u64,
    },
    /// Fewer bytes than the fields, or than a field claims.
    #[error("{what} cut short: {got} of {wanted} bytes")]
    Short {
        /// What was cut.
        what: &'static str,
        /// Bytes it needs.
        wanted: u64,
        /// Bytes there are.
        got: usize,
    },
    /// More than anybody may send.
    #[error("{what} of {is}, where {most} is the most")]
    TooMuch {
        /// What is too much.
        what: &'static str,
        /// How much.
        is: u64,
        /// The most.
        most: u64,
    },
    /// A number that means nothing.
    #[error("{what} {is}, which means nothing")]
    Unknown {
        /// Which number.
        what: &'static str,
        /// What it is.
        is: u64,
    },
    /// The version's capabilities are not what they must be.
    #[error("capabilities that can't be read: {0}")]
    Capabilities(String),
}

/// Takes fields off the front of bytes.
struct Fields<'a> {
    what: &'static str,
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    fn of(what: &'static str, rest: &'a [u8]) -> Fields<'a> {
        Fields { what, rest }
    }

    fn take(&mut self, claimed: u64) -> Result<&'a [u8], Malformed> {
        let short = Malformed::Short { what: self.what, wanted: claimed, got: self.rest.len() };
        let Ok(count) = usize::try_from(claimed) else { return Err(short) };
        let Some((head, rest)) = self.rest.split_at_checked(count) else { return Err(short) };
        self.rest = rest;
        Ok(head)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N as u64)?);
        Ok(array)
    }

    fn u16(&mut self) -> Result<u16, Malformed> {
        Ok(u16::from_le_bytes(self.array()?))
    }

    fn u32(&mut self) -> Result<u32, Malformed> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    fn u64(&mut self) -> Result<u64, Malformed> {
        Ok(u64::from_le_bytes(self.array()?))
    }
}

/// What precedes every message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The sender's; a reply has that of its command.
    pub id: u16,
    /// The number of the command; it may be none of ours.
    pub command: u16,
    /// Bytes of the message, this header among them.
    pub size: u32,
    /// What it is.
    pub kind: Kind,
}

/// Whether something is asked or answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It is asked, and an answer is awaited.
    Command,
    /// It is asked, and no answer wanted.
    CommandWithoutReply,
    /// It was done.
    Reply,
    /// It was not done, for this reason of `errno.h`, if there is one.
    Failed(u32),
}

const REPLY: u32 = 1;
const NO_REPLY: u32 = 1 << 4;
const ERROR: u32 = 1 << 5;

impl Header {
    /// Reads a header. The size is checked against [`MAX_MESSAGE`].
    ///
    /// # Errors
    /// [`Malformed`].
    pub fn parse(bytes: &[u8]) -> Result<Header, Malformed> {
        let mut fields = Fields::of("a header", bytes);
        let (id, command, size) = (fields.u16()?, fields.u16()?, fields.u32()?);
        let (flags, error) = (fields.u32()?, fields.u32()?);
        if (size as usize) < HEADER {
            return Err(Malformed::Short { what: "a message", wanted: HEADER as u64, got: size as usize });
        }
        if MAX_MESSAGE < size {
            return Err(Malformed::TooMuch { what: "a message", is: size.into(), most: MAX_MESSAGE.into() });
        }
        let kind = match (flags & 0xf, flags & NO_REPLY != 0, flags & ERROR != 0) {
            (0, false, _) => Kind::Command,
            (0, true, _) => Kind::CommandWithoutReply,
            (REPLY, _, false) => Kind::Reply,
            (REPLY, _, true) => Kind::Failed(error),
            (other, ..) => return Err(Malformed::Unknown { what: "message type", is: other.into() }),
        };
        Ok(Header { id, command, size, kind })
    }

    fn bytes(self) -> [u8; HEADER] {
        let (flags, error) = match self.kind {
            Kind::Command => (0, 0),
            Kind::CommandWithoutReply => (NO_REPLY, 0),
            Kind::Reply => (REPLY, 0),
            Kind::Failed(error) => (REPLY | ERROR, error),
        };
        let mut bytes = [0; HEADER];
        bytes[0..2].copy_from_slice(&self.id.to_le_bytes());
        bytes[2..4].copy_from_slice(&self.command.to_le_bytes());
        bytes[4..8].copy_from_slice(&self.size.to_le_bytes());
        bytes[8..12].copy_from_slice(&flags.to_le_bytes());
        bytes[12..16].copy_from_slice(&error.to_le_bytes());
        bytes
    }
}

/// Puts a whole message into a buffer that is used again and again.
pub fn message(into: &mut Vec<u8>, id: u16, command: u16, kind: Kind, payload: impl FnOnce(&mut Vec<u8>)) {
    into.clear();
    append(into, id, command, kind, payload);
}

/// Appends a whole message.
pub fn append(into: &mut Vec<u8>, id: u16, command: u16, kind: Kind, payload: impl FnOnce(&mut Vec<u8>)) {
    let start = into.len();
    into.resize(start + HEADER, 0);
    payload(into);
    let size = u32::try_from(into.len() - start).unwrap_or(u32::MAX);
    if let Some(header) = into.get_mut(start..start + HEADER) {
        header.copy_from_slice(&Header { id, command, size, kind }.bytes());
    }
}

/// Bytes of a region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Access {
    /// From the start of the region.
    pub offset: u64,
    /// Region number.
    pub region: u32,
    /// How many.
    pub count: u32,
}

/// Bytes of guest memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transfer {
    /// As the device sees it.
    pub address: u64,
    /// How many.
    pub count: u64,
}

fn access(fields: &mut Fields<'_>) -> Result<Access, Malformed> {
    Ok(Access { offset: fields.u64()?, region: fields.u32()?, count: fields.u32()? })
}

fn put_access(into: &mut Vec<u8>, Access { offset, region, count }: Access) {
    into.extend(offset.to_le_bytes());
    into.extend(region.to_le_bytes());
    into.extend(count.to_le_bytes());
}

fn transfer(fields: &mut Fields<'_>) -> Result<Transfer, Malformed> {
    Ok(Transfer { address: fields.u64()?, count: fields.u64()? })
}

fn put_transfer(into: &mut Vec<u8>, Transfer { address, count }: Transfer) {
    into.extend(address.to_le_bytes());
    into.extend(count.to_le_bytes());
}

/// The data of [`Feature::Migration`]: `VFIO_MIGRATION_*`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Migration(pub u64);

impl Migration {
    /// It can be saved; a device that can't, can't be migrated.
    pub const STOP_COPY: u64 = 1;
    /// It has the P2P states.
    pub const P2P: u64 = 2;
    /// It has the pre-copy states.
    pub const PRE_COPY: u64 = 4;

    /// Reads it.
    ///
    /// # Errors
    /// [`Malformed`].
    pub fn parse(data: &[u8]) -> Result<Migration, Malformed> {
        Ok(Migration(Fields::of(Feature::Migration.name(), data).u64()?))
    }
}

/// Reads the data of [`Feature::State`]; the descriptor in it has no use here.
///
/// # Errors
/// [`Malformed`], also for a number that is no state.
pub fn state(data: &[u8]) -> Result<State, Malformed> {
    let number = Fields::of(Feature::State.name(), data).u32()?;
    let known = State::ALL.into_iter().find(|state| *state as u32 == number);
    known.ok_or(Malformed::Unknown { what: "device state", is: number.into() })
}

/// The data of [`Feature::State`] for a state.
pub fn state_data(state: State) -> [u8; 8] {
    const NO_FD: u32 = u32::MAX;
    let mut data = [0; 8];
    data[..4].copy_from_slice(&(state as u32).to_le_bytes());
    data[4..].copy_from_slice(&NO_FD.to_le_bytes());
    data
}

/// Reads the data of [`Feature::DataSize`].
///
/// # Errors
/// [`Malformed`].
pub fn data_size(data: &[u8]) -> Result<u64, Malformed> {
    Fields::of(Feature::DataSize.name(), data).u64()
}

/// Reads any bytes as messages of either side, writes what was understood and reads it again:
/// that must give the same.
///
/// # Errors
/// What was first, and what came of it.
pub fn any_bytes(bytes: &[u8]) -> Result<(), Box<(String, String)>> {
    let differs = |first: String, second: String| Err(Box::new((first, second)));
    if let Ok(header) = Header::parse(bytes) {
        let again = Header::parse(&header.bytes());
        if again.as_ref() != Ok(&header) {
            return differs(format!("{header:?}"), format!("{again:?}"));
        }
    }
    let payload = bytes.get(HEADER..).unwrap_or(bytes);
    let mut written = Vec::new();
    for command in Command::ALL {
        if let Ok(request) = Request::parse(*command as u16, payload) {
            written.clear();
            request.put(&mut written);
            let again = Request::parse(*command as u16, &written);
            if again.as_ref() != Ok(&request) {
                return differs(format!("{request:?}"), format!("{again:?}"));
            }
        }
        if let Ok(reply) = Reply::parse(*command, payload) {
            written.clear();
            reply.put(&mut written);
            let again = Reply::parse(*command, &written);
            if again.as_ref() != Ok(&reply) {
                return differs(format!("{reply:?}"), format!("{again:?}"));
            }
        }
    }
    if let Ok(state) = state(payload) {
        let again = self::state(&state_data(state));
        if again != Ok(state) {
            return differs(format!("{state:?}"), format!("{again:?}"));
        }
    }
    Ok(())
}

/// The first eight bytes of a register's value, as the guest sees it.
pub fn value(data: &[u8]) -> u64 {
    let mut bytes = [0; 8];
    let count = data.len().min(8);
    bytes[..count].copy_from_slice(&data[..count]);
    u64::from_le_bytes(bytes)
}
