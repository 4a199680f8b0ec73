"""What a node is given: a network configuration, and the files and programs it needs.

A scenario is a JSON object:
  about     one line for people
  conf      the network configuration the plugin reads on stdin; "@PORT@" becomes a host port of the pod's own
  files     {path: text} put on the node before the first call
  programs  {name: path of a program}: links in a directory that is on CNI_PATH
  port      the pod's port behind @PORT@, probed through the node
  expect    {interface: [network]} a pod must come out with
  skip      {case: reason}
A plain network configuration is a scenario without the rest."""
import copy
import json
import os
from dataclasses import dataclass, field

HERE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


@dataclass
class Scenario:
    """One line of the tests' table: see the module's text."""

    name: str
    conf: dict
    files: dict = field(default_factory=dict)
    programs: dict = field(default_factory=dict)
    port: int = 0
    expect: dict = field(default_factory=dict)
    skip: dict = field(default_factory=dict)

    def missing(self):
        """A program this machine does not have, or None."""
        return next((path for path in self.programs.values() if not os.path.exists(path)), None)

    def with_delegate(self, kind):
        """The configuration with a stand-in as its last delegate; None where there is no array of delegates."""
        conf = copy.deepcopy(self.conf)
        delegates = conf.get("delegates")
        if not isinstance(delegates, list) or not delegates:
            return None
        delegates.append({"cniVersion": delegates[0].get("cniVersion", conf.get("cniVersion", "0.3.1")), "name": "chaos", "type": f"chaos-{kind}"})
        return conf


def load(path):
    """Read a scenario, by path or by its name below confs/."""
    if not os.path.exists(path):
        path = os.path.join(HERE, "confs", path + ".json")
    with open(path, encoding="utf-8") as file:
        given = json.load(file)
    name = os.path.basename(path).removesuffix(".json")
    if "conf" not in given:
        return Scenario(name, given)
    given.pop("about", None)
    return Scenario(name, **given)


def names():
    """Every scenario below confs/."""
    return sorted(entry.removesuffix(".json") for entry in os.listdir(os.path.join(HERE, "confs")) if entry.endswith(".json"))
