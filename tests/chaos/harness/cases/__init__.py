"""The cases. Each runs on a node of its own, returns nothing, and says through `case.bad` what is wrong.

A module registers its cases with `@case(name, seconds)`; the seconds are its share when the budget is divided."""
import collections
import random
import time
from dataclasses import dataclass

from .. import processes

Registered = collections.namedtuple("Registered", "function seconds")
ALL = {}


class Skip(Exception):
    """The case does not apply to this plugin or configuration; the text says why."""


def case(name, seconds):
    """Register a case under its name with its share of the default budget."""
    def register(function):
        ALL[name] = Registered(function, seconds)
        return function

    return register


@dataclass
class Limits:
    """How much of everything."""

    rounds: int = 200
    pods: int = 200
    workers: int = 8
    hang_bound: float = 40.0


class Case:
    """One case under way: its node, its random numbers, its time, and what was found wrong."""

    def __init__(self, name, node, limits, seed, seconds):
        self.node, self.limits = node, limits
        self.random = random.Random(f"{seed}/{name}")
        self.end = time.monotonic() + seconds
        self.problems, self.figures, self.dirty = [], {}, 0

    def bad(self, what):
        """Note a fault; the case goes on."""
        self.problems.append(what)

    def time_over(self):
        """Is the case's share of the budget used up?"""
        return time.monotonic() > self.end

    def settle(self, pod, where, call, at_once=False):
        """After the one DEL: nothing of the pod is left. Otherwise that is noted, with whether a second DEL or the end of
        the namespace would have helped, and the node as it is becomes the reference, so that each round counts by itself."""
        node, faults = self.node, []
        if call.status:
            faults.append(f"DEL {call.why()}")
        if at_once:
            processes.quiet(5)
        faults += node.left_in_pod(pod) + node.changes()
        if not faults:
            node.drop(pod)
            return True
        self.dirty += 1
        self.bad(f"{where}: {first_of(faults)}")
        node.call("DEL", pod)
        if not node.left_in_pod(pod) and not node.changes(patience=0.2):
            self.count("a second DEL cleans")
        processes.end_strays()
        node.drop(pod)
        if node.changes(patience=0.3):
            self.count("left for ever")
        node.rebase()
        return False

    def fresh_pod_works(self, where):
        """A new pod attaches, works and goes without a trace."""
        pod, wrong = self.node.running_pod()
        if wrong:
            self.bad(f"{where}: a new pod fails: {wrong}")
        self.settle(pod, f"{where}, DEL of the new pod", self.node.call("DEL", pod))

    def count(self, what):
        """One more of `what` among the figures."""
        self.figures[what] = self.figures.get(what, 0) + 1

    def nothing_reserved(self):
        """No address keeps a reservation once all pods are gone."""
        left = self.node.reserved()
        self.figures["addresses_left"] = left
        if left:
            self.bad(f"{left} addresses stay reserved")


def first_of(faults):
    """The first of a list and how many follow."""
    return faults[0] + (f" (+{len(faults) - 1} more)" if len(faults) > 1 else "")


from . import basics, crash_points, delegates, disk, kills, load  # noqa: E402,F401  (each registers its cases)
