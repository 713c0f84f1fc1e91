#!/bin/sh
# Installs kinesis-local (a Kinesis that can reshard) in .kinesis-local/, for the tests that talk to it.
# Quick no-op when that is done already. Without npm it says so and succeeds: those tests then skip.
#   usage: tests/servers/install_kinesis_local.sh
set -eu
version=0.6.2
here=$(CDPATH= cd -- "$(dirname -- "$0")" && pwd)
root=$(dirname -- "$(dirname -- "$here")")/.kinesis-local
package=$root/node_modules/kinesis-local

if [ -f "$package/main.js" ] && grep -q "\"version\" : \"$version\"" "$package/package.json"; then
	exit 0
fi
if ! command -v npm >/dev/null 2>&1 || ! command -v node >/dev/null 2>&1; then
	echo "install_kinesis_local: no npm found; install Node.js; the tests with kinesis-local will be skipped"
	exit 0
fi

echo "installing kinesis-local $version in .kinesis-local (once, a few seconds)"
rm -rf "$root"
mkdir -p "$root"
npm install --prefix "$root" --no-save --no-audit --no-fund --ignore-scripts --loglevel=error "kinesis-local@$version" >/dev/null
