#!/usr/bin/env bash
# Writes requirements.lock anew: the newest versions that pyproject.toml allows, for the machine it runs on.
# torch stays without a build tag and its CUDA libraries out, so that each machine resolves its own.
set -euo pipefail
cd "$(dirname "$0")/.."
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder"
"$folder/bin/pip" install --quiet --disable-pip-version-check "torch==2.13.0" setuptools wheel ".[dev]"
{
    echo "# Exact versions of everything in .venv, dependencies resolved; made by scripts/lock.sh."
    "$folder/bin/pip" freeze --all | grep -vE '^(pip|sparseshift|nvidia-|triton|cuda-)' | sed 's/^\(torch==[0-9.]*\)+.*/\1/; s/ @ .*//'
} > requirements.lock
