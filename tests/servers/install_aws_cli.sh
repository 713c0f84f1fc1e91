#!/bin/sh
# Installs the aws-cli in .aws-cli/, an environment of its own, for the tests that use it as a client.
# Quick no-op when that is done already. Without a Python that can make environments it says so and succeeds: those
# tests then skip.
#   usage: tests/servers/install_aws_cli.sh      (PYTHON=/path/to/python names the interpreter)
set -eu
here=$(CDPATH= cd -- "$(dirname -- "$0")" && pwd)
venv=$(dirname -- "$(dirname -- "$here")")/.aws-cli
pins=$here/constraints-aws-cli.txt
stamp=$venv/.installed   # a copy of the pins it was made from, so that changed pins install anew

if cmp -s "$pins" "$stamp" && "$venv/bin/python" -c '' 2>/dev/null; then
	exit 0
fi

python=
for candidate in "${PYTHON:-}" python3 python3.14 python3.13 python3.12 python3.11 python; do
	if [ -n "$candidate" ] && "$candidate" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 10))' 2>/dev/null; then
		python=$candidate
		break
	fi
done
if [ -z "$python" ]; then
	echo "install_aws_cli: no Python 3.10 or newer with venv found; install it or set PYTHON; the tests with the aws-cli will be skipped"
	exit 0
fi

echo "installing the aws-cli in .aws-cli with $python (once, about half a minute)"
rm -rf "$venv"
"$python" -m venv "$venv"
"$venv/bin/python" -m pip install -q --disable-pip-version-check --no-compile --no-deps -r "$pins"
cp "$pins" "$stamp"
