#!/bin/sh
# Tests graymw[jaeger-legacy] in an environment of its own: its SDK is too old for everything else.
set -eu
cd "$(dirname "$0")/../.."
venv="${VENV:-.venv-legacy}"
python="${PYTHON:-python3}"

if [ ! -e "$venv/.ready" ] || [ pyproject.toml -nt "$venv/.ready" ]; then
    "$python" -m venv "$venv"
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check \
        --editable '.[jaeger-legacy]' 'pytest>=9' 'hypothesis>=6.150'
    touch "$venv/.ready"
fi
exec "$venv/bin/python" -m pytest tests/legacy "$@"
