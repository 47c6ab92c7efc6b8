#!/bin/sh
# Builds the Jaeger that the tests run, once per machine; prints where it is.
#
# Jaeger's module path has no /v2, so no tag of its second major version can be asked for by name. v1.76.0 and
# v2.13.0 are one commit, the last that a module proxy knows by a tag, and cmd/jaeger in it is v2.13.0. It is built
# in its own module, whose go.sum pins everything beneath; go.sum beside this file pins that module.
set -eu
version=2.13.0
module=github.com/jaegertracing/jaeger
cache="${GRAYMW_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/graymw}/jaeger-$version"

if [ ! -x "$cache/jaeger" ]; then
    PATH="$PATH:/usr/local/go/bin"
    command -v go >/dev/null || { echo "Jaeger is built with Go 1.24.6 or newer: https://go.dev/dl" >&2; exit 1; }
    mkdir -p "$cache"
    echo "building Jaeger $version, once; this takes minutes …" >&2
    cd "$(dirname "$0")"
    go mod download "$module"
    cd "$(go list -m -f '{{.Dir}}' "$module")"
    unfinished="$cache/jaeger.$$"
    trap 'rm -f "$unfinished"' EXIT
    CGO_ENABLED=0 go build -trimpath -o "$unfinished" \
        -ldflags "-s -w -X $module/internal/version.latestVersion=v$version" ./cmd/jaeger
    mv "$unfinished" "$cache/jaeger"
fi
echo "$cache/jaeger"
