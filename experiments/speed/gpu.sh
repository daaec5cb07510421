#!/bin/sh
# All rows of a GPU in one go, in under eight minutes: experiments/speed/gpu.json and gpu.md. Needs torch, lightning, timm
# and torchmetrics; neither Hydra nor an installed package. Try it anywhere with: gpu.sh --device cpu --tiny
cd "$(dirname "$0")/../.." && PYTHONPATH=. exec "${PYTHON:-python}" experiments/speed/gpu.py "$@"
