"""What happens to each fenced block of README.md and docs/*.md when the tests run.

Every command of a shell block is a key of COMMANDS[page]: without its comment, and with single spaces. Its value is the
test of test_docs_commands.py that runs it, by `typed(folder, page, command)`, or the reason why none does. A block of
another kind is found by its page and how its first line begins.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class NotRun:
    """Why a block is not run by test_docs_commands.py; `by` is the test file that covers it, if there is one."""

    reason: str
    by: str | None = None


REASONS = {
    "cluster": "needs a Kubernetes cluster",
    "docker": "needs a container engine and a registry",
    "network": "installs from a package index",
    "long": "takes minutes; the test file named beside it runs it on smaller data",
    "own test": "the test file named beside it runs the block",
}

CLUSTER, DOCKER, NETWORK = NotRun("cluster"), NotRun("docker"), NotRun("network")
TWO_NODES = NotRun("docker", "tests/launch/test_nodes.py")
IN_CONTAINERS = NotRun("docker", "tests/pipelines/test_containers.py")
SUBMIT = NotRun("cluster", "tests/pipelines/test_submit.py")

COMMANDS: dict[str, dict[str, str | NotRun]] = {
    "README.md": {
        "make setup": NETWORK,
        ". .venv/bin/activate": NETWORK,
        "make run": NotRun("long", "tests/end_to_end/test_dvc.py"),
        "make test": NotRun("long"),
        "bss init --manifest data/birds/manifest.csv --force": "test_data_of_ones_own",
        "dvc repro": "test_data_of_ones_own",
        "bss inspect": "test_data_of_ones_own",
    },
    "docs/getting-started.md": {
        "make setup": NETWORK,
        ". .venv/bin/activate": NETWORK,
        "bss doctor": NotRun("own test", "tests/test_doctor.py"),
        "pip install .": NETWORK,
        "pip install -c requirements.lock '.[train]'": NETWORK,
        "pip install -c requirements.lock '.[train,video,tracking]'": NETWORK,
    },
    "docs/own-data.md": {
        **dict.fromkeys(
            ("bss init --manifest data/birds/manifest.csv --force", "dvc repro", "bss inspect"),
            NotRun("own test", "tests/end_to_end/test_docs_commands.py"),  # the same commands as in the README
        ),
        "bss fetch https://git.example.org/datasets.git --revision v2 --path data/birds --to data/birds": (
            "test_data_in_another_repository"
        ),
        **dict.fromkeys(
            (
                "bss init --manifest data/hub",
                "bss init --manifest 'data/shards/{000..099}.tar'",
                "bss init --manifest 'data/parts/*.parquet'",
            ),
            NotRun("own test", "tests/init/test_suggest_inside.py"),
        ),
    },
    "docs/export.md": {
        **dict.fromkeys(
            (
                "bss export plan --scheduler bss-h --seed 0 --to plan.parquet",
                "bss export sequence --scheduler bss-l --seed 0 --epoch 3 --to epoch-3.parquet",
                "bss export data --as webdataset --drop decisions.csv --where decision=drop --to curated-shards",
            ),
            NotRun("own test", "tests/export/test_export_order.py"),
        ),
        **dict.fromkeys(
            (
                "bss export data --as manifest --scheduler bss-h-trimmed --seed 0 --to data/birds/curated.csv",
                "bss export data --as huggingface --keep ids.csv --to curated-hub",
            ),
            NotRun("own test", "tests/export/test_export_data.py"),
        ),
    },
    "docs/data.md": {
        **dict.fromkeys(
            (
                "dvc add data/birds",
                "git add data/birds.dvc params.yaml",
                'git commit -m "Birds, first version"',
                "dvc remote add --default store /srv/dvc/birds",
                "git add .dvc/config",
                'git commit -m "The remote of the data"',
                "dvc repro",
                "git add dvc.lock",
                'git commit -m "Birds, first result"',
                "git tag birds-1",
                "make data-push",
                "git push origin HEAD --tags",
                "git clone https://git.example.org/birds.git birds-clone",
                "cd birds-clone",
                "make data-pull",
                "git add data/birds.dvc dvc.lock",
                'git commit -m "Birds, second version"',
                "git tag birds-2",
                "dvc metrics diff birds-1 birds-2",
                "dvc exp run --temp --set-param train.epochs=2 --name two-epochs",
                "dvc exp show",
                "dvc metrics diff HEAD two-epochs",
                "bss run-local --data-repository . --data-path data/birds",
                "bss run-local --data-repository https://git.example.org/birds.git --data-revision birds-1 "
                "--data-path data/birds",
            ),
            NotRun("own test", "tests/end_to_end/test_sharing_data.py"),
        ),
        "bss submit --endpoint http://localhost:8080 --image registry.example.org/team/bss:<commit> "
        "--data-repository https://git.example.org/birds.git --data-revision birds-1 --data-path data/birds "
        "--wait": SUBMIT,
    },
    "docs/audit-measured.md": {
        "python -m benchmarks.repair_worth outputs/repair_worth": (
            NotRun("own test", "tests/benchmarks/test_repair_worth.py")
        ),
        "python -m benchmarks.audit_detection outputs/audit_detection": (
            NotRun("own test", "tests/benchmarks/test_audit_detection.py")
        ),
    },
    "docs/audit.md": {
        **dict.fromkeys(("bss audit", "bss audit --apply 0.9"), NotRun("own test", "tests/stages/test_audit.py")),
        **dict.fromkeys(
            (
                "cp outputs/report/comparison.json before.json",
                "dvc repro",
                "bss compare --before before.json --report outputs/before-after",
            ),
            NotRun("own test", "tests/report/test_before_after.py"),
        ),
    },
    "docs/predict.md": {
        "bss predict --run outputs/runs/bss-l/seed=0 --manifest data/new/manifest.csv --output predictions.csv": (
            NotRun("own test", "tests/predict/test_predict.py")
        ),
    },
    "docs/datasets.md": {
        "bss presets": "test_a_published_dataset",
        "bss presets crema-d": "test_a_published_dataset",
        "bss init --dataset crema-d --root data/CREMA-D --force": "test_a_published_dataset",
        "dvc repro": "test_a_published_dataset",
        "bss inspect": "test_a_published_dataset",
        "bss submit --params short.yaml --endpoint http://localhost:8080 "
        "--image registry.example.org/team/bss:<commit> --data-repository https://git.example.org/datasets.git "
        "--data-revision v2 --data-path data/CREMA-D": SUBMIT,
    },
    "docs/kubeflow.md": {
        "make image IMAGE=registry.example.org/team/bss": DOCKER,
        "docker push registry.example.org/team/bss:<commit>": DOCKER,
        "make image IMAGE=registry.example.org/team/bss "
        "BASE_IMAGE=registry.example.org/team/cuda-python:12.8-3.11": DOCKER,
        "docker run --rm registry.example.org/team/bss:<commit>": IN_CONTAINERS,
        "docker run --rm --gpus all --shm-size 8g -e MLFLOW_TRACKING_URI=http://mlflow:5000 "
        "registry.example.org/team/bss:<commit> bss doctor --need-shared-memory 8": IN_CONTAINERS,
        "kubectl create secret generic bss -n <namespace> --from-literal=AWS_ACCESS_KEY_ID=... "
        "--from-literal=AWS_SECRET_ACCESS_KEY=... --from-literal=AWS_ENDPOINT_URL=http://minio.example.org:9000 "
        "--from-literal=AWS_DEFAULT_REGION=us-east-1 --from-literal=MLFLOW_TRACKING_URI=http://mlflow.mlflow.svc:5000 "
        "--from-literal=MLFLOW_TRACKING_USERNAME=... --from-literal=MLFLOW_TRACKING_PASSWORD=...": CLUSTER,
        "bss submit --endpoint http://localhost:8080 --image registry.example.org/team/bss:<commit> "
        "--data-repository https://git.example.org/datasets.git --data-revision v2 --data-path data/birds "
        "--set train.epochs=60 --seed 0 --seed 1 --seed 2 --wait": SUBMIT,
        "bss submit --endpoint http://localhost:8080 --image registry.example.org/team/bss:<commit> "
        "--set 'strategies.ogm={kind: ogm}' --set combinations=null --strategy none --strategy ogm "
        "--scheduler uniform --scheduler random-ranking --scheduler bss-h --wait": SUBMIT,
        "bss submit --endpoint https://kubeflow.example.org/pipeline --namespace team --cookie-file cookies.txt "
        "--ca-file authority.pem --image registry.example.org/team/bss:<commit> --wait": (
            NotRun("cluster", "tests/pipelines/test_endpoint.py")
        ),
        "bss submit --endpoint http://localhost:8080 --image registry.example.org/team/bss:<commit> "
        "--data-repository https://git.example.org/datasets.git --data-revision v3 --data-path data/birds "
        "--set prepare.decisions=decisions.csv --before s3://bucket/v2/artifacts/bss/<run>/compare/<id>/report "
        "--wait": NotRun("cluster", "tests/kubeflow/test_before.py"),
        **dict.fromkeys(
            (
                "bss audit --store store --audit found --apply 0.9",
                "bss audit --store store --audit found --set audit.page=file",
            ),
            NotRun("own test", "tests/kubeflow/test_audit_step.py"),
        ),
        "make kubeflow-local": NotRun("long", "tests/end_to_end/test_three_ways.py"),
        "make kubeflow-docker": NotRun("docker", "tests/end_to_end/test_three_ways.py"),
        "bss run-local --set train.epochs=3 --scheduler uniform --scheduler random-ranking --seed 0": (
            NotRun("long", "tests/end_to_end/test_three_ways.py")
        ),
        "bss run-local --shards 2": NotRun("long", "tests/end_to_end/test_three_ways.py"),
    },
    "docs/multi-node.md": {
        "make image": DOCKER,
        "export BSS_IMAGE=bss:0123456789ab": TWO_NODES,
        "export AWS_ENDPOINT_URL=http://172.17.0.1:9000 AWS_ACCESS_KEY_ID=... AWS_SECRET_ACCESS_KEY=...": TWO_NODES,
        "bss train --set train.nodes=2 --set resources.device=cpu --set resources.staging=s3://bucket/staging": (
            TWO_NODES
        ),
        "kubectl -n NAMESPACE get trainjob": CLUSTER,
        "kubectl -n NAMESPACE logs -f -l jobset.sigs.k8s.io/jobset-name=bss-0123456789ab-cdef --prefix": CLUSTER,
        "docker logs -f bss-0123456789ab-cdef-node-0": DOCKER,
        "torchrun --nnodes 2 --nproc-per-node 4 --rdzv-backend c10d --rdzv-endpoint HOST:PORT "
        "-m bss.launch.rank_main --params params.yaml --store outputs/store --plans outputs/plans "
        "--scheduler bss-l --seed 0 --out outputs/runs/bss-l/seed=0": "test_two_nodes_without_the_trainer",
    },
    "docs/strategies.md": {
        **dict.fromkeys(
            ("bss tune --write", "bss tune --low 0.005 --high 0.02 --points 4 --epochs 12 --seed 0 --seed 1"),
            NotRun("own test", "tests/stages/test_tune.py"),
        ),
        **dict.fromkeys(
            (
                "python -m benchmarks.strategy_matrix outputs/matrix",
                "python -m benchmarks.strategy_matrix outputs/matrix-audio --root AVDIGITS --fault contradicting-40 "
                "--epochs 48",
                "python -m benchmarks.strategy_matrix outputs/matrix --markdown",
            ),
            NotRun("long", "tests/benchmarks/test_strategy_matrix.py"),
        ),
    },
    "docs/reliability.md": {"bss sync": "test_what_mlflow_did_not_get_is_sent_later"},
    "docs/tracking.md": {
        "pip install 'mlflow[auth]'": NETWORK,
        "export MLFLOW_FLASK_SERVER_SECRET_KEY=...": "test_an_mlflow_server_with_users",
        "export MLFLOW_AUTH_ADMIN_PASSWORD=...": "test_an_mlflow_server_with_users",
        "mlflow server --app-name basic-auth --host 0.0.0.0 --port 5000 --backend-store-uri sqlite:///mlflow.db "
        "--artifacts-destination ./mlartifacts": "test_an_mlflow_server_with_users",
        "export MLFLOW_TRACKING_USERNAME=admin": "test_an_mlflow_server_with_users",
        "export MLFLOW_TRACKING_PASSWORD=...": "test_the_pipelines_side_of_mlflow",
        "python -c 'from mlflow.server import get_app_client\n"
        'get_app_client("basic-auth", "https://mlflow.example.org").create_user("name", "password")\'': (
            "test_an_mlflow_server_with_users"
        ),
        "export MLFLOW_TRACKING_URI=https://mlflow.example.org": "test_the_pipelines_side_of_mlflow",
        "export MLFLOW_TRACKING_USERNAME=...": "test_the_pipelines_side_of_mlflow",
        "bss doctor": "test_the_pipelines_side_of_mlflow",
    },
}

NO_COMMANDS = {
    ("docs/kubeflow.md", "start -> prepare"): "a diagram of the steps",
    ("docs/kubeflow.md", "start -> list-shards"): "a diagram of the steps",
    ("docs/kubeflow.md", "0:00  start: running"): "printed lines; tests/pipelines/test_wait.py compares such",
}
"""Blocks without a language that show no commands, by page and how their first line begins. The layouts of datasets
need no entry: they are compared with the datasets themselves."""

README_TEST = NotRun("own test", "tests/test_readme.py")
DATASETS_TEST = NotRun("own test", "tests/datasets/test_datasets_page.py")
TRAINERS = NotRun("own test", "tests/examples/test_examples.py")  # the same loops, as whole programs

PYTHON: dict[tuple[str, str], str | NotRun] = {
    ("README.md", "from torch.utils.data import DataLoader"): README_TEST,
    ("docs/tracking.md", 'model = mlflow.pyfunc.load_model("models:/<model id>")'): "test_a_logged_model_predicts",
    ("docs/predict.md", "from pathlib import Path"): NotRun("own test", "tests/tracking/test_mlflow.py"),
    ("docs/datasets.md", "import csv, pathlib, pickle"): NotRun("own test", "tests/datasets/test_cmu_mosei.py"),
    ("docs/datasets.md", '"""Bird songs: recordings,'): DATASETS_TEST,
    ("docs/datasets.md", '"""Bird songs in miniature:'): DATASETS_TEST,
    ("docs/sampler.md", "sampler = SequenceSampler("): README_TEST,
    ("docs/sampler.md", "import torch.distributed as dist"): README_TEST,
    ("docs/sampler.md", "sampler.share()"): README_TEST,
    ("docs/sampler.md", 'state = torch.load("checkpoint.pt")'): README_TEST,
    ("docs/sampler.md", '"""Alternating: in the order'): NotRun("own test", "tests/stages/test_own_scheduler.py"),
    ("docs/audit.md", "from bss.balance import audit"): README_TEST,
    ("docs/sampler.md", "trainer = L.Trainer("): TRAINERS,
    ("docs/sampler.md", "loader = accelerator.prepare("): TRAINERS,
    ("docs/sampler.md", "class BalancedTrainer(Trainer):"): TRAINERS,
    ("docs/networks.md", '"""Small networks of pictures'): NotRun("own test", "tests/models/test_python_encoder.py"),
    ("docs/pipeline.md", '"""Top-2 accuracy.'): NotRun("own test", "tests/stages/test_own_metric.py"),
}
"""Python blocks by page and how their first line begins."""

BIRDS = {
    "audio": {"kind": "audio", "sample_rate": 16000, "seconds": 2.0},
    "image": {"kind": "image", "height": 64, "width": 64},
}
TEXT_AND_IMAGE = {
    "text": {"kind": "text", "tokenizer": "tokenizer"},
    "image": {"kind": "image", "height": 224, "width": 224},
}

PARAMETERS: dict[tuple[str, str], dict] = {
    ("docs/own-data.md", "generate: {}"): {},
    ("docs/own-data.md", "prepare:"): {},
    ("docs/datasets.md", "dataset: crema-d"): {},
    ("docs/multi-node.md", "train:"): {},
    ("docs/audit.md", "prepare:"): {},
    ("docs/audit.md", "strategies:"): {},
    ("docs/networks.md", "network:"): TEXT_AND_IMAGE,
    ("docs/networks.md", "image: {kind: resnet, crop:"): {
        "image": {"kind": "image", "height": 256, "width": 256},
        "view": {"kind": "clip", "height": 256, "width": 256, "frames": 80},
    },
    ("docs/networks.md", "text: {kind: huggingface,"): {
        "text": {"kind": "text", "tokenizer": "tokenizer"},
        "image": {"kind": "image", "height": 224, "width": 224},
    },
    ("docs/networks.md", "image: {kind: python,"): {
        "image": {"kind": "image"},
        "audio": {"kind": "audio"},
    },
    ("docs/pipeline.md", "strategies:"): {},
    ("docs/strategies.md", "strategies:"): {},
    ("docs/reliability.md", "resources:"): {},
}
"""YAML blocks that are parts of params.yaml, by page and how their first line begins, with the modalities of the data
that they are for; empty if the block names them or needs none."""

OTHER_YAML = {
    ("docs/multi-node.md", "apiVersion: rbac"): NotRun("own test", "tests/launch/test_cluster.py"),
    ("docs/kubeflow.md", "train:"): NotRun("own test", "tests/pipelines/test_compile.py"),
}
