#!/usr/bin/env bash
# Builds .venv from requirements.lock and keeps it while the lock file is unchanged.
set -euo pipefail
cd "$(dirname "$0")/.."

stamp=.venv/.built-from
want=$(cat requirements.lock pyproject.toml | cksum)
if [ -x .venv/bin/python ] && [ "$(cat "$stamp" 2>/dev/null || true)" = "$want" ]; then
    exit 0
fi

if [ -n "${PYTHON:-}" ] && ! "$PYTHON" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null; then
    echo "PYTHON=$PYTHON is not a Python 3.11, 3.12 or 3.13 that runs here." >&2
    exit 1
fi

python=
for candidate in ${PYTHON:-} python3 python3.13 python3.12 python3.11 python; do
    if "$candidate" -c 'import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null; then
        python=$candidate
        break
    fi
done
if [ -z "$python" ]; then
    echo "sparseshift needs Python 3.11, 3.12 or 3.13 with venv and pip; none was found as python3, python3.13, python3.12 or python3.11." >&2
    found=$(python3 --version 2>/dev/null) || found="none"
    echo "Found as python3: $found. Install one of these, or say where it is: make run PYTHON=/path/to/python3" >&2
    exit 1
fi

echo "Setting up .venv with $("$python" --version) (minutes, once per lock file) ..."
rm -rf .venv
"$python" -m venv .venv
.venv/bin/python -m pip install --quiet --disable-pip-version-check -r requirements.lock
.venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
printf '%s' "$want" > "$stamp"
