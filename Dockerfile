# gnn-vs-cnn with its pinned dependencies: docs/install.md says how to run it, with and without a GPU.
FROM python:3.11-slim

RUN apt-get update \
    && apt-get install --yes --no-install-recommends make \
    && rm -rf /var/lib/apt/lists/*

# Kernels and fonts are cached where an image that cannot be written to allows it.
ENV NUMBA_CACHE_DIR=/tmp/numba MPLCONFIGDIR=/tmp/matplotlib PYTHONUNBUFFERED=1

WORKDIR /app
COPY pyproject.toml constraints.txt Makefile LICENSE README.md CHANGELOG.md CITATION.cff ./
COPY bench bench
COPY models models
COPY conf conf
COPY docs docs
COPY tests tests
COPY results/README.md results/README.md
COPY results/reference results/reference
RUN make install

VOLUME /app/results
CMD ["make", "bench"]
