# The daemon in a container, without root:
#   docker build -t oprel .
#   docker run --init -p 127.0.0.1:11435:11435 -v oprel:/var/lib/oprel oprel
#   docker exec -it CONTAINER oprel run guide
# With a GPU: `--build-arg GPU=cuda` (or rocm, vulkan), and `--gpus all` or `--device /dev/dri` for `docker run`.
# `bin/test packages` runs these steps in a bare Debian.
ARG BASE=python:3.12-slim

FROM ${BASE} AS build
WORKDIR /src
COPY . /src
RUN python3 -m venv /opt/oprel
RUN /opt/oprel/bin/pip install --no-cache-dir --requirement requirements.lock
RUN /opt/oprel/bin/pip install --no-cache-dir --no-deps .

FROM ${BASE}
ARG GPU=""
COPY --from=build /opt/oprel /opt/oprel
RUN ln -s /opt/oprel/bin/oprel /usr/local/bin/oprel
RUN useradd --system --user-group --home-dir /var/lib/oprel --shell /usr/sbin/nologin oprel
RUN install -d -o oprel -g oprel -m 0700 /var/lib/oprel /opt/engines
RUN apt-get update && apt-get install -y --no-install-recommends libgomp1 $(test "$GPU" != vulkan || echo libvulkan1 mesa-vulkan-drivers) && rm -rf /var/lib/apt/lists/*
ENV OPREL_HOME=/var/lib/oprel OPREL_BINARY_DIR=/opt/engines OPREL_SERVER_HOST=0.0.0.0
ENV NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility
USER oprel
WORKDIR /var/lib/oprel
RUN if [ -n "$GPU" ]; then oprel engines install llama.cpp "--$GPU" --yes; fi
VOLUME /var/lib/oprel
EXPOSE 11435
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=10s --start-period=30s CMD ["oprel", "ps", "--host=unix:/var/lib/oprel/run/oprel.sock"]
# Without keys, one for all is made and printed: once, as it is stored in the volume.
CMD ["sh", "-c", "test -n \"$OPREL_API_KEYS$OPREL_ALLOW_UNAUTHENTICATED_LAN\" || oprel keys ls --json | grep -q '\"name\"' || oprel keys add container --scope admin; exec oprel serve"]
