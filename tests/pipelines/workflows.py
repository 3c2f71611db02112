"""Argo workflows of a run of the pipeline, as the backend keeps them; tests say which steps there are.

Names, types and templates are those that `backend/src/v2/compiler/argocompiler` of Kubeflow Pipelines 2.17 (dag.go,
container.go) and Argo Workflows 4 (workflow/controller/dag.go, operator.go) give the nodes.
"""

import json
import zlib

NAME = "bss-x7k2p"
NAMESPACE = "team"
ROOT = f"{NAME}.root.exit-handler-1"
LOOPS = {"measure": "for-loop-1", "train": "for-loop-2", "prepare": "for-loop-3"}
TEMPLATE = "retry-system-container-executor"
IMPLEMENTATION = "retry-system-container-impl"


def workflow(*steps, iterations=None):
    """The workflow with the nodes of `steps`, which `step` made; `iterations` says how many a loop has."""
    nodes = {}
    for name in (NAME, f"{NAME}.root", ROOT):
        put(nodes, name, "DAG", "Running")
    put(nodes, f"{NAME}.root-driver", "Pod", "Succeeded", templateName="system-dag-driver")
    for loop, count in (iterations or {}).items():
        base = f"{ROOT}.{LOOPS[loop]}"
        put(nodes, base, "DAG", "Running")
        outputs = {"parameters": [{"name": "iteration-count", "value": str(count)}]}
        put(nodes, f"{base}.iteration-driver", "Pod", "Succeeded", outputs=outputs)
        put(nodes, f"{base}.iteration-iterations", "TaskGroup", "Running")
    for made in steps:
        nodes |= made
    metadata = {"name": NAME, "namespace": NAMESPACE}
    return {"metadata": metadata, "status": {"nodes": {node["id"]: node for node in nodes.values()}}}


def put(nodes, name, kind, phase, **more):
    identity = f"{NAME}-{zlib.crc32(name.encode())}"
    display = name.rpartition(".")[2]
    nodes[name] = {"id": identity, "name": name, "displayName": display, "type": kind, "phase": phase, **more}


def step(name, phase, index=None, values=None, tries=("",), message="", started="", cached=False, place=None):
    """The nodes of a step in `phase`: `tries` are the messages of its tries; the last one has the phase.

    With an `index` it is that iteration of its loop; `values` are what its pod was started with.
    """
    nodes = {}
    if index is not None:
        iteration = f"{ROOT}.{LOOPS[name]}.iteration-iterations({index}:{index})"
        put(nodes, iteration, "DAG", phase)
        put(nodes, f"{iteration}.iteration-item", "DAG", phase)
        place = f"{iteration}.iteration-item"
    path = f"{place or ROOT}.{name}"
    put(nodes, f"{path}-driver", "Pod", "Succeeded", templateName="system-container-driver")
    command = ["/kfp-launcher/launch", "--executor_input", json.dumps({"inputs": {"parameterValues": values or {}}})]
    patch = json.dumps({"containers": [{"name": "main", "command": command, "args": ["--executor_input"]}]})
    inputs = [{"name": "pod-spec-patch", "value": "" if cached else patch}, {"name": "cached-decision", "value": "x"}]
    times = {"startedAt": started}
    put(nodes, path, "DAG", phase, templateName=TEMPLATE, inputs={"parameters": inputs}, message=message, **times)
    if cached:
        put(nodes, f"{path}.executor", "Skipped", "Skipped")
        return nodes
    put(nodes, f"{path}.executor", "Retry", phase)
    for number, said in enumerate(tries):
        last = number == len(tries) - 1
        found = phase if last else "Failed"
        more = {"message": said, "templateName": IMPLEMENTATION, "finishedAt": started}
        put(nodes, f"{path}.executor({number})", "Pod", found, **more)
    return nodes


def pod_name(path):
    """The name of the pod at `path`."""
    return f"{NAME}-{IMPLEMENTATION}-{zlib.crc32(path.encode())}"
