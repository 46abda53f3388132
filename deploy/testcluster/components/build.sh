#!/bin/sh
# build.sh OUT: builds the components of the test cluster into the folder OUT.
# The versions are stamped, or the servers call themselves v0.0.0-master.
set -eu
out=$1
cd "$(dirname "$0")"
export CGO_ENABLED=0 GOFLAGS=-trimpath
kubernetes=$(go list -m -f '{{.Version}}' k8s.io/kubernetes)
minor=${kubernetes#v1.}
stamp="-s -w"
for package in k8s.io/component-base/version k8s.io/client-go/pkg/version; do
	stamp="$stamp -X $package.gitVersion=$kubernetes -X $package.gitMajor=1 -X $package.gitMinor=${minor%%.*} -X $package.gitTreeState=clean"
done
go build -ldflags "$stamp" -o "$out/components" .
# kwok is a program of its own: in one process its "version" flag clashes with Kubernetes'.
go build -ldflags '-s -w' -o "$out/kwok" sigs.k8s.io/kwok/cmd/kwok
for name in etcd kube-apiserver kube-controller-manager kube-scheduler kube-proxy kubectl kubelet; do
	ln -sf components "$out/$name"
done
