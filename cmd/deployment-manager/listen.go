package main

import (
	"errors"
	"net"
	"syscall"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/apihandlers"
)

// doors are the three open listeners. They are opened before the record, so
// that a port conflict is told at once and not after a long recovery.
type doors struct{ packages, manager, git net.Listener }

// knobs names, for messages, what a person changes to move a door.
type knobs struct{ packages, manager, git string }

var serveKnobs = knobs{"--listen-packages or DM_LISTEN_PACKAGES", "--listen-manager or DM_LISTEN_MANAGER", "--listen-git or DM_LISTEN_GIT"}

func openDoors(c config, k knobs) (doors, error) {
	var d doors
	for _, door := range []struct {
		to            *net.Listener
		address, knob string
	}{
		{&d.packages, c.ListenPackages, k.packages},
		{&d.manager, c.ListenManager, k.manager},
		{&d.git, c.ListenGit, k.git},
	} {
		listener, err := net.Listen("tcp", door.address)
		if err != nil {
			d.close()
			return doors{}, listenError(door.address, door.knob, err)
		}
		*door.to = listener
	}
	return d, nil
}

// counted makes every door count its connections among those of all.
func (d doors) counted(all *apihandlers.Connections, plain bool) doors {
	return doors{all.Listen(d.packages, plain), all.Listen(d.manager, plain), all.Listen(d.git, plain)}
}

// close is safe to call again and on doors that were never opened.
func (d doors) close() {
	for _, listener := range []net.Listener{d.packages, d.manager, d.git} {
		if listener != nil {
			listener.Close()
		}
	}
}

func listenError(address, knob string, err error) error {
	const op = "listen"
	host, port, _ := net.SplitHostPort(address)
	if host == "" {
		host = "every address"
	}
	var e *dm.Error
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		e = dm.Errorf(dm.Unavailable, op, "port %s on %s is in use", port, host)
	case errors.Is(err, syscall.EACCES):
		e = dm.Errorf(dm.Unavailable, op, "permission denied: port %s on %s", port, host)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		e = dm.Errorf(dm.Unavailable, op, "this machine has no address %s", host)
	default:
		e = dm.Errorf(dm.Unavailable, op, "cannot listen on %s: %v", address, err)
	}
	return e.Because(err).WithHint("choose another with %s", knob)
}
