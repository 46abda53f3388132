#!/bin/sh
# Starts deployment-manager-sync, which brings the notebooks that are deployed for
# a user into the user's folder and keeps what the user changed there. Where it
# can't be had, plain git brings what does not touch the user's files. It ends
# with 0 always: a failing start hook ends the notebook server. Tried in turn:
# a program that is mounted, one in the home's cache, and one from the server. The
# last two count only with a SHA-256 that DM_SYNC_SHA256 names, or the file sha256
# beside this one. The program's --help tells of the other variables.
say() { echo "apps-notebooks: $1" && exit 0; }

# start becomes the program, if it runs here at all.
start() { "$1" --version >/dev/null 2>&1 </dev/null && exec "$1"; }

# known tells whether the content of file $1 is one of those that were named.
known() {
	sum=$(sha256sum 2>/dev/null <"$1") && sum=${sum%% *}
	case " $sums " in *" ${sum:-none} "*) ;; *) return 1 ;; esac
}

# g runs git such that no setting or program of the user's takes part, and so that
# the token goes to the server only, and stands in no argument.
# shellcheck disable=SC2016
g() {
	GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_NOSYSTEM=1 GIT_TERMINAL_PROMPT=0 $limit git -c core.hooksPath=/dev/null -c core.fsmonitor=false \
		-c http.followRedirects=false -c http.lowSpeedLimit=1 -c http.lowSpeedTime=10 -c 'safe.directory=*' -c credential.helper= -c "credential.$DM_GIT_URL.helper="'!f() { test "$1" = get && printf "username=%s\npassword=%s\n" "$JUPYTERHUB_USER" "$JUPYTERHUB_API_TOKEN"; }; f' "$@" </dev/null 2>/dev/null
}

# fetch puts the server's program into the cache.
fetch() {
	test -n "$sums" && mkdir -p "$cache" && new=$cache/new.$$ && g init -q --bare --template= "$cache/tools.git" || return
	g --git-dir "$cache/tools.git" fetch -q --no-tags --depth 1 "$DM_GIT_URL/tools.git" "+$arch:$arch" || return
	g --git-dir "$cache/tools.git" cat-file blob "$arch:$name" >"$new" && known "$new" && chmod 700 "$new" && mv -f "$new" "$cache/$sum" && return
	mv -f "$new" "$cache/refused" && return 1
}

plain() {
	folder=${DM_SYNC_FOLDER:-$HOME/apps-notebooks}
	url=$DM_GIT_URL/jupyter-$(printf %s "$JUPYTERHUB_USER" | od -An -v -tx1 | tr -d ' \n' | sed 's/../%&/g').git
	if test ! -e "$folder"; then g clone -q "$url" "$folder" && return; fi
	cd -- "$folder" && test "$(g symbolic-ref -q HEAD)" = refs/heads/main && g fetch -q "$url" +main:refs/remotes/origin/main && g merge -q --ff-only origin/main
}

main() {
	set -f
	DM_GIT_URL=${DM_GIT_URL:-http://deployment-manager-git:8099} && DM_GIT_URL=${DM_GIT_URL%/}
	DM_SYNC_AGAIN=${DM_SYNC_AGAIN:-$(test -f "$0" && printf 'sh %s' "$0")}
	export DM_GIT_URL DM_SYNC_AGAIN
	case $(uname -m) in aarch64 | arm64) arch=arm64 ;; *) arch=amd64 ;; esac
	name=deployment-manager-sync-$arch mounted=${DM_SYNC_MOUNT:-/opt/deployment-manager} cache=${XDG_CACHE_HOME:-${HOME:-/nonexistent}/.cache}/deployment-manager
	for file in "$mounted/$name" "$mounted/deployment-manager-sync" "$mounted/usr/local/bin/$name"; do start "$file"; done
	sums=$(echo ${DM_SYNC_SHA256:-$(cat "${0%/*}/sha256" 2>/dev/null)}) # in one line
	for sum in $sums; do known "$cache/$sum" && start "$cache/$sum"; done
	case ${HOME:+home}${JUPYTERHUB_USER:+user}:$DM_GIT_URL in *@*) say 'nothing was done, because DM_GIT_URL holds a credential.' ;; homeuser:http://?* | homeuser:https://?*) ;; *) say 'nothing was done, because HOME, JUPYTERHUB_USER or DM_GIT_URL is not set.' ;; esac
	limit=$(command -v timeout >/dev/null 2>&1 && echo timeout "${DM_SYNC_SECONDS:-30}") && unset $(git rev-parse --local-env-vars 2>/dev/null)
	fetch && start "$cache/$sum"
	if plain; then say 'up to date, by plain git: without deployment-manager-sync, files that you changed get no newer version beside them.'; fi
	say 'nothing was done: deployment-manager-sync could not be had, and plain git overwrites nothing of yours, or did not reach the server.'
}

main
