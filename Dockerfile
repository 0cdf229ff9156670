# A CPU image with the environment of the tests and the embedded data:
#     docker build -t fnoise_mmdet .        # --build-arg TORCH="torch ..." names a build without CUDA
#     docker run --rm -v "$PWD/work_dirs:/fnoise_mmdet/work_dirs" fnoise_mmdet make demo
FROM python:3.11-slim

RUN apt-get update && \
    apt-get install -y --no-install-recommends g++ make git libgl1 libglib2.0-0 && \
    rm -rf /var/lib/apt/lists/*
WORKDIR /fnoise_mmdet
# The environment first: it is built again only where these change.
COPY requirements.txt pyproject.toml setup.py README.md LICENSE model-index.yml Makefile ./
COPY tools tools
COPY configs configs
COPY fnoise_mmdet fnoise_mmdet
COPY docs/study/study.mk docs/study/
ARG TORCH=torch
RUN python -m venv .venv && .venv/bin/pip install --no-cache-dir $TORCH && make setup
COPY . .
ENV PATH=/fnoise_mmdet/.venv/bin:$PATH
CMD ["fnoise", "--help"]
