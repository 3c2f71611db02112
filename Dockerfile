# One image for every component of the pipeline. `make image` builds it; docs/kubeflow.md tells the rest.
#
# BASE_IMAGE needs Python 3.11 or newer with venv. A CUDA runtime image makes an image for GPU nodes; the torch
# that is put into outputs/wheels (`make image` asks pip for it) must then be a CUDA build.
ARG BASE_IMAGE=python:3.11-slim-bookworm

FROM ${BASE_IMAGE} AS environment
COPY outputs/wheels /wheels
COPY requirements.lock requirements-dev.lock /build/
RUN python3 -m venv /opt/bss \
    && /opt/bss/bin/pip install --no-cache-dir --find-links /wheels --requirement /build/requirements.lock \
    # The components' entry point is kfp alone; its dependencies serve submission.
    && grep '^kfp==' /build/requirements-dev.lock > /build/kfp.txt \
    && /opt/bss/bin/pip install --no-cache-dir --no-deps --requirement /build/kfp.txt
# The source comes last: a change of it leaves the layer above alone.
COPY pyproject.toml README.md /build/
COPY bss /build/bss
RUN /opt/bss/bin/pip install --no-cache-dir --no-deps /build

FROM ${BASE_IMAGE}
ARG COMMIT
ARG VERSION
LABEL org.opencontainers.image.title="bss" \
      org.opencontainers.image.description="Balance-aware sequence sampling for multi-modal learning" \
      org.opencontainers.image.revision="${COMMIT}" \
      org.opencontainers.image.version="${VERSION}"
COPY --from=environment /opt/bss /opt/bss
ENV PATH=/opt/bss/bin:$PATH \
    BSS_COMMIT=${COMMIT} \
    PYTHONUNBUFFERED=1 \
    HOME=/home/bss
RUN useradd --uid 10001 --gid 0 --create-home --home-dir /home/bss bss && chmod g=u /home/bss
USER 10001
WORKDIR /home/bss
CMD ["bss", "doctor"]
