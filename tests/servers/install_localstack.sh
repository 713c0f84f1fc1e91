#!/bin/sh
# Installs LocalStack's open core (host mode, no Docker, no token) in .localstack/venv, for the tests that talk to it,
# with our plugin that runs its Lambda functions as processes, and in .localstack/lib the Kinesis that it runs, which
# it would otherwise fetch at the first call.
# Quick no-op when that is done already. Without a working Python 3.13 it says so and succeeds: those tests then skip;
# without npm only those of LocalStack's Kinesis do.
#   usage: tests/servers/install_localstack.sh      (PYTHON313=/path/to/python names the interpreter)
set -eu
here=$(CDPATH= cd -- "$(dirname -- "$0")" && pwd)
root=$(dirname -- "$(dirname -- "$here")")/.localstack
pins=$here/constraints-localstack.txt
venv=$root/venv
stamp=$venv/.installed   # a copy of the pins it was made from, so that changed pins install anew
plugin=$here/localstack_processes
plugin_stamp=$venv/.plugin   # the sums of its files, so that a changed plugin is installed anew
kinesis_version=0.5.2    # what this LocalStack asks for
kinesis=$root/lib/kinesis-local/$kinesis_version

install_kinesis() {
	if [ -f "$kinesis/node_modules/kinesis-local/main.js" ]; then
		return
	fi
	if ! command -v npm >/dev/null 2>&1 || ! command -v node >/dev/null 2>&1; then
		echo "install_localstack: no npm found; install Node.js; the tests of LocalStack's Kinesis will be skipped"
		return
	fi
	echo "installing LocalStack's Kinesis in .localstack/lib (once, a few seconds)"
	rm -rf "$kinesis"
	mkdir -p "$kinesis"
	npm install --prefix "$kinesis" --no-save --no-audit --no-fund --ignore-scripts --loglevel=error \
		"kinesis-local@$kinesis_version" >/dev/null
}

install_plugin() {
	sums=$(cd "$plugin" && cksum pyproject.toml localstack_processes/*.py)
	if [ -f "$plugin_stamp" ] && [ "$sums" = "$(cat "$plugin_stamp")" ]; then
		return
	fi
	echo "installing the plugin for LocalStack's Lambda in .localstack/venv"
	copy=$(mktemp -d)   # pip builds where the sources are
	cp -R "$plugin/." "$copy"
	"$venv/bin/python" -m pip install -q --disable-pip-version-check --no-index --no-deps --no-build-isolation \
		--force-reinstall "$copy"
	rm -rf "$copy"
	printf '%s\n' "$sums" >"$plugin_stamp"
}

if cmp -s "$pins" "$stamp" && "$venv/bin/python" -c '' 2>/dev/null; then
	install_plugin
	install_kinesis
	exit 0
fi

python=
shims=$(dirname -- "$(command -v python3.13 2>/dev/null || echo /nowhere/python3.13)")   # of a pyenv elsewhere than at home
# Every candidate is run: a pyenv shim, say, exists for versions that are not selected, and fails.
for candidate in "${PYTHON313:-}" python3.13 "${PYENV_ROOT:-$HOME/.pyenv}"/versions/3.13*/bin/python \
	"$shims"/../versions/3.13*/bin/python python3 python; do
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
"$venv/bin/python" -m pip install -q --disable-pip-version-check --no-compile -c "$pins" 'localstack-core[runtime]==2026.3.0'
cp "$pins" "$stamp"
install_plugin
install_kinesis
