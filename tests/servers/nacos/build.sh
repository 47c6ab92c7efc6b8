#!/bin/sh
# Builds the two Nacos that the tests run, once per machine; prints how each is started: that program and its folder.
#
# Nacos' own group publishes only what clients need. These servers are the same sources, published to Maven Central by
# the makers of Pig, who run them inside an application; the launchers beside this file are all that such a one adds.
set -eu
cd "$(dirname "$0")"
root="${GRAYMW_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/graymw}"
unfinished="$root/nacos.$$"
trap 'rm -rf "$unfinished"' EXIT

# What Java reads of its classes is the same at each start, and half of the work; it is kept, made by a first start.
remember() (
    home="$unfinished/home"
    mkdir -p "$home/conf"
    printf '%s\n' server.port=27848 nacos.server.main.port=27848 server.servlet.context-path=/nacos \
        server.address=127.0.0.1 nacos.inetutils.ip-address=127.0.0.1 nacos.core.auth.enabled=false \
        nacos.core.auth.system.type=nacos nacos.core.auth.server.identity.key=graymw \
        nacos.core.auth.server.identity.value=graymw nacos.security.ignore.urls='/**' \
        > "$home/conf/application.properties"
    JAVA_TOOL_OPTIONS="-XX:ArchiveClassesAtExit=$unfinished/nacos.jsa" "$unfinished/nacos" "$home" > /dev/null 2>&1 &
    server=$!
    for _ in $(seq 240); do
        sleep 0.5
        kill -0 "$server" 2> /dev/null || break
        python3 -c 'import socket; socket.create_connection(("127.0.0.1", 27848), 1)' 2> /dev/null && break
    done
    kill "$server" 2> /dev/null && wait "$server"
    rm -rf "$home"
)

for version in 2.2.4 3.1.0; do
    cache="$root/nacos-$version"
    if [ ! -x "$cache/nacos" ] || [ -n "$(find build.sh "$version" -newer "$cache/nacos" -type f)" ]; then
        for tool in java javac jar mvn python3; do
            command -v "$tool" > /dev/null || { echo "Nacos is built with Maven and a JDK from 17 on: no $tool" >&2; exit 1; }
        done
        echo "fetching and building Nacos $version, once …" >&2
        mkdir -p "$unfinished/classes"
        mvn --batch-mode --quiet --strict-checksums -f "$version/pom.xml" \
            org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies -DoutputDirectory="$cache/lib" >&2
        javac -cp "$cache/lib/*" -d "$unfinished/classes" "$version/NacosLauncher.java" >&2
        jar cf "$cache/launcher.jar" -C "$unfinished/classes" .
        # Two libraries bring one package; Nacos needs the first, so it has to stand first.
        cat > "$unfinished/nacos" << PROGRAM
#!/bin/sh
# nacos FOLDER: FOLDER/conf/application.properties says the rest.
here="$cache"
PROGRAM
        cat >> "$unfinished/nacos" << 'PROGRAM'
cd "$1"
[ -e "$here/nacos.jsa" ] && remembered="-XX:SharedArchiveFile=$here/nacos.jsa"
exec java -Xmx512m -XX:TieredStopAtLevel=1 -XX:+UseSerialGC -Xshare:auto ${remembered:-} \
    -Dnacos.home="$1" -Dderby.stream.error.file="$1/derby.log" -Dspring.config.additional-location="file:$1/conf/" \
    -cp "$here/launcher.jar:$here/lib/hessian-4.0.63.jar:$here/lib/*" NacosLauncher
PROGRAM
        chmod +x "$unfinished/nacos"
        rm -f "$cache/nacos.jsa"
        remember || true
        [ ! -e "$unfinished/nacos.jsa" ] || mv "$unfinished/nacos.jsa" "$cache/nacos.jsa"
        mv "$unfinished/nacos" "$cache/nacos"
        touch "$cache/nacos"
        rm -rf "$unfinished"
    fi
    echo "$cache/nacos"
done
