# One image for every step of the pipeline. `make image` builds it; docs/kubeflow.md tells the rest.
#
# BASE_IMAGE needs Python 3.11 with venv: a CUDA runtime image makes an image for GPU nodes. The torch build
# is the one in outputs/wheels, where `make image` puts what pip gives on the building machine.
ARG BASE_IMAGE=python:3.11-slim-bookworm

FROM ${BASE_IMAGE} AS environment
COPY outputs/wheels /wheels
COPY requirements.lock requirements-dev.lock /build/
RUN python3 -m venv /opt/bss \
    && /opt/bss/bin/pip install --no-cache-dir --find-links /wheels --requirement /build/requirements.lock \
    # The steps need kfp alone; what it depends on serves submission.
    && grep '^kfp==' /build/requirements-dev.lock > /build/kfp.txt \
    && /opt/bss/bin/pip install --no-cache-dir --no-deps --requirement /build/kfp.txt

FROM ${BASE_IMAGE}
# The Trainer's container backend starts its nodes in a login shell, whose profile sets PATH anew.
RUN useradd --uid 10001 --gid 0 --create-home --home-dir /home/bss bss && chmod g=u /home/bss \
    && echo 'PATH=/opt/bss/bin:$PATH' > /etc/profile.d/bss.sh
# The dependencies in a layer of their own: a change of the source pushes and pulls the small layer below.
COPY --from=environment /opt/bss /opt/bss
COPY pyproject.toml README.md LICENSE /build/
COPY bss /build/bss
RUN /opt/bss/bin/pip install --no-cache-dir --no-deps --no-index --no-build-isolation /build && rm -r /build
ARG COMMIT
ARG VERSION
LABEL org.opencontainers.image.title="bss" \
      org.opencontainers.image.description="Balance-aware sequence sampling for multi-modal learning" \
      org.opencontainers.image.revision="${COMMIT}" \
      org.opencontainers.image.version="${VERSION}"
ENV PATH=/opt/bss/bin:$PATH \
    BSS_COMMIT=${COMMIT} \
    PYTHONUNBUFFERED=1 \
    HOME=/home/bss
# What stops a container: bss takes it for SIGTERM, while Kubeflow's launcher, which would end on that before a
# checkpoint is saved, takes no notice of it. bss/signals.py tells more.
STOPSIGNAL SIGUSR1
USER 10001
WORKDIR /home/bss
CMD ["bss", "doctor"]
