#!/bin/bash
# Makes a small data folder in which everything happened once that a server of a
# format records, over its REST and git interfaces, and clones of it that were
# made before the end. Usage: make-folder.sh SERVER FILE.tar.gz
# SERVER is the program deployment-manager of that version.
set -euo pipefail
server=$(realpath "$1") out=$(realpath -m "$2")
work=$(mktemp -d)
pid=
trap '[ -z "$pid" ] || kill "$pid"; rm -rf "$work"' EXIT
cd "$work"
mkdir -p folder/clones packages
data=$work/folder/data

export HOME=$work GIT_CONFIG_NOSYSTEM=1 GIT_CONFIG_GLOBAL=/dev/null GIT_TERMINAL_PROMPT=0 LC_ALL=C TZ=UTC NO_PROXY='*'
export GIT_AUTHOR_NAME='a laptop' GIT_AUTHOR_EMAIL=me@laptop GIT_COMMITTER_NAME='a laptop' GIT_COMMITTER_EMAIL=me@laptop
export GIT_AUTHOR_DATE='2024-01-06T09:00:00Z' GIT_COMMITTER_DATE='2024-01-06T09:00:00Z'

serve() { # OPTION...
  "$server" serve --data "$data" --auth insecure-pnda --groups '{admin: [root], publisher: [ana]}' --log-format json \
    --listen-packages 127.0.0.1:0 --listen-manager 127.0.0.1:0 --listen-git 127.0.0.1:0 "$@" 2>log &
  pid=$!
  until grep -q '"msg":"ready"' log; do kill -0 "$pid"; sleep 0.05; done
  read -r packages manager git < <(sed -n 's|.*"msg":"ready","packages":"\([^"]*\)","manager":"\([^"]*\)","git":"\([^"]*\)".*|\1 \2 \3|p' log)
}
shutdown() { kill "$pid"; wait "$pid"; pid=; }

ask() { # CODE METHOD URL [BODY]
  local code
  code=$(curl -sS -o answer -w '%{http_code}' -X "$2" "http://$3" ${4:+--data-binary "$4"})
  [ "$code" = "$1" ] || { echo "$2 $3: want $1, got $code: $(cat answer)" >&2; exit 1; }
}
until_is() { # APPLICATION STATE
  local n
  for n in {1..400}; do
    ask 200 GET "$manager/applications/$1/status"
    if grep -q "\"status\":\"$2\"" answer; then return; fi
    sleep 0.05
  done
  echo "$1 does not get $2: $(cat answer)" >&2; exit 1
}

component() { # FOLDER NAME TITLE
  mkdir -p "$1/$2/data"
  printf '{"cells":[{"cell_type":"markdown","id":"a","metadata":{},"source":["%s, ${component_topic} for ${application_user}"]}],"metadata":{},"nbformat":4,"nbformat_minor":5}\n' "$3" >"$1/$2/$2.ipynb"
  printf '{"topic": "flows", "limit": 3}\n' >"$1/$2/properties.json"
  printf 'a,b\r\n1,2\r\n' >"$1/$2/data/rows.csv"
}
archive() { # ID, of packages/ID, to ID.tar.gz
  tar -C packages --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner -c "$1" | gzip -n >"$1.tar.gz"
}
upload() { ask 200 PUT "$packages/packages/$2?user.name=$1&reason=it%20is%20ready" "@${3:-$2}"; } # USER FILE [CONTENT]
deploy() { ask 202 PUT "$manager/packages/$2?user.name=$1"; }                              # USER ID

for id in flow-report-{1.0.0,1.1.0,1.2.0,1.3.0,2.0.0} Word_Maps-{0.1.0,0.2.0}; do
  component "packages/$id/jupyter" report "The report of $id"
done
component packages/Word_Maps-0.2.0/jupyter words "The words"
mkdir -p packages/flow-report-2.0.0/sparkStreaming/count packages/empty-1.0.0
printf '{"main_py": "job.py"}\n' >packages/flow-report-2.0.0/sparkStreaming/count/properties.json
printf 'pass\n' >packages/flow-report-2.0.0/sparkStreaming/count/job.py
for name in application log4j; do printf "[]\n" >packages/flow-report-2.0.0/sparkStreaming/count/$name.properties; done
printf 'nothing\n' >packages/empty-1.0.0/README
for id in flow-report-{1.0.0,1.1.0,1.3.0,2.0.0} Word_Maps-{0.1.0,0.2.0} empty-1.0.0; do archive "$id"; done

serve --packages-versions immutable
# Versions: uploaded, pushed, withdrawn; deployed, failed, undeployed.
upload ana flow-report-1.0.0.tar.gz
upload ana flow-report-1.1.0.tar.gz
upload ana flow-report-1.3.0.tar.gz
upload ben Word_Maps-0.1.0.tar.gz
upload ben Word_Maps-0.2.0.tar.gz
upload ben empty-1.0.0.tar.gz
ask 200 DELETE "$packages/packages/flow-report-1.3.0.tar.gz?user.name=ana&reason=too%20early"
git init -q -b main laptop
cp -r packages/flow-report-1.2.0/. laptop
git -C laptop add -A
git -C laptop commit -q -m 'A version'
git -C laptop tag v1.2.0
git -C laptop push -q "http://ana:any@$git/packages/flow-report.git" v1.2.0
cp -r packages/flow-report-2.0.0/. laptop
git -C laptop add -A
git -C laptop commit -q -m 'With a stream'
git -C laptop tag 2.0.0
git -C laptop push -q -o accept-faults "http://ana:any@$git/packages/flow-report.git" 2.0.0
git clone -q "http://$git/packages/flow-report.git" folder/clones/flow-report
for id in flow-report-{1.0.0,1.1.0,1.2.0,2.0.0} empty-1.0.0 never-1.0.0; do deploy ana "$id"; done
deploy ben Word_Maps-0.1.0
deploy ben Word_Maps-0.2.0
ask 202 DELETE "$manager/packages/Word_Maps-0.1.0?user.name=ben"

# An application that two users have: changed, failed to change, started, stopped, rolled back.
v1=$manager/api/v1/applications
ask 202 PUT "$manager/applications/noon-run?user.name=ana" '{"package":"flow-report-1.0.0","jupyter":{"report":{"limit":5}}}'
until_is noon-run CREATED
git clone -q "http://$git/jupyter-ana" folder/clones/jupyter-ana
git clone -q "http://ana:any@$git/applications/noon-run.git" folder/clones/noon-run
ask 202 POST "$manager/applications/noon-run/start?user.name=ana"
until_is noon-run STARTED
ask 202 PUT "$v1/noon-run?user.name=ana" '{"package":"flow-report-1.1.0","audience":["user:ana","user:ben"],"reason":"ben wants it"}'
until_is noon-run STARTED
ask 202 PUT "$v1/noon-run?user.name=ana" '{"package":"flow-report-2.0.0"}'
until_is noon-run STARTED
ask 202 POST "$manager/applications/noon-run/stop?user.name=ana"
until_is noon-run CREATED
ask 202 POST "$v1/noon-run/rollback?user.name=ana" '{"to":1,"reason":"too long"}'
until_is noon-run CREATED
ask 202 POST "$manager/applications/noon-run/start?user.name=ana"
until_is noon-run STARTED

# One that a push made and changed, with two components.
git init -q -b main push
printf '{"package":"Word_Maps-0.2.0"}\n' >push/application.json
git -C push add -A
git -C push commit -q -m 'A wish'
git -C push push -q "http://carl:any@$git/applications/pushed.git" main
until_is pushed CREATED
git -C push pull -q --ff-only "http://carl:any@$git/applications/pushed.git" main
sed -i 's/"overrides": {}/"overrides": {"jupyter": {"words": {"topic": "words"}}}/' push/application.json
git -C push commit -q -a -m 'Another wish'
git -C push push -q "http://carl:any@$git/applications/pushed.git" main
until_is pushed CREATED

# One that failed, one that was destroyed and has a second life of somebody else.
ask 202 PUT "$manager/applications/Failed?user.name=ben" '{"package":"flow-report-2.0.0"}'
until_is Failed NOTCREATED
for user in ben carl; do
  ask 202 PUT "$manager/applications/second?user.name=$user" '{"package":"flow-report-1.2.0"}'
  until_is second CREATED
  ask 202 DELETE "$manager/applications/second?user.name=$user"
  until_is second NOTCREATED
done
ask 202 PUT "$manager/applications/second?user.name=carl" '{"package":"flow-report-1.1.0"}'
until_is second CREATED

# A change that could not be carried out, and was overtaken.
touch "$data/users/eva.git"
ask 202 PUT "$manager/applications/overtaken?user.name=ana" '{"package":"flow-report-1.0.0"}'
until_is overtaken CREATED
ask 202 PUT "$v1/overtaken?user.name=ana" '{"audience":["user:ana","user:eva"]}'
until grep -q '"msg":"change will be tried again"' log; do kill -0 "$pid"; sleep 0.05; done
ask 202 PUT "$v1/overtaken?user.name=ana" '{"audience":["user:ana","user:carl"]}'
rm "$data/users/eva.git"
until_is overtaken CREATED

# A workspace that is swept.
ask 202 PUT "$manager/applications/short?user.name=dora" '{"package":"flow-report-1.0.0"}'
until_is short CREATED
git clone -q "http://$git/jupyter-dora" folder/clones/jupyter-dora
ask 202 DELETE "$manager/applications/short?user.name=dora"
until_is short NOTCREATED
shutdown
serve --sweep-after 1s --maintenance 1s
for n in {1..400}; do
  if ! [ -e "$data/users/dora.git" ]; then break; fi
  sleep 0.05
done
[ ! -e "$data/users/dora.git" ]
shutdown

# Other bytes under a published version; and what came after the refs were packed.
serve --packages-versions replace
component packages/flow-report-1.0.0/jupyter more 'One more'
archive flow-report-1.0.0
upload ana flow-report-1.0.0.tgz flow-report-1.0.0.tar.gz
ask 202 DELETE "$manager/packages/flow-report-1.0.0?user.name=ana"
deploy ana flow-report-1.0.0
ask 202 POST "$manager/applications/noon-run/stop?user.name=ana&reason=the%20end"
until_is noon-run CREATED
shutdown
"$server" verify --data "$data"

rm -rf "$data"/{hooks,tmp,lock}
find folder -name '*.sample' -delete
tar -C folder --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner -c clones data | gzip -n9 >"$out"
