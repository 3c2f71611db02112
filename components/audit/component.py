"""The audit as a Kubeflow component; the pipeline has it only if audit.enabled is true."""

from kfp import dsl
from kfp.dsl import HTML, Dataset, Input, Markdown, Output

from components import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def audit(
    parameters: str,
    digest: str,
    store: Input[Dataset],
    found: Output[Dataset],
    page: Output[HTML],
    summary: Output[Markdown],
):
    """Find wrong pairs, and which modality is to blame, by networks that have not trained on them.

    Args:
        parameters: The parameters that decide this step, from the step start.
        digest: Digest of the store: other data is never taken from the cache.
        store: The decoded samples.
        found: A row per sample, the most suspicious first, the page, and the predictions behind them.
        page: The page to decide on if it is a single file, else where it is.
        summary: How common each kind of fault is.
    """
    from pathlib import Path

    from bss.kubeflow.audit_page import write_audit_page
    from bss.kubeflow.messages import plain_errors
    from bss.kubeflow.parameters import config_from_part
    from bss.kubeflow.summaries import audit_summary
    from bss.stages.audit import audit as audit_stage

    with plain_errors():
        folder = Path(found.path)
        audit_stage(config_from_part(parameters), Path(store.path), folder)
        write_audit_page(folder, found.uri, Path(page.path))
        Path(summary.path).write_text(audit_summary(folder), encoding="utf-8")
    found.metadata.update(store_digest=digest)
