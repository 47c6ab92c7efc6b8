#!/bin/sh
# Builds the Kubernetes API server that the tests run, once per machine; prints where it is.
#
# It is 1,700 packages. CPUS says how many of them are compiled at once (default 2).
set -eu
cd "$(dirname "$0")"
version="$(sed -n 's/^require k8s.io\/kubernetes v\([^ ]*\).*/\1/p' go.mod)"
cache="${GRAYMW_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/graymw}/kube-apiserver-$version"

if [ ! -x "$cache/kube-apiserver" ]; then
    PATH="$PATH:/usr/local/go/bin"
    command -v go >/dev/null || { echo "the API server is built with Go 1.24 or newer: https://go.dev/dl" >&2; exit 1; }
    mkdir -p "$cache"
    echo "building kube-apiserver $version, once; this takes minutes …" >&2
    unfinished="$cache/kube-apiserver.$$"
    trap 'rm -f "$unfinished"' EXIT
    # The repository's own build writes its version into the program; without one it takes itself for v0.0.0.
    CGO_ENABLED=0 nice -n 10 go build -p "${CPUS:-2}" -trimpath -o "$unfinished" \
        -ldflags "-s -w -X k8s.io/component-base/version.gitVersion=v$version" k8s.io/kubernetes/cmd/kube-apiserver
    mv "$unfinished" "$cache/kube-apiserver"
fi
echo "$cache/kube-apiserver"
