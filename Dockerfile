# autoprune on a CPU:    docker build -t autoprune .
# on GPUs of NVIDIA:     docker build -t autoprune:cuda --build-arg TORCH_INDEX=https://download.pytorch.org/whl/cu130 .
# A study in this folder: docker run --rm -v "$PWD:/work" -u "$(id -u):$(id -g)" autoprune search --model demo --task demo --keep 6
ARG PYTHON=3.12
FROM python:${PYTHON}-slim

# Where torch is taken from; all else is from the usual index.
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
ARG EXTRAS=dashboard,hub-datasets,lora,onnx

WORKDIR /src
COPY constraints.txt pyproject.toml README.md LICENSE NOTICE ./
COPY src src
COPY studies/plans studies/plans
COPY demo demo
RUN grep '^torch==' constraints.txt > /tmp/torch.txt \
    && pip install --no-cache-dir --index-url "${TORCH_INDEX}" -r /tmp/torch.txt \
    && pip install --no-cache-dir --constraint constraints.txt ".[${EXTRAS}]" ./demo \
    && rm -rf /src/* /tmp/torch.txt \
    && useradd --create-home --uid 1000 autoprune

# Models and data sets of the hub; mount a volume there to keep them.
ENV HF_HOME=/cache/huggingface \
    AUTOPRUNE_CACHE_DIR=/cache/autoprune \
    MPLCONFIGDIR=/tmp
RUN mkdir -m 1777 /cache /work
USER 1000
WORKDIR /work
ENTRYPOINT ["autoprune"]
CMD ["--help"]
