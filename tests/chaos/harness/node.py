"""One private node: its pods, the plugin calls made for them, and the reference its state is compared with.

The process that uses this module already lives in network, mount and pid namespaces of its own (see run.py)."""
import ipaddress
import os
import re
import socket
import struct
import subprocess
import time
import uuid

from . import kernel, netlink
from .call import Call
from .scenario import HERE
from .snapshot import CONTAINER_ID, Watcher

STATE = ["/run", "/var/lib/cni", "/var/lib/plexus"]
PROGRAMS = "/run/chaos/bin"
SETUP = """
link add keep0 type veth peer name keep1
link set keep0 up
addr add 198.51.100.1/31 dev keep0
route add blackhole 203.0.113.0/24
rule add from 203.0.113.9 lookup 99 pref 999
"""
NODE_ADDRESS, FIRST_PORT = "198.51.100.1", 20000
RESERVATION = "/var/lib/cni/networks/keep/203.0.113.5"


class Pod:
    """A sandbox: its namespace exists from the start, its interfaces come with ADD."""

    def __init__(self, conf, port):
        self.id = "c4a05" + uuid.uuid4().hex[:27]
        self.name, self.netns, self.conf, self.port = f"pod-{self.id[5:13]}", f"/run/netns/{self.id}", conf, port
        self.result, self.alive = None, False

    def addresses(self):
        """The addresses the result promises, in the form of any CNI version."""
        result = self.result or {}
        found = [entry["address"] for entry in result.get("ips") or [] if "address" in entry]
        return found + [result[key]["ip"] for key in ("ip4", "ip6") if isinstance(result.get(key), dict) and "ip" in result[key]]


class Node:
    """The node and the plugin under test."""

    def __init__(self, plugin, scenario, bin_dirs, environment, ignored):
        self.plugin, self.scenario, self.extra = plugin, scenario, environment
        self.path = ":".join([PROGRAMS, *bin_dirs, os.path.join(HERE, "standins")])
        self.pods, self.given, self.ports = {}, {}, 0
        self.add_seconds = self.del_seconds = 0.1
        self.expect = self.reference = self.before = None
        self.touched = []
        self._prepare()
        self.watcher = Watcher(STATE, ignored, lambda: [pod.id for pod in self.pods.values() if pod.alive], [RESERVATION])

    # --- the node itself

    def _prepare(self):
        kernel.mount("chaos", "/var/lib", "tmpfs")
        for folder in STATE:
            os.makedirs(folder, exist_ok=True)
            kernel.mount("chaos", folder, "tmpfs", 0, "mode=755,size=64m,nr_inodes=100000")
        for folder in ("/run/netns", PROGRAMS, os.path.dirname(RESERVATION)):
            os.makedirs(folder)
        for name, program in self.scenario.programs.items():
            os.symlink(program, os.path.join(PROGRAMS, name))
        for path, text in {**self.scenario.files, RESERVATION: "keep"}.items():
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "w", encoding="utf-8") as file:
                file.write(text)
        kernel.link_up("lo")
        with open("/proc/sys/net/ipv4/ip_forward", "w", encoding="utf-8") as switch:
            switch.write("1")
        # things of others, which no call may touch
        run(["ip", "-batch", "-"], SETUP)
        run(["nft", "-f", "-"], "table inet keep {\nchain c {\nip saddr 203.0.113.7 drop\n}\n}\n")
        kernel.make_namespace("/run/netns/fresh")
        self.plain = {link["name"] for link in kernel.in_namespace("/run/netns/fresh", netlink.links).values()}
        kernel.remove_namespace("/run/netns/fresh")

    # --- pods

    def pod(self, conf=None):
        """A new sandbox."""
        self.ports += 1
        pod = Pod(conf or self.scenario.conf, FIRST_PORT + self.ports if self.scenario.port else 0)
        kernel.make_namespace(pod.netns)
        self.pods[pod.id] = pod
        return pod

    def drop(self, pod):
        """The end of a sandbox, as the runtime does it after DEL."""
        kernel.remove_namespace(pod.netns)
        self.pods.pop(pod.id, None)

    def links(self, pod):
        """{interface: [addresses]} the pod has beyond what every fresh namespace has."""
        if not os.path.exists(pod.netns):
            return {}

        def look():
            names = {index: link["name"] for index, link in netlink.links().items()}
            found = {name: [] for name in names.values() if name not in self.plain}
            for index, address in netlink.addresses():
                if names.get(index) in found:
                    found[names[index]].append(address)
            return {name: sorted(addresses) for name, addresses in found.items()}

        return kernel.in_namespace(pod.netns, look)

    # --- calls

    def environment(self, command, pod, netns=None):
        """What the runtime puts in the environment."""
        known = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "CNI_COMMAND": command, "CNI_CONTAINERID": pod.id,
                 "CNI_NETNS": pod.netns if netns is None else netns, "CNI_IFNAME": "eth0", "CNI_PATH": self.path,
                 "CNI_ARGS": f"IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME={pod.name};K8S_POD_INFRA_CONTAINER_ID={pod.id};K8S_POD_UID={pod.id}"}
        known.update({key: value.replace("{id}", pod.id).replace("{name}", pod.name) for key, value in self.extra.items()})
        return known

    def conf(self, command, pod):
        """The configuration on stdin; DEL carries prevResult as from the runtime's cache."""
        conf = _with_port(pod.conf, pod.port)
        version = tuple(int(part) for part in conf.get("cniVersion", "0.1.0").split("."))
        if command == "DEL" and pod.result and version >= (0, 4, 0):
            conf = {**conf, "prevResult": pod.result}
        return conf

    def start(self, command, pod, netns=None):
        """Begin a call."""
        return Call(self.plugin, self.environment(command, pod, netns), self.conf(command, pod))

    def call(self, command, pod, netns=None, limit=60):
        """A whole call."""
        call = self.start(command, pod, netns).finish(limit)
        self.note(command, pod, call.status, call.answer())
        return call

    def note(self, command, pod, status, answer):
        """What the runtime knows of the pod after a call."""
        pod.alive = (pod.alive or status == 0) if command == "ADD" else pod.alive and status != 0
        if command == "ADD" and status == 0 and answer:
            pod.result = answer
            self.given.update({address.split("/")[0]: pod.id for address in pod.addresses()})

    # --- is a running pod all right?

    def fault(self, pod, reach=True):
        """What is wrong with a running pod, or None."""
        links = self.links(pod)
        if self.expect is not None and set(links) != set(self.expect):
            return f"pod has {sorted(links) or 'no interface'}, not {sorted(self.expect)}"
        if not links.get("eth0"):
            return "no interface eth0 with an address in the pod"
        present = {address.split("/")[0] for addresses in links.values() for address in addresses}
        for address in pod.addresses():
            if address.split("/")[0] not in present:
                return f"address {address} of the result is not in the pod"
        for name, networks in (self.expect or {}).items():
            seen = {str(ipaddress.ip_interface(address).network) for address in links[name]}
            if seen != set(networks):
                return f"{name} has networks {sorted(seen)}, not {sorted(networks)}"
        return (self._unreachable(pod, links) or self._closed_port(pod)) if reach else None

    def _unreachable(self, pod, links):
        here = [address.split("/")[0] for _, address in netlink.addresses()]
        for name, addresses in links.items():
            for interface in map(ipaddress.ip_interface, addresses):
                for gateway in here:
                    if interface.version == 4 and ipaddress.ip_address(gateway) in interface.network and gateway != str(interface.ip):
                        if not kernel.in_namespace(pod.netns, lambda to=gateway, through=name: echo(to, through)):
                            return f"{name}: gateway {gateway} does not answer"
        return None

    def _closed_port(self, pod):
        if not pod.port:
            return None
        with kernel.in_namespace(pod.netns, lambda: socket.create_server(("0.0.0.0", self.scenario.port))) as server:
            server.settimeout(3)
            try:
                with socket.create_connection((NODE_ADDRESS, pod.port), timeout=3):
                    server.accept()[0].close()
            except OSError as error:
                return f"host port {pod.port} does not lead to the pod's {self.scenario.port}: {error}"
        return None

    def running_pod(self, reach=True):
        """A new pod and what is wrong with it, or None."""
        pod = self.pod()
        call = self.call("ADD", pod)
        if call.status:
            return pod, f"ADD {call.why()}"
        return pod, self.fault(pod, reach) if call.answer() else "ADD prints no JSON result"

    # --- comparing

    def changes(self, reference=None, patience=0.6):
        """What differs from the reference (or from another snapshot)."""
        return self.watcher.difference(self.reference if reference is None else reference, patience)

    def rebase(self):
        """The node as it is becomes the reference."""
        self.reference = self.watcher.take()

    def left_in_pod(self, pod):
        """Interfaces that a DEL should have taken."""
        return [f"+ pod interface {name} {' '.join(addresses)}".rstrip() for name, addresses in self.links(pod).items()]

    def reserved(self):
        """How many addresses have a file of their own below the state directories."""
        return sum(1 for path, _ in self.watcher.files() if path != RESERVATION and _is_address(os.path.basename(path)))

    # --- the first use

    def learn(self):
        """Three ADD/DEL pairs teach what the first use creates and how long calls take; a problem or None."""
        self.before = self.watcher.take()
        adds, dels = [], []
        for turn in range(3):
            pod = self.pod()
            call = self.call("ADD", pod)
            if call.status or not call.answer():
                return f"first ADD: {call.why() if call.status else 'no JSON result'}"
            if turn == 0:
                self.expect = self.scenario.expect or None
            wrong = self.fault(pod, reach=turn == 0)
            if wrong:
                return f"first ADD: {wrong}"
            if turn == 0:
                self.expect = {name: [str(ipaddress.ip_interface(address).network) for address in addresses] for name, addresses in self.links(pod).items()}
                self.touched = [root for root in STATE if any(self._new_file_in(root, line) for line in self.watcher.take() - self.before)]
            adds.append(call.seconds)
            call = self.call("DEL", pod)
            if call.status:
                return f"first DEL: {call.why()}"
            if self.left_in_pod(pod):
                return f"first DEL leaves: {self.left_in_pod(pod)[0]}"
            dels.append(call.seconds)
            self.drop(pod)
            if turn == 0:
                time.sleep(0.05)
                self.rebase()
        self.add_seconds, self.del_seconds = max(min(adds[1:]), 0.001), max(min(dels[1:]), 0.001)
        return None

    @staticmethod
    def _new_file_in(root, line):
        return line.startswith(f"file {root}/") and not line.split(" ")[1].endswith("/")

    def first_use_faults(self):
        """What the first pair left and may not leave.

        Allowed are a bridge with its addresses, routes and rules, and an nftables object, file or directory that holds
        neither the container's id nor the pod's address."""
        new = self.reference - self.before
        bridges = {line.split()[1] for line in new if line.startswith("link ") and "(bridge," in line}
        faults = [f"- {line}" for line in self.before - self.reference]
        for line in new:
            kind = line.split()[0]
            of_pod = " (names " in line or CONTAINER_ID.search(line.encode()) or any(re.search(rf"(?<![\d.]){re.escape(address)}(?![\d.])", line) for address in self.given)
            of_bridge = (kind == "link" and line.split()[1] in bridges) or (kind in ("address", "route", "rule") and any(f"dev {bridge}" in line for bridge in bridges))
            shared = kind in ("nft", "iptables-legacy-save", "ip6tables-legacy-save", "file") and not of_pod
            if not of_bridge and not shared:
                faults.append(f"+ {line}")
        return sorted(faults)


def run(argv, text=""):
    """A tool of the system, which must succeed."""
    done = subprocess.run(argv, input=text, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(argv)}: {done.stderr.strip()}")


def echo(target, interface):
    """Does `target` answer an ICMP echo sent through `interface` of the current namespace? Four tries of half a second."""
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, interface.encode())
        for turn in range(4):
            request = struct.pack(">BBHHH", 8, 0, 0, 0xC4A0, turn)
            words = struct.unpack(">4H", request)
            total = sum(words)
            checksum = ~(total + (total >> 16)) & 0xFFFF
            end = time.monotonic() + 0.5
            try:
                probe.sendto(struct.pack(">BBHHH", 8, 0, checksum, 0xC4A0, turn), (target, 0))
                while time.monotonic() < end:
                    probe.settimeout(max(0.01, end - time.monotonic()))
                    packet, sender = probe.recvfrom(2048)
                    if sender[0] == target and packet[20] == 0 and packet[24:26] == b"\xc4\xa0":
                        return True
            except OSError:
                time.sleep(max(0.0, min(0.1, end - time.monotonic())))
    return False


def _with_port(conf, port):
    """`conf` with every "@PORT@" replaced by the number."""
    if isinstance(conf, dict):
        return {key: _with_port(value, port) for key, value in conf.items()}
    if isinstance(conf, list):
        return [_with_port(value, port) for value in conf]
    return port if conf == "@PORT@" else conf


def _is_address(name):
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
