# What a person needs of this project: Go, git, make and a C compiler (for the
# race detector). Everything else is fetched by the go command on first use.

BIN := bin/deployment-manager
PORT_PACKAGES ?= 8888
PORT_MANAGER ?= 5000
PORT_GIT ?= 8099
export PORT_PACKAGES PORT_MANAGER PORT_GIT

# A clone that belongs to another user keeps git from naming the commit.
VCS := $(shell git rev-parse HEAD >/dev/null 2>&1 && echo auto || echo false)
# The checks read it all the same: a list that stays empty would pass.
READ := git -c safe.directory='*'

.PHONY: help build image examples demo run test test-crash test-long test-root test-image test-kubernetes test-jupyterhub test-engines e2e bench demo-kubernetes demo-kubernetes-down check format vet static tree clean $(BIN)

help: ## List these targets
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | while IFS="$$(printf '\t')" read -r name text; do printf '  make %-15s %s\n' "$$name" "$$text"; done

build: $(BIN) ## Put the programs at bin/deployment-manager, -hook and -sync

$(BIN):
	@test -x $(BIN) || echo 'building; the first time this downloads modules and takes a minute'
	@go build -buildvcs=$(VCS) -o $(dir $(BIN)) ./cmd/...

image: ## Put the server's image at bin/deployment-manager-image.tar, without Docker
	@echo 'making the image; the first time this downloads modules and Debian packages and takes a minute'
	@cd deploy/image && go build -buildvcs=$(VCS) -o ../../bin/image .
	@bin/image -refresh -checkout . -out bin/deployment-manager-image.tar

examples: ## Write the archives of the example packages to example-pnda-apps/
	@go run ./deploy/examples/write example-pnda-apps

demo: build ## Play the walk-through on a server of its own, then remove it
	@./$(BIN) demo

demo-kubernetes: ## Run a Spark job on a cluster of its own, from an upload to its end; needs root
	@cd deploy/testcluster && go build -buildvcs=$(VCS) -o ../../bin/demo-kubernetes ./demo && ../../bin/demo-kubernetes up

demo-kubernetes-down: ## End that cluster
	@cd deploy/testcluster && go build -buildvcs=$(VCS) -o ../../bin/demo-kubernetes ./demo && ../../bin/demo-kubernetes down

run: build ## Keep a server running on ./data that believes every caller on this machine
	@./$(BIN) serve --data data --auth insecure-pnda --listen-packages 127.0.0.1:$(PORT_PACKAGES) \
		--listen-manager 127.0.0.1:$(PORT_MANAGER) --listen-git 127.0.0.1:$(PORT_GIT)

# Tests wait for disks and other programs for half of their time, so more of them
# at once than there are processors. The bench measures a server that it builds,
# of which go test does not know.
test: ## Run all tests with the race detector
	@echo 'testing; the first time this downloads modules and compiles them with the race detector'
	@go test -race -parallel 4 -timeout 20m ./...
	@cd deploy/bench && go test -count=1 -race -timeout 10m ./...

# Samples for which make check has time; make test-long has more.
KILLS ?= 20
UPDATES ?= 500
ROUNDS ?= 10

# Without the race detector, with which make test runs a part of each: at twice
# the speed there is more to be killed, and twice as much of it.
test-crash: ## Kill the server at every named step, push what is hostile
	@echo 'testing what $(KILLS) kills and more leave; some minutes'
	@DM_TEST_KILLS=$(KILLS) go test -count=1 -timeout 20m -run '^Test(Failpoints|RandomKills|Killed|Orphan)' ./cmd/deployment-manager
	@echo 'pushing all that is hostile, asking everything as everybody; a minute or two'
	@DM_TEST_HOSTILE=all go test -count=1 -timeout 20m -run '^Test(Hostile|Harmless|Access)' ./cmd/deployment-manager
	@echo 'killing the sync program, and changing what it works on; half a minute'
	@DM_TEST_ROUNDS=$(ROUNDS) go test -count=1 -timeout 40m -run '^Test(Killed|AnyChanges|Each)' ./plugins/jupyter/sync
	@echo 'testing $(UPDATES) changes, and reads, beside maintenance; a minute or two'
	@DM_TEST_UPDATES=$(UPDATES) go test -count=1 -timeout 20m -v -run '^Test(RefsAreLinearizable|ReadersSee)' ./gitstore

test-long: ## Run test-crash with 200 kills and 2,000 changes, the sync program 10,000 times, a server with 1,000 applications on a cluster
	@$(MAKE) -s test-crash KILLS=200 UPDATES=2000 ROUNDS=1700
	@cd deploy/testcluster && DM_TEST_APPLICATIONS=1000 DM_TEST_KILLS=100 go test -count=1 -v -timeout 60m -run '^TestServer' ./kube

# Mounts and processes of their own: all end with the tests, however those end.
ALONE := unshare --mount --pid --fork --kill-child --mount-proc

test-root: ## Cut the power, fill and fail the disk below the server, and users' homes; needs root
	@echo 'testing what power cuts and failing disks leave; some minutes'
	@alone='$(ALONE)'; $$alone true 2>/dev/null || alone=; \
	DM_TEST_ROOT=$${DM_TEST_ROOT:-1} $$alone go test -count=1 -timeout 20m -run '^TestRoot' ./cmd/deployment-manager ./plugins/jupyter/sync

test-image: ## Run the image, the script in every shell, build the Dockerfile; needs root
	@echo 'testing the image; a minute or two'
	@cd deploy/image && DM_TEST_DOCKERFILE=1 go test -count=1 -timeout 20m && go test -count=1 -timeout 10m ./debian

test-kubernetes: ## Install the chart on a real Kubernetes control plane
	@echo 'testing the chart, and what runs on clusters, on control planes of their own; about two minutes'
	@cd deploy/testcluster && go run ./prepare >/dev/null && go test -count=1 -timeout 20m . ./chart ./kube

test-jupyterhub: ## Sign in at a real JupyterHub, have KubeSpawner make pods, run notebooks with Spark
	@echo 'testing with a real JupyterHub and Spark, about 2 minutes; the first time this fetches them and builds Kubernetes'
	@cd deploy/testcluster/jupyterhub/environment && { folder=$$(./build.sh) && ./spark.sh "$$folder" >/dev/null; } || [ $$? -eq 3 ]
	@cd deploy/testcluster && go run ./prepare >/dev/null && go test -count=1 -v -timeout 25m ./jupyterhub

e2e: ## Install the chart on a real kubelet and containerd, alone in namespaces; needs root
	@echo 'installing the chart on a node of its own; the first time this builds Kubernetes and takes 10 minutes'
	@cd deploy/testcluster && go run ./prepare >/dev/null && go test -count=1 -timeout 20m ./node && go test -count=1 -v -timeout 25m ./e2e

test-engines: ## Run jobs of Spark on a real kubelet, with its operator and without; needs root
	@echo 'running jobs of Spark on a node of its own, about 6 minutes; the first time this fetches Spark and builds Kubernetes'
	@cd deploy/testcluster && go run ./prepare >/dev/null && go test -count=1 -v -timeout 40m ./engines

bench: build ## Measure the server beside plain git and files; at most 15 minutes
	@cd deploy/bench && go build -buildvcs=$(VCS) -o ../../bin/bench .
	@bin/bench -server $(BIN)

# Those after test wait a lot, for disks and for other programs, so two at a
# time: first the one that computes beside those that wait. Jobs of Spark take all that
# there is.
check: ## Everything that must hold before a change is pushed
	@before=$$($(MAKE) -s tree) && \
	$(MAKE) -s format vet static test && \
	$(MAKE) -s -j2 test-crash e2e test-jupyterhub test-kubernetes test-image test-root && \
	$(MAKE) -s test-engines && \
	after=$$($(MAKE) -s tree) && \
	if [ "$$before" != "$$after" ]; then echo 'the checks changed files of the working tree; see git status' >&2; exit 1; fi
	@echo 'check: all well'

format:
	@echo 'check: format'
	@all=$$($(READ) ls-files -co --exclude-standard -- '*.go') && files=$$(gofmt -l $${all:?no files}) && \
	if [ -n "$$files" ]; then echo "not formatted, run gofmt -w on: $$files" >&2; exit 1; fi

# Not deploy/testcluster/components: that is one small file which compiles all of
# Kubernetes, and the tests run what it makes.
vet:
	@echo 'check: go vet'
	@go vet ./...
	@cd deploy/bench && go vet ./...
	@cd deploy/image && go vet ./...
	@cd deploy/testcluster && go vet ./...

static:
	@echo 'check: staticcheck'
	@go tool staticcheck ./...
	@tool=$$(go tool -n staticcheck) && for module in bench image testcluster; do (cd deploy/$$module && "$$tool" ./...) || exit 1; done

# Of files that git does not know yet the content counts too.
tree:
	@$(READ) status --porcelain -uall && \
	{ $(READ) diff HEAD && $(READ) ls-files -zo --exclude-standard | xargs -0r cksum; } | cksum

clean: ## Remove what the targets made, but not ./data
	@rm -rf bin example-pnda-apps
