#!/bin/sh
# Fetches the Consul that the tests run, once per machine; prints where it is.
#
# Debian 12 has no Consul; the package of Debian 11 (the last under the MPL there) is a static program and runs
# anywhere. It is taken from the mirror this machine's apt uses, with a configuration of its own, so that
# nothing of Debian 11 is ever offered to the machine itself.
set -eu
version=1.8.7
cache="${GRAYMW_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/graymw}/consul-$version"

mirror() {
    apt-get indextargets --format '$(REPO_URI)|$(ORIGIN)|$(LABEL)' 'Created-By: Packages' |
        awk -F'|' '$2 == "Debian" && $3 == "Debian" { print $1; exit }'
}

if [ ! -x "$cache/consul" ]; then
    place=$(mirror)
    if [ -z "$place" ]; then
        apt-get update -qq
        place=$(mirror)
    fi
    [ -n "$place" ] || { echo "Consul is fetched from Debian's mirror, and this machine's apt has none" >&2; exit 1; }
    mkdir -p "$cache"
    scratch=$(mktemp -d "$cache/fetching.XXXXXX")
    trap 'rm -rf "$scratch"' EXIT
    mkdir -p "$scratch/lists/partial" "$scratch/archives/partial" "$scratch/parts"
    echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $place bullseye main" > "$scratch/sources.list"
    : > "$scratch/status"
    cat > "$scratch/apt.conf" <<END
Dir::Etc::sourcelist "$scratch/sources.list";
Dir::Etc::sourceparts "$scratch/parts";
Dir::State "$scratch";
Dir::State::status "$scratch/status";
Dir::Cache "$scratch";
APT::Sandbox::User "root";
Acquire::Languages "none";
END
    export APT_CONFIG="$scratch/apt.conf"
    echo "fetching Consul $version, once …" >&2
    apt-get update -qq >&2
    cd "$scratch"
    apt-get download -qq consul >&2
    dpkg -x consul_*.deb unpacked
    unpacked/usr/bin/consul version | grep -q "^Consul v\?$version" || {
        echo "Debian 11 has another Consul than $version: $(unpacked/usr/bin/consul version | head -1)" >&2
        exit 1
    }
    mv unpacked/usr/bin/consul "$cache/consul"
fi
echo "$cache/consul"
