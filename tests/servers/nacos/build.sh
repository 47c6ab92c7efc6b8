#!/bin/sh
# Builds the two Nacos that the tests run, once per machine; prints how each is started: that program and its folder.
#
# Nacos' own group publishes only what clients need. These servers are the same sources, published to Maven Central by
# the makers of Pig, who run them inside an application; the launchers beside this file are all that such a one adds.
set -eu
cd "$(dirname "$0")"
root="${GRAYMW_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/graymw}"

for version in 2.2.4 3.1.0; do
    cache="$root/nacos-$version"
    if [ ! -x "$cache/nacos" ] || [ -n "$(find "$version" -newer "$cache/nacos" -type f)" ]; then
        for tool in java javac mvn; do
            command -v "$tool" >/dev/null || { echo "Nacos is built with Maven and a JDK from 17 on: no $tool" >&2; exit 1; }
        done
        echo "fetching and building Nacos $version, once …" >&2
        unfinished="$cache.$$"
        trap 'rm -rf "$unfinished"' EXIT
        mkdir -p "$unfinished/classes"
        mvn --batch-mode --quiet --strict-checksums -f "$version/pom.xml" \
            org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies -DoutputDirectory="$unfinished/lib" >&2
        javac -cp "$unfinished/lib/*" -d "$unfinished/classes" "$version/NacosLauncher.java" >&2
        # Two libraries bring one package; Nacos needs the first, so it has to stand first.
        cat > "$unfinished/nacos" <<'PROGRAM'
#!/bin/sh
# nacos FOLDER: FOLDER/conf/application.properties says the rest.
here="$(dirname "$(readlink -f "$0")")"
cd "$1"
exec java -Xmx512m -XX:TieredStopAtLevel=1 -XX:+UseSerialGC -Xshare:auto \
    -Dnacos.home="$1" -Dderby.stream.error.file="$1/derby.log" -Dspring.config.additional-location="file:$1/conf/" \
    -cp "$here/classes:$here/lib/hessian-4.0.63.jar:$here/lib/*" NacosLauncher
PROGRAM
        chmod +x "$unfinished/nacos"
        rm -rf "$cache"
        mv "$unfinished" "$cache"
    fi
    echo "$cache/nacos"
done
