package main

import (
	"log/slog"
	"net/netip"
	"syscall"

	"github.com/prometheus/client_golang/prometheus"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/apihandlers"
)

// How the files that the process may have open are shared out. At rest the
// server has 15 open; an upload takes some five, a git process three. What
// connections may not take is for those, so that no client can spend what a
// change needs.
const (
	leastDescriptors    = 64   // fewer, and nothing is certain to go through
	reservedDescriptors = 56   // never given to connections
	amplyDescriptors    = 1024 // fewer are told at the start
	mostConnections     = 4096 // where there are plenty; each costs memory too
)

// descriptorLimit is how many files this process may have open. The Go runtime
// has raised it to what the system allows at most.
func descriptorLimit() uint64 {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return amplyDescriptors // the least that is usual
	}
	return limit.Cur
}

// shareDescriptors says how many connections there may be in all and of one
// address.
func shareDescriptors(cfg config, limit uint64, log *slog.Logger) (all, perAddress int, err error) {
	const op = "share descriptors"
	if limit < leastDescriptors {
		return 0, 0, dm.Errorf(dm.Unavailable, op, "the limit of open files is %d, and the server needs %d", limit, leastDescriptors).
			WithHint("raise the limit, for example with 'ulimit -n 4096'")
	}
	all = int(min(mostConnections, limit-max(reservedDescriptors, limit/2)))
	if cfg.LimitConnections > 0 {
		all = cfg.LimitConnections
	}
	if uint64(all) > limit-reservedDescriptors {
		return 0, 0, dm.Errorf(dm.Invalid, op, "limits.connections is %d, but of the limit of %d open files the server itself needs %d", all, limit, reservedDescriptors).
			WithHint("raise the limit of open files, or set limits.connections to at most %d", limit-reservedDescriptors)
	}
	perAddress = max(1, all/4)
	if cfg.LimitPerAddress > 0 {
		perAddress = cfg.LimitPerAddress
	}
	if limit < amplyDescriptors {
		log.Warn("the limit of open files is low, so few connections are served at a time", "files", limit, "connections", all)
	}
	return all, perAddress, nil
}

// fetchesFor is how many git processes may serve fetches, or pushes, at a time, 0
// for as many as usual: each takes ten files for a moment when it starts.
func fetchesFor(connections int, limit uint64) int {
	const atRest, each, plenty = 24, 10, 64
	if n := (int(min(limit, 1<<20)) - connections - atRest) / each; n < plenty {
		return max(1, n/2) // the other half is for the processes of changes
	}
	return 0
}

// buildConnections bounds what clients may have open. Who comes from this
// machine, or through a proxy that was named, is not one client.
func buildConnections(cfg config, limit uint64, proxies *apihandlers.Proxies, registry prometheus.Registerer, log *slog.Logger) (*apihandlers.Connections, error) {
	all, perAddress, err := shareDescriptors(cfg, limit, log)
	if err != nil {
		return nil, err
	}
	return apihandlers.NewConnections(apihandlers.ConnectionsConfig{
		Most: all, PerAddress: perAddress, Registerer: registry,
		Free: func(ip netip.Addr) bool { return ip.IsLoopback() || proxies.Trusts(ip) },
	})
}
