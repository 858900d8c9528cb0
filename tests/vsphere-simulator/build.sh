#!/bin/sh
# Builds the simulator into the file OUT, offline, from Debian's packages.
set -eu

[ $# -eq 1 ] || { echo "usage: $0 OUT" >&2; exit 2; }
out=$(realpath -m -- "$1")
cd "$(dirname -- "$0")"

libraries=${GOCODE:-/usr/share/gocode}
missing=
command -v go >/dev/null || missing="$missing golang-go"
[ -f "$libraries/src/github.com/vmware/govmomi/simulator/simulator.go" ] ||
    missing="$missing golang-github-vmware-govmomi-dev"
if [ -n "$missing" ]; then
    echo "missing packages:$missing (apt-get install --no-install-recommends$missing)" >&2
    exit 3
fi

if [ -n "${XDG_CACHE_HOME:-}" ]; then
    work=$XDG_CACHE_HOME/vsphere-simulator
    mkdir -p "$work"
else
    work=$(mktemp -d)
    trap 'chmod -R u+w "$work"; rm -rf "$work"' EXIT
fi

export GO111MODULE=off GOPROXY=off GOFLAGS= GOTOOLCHAIN=local CGO_ENABLED=0
export GOPATH="$work/gopath:$libraries" GOCACHE="$work/gocache"
go build -trimpath -ldflags='-s -w' -o "$out" ./*.go
