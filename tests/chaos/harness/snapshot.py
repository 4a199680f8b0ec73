"""The whole state of a node as a bag of text lines, so that "nothing is left" means two equal bags.

Looked at: links, global addresses, routes of all tables, rules, nexthop objects, permanent and proxy neighbours, static
and remote forwarding entries, the nftables ruleset (which holds what iptables-nft wrote) and legacy iptables, queueing
disciplines, files and directories below the state directories, mounts and stray processes.
Not looked at: link-local and multicast addresses and routes, learned neighbours, counters, handles, lock files, and the
cursor files of host-local, which are meant to stay."""
import collections
import fnmatch
import json
import os
import re
import struct
import subprocess
import time

from . import netlink, processes

IGNORED_FILES = ["lock", "*.lock", "*.sock", "last_reserved_ip.*", "/run/netns", "/run/netns/*", "/run/chaos", "/run/chaos/*"]
CONTAINER_ID = re.compile(rb"c4a05[0-9a-f]{27}")
MOST_TELLING = ["link", "file", "nft", "route", "process"]
PERMANENT, NOARP, PROXY, EXTERN_LEARN = 0x80, 0x40, 0x08, 0x10
ROUTE_TYPES = {1: "unicast", 2: "local", 3: "broadcast", 4: "anycast", 5: "multicast", 6: "blackhole", 7: "unreachable", 8: "prohibit"}


class Watcher:
    """Takes snapshots of the node this process lives on."""

    def __init__(self, roots, ignored=(), alive=lambda: (), keep=()):
        self.roots, self.ignored, self.alive = roots, IGNORED_FILES + list(ignored), alive
        self.keep = keep
        self.mounts = set(_mounts())
        self.ruleset = (None, [])

    def take(self):
        """Everything there is now."""
        links = netlink.links()
        names = {index: link["name"] for index, link in links.items()}
        bag = collections.Counter()
        for part in (_links(links, names), _addresses(names), _routes(names), _rules(), _nexthops(names), _neighbours(names), _forwarding(names),
                     _queueing(names), self._nft(), _legacy_iptables(), self._files(), self._new_mounts(), (f"process {name}" for name in processes.strays()[0])):
            bag.update(part)
        return bag

    def difference(self, reference, patience):
        """["+ appeared", "- missing"]; the kernel's own clean-up after a call gets `patience` seconds."""
        end = time.monotonic() + patience
        while True:
            now = self.take()
            changes = [f"+ {line}" for line in now - reference] + [f"- {line}" for line in reference - now]
            if not changes or time.monotonic() > end:
                return sorted(changes, key=_telling)
            time.sleep(0.02)

    def files(self):
        """(path, container ids it names that belong to no living pod) of every file and directory below the state directories."""
        for root in self.roots:
            for folder, folders, names in os.walk(root):
                for name in list(folders):
                    path = os.path.join(folder, name)
                    if path in self.roots or self._skipped(path, name):
                        folders.remove(name)
                    else:
                        yield path + "/", []
                for name in names:
                    path = os.path.join(folder, name)
                    if not self._skipped(path, name):
                        yield path, self._dead_ids(path)

    def _skipped(self, path, name):
        return any(fnmatch.fnmatch(path, glob) or fnmatch.fnmatch(name, glob) for glob in self.ignored)

    def _dead_ids(self, path):
        try:
            with open(path, "rb") as file:
                found = {match.decode() for match in CONTAINER_ID.findall(file.read(4 << 20) + path.encode())}
        except OSError:
            return []
        return sorted(found - set(self.alive()))

    def _files(self):
        for path, ids in self.files():
            yield f"file {path}" + "".join(f" (names {name[:12]})" for name in ids)
        for path in self.keep:
            with open(path, encoding="utf-8") as file:
                yield f"content of {path}: {file.read()}"

    def _new_mounts(self):
        return (f"mount {point} {kind}" for number, point, kind in _mounts() if (number, point, kind) not in self.mounts and not point.startswith("/run/netns"))

    def _nft(self):
        generation = netlink.nft_generation()
        if generation is None or generation != self.ruleset[0]:
            listing = subprocess.run(["nft", "-j", "list", "ruleset"], capture_output=True, text=True, check=False)
            try:
                items = json.loads(listing.stdout or "{}").get("nftables", [])
            except ValueError:
                items = [{"unreadable": listing.stdout[:200] + listing.stderr[:200]}]
            lines = ["nft " + json.dumps(_stable(item), sort_keys=True) for item in items if "metainfo" not in item]
            self.ruleset = (generation, lines)
        return self.ruleset[1]


def _telling(change):
    kind = change.split()[1]
    return (MOST_TELLING.index(kind) if kind in MOST_TELLING else len(MOST_TELLING), change)


def _stable(item):
    """An nft object without what changes by itself."""
    if isinstance(item, dict):
        return {key: _stable(value) for key, value in item.items() if key not in ("handle", "packets", "bytes", "index", "expires")}
    if isinstance(item, list):
        return [_stable(value) for value in item]
    return item


def _mounts():
    with open("/proc/self/mountinfo", encoding="utf-8") as table:
        for line in table:
            fields = line.split()
            yield fields[0], fields[4], line.split(" - ")[1].split()[0]


def _links(links, names):
    for link in links.values():
        state = "up" if link["flags"] & 1 else "down"
        yield f"link {link['name']} ({link['kind']}, master {names.get(link['master'], '-')}, mtu {link['mtu']}, {state})"


def _addresses(names):
    return (f"address {value} dev {names.get(index)}" for index, value in netlink.addresses())


def _routes(names):
    for family in (netlink.AF_INET, netlink.AF_INET6):
        for payload in netlink.dump(netlink.GETROUTE, struct.pack("=B11x", family)):
            _, length, _, _, table, _, _, kind, _ = struct.unpack_from("=BBBBBBBBI", payload)
            known = netlink.attributes(payload, 12)
            target = f"{netlink.address(known[1])}/{length}" if 1 in known else "default"
            if kind in (4, 5) or target.startswith(("fe80:", "ff")):
                continue
            parts = [ROUTE_TYPES.get(kind, str(kind)), target]
            parts += [f"{word} {show(known[key])}" for key, word, show in (
                (5, "via", netlink.address), (4, "dev", lambda value: names.get(netlink.number(value))), (6, "metric", netlink.number),
                (7, "src", netlink.address), (30, "nexthop", netlink.number), (9, "multipath", bytes.hex)) if key in known]
            parts.append(f"table {netlink.number(known[15]) if 15 in known else table}")
            yield "route " + " ".join(str(part) for part in parts)


def _rules():
    for family in (netlink.AF_INET, netlink.AF_INET6):
        for payload in netlink.dump(netlink.GETRULE, struct.pack("=B11x", family)):
            known = netlink.attributes(payload, 12)
            priority = netlink.number(known.pop(6, b"\0"))
            rest = " ".join(f"{kind}={value.hex()}" for kind, value in sorted(known.items()))
            yield f"rule {priority}: {payload[:8].hex()} {rest}"


def _nexthops(names):
    try:
        payloads = netlink.dump(netlink.GETNEXTHOP, struct.pack("=BBBxI", 0, 0, 0, 0))
    except OSError:
        return
    for payload in payloads:
        known = netlink.attributes(payload, 8)
        gateway = netlink.address(known[6]) if 6 in known else "-"
        yield f"nexthop {netlink.number(known[1])} via {gateway} dev {names.get(netlink.number(known.get(5, b'')))}"


def _neighbour_dump(family):
    for payload in netlink.dump(netlink.GETNEIGH, struct.pack("=BxxxiHBB", family, 0, 0, 0, 0)):
        _, index, state, flags, _ = struct.unpack_from("=BxxxiHBB", payload)
        yield index, state, flags, netlink.attributes(payload, 12)


def _neighbours(names):
    for family in (netlink.AF_INET, netlink.AF_INET6):
        for index, state, flags, known in _neighbour_dump(family):
            target = netlink.address(known[1]) if 1 in known else ""
            if (state & PERMANENT or flags & PROXY) and not target.startswith("ff"):
                yield f"neighbour {target} {netlink.mac(known.get(2, b''))} dev {names.get(index)}"


def _forwarding(names):
    for index, state, flags, known in _neighbour_dump(netlink.AF_BRIDGE):
        hardware = netlink.mac(known.get(2, b""))
        if hardware.startswith(("33:33", "01:00:5e", "01:80:c2")):
            continue
        if 1 in known or state & NOARP or flags & EXTERN_LEARN:
            remote = netlink.address(known[1]) if 1 in known else "-"
            yield f"fdb {hardware} dev {names.get(index)} dst {remote} vlan {netlink.number(known.get(5, b''))}"


def _queueing(names):
    for payload in netlink.dump(netlink.GETQDISC, struct.pack("=BxxxiIII", netlink.AF_UNSPEC, 0, 0, 0, 0)):
        index, handle = struct.unpack_from("=iI", payload, 4)
        if handle:
            yield f"qdisc {netlink.text(netlink.attributes(payload, 20).get(1, b''))} {handle >> 16:x}: dev {names.get(index)}"


def _legacy_iptables():
    for names, program in (("/proc/net/ip_tables_names", "iptables-legacy-save"), ("/proc/net/ip6_tables_names", "ip6tables-legacy-save")):
        try:
            with open(names, encoding="utf-8") as tables:
                if not tables.read().strip():
                    continue
            listing = subprocess.run([program], capture_output=True, text=True, check=False).stdout
        except OSError:
            continue
        table = ""
        for line in listing.splitlines():
            if line.startswith("*"):
                table = line
            elif line[:1] in (":", "-"):
                yield f"{program} {table} " + re.sub(r" ?\[[0-9]+:[0-9]+\]", "", line)
