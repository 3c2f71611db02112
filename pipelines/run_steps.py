"""The steps of a run under the names users know, from its Argo workflow.

The API's own list of tasks names every node of the workflow (`root`, `iteration-item`, drivers) and names neither
which iteration one is of nor why it failed. The names are those of `backend/src/v2/compiler/argocompiler/dag.go` of
Kubeflow Pipelines 2.15 to 2.17: a step is a DAG of the template `system-container-executor`, in which `executor` is
the pod, or skipped if the step is reused; a loop has a node `iteration-iterations(<index>:<index>)` per iteration.
"""

import base64
import gzip
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bss.config import Config
from bss.config.combinations import PLAIN, Combination, combinations_of

Node = dict[str, Any]

STEP = "system-container-executor"
DRIVER = "-driver"
ITERATION = re.compile(r"\.iteration-iterations\((\d+):")
ATTEMPT = re.compile(r"\((\d+)\)$")
RETRIED = "failed, will be tried again"
"""State of a step between two tries."""
STATES = {"Omitted": "skipped", "Error": "failed"}
"""Argo's words that have another one here; all others are written small."""
UNKNOWN = ("skipped", "omitted", "")
BEGINNING = ("PodInitializing", "ContainerCreating")
"""Reasons why every pod is pending for a moment."""
SHOWN_TRIALS = 3
"""Trainings of one pod that are named; more are counted."""


@dataclass(frozen=True)
class Step:
    """One step, or one iteration of it."""

    path: str
    """Name of its node, which no other has."""
    label: str
    """Such as `train bss-l seed 0`."""
    state: str
    """pending, running, succeeded, reused, failed, or `RETRIED`, with the number of the try after the first."""
    reason: str = ""
    """Why a pod is pending or a try has failed, such as `Unschedulable: 0/3 nodes are available`."""

    @property
    def look(self) -> str:
        """What is a change of the step when it changes: not the numbers in a reason."""
        return f"{self.state} {self.reason.partition(':')[0]}"


@dataclass(frozen=True)
class Failure:
    """A pod that ended a step."""

    label: str
    error: str
    """What Argo says of the pod, such as `OOMKilled (exit code 137)`."""
    log: str
    """Command that shows the pod's log."""


@dataclass(frozen=True)
class Workflow:
    """What is read of an Argo workflow."""

    name: str
    namespace: str
    nodes: Mapping[str, Node]
    """Nodes by their name, which is their way from the root with dots in between."""


def read_workflow(manifest: str) -> Workflow | None:
    """Return the workflow in the JSON `manifest`; None if it names no nodes."""
    try:
        tree = json.loads(manifest)
        status = tree.get("status") or {}
        nodes = status.get("nodes")
        if not nodes and status.get("compressedNodes"):  # Argo packs those of a large workflow
            nodes = json.loads(gzip.decompress(base64.b64decode(status["compressedNodes"])))
        if not nodes:
            return None
        meta = tree["metadata"]
        return Workflow(meta["name"], meta.get("namespace", ""), {node["name"]: node for node in nodes.values()})
    except (ValueError, KeyError, TypeError, AttributeError, OSError):
        return None


def iterations(config: Config) -> dict[str, list[str]]:
    """Return a label of each iteration of a loop, in the order in which the pipeline fans out."""
    trials = [f"{row.name} seed {seed}" for seed in config.seeds for row in combinations_of(config)]
    return {"measure": [f"seed {seed}" for seed in config.seeds], "train": trials}


def find_steps(workflow: Workflow, names: Mapping[str, Sequence[str]]) -> list[Step]:
    """Return the steps that have begun, in the order in which they did; `names` is what `iterations` returned."""
    found = []
    for node in sorted(_step_nodes(workflow), key=lambda node: (node.get("startedAt") or "", node["name"])):
        state = _state(workflow, node)
        if state not in UNKNOWN:
            explained = state.startswith(("pending", RETRIED))
            reason = _one_line(_newest_pod(workflow, node).get("message")) if explained else ""
            reason = "" if reason in BEGINNING else reason
            found.append(Step(node["name"], _label(workflow, node["name"], names), state, reason))
    return found


def find_failures(workflow: Workflow, names: Mapping[str, Sequence[str]]) -> list[Failure]:
    """Return the pods that failed for good, the first first: the last try of each step, and drivers."""
    last: dict[str, Node] = {}
    for name, node in workflow.nodes.items():
        if node.get("type") == "Pod" and node.get("phase") in ("Failed", "Error"):
            retried = ATTEMPT.sub("", name)
            if workflow.nodes.get(retried, node).get("phase") not in ("Failed", "Error"):
                continue  # another try succeeded, or is on its way
            if retried not in last or _attempt(name) > _attempt(last[retried]["name"]):
                last[retried] = node
    nodes = sorted(last.items(), key=lambda item: item[1].get("finishedAt") or "")
    return [
        Failure(
            _label(workflow, retried.removesuffix(".executor").removesuffix(DRIVER), names),
            _one_line(node.get("message")) or node["phase"],
            f"kubectl logs -n {workflow.namespace} {_pod_name(workflow, node)} -c main",
        )
        for retried, node in nodes
    ]


def _step_nodes(workflow: Workflow) -> Iterator[Node]:
    for node in workflow.nodes.values():
        if node.get("type") == "DAG" and str(node.get("templateName")).endswith(STEP):
            yield node


def _state(workflow: Workflow, step: Node) -> str:
    """Return the state of a step; that of its pod, as long as that one has not ended."""
    newest = _newest_pod(workflow, step)
    phase = str(step.get("phase") or "")
    if phase == "Succeeded" and newest.get("type") == "Skipped":
        return "reused"
    if phase in ("Pending", "Running"):
        phase = str(newest.get("phase") or "Pending")
        phase = RETRIED if phase in ("Failed", "Error") else "Running" if phase == "Succeeded" else phase
    attempt = _attempt(newest["name"]) if newest else 0
    return STATES.get(phase, phase.lower()) + (f", try {attempt + 1}" if attempt else "")


def _newest_pod(workflow: Workflow, step: Node) -> Node:
    """Return the node of a step's last try, or its substitute; empty before the first."""
    executor = f"{step['name']}.executor"
    tries = [node for name, node in workflow.nodes.items() if name.startswith(f"{executor}(")]
    return max(tries, key=lambda node: _attempt(node["name"]), default=workflow.nodes.get(executor, {}))


def _one_line(text: Any) -> str:
    return " ".join(str(text or "").split())


def _attempt(name: str) -> int:
    found = ATTEMPT.search(name)
    return int(found.group(1)) if found else 0


def _label(workflow: Workflow, path: str, names: Mapping[str, Sequence[str]]) -> str:
    """Return the name of the step at `path`, with what its iteration is for."""
    step = path.rpartition(".")[2]
    found = list(ITERATION.finditer(path))
    if not found:
        return step
    index = int(found[-1].group(1))
    driver = workflow.nodes.get(f"{path[: found[-1].start()]}.iteration-driver", {})
    count = _parameter(driver.get("outputs"), "iteration-count")
    known = names.get(step, ())
    what = _purpose(_inputs(workflow.nodes.get(path, {})))
    if not what and count == str(len(known)) and index < len(known):
        what = known[index]
    return f"{step} {what or f'{index + 1} of {count}' if count else index + 1}"


def _parameter(holder: Any, name: str) -> str:
    """Return a parameter of a node's inputs or outputs; "" if it has none of this name."""
    given = (holder or {}).get("parameters") or []
    return next((str(one.get("value") or "") for one in given if one.get("name") == name), "")


def _inputs(step: Node) -> dict[str, Any]:
    """Return the values that a step was started with, from the command of its pod; reused ones have no pod."""
    patch = _parameter(step.get("inputs"), "pod-spec-patch")
    try:
        container = json.loads(patch)["containers"][0]
        words = [*container.get("command", []), *container.get("args", [])]
        given = json.loads(words[words.index("--executor_input") + 1])
        return dict(given["inputs"]["parameterValues"])
    except (ValueError, KeyError, IndexError, TypeError):
        return {}


def _purpose(inputs: Mapping[str, Any]) -> str:
    """Return what a step with these values is for: its trials, its seed or its shard."""
    if "shards" in inputs and "shard" in inputs:
        return f"shard {int(inputs['shard']) + 1} of {int(inputs['shards'])}"
    trials = [one for one in (inputs, *_tables(inputs)) if "scheduler" in one and "seed" in one]
    if trials:
        rows = [Combination(one["scheduler"], one.get("strategy", PLAIN)).name for one in trials[:SHOWN_TRIALS]]
        shown = ", ".join(f"{row} seed {int(one['seed'])}" for row, one in zip(rows, trials, strict=False))
        more = len(trials) - SHOWN_TRIALS
        return shown + (f" and {more} more" if more > 0 else "")
    seeds = next((one["seeds"] for one in _tables(inputs) if "seeds" in one), None)
    return f"seed {', '.join(str(int(seed)) for seed in seeds)}" if seeds else ""


def _tables(inputs: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Give the tables in the values of `inputs`, those in lists and in texts of JSON too."""
    for value in inputs.values():
        try:
            found = json.loads(value) if isinstance(value, str) else value
        except ValueError:
            continue
        yield from (one for one in (found if isinstance(found, list) else [found]) if isinstance(one, dict))


def _pod_name(workflow: Workflow, node: Node) -> str:
    """Return the name of a node's pod, as Argo makes it (`workflow/util/pod_name.go`)."""
    return f"{workflow.name}-{node.get('templateName')}-{str(node['id']).rpartition('-')[2]}"
