#!/usr/bin/env python3
"""The harness tested: a plugin that does everything right passes, one that does nothing fails, and one that leaks is found.

Run as root; exit status 0 when the harness can be trusted."""
import contextlib
import io
import os
import sys
import tempfile

sys.dont_write_bytecode = True

import run  # noqa: E402

CONF = os.path.join(run.HERE, "controls", "plain.json")
GOOD = os.path.join(run.HERE, "controls", "good-plugin")
RECORD = '"$state/$id" || { undo; fail "cannot write $state/$id: read-only or full"; }'
# What is wrong with a plugin, the changes to the good one that make it so, and the case that must find it.
LEAKS = [
    ("keeps the address of a deleted pod", {'rm -f "$state/$id"': ":"}, "baseline"),
    ("keeps the link of a deleted pod", {'ip link del "$host" 2> /dev/null': ":"}, "baseline"),
    ("destroys a running pod on a second ADD", {'&& fail "already attached"': '&& { undo; fail "already attached"; }'}, "double-add"),
    ("gives one address twice", {"number=2": "number=2; return"}, "parallel"),
    ("hides a full disk", {RECORD: '"$state/$id"', "(mkdir -p $state && : >> $state/lock) 2> /dev/null || fail": "(mkdir -p $state && : >> $state/lock) || true"}, "disk-full"),
    ("undoes only what a record written last says", {"DEL) undo": 'DEL) [ -e "$state/$id.done" ] && undo; rm -f "$state/$id.done"',
                                                    "    printf '{\"cniVersion\":\"1.0.0\",\"interfaces\"": "    : > \"$state/$id.done\"\n    printf '{\"cniVersion\":\"1.0.0\",\"interfaces\""}, "strace-kill"),
    ("lets DEL run while a killed ADD's children work", {"flock 9": ":", "    attach ||": "    (sleep 0.1; attach) ||"}, "kill9-at-once"),
]


def verdict(*arguments):
    """Run the harness; (exit status, its output)."""
    text = io.StringIO()
    with contextlib.redirect_stdout(text):
        status = run.main(["--conf", CONF, *arguments])
    return status, text.getvalue()


def main():
    """Print a line for every control; 1 when the harness errs."""
    verdicts = []

    def check(name, right, output):
        verdicts.append(right)
        print(f"{'ok' if right else 'WRONG'}: {name}" + ("" if right else f"\n{output}"), flush=True)

    status, output = verdict("--plugin", GOOD, "--budget", "40", "--pods", "40", "--rounds", "60")
    check("the good plugin passes every case", status == 0 and " 0 failed" in output, output)
    status, output = verdict("--plugin", "/bin/true", "--only", "baseline")
    check("a plugin that does nothing fails", status == 1 and "baseline FAIL" in output, output)
    with open(GOOD, encoding="utf-8") as file:
        good = file.read()
    for name, changes, case in LEAKS:
        changed = good
        for line, leaky in changes.items():
            assert line in good, f"controls/good-plugin has changed: {line}"
            changed = changed.replace(line, leaky)
        with tempfile.NamedTemporaryFile("w", prefix="control-", delete=False) as program:
            program.write(changed)
        os.chmod(program.name, 0o755)
        try:
            status, output = verdict("--plugin", program.name, "--only", case, "--budget", "20", "--pods", "20", "--rounds", "40")
        finally:
            os.unlink(program.name)
        check(f"a plugin that {name} fails {case}", status == 1 and f"{case} FAIL" in output, output)
    print(f"{verdicts.count(True)} passed, {verdicts.count(False)} failed, 0 skipped")
    return 0 if all(verdicts) else 1


if __name__ == "__main__":
    sys.exit(main())
