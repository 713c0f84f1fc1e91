#!/bin/sh
# Installs moto's server in .moto, for the conformance matrix. Quick no-op when that is done already.
#   usage: tests/servers/install_moto.sh      (PYTHON=/path/to/python names the interpreter)
set -eu
here=$(CDPATH= cd -- "$(dirname -- "$0")" && pwd)
root=$(dirname -- "$(dirname -- "$here")")/.moto
version=5.2.5
stamp=$root/.installed

if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$version" ] && "$root/bin/python" -c '' 2>/dev/null; then
	exit 0
fi
echo "installing moto $version in .moto (once, a few seconds)"
rm -rf "$root"
"${PYTHON:-python3}" -m venv "$root"
"$root/bin/python" -m pip install -q --disable-pip-version-check "moto[server]==$version"
printf '%s\n' "$version" >"$stamp"
