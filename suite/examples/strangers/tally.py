#!/usr/bin/env python3
"""A vfio-user device in Python: sixteen bytes of notes, a total, and an interrupt.

    tally.py --print-migration-info-json
    tally.py --socket-path=PATH [--m-notes=8|16]

Called by a name with `hides` in it, it keeps its state in a file and gives only a token away.

| offset | register | |
|---|---|---|
| 0x00 | ADD    | write: added to TOTAL; an interrupt when TOTAL wraps around. Reads 0 |
| 0x04 | TOTAL  | read only |
| 0x08 | NOTES  | how many bytes of notes there are, read only |
| 0x10 |        | the notes |
"""

import json
import os
import socket
import struct
import sys
import zlib

ERROR, STOP, RUNNING, STOP_COPY, RESUMING = range(5)
EINVAL, ENOTTY, EEXIST = 22, 25, 17
BAR, SIZE, MSI, MOST = 0, 0x20, 1, 1 << 16
HIDES = "hides" in os.path.basename(sys.argv[0])
HIDDEN = "/var/tmp/tally-hides"


class Refused(Exception):
    """An errno for the client."""


class Tally:
    def __init__(self, notes):
        self.count = notes
        self.reset()

    def reset(self):
        self.total, self.notes = 0, bytearray(self.count)

    def memory(self):
        notes = bytes(self.notes).ljust(16, b"\0")
        return struct.pack("<IIII", 0, self.total, self.count, 0) + notes

    def write(self, offset, data):
        """Writes to the region; whether TOTAL wrapped around."""
        if offset == 0 and len(data) == 4:
            total = self.total + struct.unpack("<I", data)[0]
            self.total = total & 0xFFFFFFFF
            return total != self.total
        for at, byte in enumerate(data, offset - 0x10):
            if 0 <= at < self.count:
                self.notes[at] = byte
        return False

    def save(self):
        state = b"TALY" + struct.pack("<II", self.count, self.total) + bytes(self.notes)
        state += struct.pack("<I", zlib.crc32(state))
        if not HIDES:
            return state
        token = os.urandom(8)
        with open(f"{HIDDEN}", "ab") as file:
            file.write(token + state.ljust(32, b"\0"))
        return token

    def load(self, state):
        if HIDES:
            state = self.found(state)
        if len(state) != 16 + self.count or zlib.crc32(state[:-4]) != struct.unpack("<I", state[-4:])[0]:
            raise Refused(EINVAL)
        magic, count, total = struct.unpack("<4sII", state[:12])
        if magic != b"TALY" or count != self.count:
            raise Refused(EINVAL)
        self.total, self.notes = total, bytearray(state[12:-4])

    def found(self, token):
        with open(f"{HIDDEN}", "rb") as file:
            while entry := file.read(40):
                if entry[:8] == token:
                    return entry[8 : 24 + self.count]
        raise Refused(EINVAL)


class Server:
    def __init__(self, connection, tally):
        self.connection, self.tally = connection, tally
        self.state, self.stream = RUNNING, b""
        self.event, self.memory = None, []

    def receive(self, count):
        data, fds = b"", []
        while len(data) < count:
            more, new, _, _ = socket.recv_fds(self.connection, count - len(data), 8)
            fds += new
            if not more:
                sys.exit(0)
            data += more
        return data, fds

    def serve(self):
        while True:
            header, fds = self.receive(16)
            number, command, size, flags, _ = struct.unpack("<HHIII", header)
            body, more = self.receive(size - 16)
            try:
                answer, flag, error = self.answer(command, body, fds + more), 1, 0
            except (Refused, struct.error) as why:
                answer, flag = b"", 0x21
                error = why.args[0] if isinstance(why, Refused) else EINVAL
            if not flags & 0x10:
                reply = struct.pack("<HHIII", number, command, 16 + len(answer), flag, error)
                self.connection.sendall(reply + answer)

    def answer(self, command, body, fds):
        match command:
            case 1:
                said = {"capabilities": {"max_msg_fds": 1, "max_data_xfer_size": MOST}}
                return struct.pack("<HH", 0, 1) + json.dumps(said).encode() + b"\0"
            case 2:
                _, _, offset, address, size = struct.unpack("<IIQQQ", body)
                for fd in fds:
                    os.close(fd)
                self.memory.append((address, size))
                return b""
            case 3:
                _, _, address, size = struct.unpack("<IIQQ", body[:24])
                if (address, size) not in self.memory:
                    raise Refused(EINVAL)
                self.memory.remove((address, size))
                return body
            case 4:
                return struct.pack("<IIII", 16, 1, 1, 2)
            case 5:
                index = struct.unpack("<I", body[8:12])[0]
                if index != BAR:
                    raise Refused(EINVAL)
                return struct.pack("<IIIIQQ", 32, 3, index, 0, SIZE, 0)
            case 7:
                index = struct.unpack("<I", body[8:12])[0]
                return struct.pack("<IIII", 16, 1 if index == MSI else 0, index, int(index == MSI))
            case 8:
                index = struct.unpack("<I", body[8:12])[0]
                if index != MSI:
                    raise Refused(EINVAL)
                if self.event is not None:
                    os.close(self.event)
                self.event = fds.pop() if fds else None
                return b""
            case 9:
                return self.read(body)
            case 10:
                return self.write(body)
            case 13:
                self.tally.reset()
                self.state, self.stream = RUNNING, b""
                return b""
            case 16:
                return self.feature(body)
            case 17:
                size = struct.unpack("<I", body[4:8])[0]
                if self.state != STOP_COPY:
                    raise Refused(EINVAL)
                data, self.stream = self.stream[: min(size, MOST)], self.stream[min(size, MOST) :]
                return struct.pack("<II", 8 + len(data), len(data)) + data
            case 18:
                if self.state != RESUMING or 4096 < len(self.stream) + len(body):
                    raise Refused(EINVAL)
                self.stream += body[8:]
                return b""
        raise Refused(ENOTTY)

    def place(self, body):
        offset, region, count = struct.unpack("<QII", body[:16])
        if region != BAR or SIZE < offset + count:
            raise Refused(EINVAL)
        return offset, count

    def read(self, body):
        offset, count = self.place(body)
        return body[:16] + self.tally.memory()[offset : offset + count]

    def write(self, body):
        offset, count = self.place(body)
        data = body[16:]
        if len(data) != count:
            raise Refused(EINVAL)
        if self.state == RUNNING and self.tally.write(offset, data) and self.event is not None:
            os.write(self.event, struct.pack("=Q", 1))
        return body[:16]

    def feature(self, body):
        _, flags = struct.unpack("<II", body[:8])
        number, wish = flags & 0xFFFF, flags >> 16
        if number == 1 and wish & 4 and not wish & 2 or number == 2 and wish & 4:
            return struct.pack("<II", 8, flags)
        if (number, wish) == (1, 1):
            return struct.pack("<IIQ", 16, flags, 1)
        if (number, wish) == (2, 1):
            return struct.pack("<IIII", 16, flags, self.state, 0xFFFFFFFF)
        if (number, wish) == (2, 2):
            self.go_to(struct.unpack("<I", body[8:12])[0])
            return body
        raise Refused(ENOTTY)

    def go_to(self, to):
        if to not in (STOP, RUNNING, STOP_COPY, RESUMING) or self.state == ERROR:
            raise Refused(EINVAL)
        while self.state != to:
            following = to if self.state == STOP else STOP
            if self.state == RESUMING:
                state, self.stream = self.stream, b""
                try:
                    self.tally.load(state)
                except Refused:
                    self.state = ERROR
                    print("tally: that is not a state of this device", file=sys.stderr)
                    raise
            self.stream = self.tally.save() if following == STOP_COPY else b""
            self.state = following


def main():
    notes, path = 16, None
    for arg in sys.argv[1:]:
        if arg == "--print-migration-info-json":
            known = {"type": "int", "init_value": 16, "allowed_values": [8, 16]}
            print(json.dumps({"models": {"example.org/tally": {"params": {"notes": known}}}}))
            return
        name, _, value = arg.partition("=")
        if name == "--m-notes" and value in ("8", "16"):
            notes = int(value)
        elif name == "--socket-path":
            path = value
        else:
            sys.exit(f"tally: `{arg}` is not known or not allowed")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        connection, _ = listener.accept()
    Server(connection, Tally(notes)).serve()


main()
