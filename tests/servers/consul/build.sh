#!/bin/sh
# Builds a later Consul than Debian's for the tests, once per machine; prints where it is.
#
# Consul's own go.mod replaces its parts by folders that its module does not hold, which no module of ours inherits:
# here they are the published ones, pinned by go.sum. From 1.14 on that no longer resolves.
set -eu
version=1.12.9
cache="${GRAYMW_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/graymw}/consul-$version"

if [ ! -x "$cache/consul" ]; then
    PATH="$PATH:/usr/local/go/bin"
    command -v go >/dev/null || { echo "Consul is built with Go 1.20 or newer: https://go.dev/dl" >&2; exit 1; }
    mkdir -p "$cache"
    echo "building Consul $version, once; this takes minutes …" >&2
    cd "$(dirname "$0")"
    unfinished="$cache/consul.$$"
    trap 'rm -f "$unfinished"' EXIT
    CGO_ENABLED=0 go build -trimpath -o "$unfinished" -ldflags "-s -w" github.com/hashicorp/consul
    mv "$unfinished" "$cache/consul"
fi
echo "$cache/consul"
