"""Netlink dumps read in this process: a snapshot takes about two milliseconds, so every round of every case affords two.

Only reading, and only what the snapshot compares. Numbers are from the kernel's uapi headers."""
import os
import socket
import struct

ROUTE, NETFILTER = 0, 12
GETLINK, GETADDR, GETROUTE, GETNEIGH, GETRULE, GETQDISC, GETNEXTHOP = 18, 22, 26, 30, 34, 38, 106
AF_UNSPEC, AF_INET, AF_INET6, AF_BRIDGE = 0, 2, 10, 7
REQUEST, DUMP, DUMP_INTERRUPTED = 1, 0x300, 0x10
ERROR, DONE = 2, 3
NFT_GETGEN = 10 << 8 | 16


def _exchange(protocol, kind, flags, body):
    """One request; the (type, flags, payload) of every answer."""
    answers = []
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol) as peer:
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        peer.send(struct.pack("=IHHII", 16 + len(body), kind, REQUEST | flags, 1, 0) + body)
        while True:
            data, offset = peer.recv(1 << 20), 0
            while offset + 16 <= len(data):
                length, answer, seen_flags = struct.unpack_from("=IHH", data, offset)
                payload = data[offset + 16 : offset + length]
                if answer == ERROR:
                    code = -struct.unpack_from("=i", payload)[0]
                    raise OSError(code, f"netlink request {kind}: {os.strerror(code)}")
                if answer == DONE:
                    return answers
                answers.append((answer, seen_flags, payload))
                offset += length + 3 & ~3
            if not flags & DUMP:
                return answers


def dump(kind, body):
    """The payloads of a whole rtnetlink dump; asked for again when the kernel says that it changed under way."""
    while True:
        answers = _exchange(ROUTE, kind, DUMP, body)
        if not any(flags & DUMP_INTERRUPTED for _, flags, _ in answers):
            return [payload for _, _, payload in answers]


def attributes(data, offset):
    """{type: value} of the attributes that follow a header of `offset` bytes."""
    found = {}
    while offset + 4 <= len(data):
        length, kind = struct.unpack_from("=HH", data, offset)
        if length < 4:
            break
        found[kind & 0x3FFF] = data[offset + 4 : offset + length]
        offset += length + 3 & ~3
    return found


def text(value):
    """A NUL-terminated name."""
    return value.split(b"\0")[0].decode(errors="replace")


def number(value):
    """A host-order integer of the value's own width."""
    return int.from_bytes(value, "little" if struct.pack("=H", 1)[0] else "big")


def address(value):
    """IPv4 or IPv6 address as text."""
    return socket.inet_ntop(AF_INET if len(value) == 4 else AF_INET6, value)


def mac(value):
    """Link-layer address as text."""
    return ":".join(f"{byte:02x}" for byte in value)


def links():
    """{index: {name, kind, master, mtu, flags}} of the current namespace."""
    found = {}
    for payload in dump(GETLINK, struct.pack("=BxHiII", AF_UNSPEC, 0, 0, 0, 0)):
        index, flags = struct.unpack_from("=iI", payload, 4)
        known = attributes(payload, 16)
        info = attributes(known.get(18, b""), 0)
        found[index] = {"name": text(known[3]), "kind": text(info[1]) if 1 in info else "-", "mtu": number(known.get(4, b"")),
                        "master": number(known[10]) if 10 in known else 0, "flags": flags}
    return found


def addresses():
    """[(link index, address/length)] of the current namespace, without link-local and host-scope ones."""
    found = []
    for payload in dump(GETADDR, struct.pack("=BBBBI", AF_UNSPEC, 0, 0, 0, 0)):
        _, length, _, scope, index = struct.unpack_from("=BBBBI", payload)
        known = attributes(payload, 8)
        if scope not in (253, 254):
            found.append((index, f"{address(known.get(2) or known[1])}/{length}"))
    return found


def nft_generation():
    """The number that changes with every nftables transaction of this namespace; None where there is no nftables."""
    try:
        for _, _, payload in _exchange(NETFILTER, NFT_GETGEN, 0, b"\0\0\0\0"):
            return attributes(payload, 4).get(1)
    except OSError:
        pass
    return None
