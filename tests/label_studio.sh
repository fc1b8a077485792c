#!/bin/sh
# Makes the environment of the Label Studio server that tests run against, once a machine; says where it is.
# With `find` it makes nothing, and fails where there is none.
set -eu
version=1.23.2
venv=${HOMEOSTAT_LABEL_STUDIO_VENV:-$HOME/.cache/homeostat-tests/label-studio-$version}
if [ ! -e "$venv/.installed" ]; then
    [ "${1:-}" != find ] || exit 1
    mkdir -p "$(dirname "$venv")"
    "${PYTHON:-$(command -v python3.11 || command -v python3)}" -m venv "$venv" >&2
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check "label-studio==$version" >&2
    touch "$venv/.installed"
fi
echo "$venv"
