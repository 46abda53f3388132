package main

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/pndaproject/deployment-manager/apihandlers"
)

// part is one long-lived piece of the server. run works until its context
// ends and then returns nil.
type part struct {
	name string
	run  func(context.Context) error
}

// runStages starts the stages in order and stops them in the opposite order,
// each only when the one above it has ended: doors close before the workers
// behind them. It stops when ctx ends or when any part ends by itself.
func runStages(ctx context.Context, stages [][]part, started, stopping func()) error {
	failed := make(chan error, 1)
	stops := make([]func() error, 0, len(stages))
	for _, stage := range stages {
		stops = append(stops, startStage(stage, failed))
	}
	started()
	var errs []error
	select {
	case <-ctx.Done():
	case err := <-failed:
		errs = append(errs, err)
	}
	stopping()
	for i := len(stops) - 1; i >= 0; i-- {
		errs = append(errs, stops[i]())
	}
	return errors.Join(errs...)
}

// startStage starts every part of a stage and returns what stops them and
// waits. The first part that ends unasked is told to failed.
func startStage(stage []part, failed chan<- error) (stop func() error) {
	ctx, cancel := context.WithCancel(context.Background())
	results := make([]error, len(stage))
	var wait sync.WaitGroup
	for i, p := range stage {
		wait.Go(func() {
			err := p.run(ctx)
			if ctx.Err() != nil {
				results[i] = err
				return
			}
			if err == nil {
				err = errors.New(p.name + " stopped unexpectedly")
			}
			select {
			case failed <- err:
			default: // another part was first, and one is enough to stop
			}
		})
	}
	return func() error {
		cancel()
		wait.Wait()
		return errors.Join(results...)
	}
}

// How long requests may go on after the doors are closed, and how long
// handlers have to notice that their time is over.
const (
	requestGrace = 10 * time.Second
	handlerGrace = 3 * time.Second
)

// door serves one listener as a part: when its context ends it takes no new
// connection, lets running requests end, and cuts those that do not.
func door(name string, listener net.Listener, handler http.Handler, state func(net.Conn, http.ConnState), log *slog.Logger) part {
	return part{name: name, run: func(ctx context.Context) error {
		var running sync.WaitGroup
		server := apihandlers.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			running.Add(1)
			defer running.Done()
			handler.ServeHTTP(w, r)
		}), log)
		server.ConnState = state
		ended := make(chan error, 1)
		go func() { ended <- server.Serve(listener) }()
		select {
		case err := <-ended:
			return err
		case <-ctx.Done():
		}
		grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), requestGrace)
		defer cancel()
		if err := server.Shutdown(grace); err != nil {
			server.Close()
			waitAtMost(&running, handlerGrace)
		}
		<-ended
		return nil
	}}
}

func waitAtMost(wait *sync.WaitGroup, d time.Duration) {
	done := make(chan struct{})
	go func() { wait.Wait(); close(done) }()
	select {
	case <-done:
	case <-time.After(d):
	}
}
