package testcluster

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// home is one thread of this process, in the cluster's network namespace, that
// lives as long as the cluster. Programs are started from it, for two reasons:
// a child gets the namespace of the thread that starts it, and the kernel's
// "end with your parent" means that thread and not the process.
type home struct {
	calls chan func()
	quit  chan struct{}
	ended chan struct{}
}

var errStopped = errors.New("the cluster is stopped")

// newHome enters the network namespace in the file, or stays where it is when
// the name is empty.
func newHome(namespace string) (*home, error) {
	h := &home{calls: make(chan func()), quit: make(chan struct{}), ended: make(chan struct{})}
	entered := make(chan error)
	go func() {
		defer close(h.ended)
		runtime.LockOSThread() // never unlocked: the thread ends with this function
		err := enter(namespace)
		entered <- err
		if err != nil {
			return
		}
		for {
			select {
			case call := <-h.calls:
				call()
			case <-h.quit:
				return
			}
		}
	}()
	return h, <-entered
}

func enter(namespace string) error {
	if namespace == "" {
		return nil
	}
	file, err := os.Open(namespace)
	if err != nil {
		return fmt.Errorf("network namespace: %w", err)
	}
	defer file.Close()
	if err := unix.Setns(int(file.Fd()), unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("enter network namespace %s: %w", namespace, err)
	}
	return nil
}

// do runs the function on the thread and waits for it.
func (h *home) do(call func() error) error {
	fault := make(chan error, 1)
	select {
	case h.calls <- func() { fault <- call() }:
		return <-fault
	case <-h.quit:
		return errStopped
	}
}

// dial connects from inside the namespace. The address must be numeric: looking
// up a name would leave the thread.
func (h *home) dial(ctx context.Context, network, address string) (conn net.Conn, err error) {
	err = h.do(func() (err error) {
		conn, err = new(net.Dialer).DialContext(ctx, network, address)
		return err
	})
	return conn, err
}

// freeAddress finds a port of loopback that nobody listens on now.
func (h *home) freeAddress() (address string, err error) {
	err = h.do(func() error {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		address = listener.Addr().String()
		return listener.Close()
	})
	return address, err
}

func (h *home) close() {
	close(h.quit)
	<-h.ended
}
