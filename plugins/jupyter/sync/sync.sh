#!/bin/sh
# Starts deployment-manager-sync, which brings what is deployed for a user into the user's folder and keeps what the
# user changed. Tried in turn: a program that is mounted, one in the home, one from the server. The last two count only
# with a SHA-256 that DM_SYNC_SHA256 names, or the file sha256 beside this one. Without any, plain git brings what
# touches no file of the user's. DM_SYNC_SECONDS bounds git's part here, and then the program's. It ends with 0 always, for
# a start hook that fails ends the notebook server. After the trap nothing long is in $(): shells lose a signal there.
say() { kill "$timer" 2>/dev/null; echo "apps-notebooks: $1" 2>/dev/null; exit 0; }
start() { # becomes the program, if it is of this processor (shells take another's for a script) and runs at all
	case $(od -An -tx1 -N20 "$1" 2>/dev/null) in ' 23 21'* | ' 7f 45 4c 46'*"$machine 00") ;; *) return 1 ;; esac
	"$1" --version >/dev/null 2>&1 </dev/null && { kill "$timer" 2>/dev/null || :; } && exec "$1"
}
known() { test -f "$1" && sum=$(sha256sum <"$1" 2>/dev/null) && case " $sums " in *" ${sum%% *} "*) ;; *) return 1 ;; esac; }
g() { # runs git where no setting or program of the user's takes part; the token goes to this server only, in no argument
	test -z "$late" || return 1
	(unset XDG_CONFIG_HOME $open && exec env HOME=/nonexistent GIT_CONFIG_NOSYSTEM=1 GIT_CONFIG_GLOBAL=/dev/null GIT_ATTR_NOSYSTEM=1 \
		GIT_TERMINAL_PROMPT=0 GIT_ASKPASS= GIT_ALLOW_PROTOCOL=http:https git --git-dir="$dir" -c core.hooksPath=/dev/null -c core.fsmonitor=false \
		-c gc.auto=0 -c submodule.recurse=false -c http.followRedirects=false -c http.lowSpeedLimit=1 -c http.lowSpeedTime=10 \
		-c credential.helper= -c "credential.$DM_GIT_URL.helper=!f() {
		printf 'username=%s\\n' \"\$JUPYTERHUB_USER\" && echo \"password=\$JUPYTERHUB_API_TOKEN\"; }; f" "$@") & job=$!; ${late:+kill "$job"}
	wait "$job" && code=0 || { code=$? && test -n "$late" && wait "$job"; }; job='' && return "$code" # a signal ends the first wait
} </dev/null 2>/dev/null
fetch() { # has the server's program as $new and, if there is room, in the cache; another than was named gets to neither
	had='no SHA-256 of it is named' && test -n "$sums" && had='the server did not give it' && test -n "$temp" && dir=$temp/tools.git || return
	g init -q --bare --template= && g fetch -q --no-tags "$DM_GIT_URL/tools.git" "$arch" && g cat-file blob "FETCH_HEAD:$name" >"$temp/$name" || return
	had='the server has another than the one that is named' && known "$temp/$name" && new=$temp/$name && chmod 700 "$new" || return
	had='it does not run here' && mkdir -p -m 700 "$cache" && cp "$new" "$cache/new" && known "$cache/new" && mv -f "$cache/new" "$cache/$name" || :
} 2>/dev/null
plain() { # has git clone a folder that is missing, and bring another forward where that overwrites nothing
	why='plain git as root would make files that the owner of the home cannot change' dir=$folder/.git && test "$cache" != /dev/null || return
	if why='plain git is missing, or did not get it from the server' && test -z "$inside"; then # a clone that is cut short leaves nothing there
		g clone -q --template= -- "$url" "$aside" && { rmdir -- "$folder"; mv -- "$aside" "$folder"; } && return
		rmdir -- "$aside"; return 1; fi
	read -r head <"$dir/HEAD" && test "$head" = 'ref: refs/heads/main' && g fetch -q --no-tags "$url" +main:refs/remotes/origin/main || return
	why='plain git overwrites nothing of yours and puts nothing beside it'
	g --work-tree="$folder" merge -q --ff-only --no-autostash --no-overwrite-ignore origin/main
} 2>/dev/null
main() {
	set +e +u +v +x -f && DM_GIT_URL=${DM_GIT_URL:-http://deployment-manager-git:8099} && DM_GIT_URL=${DM_GIT_URL%/}
	case $(uname -m) in x86_64 | amd64) arch=amd64 machine=3e ;; aarch64 | arm64) arch=arm64 machine=b7 ;; *) arch=none machine=none ;; esac
	name=deployment-manager-sync-$arch mounted=${DM_SYNC_MOUNT:-/opt/deployment-manager} timer='' job='' late='' open=''
	DM_SYNC_AGAIN=${DM_SYNC_AGAIN:-$(test -f "$0" && echo "sh $0")} && export DM_GIT_URL DM_SYNC_AGAIN
	for file in "$mounted/$name" "$mounted/deployment-manager-sync" "$mounted/usr/local/bin/$name"; do test -f "$file" && start "$file"; done
	case ${HOME:+home}${JUPYTERHUB_USER:+user}$DM_GIT_URL in *[!A-Za-z0-9._~:/%\[\]-]*) ;; homeuserhttps://?*) open=SSH_ASKPASS ;;
	homeuserhttp://?*) open='http_proxy all_proxy ALL_PROXY' ;; esac # a proxy would see the token
	test -n "$open" || say 'nothing was done, because HOME or JUPYTERHUB_USER is not set, or DM_GIT_URL is no plain http or https address.'
	url=$DM_GIT_URL/jupyter-$(printf %s "$JUPYTERHUB_USER" | od -An -v -tx1 | tr -d '\n' | tr -s ' ' %).git
	folder=${DM_SYNC_FOLDER:-$HOME/apps-notebooks} cache=${XDG_CACHE_HOME:-$HOME/.cache}/deployment-manager
	test "$(id -u)" != 0 || test -O "$HOME" || cache=/dev/null # root runs nothing that the home's owner may write
	sums=$(echo ${DM_SYNC_SHA256:-$(test -f "$0" && cat -- "$(dirname -- "$0")/sha256" 2>/dev/null)}) # in one line
	known "$cache/$name" && start "$cache/$name"
	seconds=$DM_SYNC_SECONDS && case $seconds in '' | 0?* | *[!0-9]*) seconds=30 ;; esac
	for word in $(env); do case ${word%%=*} in GIT_SSL_CA* | *[!A-Za-z0-9_]*) ;; GIT_*) open="$open ${word%%=*}" ;; esac; done
	temp=${sums:+$(mktemp -d 2>/dev/null)} aside=$(dirname -- "$folder")/.new-$$-$(date +%s) inside=$(ls -A -- "$folder" 2>/dev/null)
	trap 'late="it took longer than $seconds seconds, or was ended"; test -z "$job" || kill "$job"' ALRM TERM INT HUP
	(exec </dev/null >/dev/null 2>&1; while test "$seconds" -gt 0; do sleep 1; seconds=$((seconds - 1)); done; kill -ALRM $$) & timer=$!
	fetch && { start "$cache/$name"; start "$new"; }
	plain && say "up to date, by plain git: deployment-manager-sync is missing ($had), so files that you changed get no newer version beside them."
	say "nothing was done: deployment-manager-sync is missing ($had), and ${late:-$why}."
}
main
