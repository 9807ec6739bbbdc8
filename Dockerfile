# The image of waiter: the interpreter, its library and the command, as bytecode, and nothing else; no shell.
#
#   docker build --tag waiter .
#   docker buildx build --platform linux/amd64,linux/arm64 --tag REGISTRY/waiter --push .
#
# Two builds of one commit have one digest: .ci/image checks that with buildah's --timestamp; BuildKit has the same with
#   SOURCE_DATE_EPOCH=$(git log -1 --format=%ct) docker buildx build --output type=image,rewrite-timestamp=true .
#
# The digest is that of the list for all platforms. To renew it, take the tag's newest from
#   docker buildx imagetools inspect docker.io/library/python:3.13-slim-trixie
# Any Debian with python3 (3.11 or newer), venv and ca-certificates can be the base.
ARG BASE=docker.io/library/python:3.13.15-slim-trixie@sha256:7c61056e61ac89e852de05f3dc6fa51a6dd2181797bceed46aa725dd7cb2cd3b

# hadolint ignore=DL3006
FROM ${BASE} AS build
# The order of sets is the same in each build.
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore PYTHONHASHSEED=0
WORKDIR /src

# Files that seldom change come first, so that their layers are cached.
COPY requirements.lock .ci/container/build.lock ./
RUN python3 -m venv /tools \
    && /tools/bin/pip install --require-hashes --only-binary :all: --requirement build.lock \
    && python3 -m venv --without-pip /opt/waiter \
    && /tools/bin/pip --python /opt/waiter/bin/python install --no-compile --require-hashes --only-binary :all: --requirement requirements.lock

COPY pyproject.toml README.md LICENSE ./
COPY waiter waiter
RUN /tools/bin/hatchling build --target wheel --directory /dist \
    && /tools/bin/pip --python /opt/waiter/bin/python install --no-compile --no-deps --no-index /dist/*.whl

COPY .ci/container .ci/container
RUN cp .ci/container/livez.py /opt/waiter/ \
    && install .ci/container/launch.py /opt/waiter/bin/waiter \
    && python3 .ci/container/rootfs.py /rootfs /opt/waiter \
    # Fails when a library is missing.
    && chroot /rootfs /opt/waiter/bin/waiter --version

FROM scratch
ARG BASE
ARG VERSION=0
ARG REVISION=unknown
ARG CREATED=1970-01-01T00:00:00Z
ARG SOURCE=unknown
LABEL org.opencontainers.image.title="waiter" \
      org.opencontainers.image.description="Waits for Gcore Cloud tasks: as an init step that ends with the task, or as a sidecar." \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.created="${CREATED}" \
      org.opencontainers.image.source="${SOURCE}" \
      org.opencontainers.image.base.name="${BASE}"
COPY --from=build /rootfs /
ENV PATH=/opt/waiter/bin LANG=C.UTF-8 PYTHONDONTWRITEBYTECODE=1
USER 65532:65532
WORKDIR /var/lib/waiter
EXPOSE 8081
HEALTHCHECK --interval=10s --timeout=3s --start-period=5s CMD ["python", "-I", "/opt/waiter/livez.pyc"]
ENTRYPOINT ["waiter"]
