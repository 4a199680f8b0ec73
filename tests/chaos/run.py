#!/usr/bin/env python3
"""Crash safety and load of a CNI plugin, seen from outside. Needs root; README.md beside this file says what is checked."""
import argparse
import json
import os
import select
import signal
import sys
import time
import traceback

HERE = os.path.dirname(os.path.abspath(__file__))
REPOSITORY = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, HERE)
sys.dont_write_bytecode = True

from harness import cases, kernel, scenario  # noqa: E402  (needs the path above)
from harness.node import Node  # noqa: E402

FIGURES_SHOWN = ("add_ms", "del_ms", "rounds", "dirty", "calls", "points, all", "points, caller", "tried", "add_per_s", "del_per_s", "addresses_left")
GRACE = 60  # seconds a case may take beyond its share before it counts as hung


def options(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--plugin", default=os.path.join(REPOSITORY, "bin", "plexus"), help="the plugin under test (default: bin/plexus)")
    add("--conf", action="append", default=[], help="scenario file, network configuration, or a name below confs/ (default: all of these)")
    add("--bin-dir", action="append", default=[], metavar="DIR", help="a further directory for CNI_PATH")
    add("--env", action="append", default=[], metavar="KEY=VALUE", help="for every call; {id} and {name} are the pod's")
    add("--ignore", action="append", default=[], metavar="GLOB", help="state files not looked at")
    add("--only", action="append", default=[], metavar="CASE", help=f"one of: {' '.join(cases.ALL)}")
    add("--budget", type=float, default=330, help="seconds for the whole run; rounds end early (default: %(default)s)")
    add("--jobs", type=int, default=os.cpu_count() or 1, help="nodes at a time (default: one for each processor)")
    add("--seed", type=int, default=1, help="for the random moments (default: %(default)s)")
    add("--rounds", type=int, default=cases.Limits.rounds)
    add("--pods", type=int, default=cases.Limits.pods)
    add("--workers", type=int, default=cases.Limits.workers)
    add("--hang-bound", type=float, default=cases.Limits.hang_bound, help="seconds within which a broken delegate must give an error (default: %(default)s)")
    add("--json", metavar="FILE", help="write results and figures there")
    add("--verbose", action="store_true", help="print every problem and figure")
    given = parser.parse_args(arguments)
    unknown = [name for name in given.only if name not in cases.ALL]
    if unknown:
        parser.error(f"unknown case {unknown[0]}; there are: {' '.join(cases.ALL)}")
    return given


def run_case(given, setting, name, seconds):
    """In the case's own namespaces: the result as a dictionary."""
    began = time.monotonic()
    result = {"status": "PASS", "problems": [], "figures": {}}
    try:
        environment = dict(entry.split("=", 1) for entry in given.env)
        node = Node(os.path.abspath(given.plugin), setting, [os.path.abspath(folder) for folder in given.bin_dir], environment, given.ignore)
        wrong = node.learn()
        if wrong:
            result.update(status="FAIL", problems=[wrong])
        else:
            limits = cases.Limits(given.rounds, given.pods, given.workers, given.hang_bound)
            case = cases.Case(name, node, limits, given.seed, seconds)
            cases.ALL[name].function(case)
            result.update(status="FAIL" if case.problems else "PASS", problems=case.problems, figures=case.figures)
    except cases.Skip as reason:
        result.update(status="SKIP", problems=[str(reason)])
    except Exception as error:  # a fault of the harness is a failure of the case, never a pass
        traceback.print_exc(limit=-3)
        result.update(status="FAIL", problems=[f"harness: {type(error).__name__}: {error}"])
    result["seconds"] = round(time.monotonic() - began, 1)
    return result


class Child:
    """A case in its node: fresh net, mount and pid namespaces below two processes, the second of which is the node's init."""

    def __init__(self, given, setting, name, seconds):
        self.setting, self.name = setting, name
        self.deadline = time.monotonic() + seconds * 1.5 + GRACE
        self.pipe, writing = os.pipe()
        sys.stdout.flush()
        self.pid = os.fork()
        if self.pid == 0:
            status = 1
            try:
                os.close(self.pipe)
                status = _node_parent(given, setting, name, seconds, writing)
            finally:
                os._exit(status)
        os.close(writing)
        self.text = b""

    def read(self):
        """Take what the case has written; True at its end."""
        part = os.read(self.pipe, 1 << 16)
        self.text += part
        return not part

    def result(self):
        """Reap the node and say how the case went."""
        os.close(self.pipe)
        if time.monotonic() > self.deadline:
            os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        try:
            return json.loads(self.text)
        except ValueError:
            return {"status": "FAIL", "problems": ["the case did not end in time or died"], "figures": {}}


def _node_parent(given, setting, name, seconds, writing):
    kernel.die_with_parent(signal.SIGKILL)
    kernel.unshare(kernel.CLONE_NEWNS | kernel.CLONE_NEWNET | kernel.CLONE_NEWPID)
    kernel.mount("none", "/", "", kernel.MS_REC | kernel.MS_PRIVATE)
    init = os.fork()
    if init:
        return os.waitstatus_to_exitcode(os.waitpid(init, 0)[1]) & 255
    kernel.die_with_parent(signal.SIGKILL)
    kernel.mount("proc", "/proc", "proc")
    kernel.mount("sysfs", "/sys", "sysfs")
    worker = os.fork()
    if worker == 0:
        result = run_case(given, setting, name, seconds)
        with os.fdopen(writing, "w") as pipe:
            json.dump(result, pipe)
        os._exit(0)
    os.close(writing)
    while os.wait()[0] != worker:  # init reaps what the plugin leaves behind
        pass
    os._exit(0)


def run_all(given, work, report):
    """Run every (scenario, case, seconds), `--jobs` at a time; `report` gets each result."""
    waiting, running = list(work), []
    while waiting or running:
        while waiting and len(running) < given.jobs:
            running.append(Child(given, *waiting.pop(0)))
        timeout = max(0.0, min(child.deadline for child in running) - time.monotonic())
        ready = select.select([child.pipe for child in running], [], [], timeout)[0]
        for child in list(running):
            if (child.pipe in ready and child.read()) or time.monotonic() > child.deadline:
                running.remove(child)
                report(child.setting, child.name, child.result())


def plan(given):
    """What to run, as (scenario, case, seconds), and what is skipped, as (scenario, case, reason)."""
    work, skipped = [], []
    for setting in [scenario.load(entry) for entry in given.conf or scenario.names()]:
        for name in given.only or cases.ALL:
            missing = setting.missing()
            reason = f"{missing} is not installed" if missing else setting.skip.get(name)
            if reason:
                skipped.append((setting, name, reason))
            else:
                work.append((setting, name, cases.ALL[name].seconds))
    scale = given.budget * given.jobs / max(1.0, sum(seconds for _, _, seconds in work))
    return [(setting, name, seconds * scale) for setting, name, seconds in work], skipped


def main(arguments=None):
    given = options(arguments)
    results, counts = {}, {"PASS": 0, "FAIL": 0, "SKIP": 0}

    def report(setting, name, result):
        results[f"{setting.name}/{name}"] = result
        counts[result["status"]] += 1
        problems, figures = result["problems"], result.get("figures", {})
        shown = " ".join(f"{key}={value}" for key, value in figures.items() if given.verbose or key in FIGURES_SHOWN)
        first = f" [{problems[0]}" + (f"; {len(problems) - 1} further" if len(problems) > 1 else "") + "]" if problems else ""
        print(f"{setting.name} {name} {result['status']}{first}" + (f" ({shown})" if shown else ""), flush=True)
        if given.verbose:
            for problem in problems[1:]:
                print(f"    {problem}", flush=True)

    began = time.monotonic()
    work, skipped = plan(given)
    for setting, name, reason in skipped:
        report(setting, name, {"status": "SKIP", "problems": [reason]})
    run_all(given, work, report)
    print(f"{counts['PASS']} passed, {counts['FAIL']} failed, {counts['SKIP']} skipped")
    if given.json:
        with open(given.json, "w", encoding="utf-8") as file:
            json.dump({"plugin": given.plugin, "seed": given.seed, "seconds": round(time.monotonic() - began, 1), "cases": results}, file, indent=1)
    return 0 if counts["PASS"] and not counts["FAIL"] else 1


if __name__ == "__main__":
    sys.exit(main())
