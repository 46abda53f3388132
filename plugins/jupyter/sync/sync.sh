#!/bin/sh
# Brings the notebooks that are deployed for a user into the user's folder and
# keeps what the user changed there. JupyterHub runs it when a notebook server
# starts; run it in a terminal to refresh the folder without a restart.
#
#   JUPYTERHUB_USER       the user's name, as JupyterHub writes it
#   JUPYTERHUB_API_TOKEN  proves the name to the server; may be missing
#   DM_GIT_URL            the server; default http://deployment-manager-git:8099
#   DM_SYNC_FOLDER        the folder; default $HOME/apps-notebooks
#   DM_SYNC_SECONDS       the longest time that all of it may take; default 30
#
# It needs a POSIX shell, git 2.31 or newer, and from the system: date, ln, mkdir,
# mv, od, rmdir, sleep. It always ends with exit code 0, because a failing start
# hook ends the notebook server. SYNC.md in the folder tells what was done.
#
# How it works: each file is looked at as a whole, in three states. "base" is
# the tree of what an earlier run put into the folder, "new" is what the server
# has, and the third is what lies in the folder. A file is written or deleted
# only when it is as base has it, or is not there and never was. git writes new
# files into a folder of the script's own; from there each comes to its place as
# a whole, and never over another file. A file that both sides changed stays, and
# the new one is put beside it as name.<version>.ext.
#
# The script has a git folder of its own, .git/deployment-manager, and reads
# neither the user's git configuration nor the user's repository when it
# compares and writes files: a filter or an attribute there could make a changed
# file look unchanged. Beside that it keeps .git as a plain clone would be, as
# long as the user commits nothing.

marker='# State of this folder'
empty=4b825dc642cb6eb9a060e54bf8d69288fbee4904
zero=0000000000000000000000000000000000000000
busy='the server is not ready; try again in a minute'
tab='	'
newline='
'

# ---- Starting git ----------------------------------------------------------

# g runs git on our repository, such that a signal to the shell is seen at once
# and ends git too.
g() {
	git "$@" <&3 3<&- &
	child=$!
	wait "$child"
	code=$?
	child=
	return "$code"
} 3<&0

# writing is g for what changes files of the folder. Its process is noted, so
# that a later run can wait for it if only the shell was killed.
writing() {
	git "$@" <&3 3<&- &
	child=$!
	if starttime "$child"; then
		echo "$child $started" >|"$state/child"
	fi
	wait "$child"
	code=$?
	child=
	return "$code"
} 3<&0

# use makes the named index the one that git works with.
use() { GIT_INDEX_FILE=$1; }

# scratch makes the named index, empty, the one that git works with.
scratch() {
	use "$work/$1.index"
	g read-tree --empty
}

# value runs git and puts the first line of its output into $value.
value() {
	value=
	g "$@" >|"$work/value" || return
	read -r value <"$work/value"
	test -n "$value"
}

# tree writes the index as a tree, whose name goes into $value. It does not look
# whether each object is there, which takes its time.
tree() { value write-tree --missing-ok; }

# blank makes an empty file. A redirection of ":" that fails would end the shell.
blank() { printf '' >|"$1"; }

# ---- Processes and the lock ------------------------------------------------

# starttime puts into $started when a process began. Together with the number it
# names the process also after the number is used again. One that has ended counts
# as gone, also where the first process of the container collects no dead ones.
starttime() {
	started=
	{ read -r stat <"/proc/$1/stat"; } 2>/dev/null || return
	set -f
	set -- ${stat##*\)}
	set +f
	case $1 in Z | X) return 1 ;; esac
	started=${20:-}
	test -n "$started"
}

# is tells whether process $1 that began at $2 is there.
is() { starttime "$1" && test "$started" = "$2"; }

# family puts into $family the process $1 and all that it started. git does not
# end its own helpers when it is ended.
family() {
	family=" $1 "
	grown=1
	while test -n "$grown"; do
		grown=
		for process in /proc/[0-9]*; do
			number=${process#/proc/}
			case $family in *" $number "*) continue ;; esac
			{ read -r stat <"$process/stat"; } 2>/dev/null || continue
			stat=${stat##*\) }
			stat=${stat#* }
			case $family in *" ${stat%% *} "*)
				family="$family$number "
				grown=1
				;;
			esac
		done
	done
}

now() { now=$(date +%s) && test -n "$now"; }

line_of() {
	line=-
	{ read -r line <"$1"; } 2>/dev/null
	line=${line:--}
}

# identify finds the names of this process, its container and its machine.
identify() {
	line_of /proc/sys/kernel/hostname
	host=${line%% *}
	line_of /proc/sys/kernel/random/boot_id
	host=$host/${line%% *}
	starttime 1
	host=$host/${started:--}
	{ read -r me rest </proc/self/stat; } 2>/dev/null || me=$$
	starttime "$me"
	me="$me ${started:--}"
}

# newest finds the highest number of a lock file.
newest() {
	newest=0
	for file in "$state"/lock.*; do
		number=${file##*.}
		case $number in *[!0-9]* | '' | 0*) continue ;; esac
		test "$number" -gt "$newest" && newest=$number
	done
}

# held tells whether the process that wrote a lock file still works. In another
# container nobody can look; there the file's own time limit counts.
held() {
	for attempt in 1 2 3; do
		owner=
		{ read -r owner pid begun until <"$1"; } 2>/dev/null
		test -n "$owner" && break
		sleep 1 # it is written just now, or its writer was killed
	done
	test -z "$owner" && return 1
	test "$owner" = free && return 1
	if test "$owner" = "$host" && test "$begun" != -; then
		is "$pid" "$begun"
		return
	fi
	case $until in *[!0-9]* | '') return 1 ;; esac
	test "$now" -le "$(($until + 15))"
}

# lock lets one run work at a time. A lock is a file with the next higher number
# and belongs to whoever made it; a run that was killed leaves a file behind
# that the next run passes over. A lower number than the highest never counts,
# so that the old files can be moved away.
lock() {
	while now; do
		newest
		if test "$newest" -gt 0 && held "$state/lock.$newest"; then
			test "$now" -lt "$(($deadline - 4))" || return 1
			sleep 1
			continue
		fi
		mine=$(($newest + 1))
		if (set -C && echo "$host $me $deadline" >"$state/lock.$mine") 2>/dev/null; then
			newest
			if test "$newest" -eq "$mine"; then
				for file in "$state"/lock.*; do
					test "$file" = "$state/lock.$mine" || discard "$file"
				done
				orphan
				return 0
			fi
			discard "$state/lock.$mine"
		elif ! test -w "$state"; then
			return 2
		fi
		mine=
	done
	return 1
}

# orphan waits for a git that a killed run left at work in the folder.
orphan() {
	{ read -r pid begun <"$state/child"; } 2>/dev/null || return 0
	while is "$pid" "$begun"; do sleep 1; done
}

unlock() {
	if test -n "${mine:-}"; then
		echo free >|"$state/lock.$mine"
		mine=
	fi
}

# discard takes a file of ours out of the way; only one such file is kept.
discard() { mv -f "$1" "$state/discarded"; }

# ---- Telling the user ------------------------------------------------------

# finish writes SYNC.md and one line, and ends the work. $1 is a sentence.
finish() {
	told=1
	echo "apps-notebooks: $1"
	if test -n "${folder:-}"; then report "$1" 2>/dev/null; fi
	unlock 2>/dev/null
	exit 0
}

# report writes SYNC.md, unless the user has a file of that name.
report() {
	if test -L SYNC.md || test -e SYNC.md; then
		test -f SYNC.md && test ! -L SYNC.md || return
		line_of SYNC.md
		test "$line" = "$marker" || return
	fi
	to=$state
	test -d "$to" || return
	page "$1" >|"$to/SYNC.md" && mv -f "$to/SYNC.md" SYNC.md
}

page() {
	printf '%s\n\n' "$marker" 'This file is written anew each time that this folder is brought up to date.'
	date -u '+Last tried: %Y-%m-%d %H:%M:%S UTC'
	printf '\n%s\n' "$1"
	if test -z "${complete:-}"; then
		last=
		{ read -r last <"$state/last"; } 2>/dev/null
		printf '\nYour files are as you left them. '
		echo "The folder was last brought up to date: ${last:-never}."
	fi
	list kept 'Kept as you left them' 'You changed these files, or they were here first. What the server has lies beside them.' \
		'%s: the delivered version is in %s'
	list own 'No longer delivered' 'The server removed these files. You had changed them, so they stay and are yours now.' '%s'
	list absent 'Deleted by you' 'The server has a new version of these files. You deleted them, so they stay away.' '%s'
	list strange 'Not delivered' 'The names of these files are not supported here.' '%s'
	if test -n "${branch:-}"; then
		printf '\n## Your git branch\n\n%s\n' "$branch"
	fi
	printf '\n## To do it again\n\n'
	if test -f "$0"; then
		printf 'Run `sh %s` in a terminal' "$0"
	else
		printf 'Run `curl -s %s/sync.sh | sh` in a terminal' "${address:-http://deployment-manager-git:8099}"
	fi
	echo ', or restart your notebook server.'
	if test "$state" = "$folder/.git/deployment-manager" && test -z "${branch:-}" && test -e .git/HEAD; then
		echo 'To get the delivered version of a file back, run `git checkout origin/main -- FILE` in this folder.'
		echo 'It takes the place of yours: rename yours first if you want to keep it.'
	fi
}

# list prints the lines of $work/$1, each of one or two paths, by the format $4.
list() {
	test -s "$work/$1" || return 0
	printf '\n## %s\n\n%s\n\n' "$2" "$3"
	while IFS=$tab read -r first second; do
		plain "$first" && first=$plain
		plain "$second" && second=$plain
		printf -- "- $4\n" "\`$first\`" ${second:+"\`$second\`"}
	done <"$work/$1"
}

# ---- Names -----------------------------------------------------------------

# plain puts into $plain a path as the system knows it. git quotes a path that
# has a quotation mark; of other quoted paths, which no package can have,
# nothing is made.
plain() {
	plain=$1
	case $plain in \"*) ;; *) return 0 ;; esac
	rest=${plain#\"}
	rest=${rest%\"}
	plain=
	while :; do
		case $rest in
		*\\*)
			plain=$plain${rest%%\\*}
			rest=${rest#*\\}
			case $rest in
			\"*)
				plain=$plain\"
				rest=${rest#\"}
				;;
			*) return 1 ;;
			esac
			;;
		*)
			plain=$plain$rest
			return 0
			;;
		esac
	done
}

# encoded puts into $encoded a name as a segment of a URL.
encoded() {
	encoded=
	case $1 in
	*[!A-Za-z0-9._~-]*)
		encoded=$(
			for byte in $(printf %s "$1" | od -An -v -tx1); do
				case $byte in
				2d | 2e | 3[0-9] | 4[1-9a-f] | 5[0-9af] | 6[1-9a-f] | 7[0-9ae]) printf "\\$(printf %03o "0x$byte")" ;;
				*) printf '%%%s' "$byte" ;;
				esac
			done
		)
		;;
	*) encoded=$1 ;;
	esac
	# The server takes one ".git" from the end.
	case $encoded in *.git) encoded=$encoded.git ;; esac
	test -n "$encoded"
}

# blocked tells whether something that is no folder is where a folder on the way
# to path $1 must be, and puts it into $blocked. A link counts: nothing is
# written through links.
blocked() {
	blocked=
	case $1 in */*) ;; *) return 1 ;; esac
	test "${1%/*}" = "$passed" && return 1
	prefix=
	rest=$1
	while :; do
		case $rest in */*) ;; *) break ;; esac
		prefix=$prefix${rest%%/*}
		rest=${rest#*/}
		if test -L "./$prefix" || { test -e "./$prefix" && test ! -d "./$prefix"; }; then
			blocked=$prefix
			return 0
		fi
		prefix=$prefix/
	done
	passed=${1%/*}
	return 1
}

# quoted puts into $quoted a plain path as git writes it.
quoted() {
	quoted=$1
	case $1 in *\"*) ;; *) return 0 ;; esac
	rest=$1
	quoted=
	while :; do
		case $rest in *\"*) ;; *) break ;; esac
		quoted=$quoted${rest%%\"*}\\\"
		rest=${rest#*\"}
	done
	quoted=\"$quoted$rest\"
}

# version puts into $version which package version the folder of path $1 came
# from; what belongs to no application gets the commit's short name.
version() {
	application=
	case $1 in */*) application=${1%%/*} ;; esac
	test "$application" = "$versioned" && return
	versioned=$application
	version=
	if test -n "$application"; then
		value log -1 '--format=%(trailers:key=DM-Package,valueonly)' "$new" -- ":(top,literal)$application"
		version=${value##*-}
	fi
	case $version in
	'' | *[!0-9A-Za-z.+]*)
		value rev-parse --short "$new"
		version=$value
		;;
	esac
}

# beside puts into $beside the name of a copy of path $1, with version and
# number $3. When something is in the way at $2, where a folder must be, the copy
# goes into a folder beside that.
beside() {
	if test -n "$2"; then
		beside=$2.$version$3${1#"$2"}
		return
	fi
	front=
	back=$1
	case $back in */*)
		front=${back%/*}/
		back=${back##*/}
		;;
	esac
	case $back in
	?*.*) beside=$front${back%.*}.$version$3.${back##*.} ;;
	*) beside=$front$back.$version$3 ;;
	esac
}

# ---- The repository --------------------------------------------------------

# isolate keeps git and the shells it starts away from the user's settings,
# traces and other repositories.
isolate() {
	unset GIT_DIR GIT_WORK_TREE GIT_INDEX_FILE GIT_OBJECT_DIRECTORY GIT_ALTERNATE_OBJECT_DIRECTORIES GIT_COMMON_DIR \
		GIT_NAMESPACE GIT_CEILING_DIRECTORIES GIT_CONFIG GIT_CONFIG_PARAMETERS GIT_CONFIG_COUNT GIT_CONFIG_SYSTEM \
		GIT_TRACE GIT_TRACE_CURL GIT_TRACE_CURL_NO_DATA GIT_TRACE_PACKET GIT_TRACE_PACKFILE GIT_TRACE_PERFORMANCE \
		GIT_TRACE_SETUP GIT_TRACE_SHALLOW GIT_TRACE_REFS GIT_TRACE_FSMONITOR GIT_TRACE_PACK_ACCESS GIT_TRACE_REDACT \
		GIT_TRACE2 GIT_TRACE2_EVENT GIT_TRACE2_PERF GIT_TRACE2_ENV_VARS GIT_CURL_VERBOSE GIT_REDACT_COOKIES \
		GIT_SSL_NO_VERIFY GIT_ASKPASS SSH_ASKPASS GIT_SSH GIT_SSH_COMMAND GIT_PROXY_COMMAND GIT_ATTR_SOURCE \
		GIT_EXTERNAL_DIFF GIT_DIFF_OPTS GIT_LITERAL_PATHSPECS GIT_GLOB_PATHSPECS GIT_NOGLOB_PATHSPECS \
		GIT_ICASE_PATHSPECS GIT_REPLACE_REF_BASE GIT_SHALLOW_FILE GIT_QUARANTINE_PATH GIT_TEMPLATE_DIR \
		GIT_DEFAULT_HASH GIT_DEFAULT_REF_FORMAT GIT_FLUSH GIT_PROTOCOL GIT_ALLOW_PROTOCOL GIT_INTERNAL_SUPER_PREFIX \
		GIT_HTTP_USER_AGENT GIT_HTTP_LOW_SPEED_LIMIT GIT_HTTP_LOW_SPEED_TIME GIT_HTTP_PROXY_AUTHMETHOD \
		BASH_ENV ENV CDPATH
	LC_ALL=C
	GIT_CONFIG_NOSYSTEM=1
	GIT_CONFIG_GLOBAL=/dev/null
	GIT_ATTR_NOSYSTEM=1
	GIT_TERMINAL_PROMPT=0
	GIT_OPTIONAL_LOCKS=0
	GIT_NO_REPLACE_OBJECTS=1
	export LC_ALL GIT_CONFIG_NOSYSTEM GIT_CONFIG_GLOBAL GIT_ATTR_NOSYSTEM GIT_TERMINAL_PROMPT GIT_OPTIONAL_LOCKS GIT_NO_REPLACE_OBJECTS
}

# open enters the folder and finds the place of our own repository.
open() {
	test -n "${DM_SYNC_FOLDER:-}${HOME:-}" || finish 'nothing was done, because HOME is not set.'
	path=${DM_SYNC_FOLDER:-$HOME/apps-notebooks}
	case $path in /*) ;; *) path=./$path ;; esac
	mkdir -p "$path" 2>/dev/null && cd -P "$path" 2>/dev/null ||
		finish 'nothing was done, because the folder can not be made or entered.'
	folder=$PWD
	if test -L .git || { test -e .git && test ! -d .git; }; then
		state=$folder/.deployment-manager # a .git of the user's own making
	else
		state=$folder/.git/deployment-manager
	fi
	if test -L "$state"; then
		folder=
		finish 'nothing was done, because the place of the script'"'"'s own files is a link.'
	fi
	work=$state/work
	mkdir -p "$work" 2>/dev/null && { blank "$state/log"; } 2>/dev/null ||
		finish 'nothing was done, because the folder can not be written to. Is the disk full, or read-only?'
	exec 2>>"$state/log"
}

# helper is git's question for a credential, answered by names of variables.
# It answers for our server only, and only when asked to.
# shellcheck disable=SC2016
helper='!f() { set +x; test \"$1\" = get || return 0; while IFS= read -r l && test -n \"$l\"; do case $l in host=*) h=${l#host=};; esac; done; test \"$h\" = \"$DM_SYNC_HOST\" && test -n \"$JUPYTERHUB_API_TOKEN\" && printf \"username=%s\\npassword=%s\\n\" \"$JUPYTERHUB_USER\" \"$JUPYTERHUB_API_TOKEN\"; }; f'

# user_helper is the same for .git, so that a plain git pull works in a terminal.
# shellcheck disable=SC2016
user_helper='!f() { test "$1" = get && test -n "$JUPYTERHUB_API_TOKEN" && printf "username=%s\npassword=%s\n" "$JUPYTERHUB_USER" "$JUPYTERHUB_API_TOKEN"; }; f'

# prepare makes our repository, or repairs it, and writes its settings.
prepare() {
	GIT_DIR=$state
	GIT_WORK_TREE=$folder
	GIT_INDEX_FILE=$state/index
	# git 2.31 knows no GIT_CONFIG_GLOBAL; it and curl's .netrc are found by HOME.
	HOME=$state
	XDG_CONFIG_HOME=$state
	DM_SYNC_HOST=$authority
	export GIT_DIR GIT_WORK_TREE GIT_INDEX_FILE HOME XDG_CONFIG_HOME DM_SYNC_HOST
	# We hold the lock, so any lock of git here is a dead one's.
	for file in "$state"/*.lock "$work"/*.lock "$state"/refs/deployment-manager/*.lock "$state"/objects/pack/tmp_* "$state"/objects/tmp_*; do
		if test -f "$file"; then discard "$file"; fi
	done
	if test -e "$state/discarded"; then blank "$state/discarded"; fi
	mkdir -p "$state/info" || return
	printf '%s\n' '* -text -eol -crlf -ident -filter -working-tree-encoding -diff -merge' >|"$state/info/attributes" || return
	{
		printf '[%s]\n' core
		printf '\t%s\n' 'quotePath = false' 'autocrlf = false' 'eol = lf' 'safecrlf = false' 'symlinks = false' \
			'attributesFile = /dev/null' 'excludesFile = /dev/null' 'hooksPath = /dev/null' 'fsmonitor = false' \
			'untrackedCache = false' 'askPass ='
		printf '[%s]\n\t%s\n' gc 'auto = 0' maintenance 'auto = false' fetch 'unpackLimit = 1' fetch 'fsckObjects = true' \
			submodule 'recurse = false' protocol 'allow = never' 'protocol "http"' 'allow = always' \
			'protocol "https"' 'allow = always' credential 'helper ='
		printf '[credential "%s"]\n\thelper = "%s"\n' "$address" "$helper"
		printf '[http]\n\t%s\n' 'followRedirects = false' 'lowSpeedLimit = 1' "lowSpeedTime = $seconds" 'emptyAuth = false'
		# A proxy would see the token of an unencrypted request.
		case $address in http:*) printf '\t%s\n' 'proxy =' ;; esac
		printf '[remote "%s"]\n\turl = %s\n' origin "$url"
	} >|"$state/settings" || return
	if ! { test -f "$state/HEAD" && g rev-parse --git-dir >/dev/null; }; then
		for file in "$state/config" "$state/HEAD"; do
			if test -e "$file"; then discard "$file"; fi
		done
		g -c init.defaultBranch=main init -q --template= || return
		g config core.bare false && g config include.path settings || return
	fi
	g config --get include.path >/dev/null || g config include.path settings || return
	check || return
	sweep
	# This object stands for any file as the user left it.
	echo 'This is as the user left it.' >|"$work/users" || return
	value hash-object -w --no-filters -- "$work/users" && users=$value
}

# check moves refs that lead nowhere out of the way, as a crash of the machine may
# leave them. When what was fetched is damaged all of it is fetched again.
check() {
	blank "$work/out" || return
	for name in fetched base delivered writing removing; do
		if test -e "$state/refs/deployment-manager/$name"; then echo "refs/deployment-manager/$name^{tree}" >>"$work/out"; fi
	done
	g cat-file --batch-check <"$work/out" >|"$work/value"
	while read -r name what rest <&4; do
		read -r object kind rest && test "$kind" = tree && continue
		name=${name%"^{tree}"}
		discard "$state/$name"
		if test "$name" = refs/deployment-manager/fetched; then
			now && mv "$state/objects" "$state/damaged.$now" && mkdir "$state/objects" || return
			for ref in "$state"/refs/deployment-manager/*; do
				if test -e "$ref"; then discard "$ref"; fi
			done
			return 0
		fi
	done <"$work/value" 4<"$work/out"
	return 0
}

# fetch gets the server's newest commit into $new.
fetch() {
	if g fetch -q --no-tags --no-recurse-submodules origin \
		+refs/heads/main:refs/deployment-manager/fetched 2>|"$work/fetch" &&
		value rev-parse -q --verify 'refs/deployment-manager/fetched^{commit}'; then
		new=$value
		return 0
	fi
	why='the server gave an answer that could not be used'
	test -s "$work/fetch" || why='the disk is full or not writable'
	while IFS= read -r line; do
		printf '%s\n' "$line" >&2
		case $line in
		*'Authentication failed'* | *'could not read Username'* | *'could not read Password'* | *'error: 401'*)
			why='the server did not accept your sign-in; restart your notebook server to get a new one' ;;
		*'error: 403'*) why='the server refused access to this folder' ;;
		*'not found'* | *'error: 404'* | *"find remote ref"*) why='the server has no folder for you' ;;
		*'error: 429'*) why='the server is busy; try again in a minute' ;;
		*'error: 5'*) why=$busy ;;
		*'error: 3'* | *redirect*) why='the server redirects to another address, which is not followed' ;;
		*'Could not resolve'*) why='the name of the server could not be resolved' ;;
		*'Failed to connect'* | *"Couldn't connect"* | *'onnection refused'* | *'Connection reset'* | *'Empty reply'*)
			why='the server is unreachable' ;;
		*'too slow'* | *'timed out'*) why='the server is too slow' ;;
		*certificate* | *SSL*) why='the certificate of the server could not be verified' ;;
		*'No space left'* | *'unable to write'* | *'unable to create'* | *'uota exceeded'*) why='the disk is full or not writable' ;;
		*) continue ;;
		esac
		break
	done <"$work/fetch"
	return 1
}

# again waits some seconds, not the same in all pods that start together, when
# the server said that it is not ready and there is time for another try.
again() {
	test "$why" = "$busy" && now && test "$(($deadline - $now))" -ge 15 || return
	pause=$((2 + $(od -An -N1 -tu1 /dev/urandom) % 5)) || return
	while test "$pause" -gt 0; do
		sleep 1
		pause=$(($pause - 1))
	done
}

# ---- Bringing the folder up to date ----------------------------------------

# find_base finds the tree of what we put into the folder. A folder that holds a
# clone made by somebody else starts from that clone's commit.
find_base() {
	pulled=
	commit=
	if test "$state" = "$folder/.git/deployment-manager" && test -f .git/HEAD; then
		if user_git rev-parse -q --verify 'HEAD^{commit}' >|"$work/value"; then read -r commit <"$work/value"; fi
	fi
	if value rev-parse -q --verify 'refs/deployment-manager/base^{tree}'; then
		base=$value
		# Who pulled has newer files than we put there.
		if test -n "$commit" && value rev-parse -q --verify refs/deployment-manager/delivered && test "$value" != "$commit" &&
			g merge-base --is-ancestor "$value" "$commit" && g merge-base --is-ancestor "$commit" "$new"; then
			pulled=$commit
		fi
		return 0
	fi
	base=$empty
	test -n "$commit" || return 0
	if ! g cat-file -e "$commit^{commit}"; then
		GIT_ALTERNATE_OBJECT_DIRECTORIES=$folder/.git/objects
		export GIT_ALTERNATE_OBJECT_DIRECTORIES
		value merge-base "$commit" "$new" && commit=$value || commit=
		unset GIT_ALTERNATE_OBJECT_DIRECTORIES
	fi
	if test -n "$commit" && value rev-parse -q --verify "$commit^{tree}"; then base=$value; fi
}

# absorb takes into base each file of tree $1 that is in the folder as the tree
# has it. With "whole" in $2 the tree is what a run was writing when it ended:
# then a missing file was never written, and base loses it too. What else
# differs is left in $work/differs.
absorb() {
	scratch absorb
	g read-tree "$1" || return
	g update-index -q --refresh
	g diff-files >|"$work/differs" || return
	while IFS=$tab read -r meta path; do
		printf '0 %s\t%s\n' "$zero" "$path"
		case $meta in *D) printf '0 %s\t%s\n' "$zero" "$path" >&4 ;; esac
	done <"$work/differs" >|"$work/out" 4>|"$work/missing"
	g update-index --index-info <"$work/out" || return
	g ls-files -s >|"$work/there" || return
	scratch absorb
	g read-tree "$base" && g update-index --index-info <"$work/there" || return
	if test "$2" = whole; then g update-index --index-info <"$work/missing" || return; fi
	tree && base=$value
}

# recover takes up what an earlier run was writing when it ended.
recover() {
	journal=
	value rev-parse -q --verify 'refs/deployment-manager/writing^{tree}' || return 0
	journal=$value
	salvage && absorb "$journal" whole || return
	if value rev-parse -q --verify 'refs/deployment-manager/removing^{tree}'; then
		# What it moved away is no file that the user deleted.
		scratch absorb
		g read-tree "$value" && g diff-files --diff-filter=D >|"$work/differs" || return
		while IFS=$tab read -r meta path; do
			printf '0 %s\t%s\n' "$zero" "$path"
		done <"$work/differs" >|"$work/out"
		g read-tree "$base" && g update-index --index-info <"$work/out" && tree && base=$value || return
	fi
	# What is known of that run must outlast its journal.
	g update-ref refs/deployment-manager/base "$base"
}

# compare finds which of base's files are not as we put them: $work/changed, as
# git's list of differences; $work/drop takes them out of an index. The main
# index has the others afterwards, as $have.
compare() {
	use "$state/index"
	if ! g read-tree -m "$base"; then
		if test -e "$state/index"; then discard "$state/index"; fi
		g read-tree "$base" || return
	fi
	g update-index -q --refresh
	g diff-files >|"$work/changed" || return
	while IFS=$tab read -r meta path; do
		printf '0 %s\t%s\n' "$zero" "$path"
		case $meta in *D) ;; *) printf '100644 %s\t%s\n' "$users" "$path" >&4 ;; esac
	done <"$work/changed" >|"$work/drop" 4>|"$work/users"
	if test -s "$work/drop"; then g update-index --index-info <"$work/drop" || return; fi
	tree && have=$value
}

# merge finds what to do, by whole files. $work/swap and $work/gone are files that
# are as we put them, to change and to delete; $work/wanted are those that are
# new, or that both sides changed.
merge() {
	blank "$work/wanted"
	blank "$work/swap"
	blank "$work/own.new"
	blank "$work/absent.new"
	scratch merge
	g read-tree "$have" && g update-index --index-info <"$work/users" && tree || return
	left=$value
	g read-tree --empty && g read-tree -i -m --aggressive "$base" "$left" "$new" && g ls-files -u >|"$work/unmerged" || return
	blank "$work/out"
	stages=
	before=
	while IFS=$tab read -r meta path; do
		if test "$path" != "$before"; then
			both
			before=$path
			stages=
			printf '0 %s\t%s\n' "$zero" "$path" >&4
		fi
		stages=$stages${meta##* }
		entry=${meta% *}
	done <"$work/unmerged" 4>|"$work/out"
	both
	g update-index --index-info <"$work/out" && g update-index --index-info <"$work/drop" && tree || return
	target=$value
	g diff-tree -r --no-renames "$have" "$target" >|"$work/diff" || return
	while IFS=$tab read -r meta path; do
		rest=${meta#:}
		before=${rest%% *}
		rest=${rest#* }
		mode=${rest%% *}
		rest=${rest#* }
		before="$before ${rest%% *}"
		rest=${rest#* }
		object=${rest%% *}
		case $meta in
		*A) printf '%s %s\t%s\n' "$mode" "$object" "$path" >&4 ;;
		*D)
			printf '0 %s\t%s\n' "$zero" "$path" >&6
			printf '%s\t%s\n' "$before" "$path" >&5
			removed=$(($removed + 1))
			;;
		*)
			printf '%s %s\t%s\n' "$mode" "$object" "$path"
			printf '%s\t%s\n' "$before" "$path" >&5
			updated=$(($updated + 1))
			;;
		esac
	done <"$work/diff" >|"$work/swap" 4>>"$work/wanted" 5>|"$work/removing" 6>|"$work/gone"
}

# both decides about one path that git could not. The stages say who has it:
# 1 is base, 2 the user, 3 the server; $entry is the last of them.
both() {
	case $stages in
	'' | 1) ;;
	13) printf '%s\n' "$before" >>"$work/absent.new" ;;
	*3) printf '%s\t%s\n' "$entry" "$before" >>"$work/wanted" ;;
	*) printf '%s\n' "$before" >>"$work/own.new" ;;
	esac
}

# look finds which of the wanted files are there already ($work/same), which
# can be written ($work/add), and which something else is in the way of
# ($work/clash: the entry, what blocks the way, the path).
look() {
	scratch look
	blank "$work/strange"
	test -s "$work/wanted" || {
		blank "$work/same"
		blank "$work/add"
		blank "$work/clash"
		return 0
	}
	g update-index --index-info <"$work/wanted" || return
	g -c core.fileMode=false update-index -q --refresh
	g -c core.fileMode=false diff-files >|"$work/differs" || return
	passed=
	while IFS=$tab read -r meta path; do
		printf '0 %s\t%s\n' "$zero" "$path" >&4
		rest=${meta#:}
		mode=${rest%% *}
		rest=${rest#* * }
		object=${rest%% *}
		# The last is where our own files are, when .git is the user's.
		if ! plain "$path" || test -z "${plain##.deployment-manager/*}"; then
			printf '%s\n' "$path" >>"$work/strange"
		elif blocked "$plain" || test -L "./$plain" || test -e "./$plain"; then
			printf '%s %s\t%s\n' "$mode" "$object" "$path" >&5
		else
			printf '%s %s\t%s\n' "$mode" "$object" "$path"
		fi
	done <"$work/differs" >|"$work/add" 4>|"$work/out" 5>|"$work/clash"
	g update-index --index-info <"$work/out" && g ls-files -s >|"$work/same"
}

# note keeps what is being written, $work/swap and $work/add, for the run after
# a crash.
note() {
	scratch writing
	g update-index --index-info <"$work/swap" && g update-index --index-info <"$work/add" && tree || return
	journal=$value
	g update-ref refs/deployment-manager/writing "$journal"
}

# stage writes the files of list $1 into a folder of our own. One that is half
# written, because the disk is full or the run is killed, never leaves it.
stage() {
	sweep
	test -s "$1" || return 0
	mkdir -p "$state/fresh" && scratch fresh && g update-index --index-info <"$1" || return
	GIT_WORK_TREE=$state/fresh
	writing checkout-index -q -a
	code=$?
	GIT_WORK_TREE=$folder
	return "$code"
}

# sweep deletes what stage wrote. The files in the user's folder stay: these are
# other names of them.
sweep() {
	test -d "$state/fresh" && test ! -L "$state/fresh" || return 0
	scratch fresh
	GIT_WORK_TREE=$state/fresh
	g clean -ffdxq
	GIT_WORK_TREE=$folder
	rmdir "$state/fresh"
}

# by_folder calls $1 with the files of list $2, as many of a folder, $place, at a
# time as a command can surely take.
by_folder() {
	call=$1
	list=$2
	place=
	set --
	while IFS=$tab read -r meta path; do
		plain "$path" || return
		case $plain in */*) dir=${plain%/*} ;; *) dir=. ;; esac
		if test "$dir" != "$place" || test "$#" -ge 100; then
			if test "$#" -gt 0; then "$call" "$@" </dev/null || return; fi
			place=$dir
			set --
		fi
		set -- "$@" "./$plain"
	done <"$list"
	if test "$#" -gt 0; then "$call" "$@" </dev/null; fi
}

# bring gives the staged files their places. A link, or a move on disks that know
# no links, comes as a whole or not at all, and not over another file.
bring() {
	passed=
	if blocked "$place/file"; then return 1; fi
	test -d "./$place" || mkdir -p "./$place" || return
	(cd "$state/fresh" && { ln -- "$@" "$folder/$place/" || mv -n -- "$@" "$folder/$place/"; })
}

# take moves files away.
take() {
	passed=
	if blocked "$place/file"; then return 1; fi
	mkdir -p "$state/taken/$place" || return
	mv -f -- "$@" "$state/taken/$place/"
	return 0
}

# exchange has files take the place of older ones, which come back if it fails.
exchange() {
	taking=$place
	take "$@" && bring "$@" || {
		put_back
		return 1
	}
	taking=
}

# drop deletes files, and the folder that they leave empty.
drop() {
	taking=$place
	take "$@" || return
	taking=
	test "$place" = . || rmdir -p -- "$place" 2>/dev/null
	return 0
}

# swap changes and deletes files that are as we put them. A file is moved away as
# a whole before the new one comes, and is looked at after that: so also what
# somebody saves at that moment is never overwritten or deleted.
swap() {
	blank "$work/add"
	test -s "$work/removing" || return 0
	scratch removing
	g update-index --index-info <"$work/removing" && tree && g update-ref refs/deployment-manager/removing "$value" || return
	note && stage "$work/swap" || return
	use "$state/index"
	g update-index --index-info <"$work/swap" && g update-index --index-info <"$work/gone" || return
	by_folder exchange "$work/swap" && by_folder drop "$work/gone" && salvage
}

# put_back ends an exchange that can not be finished.
put_back() {
	test -n "$taking" || return 0
	for file in "$state/taken/$taking"/* "$state/taken/$taking"/.[!.]*; do
		name=$taking/${file##*/}
		test -f "$file" && test ! -L "./$name" && test ! -e "./$name" && mv -- "$file" "./$name"
	done
	taking=
}

# salvage looks at what was moved away. What was saved there meanwhile goes back;
# the rest is deleted, by git, which looks once more.
salvage() {
	test -d "$state/taken" || return 0
	value rev-parse -q --verify 'refs/deployment-manager/removing^{tree}' || value=$empty
	taken=$value
	scratch taken
	GIT_WORK_TREE=$state/taken
	g read-tree "$taken" && {
		g update-index -q --refresh
		g diff-files --diff-filter=MT
	} >|"$work/differs"
	code=$?
	GIT_WORK_TREE=$folder
	test "$code" -eq 0 || return
	while IFS=$tab read -r meta path; do
		plain "$path" && give_back "$plain" </dev/null || return
	done <"$work/differs"
	GIT_WORK_TREE=$state/taken
	g read-tree -m -u "$taken" "$empty"
	code=$?
	GIT_WORK_TREE=$folder
	test "$code" -eq 0 || return
	rmdir "$state/taken" || test ! -d "$state/taken" || {
		# A folder that came where a file was.
		now && mv "$state/taken" "$folder/saved.$now"
	}
}

# give_back puts the user's file at path $1 where it was. Ours is there by now,
# and goes beside it, or another one of the user's, which stays.
give_back() {
	to=$1
	passed=
	blocked "$1"
	way=$blocked
	if test -n "$way" || test -L "./$1" || test -e "./$1"; then
		version "$1"
		object=
		if value rev-parse -q --verify "$journal:$1"; then object=$value; fi
		if test -z "$way" && test -f "./$1" && test ! -L "./$1" && value hash-object --no-filters -- "./$1" && test "$value" = "$object"; then
			free "$1" ''
			mv -- "./$1" "./$beside" || return
		else
			version=saved
			versioned=-
			free "$1" "$way"
			to=$beside
		fi
	fi
	case $to in */*) mkdir -p "./${to%/*}" || return ;; esac
	mv -- "$state/taken/$1" "./$to"
}

# free puts into $beside a name beside path $1 that nothing has.
free() {
	number=
	while :; do
		beside "$1" "$2" "${number:+.$number}"
		test -L "./$beside" || test -e "./$beside" || return 0
		number=$((${number:-1} + 1))
	done
}

# add writes the new files. What it can not write, settle finds.
add() {
	look && note || return
	use "$state/index"
	g update-index --index-info <"$work/same" && g update-index --index-info <"$work/add" || return
	while IFS= read -r line; do
		added=$(($added + 1))
	done <"$work/add"
	stage "$work/add" && by_folder bring "$work/add"
	return 0
}

# put_beside writes the server's version of each file that stays as the user
# left it. A copy that is there already, unchanged, is not written again; one
# that the user changed stays, and the new one gets a number.
put_beside() {
	blank "$work/kept.new"
	test -s "$work/clash" || return 0
	blank "$work/copies"
	versioned=-
	while IFS=$tab read -r meta path; do
		object=${meta#* }
		plain "$path"
		file=$plain
		version "$file" </dev/null
		passed=
		blocked "$file"
		way=$blocked
		number=
		while :; do
			beside "$file" "$way" "${number:+.$number}"
			if blocked "$beside"; then
				: # not here either
			elif test ! -L "./$beside" && test ! -e "./$beside"; then
				quoted "$beside"
				printf '%s\t%s\n' "$meta" "$quoted" >>"$work/copies"
				break
			elif test -f "./$beside" && test ! -L "./$beside" && value hash-object --no-filters -- "./$beside" </dev/null &&
				test "$value" = "$object"; then
				break
			fi
			number=$((${number:-1} + 1))
			test "$number" -gt 99 && break
		done
		quoted "$beside"
		printf '%s\t%s\n' "$path" "$quoted" >>"$work/kept.new"
	done <"$work/clash"
	stage "$work/copies" && by_folder bring "$work/copies"
}

# settle looks whether all was written, and makes the server's tree the base of
# the next run.
settle() {
	use "$state/index"
	g update-index -q --refresh
	g diff-files >|"$work/differs" || return
	if test -s "$work/differs"; then
		absorb "$journal" whole || return
		if test -s "$work/differs"; then return 1; fi
	fi
	value rev-parse -q --verify "$new^{tree}" && base=$value || return
	g update-ref refs/deployment-manager/base "$base" &&
		g update-ref refs/deployment-manager/delivered "$new" &&
		g update-ref -d refs/deployment-manager/writing &&
		g update-ref -d refs/deployment-manager/removing || return
	sweep
	return 0
}

# remember keeps the lists for SYNC.md over runs that find nothing new: what
# lies beside a file is told until it is gone.
remember() {
	for name in own absent; do
		if test -s "$work/$name.new"; then mv -f "$work/$name.new" "$work/$name"; else blank "$work/$name"; fi
	done
	blank "$work/out"
	if test -f "$state/kept"; then
		while IFS=$tab read -r path beside; do
			plain "$beside" && test -e "./$plain" && printf '%s\t%s\n' "$path" "$beside"
		done <"$state/kept" >|"$work/out"
	fi
	if test -s "$work/kept.new"; then
		while IFS=$tab read -r path beside; do
			known=
			while IFS= read -r line; do
				test "$line" = "$path$tab$beside" && known=1
			done <"$work/out"
			test -n "$known" || printf '%s\t%s\n' "$path" "$beside"
		done <"$work/kept.new" >|"$work/fresh"
		while IFS= read -r line; do printf '%s\n' "$line"; done <"$work/fresh" >>"$work/out"
	fi
	while IFS= read -r line; do printf '%s\n' "$line"; done <"$work/out" >|"$work/kept"
	mv -f "$work/out" "$state/kept"
	date -u '+%Y-%m-%d %H:%M:%S UTC' >|"$state/last"
}

# ---- The user's own repository ---------------------------------------------

# user_git runs git on .git with the user's settings of that repository, but
# nothing of it that could start a program.
user_git() {
	GIT_DIR=$folder/.git
	GIT_INDEX_FILE=$folder/.git/index
	g -c core.hooksPath=/dev/null -c core.fsmonitor=false -c core.bare=false -c gc.auto=0 "$@"
	code=$?
	GIT_DIR=$state
	GIT_INDEX_FILE=$state/index
	return "$code"
}

# follow keeps .git as a clone of the server's repository that has just been
# pulled, as long as the user has not used it for more than that.
follow() {
	branch=
	test "$state" = "$folder/.git/deployment-manager" || return 0
	if test ! -e .git/HEAD; then
		user_git -c init.defaultBranch=main init -q --template= &&
			user_git config remote.origin.url "$url" &&
			user_git config remote.origin.fetch '+refs/heads/*:refs/remotes/origin/*' &&
			user_git config branch.main.remote origin &&
			user_git config branch.main.merge refs/heads/main &&
			user_git config "credential.$address.helper" "$user_helper" || return
		mkdir -p .git/info && printf '%s\n' SYNC.md >|.git/info/exclude
	fi
	if ! user_git rev-parse --git-dir >|"$work/value"; then
		branch='git can not read the repository in this folder. The files are up to date all the same.'
		return
	fi
	stands=
	for name in rebase-merge rebase-apply MERGE_HEAD CHERRY_PICK_HEAD REVERT_HEAD BISECT_LOG; do
		if test -e ".git/$name"; then stands=1; fi
	done
	head=
	if user_git symbolic-ref -q HEAD >|"$work/value"; then read -r head <"$work/value"; fi
	if test -n "$stands" || test "$head" != refs/heads/main; then
		branch='You are on a branch of your own, or in the middle of a merge or rebase. The files are up to date; git still shows your branch.'
		return
	fi
	tip=$zero
	if user_git rev-parse -q --verify refs/heads/main >|"$work/value"; then read -r tip <"$work/value"; fi
	test "$tip" = "$new" && return
	if test "$tip" != "$zero" && test "$tip" != "$old" && ! g merge-base --is-ancestor "$tip" "$new"; then
		branch='You have commits of your own on main. The files are up to date; your branch stays where it is.'
		return
	fi
	borrow || return
	if test -e .git/index.lock && test -s "$state/user-index"; then discard .git/index.lock; fi
	if test "$tip" != "$zero" && ! user_git diff-index --cached --quiet "$tip" -- && ! user_git diff-index --cached --quiet "$new" --; then
		branch='You have staged changes. The files are up to date; your branch stays where it is until you commit or unstage them.'
		return
	fi
	echo busy >|"$state/user-index"
	user_git read-tree -i -m "$new" &&
		user_git update-ref -m 'deployment manager: bring up to date' refs/heads/main "$new" "$tip" &&
		user_git update-ref refs/remotes/origin/main "$new"
	blank "$state/user-index"
}

# borrow lets .git find our objects, so that they are on the disk once.
borrow() {
	if test -f .git/objects/info/alternates; then
		while IFS= read -r line; do
			test "$line" = ../deployment-manager/objects && return 0
		done <.git/objects/info/alternates
	fi
	mkdir -p .git/objects/info && echo ../deployment-manager/objects >>.git/objects/info/alternates
}

# ---- The run ---------------------------------------------------------------

# worker does everything; main only watches it.
worker() {
	child= told= folder= mine= complete= branch= taking=
	trap give_up TERM
	trap '' HUP INT PIPE
	isolate
	open
	parse
	identify
	lock
	case $? in
	1)
		folder= # whoever is at work writes SYNC.md
		finish 'nothing was done, because another run is at work.'
		;;
	2) finish 'nothing was done, because the folder can not be written to.' ;;
	esac
	prepare || finish 'nothing was done, because the folder can not be written to. Is the disk full, or read-only?'
	fetch || { again && fetch; } || finish "nothing was done, because $why."
	old=
	if value rev-parse -q --verify refs/deployment-manager/delivered; then old=$value; fi
	if ! update; then
		finish 'not everything could be done: a file was changed at the same moment, or the disk is full. Run it again.'
	fi
	complete=1
	remember
	follow
	summary
	finish "$summary"
}

# parse reads the address and the name.
parse() {
	test -n "${JUPYTERHUB_USER:-}" || finish 'nothing was done, because JUPYTERHUB_USER is not set.'
	case $JUPYTERHUB_USER in *"$newline"*) finish 'nothing was done, because the user name has a line end.' ;; esac
	address=${DM_GIT_URL:-http://deployment-manager-git:8099}
	address=${address%/}
	case $address in
	*[!A-Za-z0-9._~:/%@\[\]-]* | *@*) finish 'nothing was done, because DM_GIT_URL is no plain address.' ;;
	http://?* | https://?*) ;;
	*) finish 'nothing was done, because DM_GIT_URL is no plain address.' ;;
	esac
	authority=${address#*://}
	authority=${authority%%/*}
	encoded "$JUPYTERHUB_USER" || finish 'nothing was done, because the user name could not be read.'
	url=$address/jupyter-$encoded
}

# update tries until nothing is changed while it works, three times at most.
update() {
	find_base && recover || return
	if test -n "$pulled"; then absorb "$pulled" '' || return; fi
	added=0 updated=0 removed=0
	value rev-parse -q --verify "$new^{tree}" || return
	if test "$value" = "$base" && test -z "$journal"; then
		for name in kept own absent; do blank "$work/$name.new"; done
		test "$new" = "$old" || g update-ref refs/deployment-manager/delivered "$new"
		return
	fi
	for attempt in 1 2 3; do
		added=0 updated=0 removed=0
		compare || return
		merge || return
		if swap && add && put_beside && settle; then return 0; fi
		recover || return
	done
	return 1
}

summary() {
	summary='up to date'
	test "$added" -gt 0 && summary="$summary; $added new"
	test "$updated" -gt 0 && summary="$summary; $updated updated"
	test "$removed" -gt 0 && summary="$summary; $removed removed"
	if test -s "$work/kept.new"; then summary="$summary; some of your files were kept, see SYNC.md"; fi
	summary=$summary.
}

# stop ends git and the work when the time is over.
give_up() {
	test -z "$told" || return 0
	trap '' TERM
	if test -n "$child"; then
		family "$child"
		kill -TERM $family
		(
			sleep 1
			kill -KILL $family
		) >/dev/null 2>&1 &
		nap=$!
		wait "$child"
		kill -KILL $family # what is left of it
		family "$nap"
		kill -TERM $family
	fi
	put_back
	finish 'it was stopped before it was done, because it took too long or was interrupted. Set DM_SYNC_SECONDS to give it more time.'
} 2>/dev/null

# timer ends the worker $1, which began at $2, after $3 seconds, and wakes main.
# It must hold none of main's files open: who started main may wait for that.
timer() {
	sleep "$3"
	same "$1" "$2" && kill -TERM "$1"
	sleep 2
	if same "$1" "$2"; then
		family "$1"
		kill -KILL $family
	fi
	kill -USR1 "$$"
}

# same tells whether process $1 is still the one that began at $2.
same() {
	if test -n "$2"; then is "$1" "$2"; else kill -0 "$1"; fi
}

main() {
	trap 'exit 0' EXIT
	# A file must not be opened under the number of a closed output.
	{ : >&1; } 2>/dev/null || exec >/dev/null
	{ : >&2; } 2>/dev/null || exec 2>/dev/null
	trap 'late=1' USR1
	trap 'kill -TERM "$job" 2>/dev/null' HUP INT TERM
	job= late=
	if ! command -v git >/dev/null 2>&1; then
		echo 'apps-notebooks: nothing was done, because git is not installed.'
		exit 0
	fi
	seconds=${DM_SYNC_SECONDS:-30}
	case $seconds in *[!0-9]* | '' | ??????*) seconds=30 ;; esac
	seconds=${seconds#"${seconds%%[!0]*}"}
	test "${seconds:-0}" -ge 5 || seconds=5
	now 2>/dev/null || now=0
	deadline=$(($now + $seconds))
	worker </dev/null &
	job=$!
	starttime "$job"
	timer "$job" "$started" "$(($seconds - 3))" </dev/null >/dev/null 2>&1 &
	watch=$!
	while :; do
		wait "$job" 2>/dev/null
		code=$?
		test -n "$late" && break
		same "$job" "$started" 2>/dev/null || break
	done
	exec 2>/dev/null # bash tells of each process that was killed
	family "$watch"
	kill -KILL $family
	test "$code" -eq 0 || echo 'apps-notebooks: interrupted.'
	exit 0
}

main
