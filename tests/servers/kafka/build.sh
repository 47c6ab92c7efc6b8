#!/bin/sh
# Fetches the Kafka broker that the tests run, once per machine; prints the folder of its jars.
set -eu
version=4.1.1
cache="${GRAYMW_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/graymw}/kafka-$version"

if [ ! -d "$cache" ]; then
    command -v mvn >/dev/null || { echo "Kafka is fetched with Maven: apt-get install maven" >&2; exit 1; }
    cd "$(dirname "$0")"
    mkdir -p "$(dirname "$cache")"
    unfinished="$cache.$$"
    trap 'rm -rf "$unfinished"' EXIT
    mvn -B -q dependency:copy-dependencies -DoutputDirectory="$unfinished" >&2
    mv -T "$unfinished" "$cache" 2>/dev/null || [ -d "$cache" ]  # another run may have been first
fi
echo "$cache"
