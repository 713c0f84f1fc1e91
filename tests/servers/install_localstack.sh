#!/bin/sh
# Installs LocalStack's open core (host mode, no Docker, no token) in .localstack/venv, for the tests that talk to it.
# Quick no-op when that is done already. Without a working Python 3.13 it says so and succeeds: those tests then skip.
#   usage: tests/servers/install_localstack.sh      (PYTHON313=/path/to/python names the interpreter)
set -eu
here=$(CDPATH= cd -- "$(dirname -- "$0")" && pwd)
root=$(dirname -- "$(dirname -- "$here")")/.localstack
pins=$here/constraints-localstack.txt
venv=$root/venv
stamp=$venv/.installed   # a copy of the pins it was made from, so that changed pins install anew

if cmp -s "$pins" "$stamp" && "$venv/bin/python" -c '' 2>/dev/null; then
	exit 0
fi

python=
# Every candidate is run: a pyenv shim, say, exists for versions that are not selected, and fails.
for candidate in "${PYTHON313:-}" python3.13 "${PYENV_ROOT:-$HOME/.pyenv}"/versions/3.13*/bin/python python3 python; do
	if [ -n "$candidate" ] && "$candidate" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info[:2] != (3, 13))' 2>/dev/null; then
		python=$candidate
		break
	fi
done
if [ -z "$python" ]; then
	echo "install_localstack: no working Python 3.13 found; install it (pyenv install 3.13) or set PYTHON313; the LocalStack tests will be skipped"
	exit 0
fi

echo "installing LocalStack in .localstack/venv with $python (once, about a minute and a half)"
rm -rf "$venv"
mkdir -p "$root"
"$python" -m venv "$venv"
"$venv/bin/python" -m pip install -q --disable-pip-version-check -c "$pins" 'localstack-core[runtime]==2026.3.0'
cp "$pins" "$stamp"
