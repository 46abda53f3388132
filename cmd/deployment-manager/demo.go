package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	dm "github.com/pndaproject/deployment-manager"
)

// demoTime bounds the whole walk-through; it takes a few seconds.
const demoTime = 60 * time.Second

var demoKnobs = knobs{"PORT_PACKAGES", "PORT_MANAGER", "PORT_GIT"}

func demoCommand(p process) *cobra.Command {
	keep := false
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Play the walk-through on a server of its own",
		Long: `Starts a server on 127.0.0.1 with an empty data folder, uploads an example
package, creates an application from it and clones its notebooks; publishes a new
version and moves the application to it with git push; shows a push that is
refused; rolls back; gives the application to a class of which one comes late;
and tells who did what, when and why. Every step is printed as the command that a
person would type, and checked.

The ports are 8888, 5000 and 8099; the variables PORT_PACKAGES, PORT_MANAGER and
PORT_GIT change them.`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
			defer stop()
			return demo(ctx, p, keep)
		},
	}
	cmd.Flags().BoolVar(&keep, "keep", false, "keep the data folder of the walk-through")
	return cmd
}

// demoConfig is the server of the walk-through: PNDA's trust, this machine
// only, everything else as the defaults are.
func demoConfig(data string, environ []string) (config, error) {
	cfg := config{}
	for _, o := range options() {
		if err := o.field(&cfg).Set(o.preset); err != nil {
			return cfg, dm.Wrap("demo", err)
		}
	}
	cfg.Data, cfg.Auth = data, dm.InsecurePNDA
	cfg.Groups = map[string][]string{dm.PublisherGroup: {demoUser}, demoGroup: {demoUser, demoAuthor, demoLate}}
	variables := lookup(environ)
	for _, port := range []struct {
		variable, preset string
		address          *string
	}{
		{"PORT_PACKAGES", "8888", &cfg.ListenPackages},
		{"PORT_MANAGER", "5000", &cfg.ListenManager},
		{"PORT_GIT", "8099", &cfg.ListenGit},
	} {
		number := port.preset
		if text := variables[port.variable]; text != "" {
			number = text
		}
		if _, err := strconv.ParseUint(number, 10, 16); err != nil {
			return cfg, dm.Errorf(dm.Invalid, "demo", "%s: %q is not a port number", port.variable, number)
		}
		*port.address = net.JoinHostPort("127.0.0.1", number)
	}
	return cfg, nil
}

// demo runs the server and the walk-through beside it, and ends both.
func demo(ctx context.Context, p process, keep bool) (err error) {
	const op = "demo"
	began := time.Now()
	folder, err := os.MkdirTemp("", "deployment-manager-demo-")
	if err != nil {
		return dm.Errorf(dm.Internal, op, "cannot create a temporary folder").Because(err)
	}
	if !keep {
		defer os.RemoveAll(folder)
	}
	cfg, err := demoConfig(filepath.Join(folder, "data"), p.environ)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, demoTime)
	defer cancel()
	var log bytes.Buffer
	ready, ended := make(chan doors, 1), make(chan error, 1)
	go func() {
		ended <- serve(ctx, cfg, serving{knobs: demoKnobs, log: newLog(cfg, &log), step: p.step, ready: func(d doors) { ready <- d }})
	}()
	select {
	case err := <-ended:
		if err == nil {
			err = dm.Errorf(dm.Unavailable, op, "the walk-through was interrupted")
		}
		return err
	case d := <-ready:
		err = newWalk(p, folder, d).play(ctx)
	}
	interrupted := errors.Is(ctx.Err(), context.Canceled)
	cancel()
	err = errors.Join(err, <-ended)
	switch {
	case interrupted:
		return dm.Errorf(dm.Unavailable, op, "the walk-through was interrupted")
	case err != nil:
		fmt.Fprintf(p.stderr, "\nthe server's log:\n%s\n", log.String())
		return dm.Errorf(dm.Unavailable, op, "the walk-through failed: %v", err).Because(err)
	}
	fmt.Fprintf(p.stdout, "All steps passed in %.1f seconds.\n", time.Since(began).Seconds())
	if keep {
		fmt.Fprintf(p.stdout, "The record is in %s; serve it with\n\n    deployment-manager serve --data %[1]s --auth insecure-pnda\n", cfg.Data)
		return nil
	}
	fmt.Fprint(p.stdout, "To keep a server running and play with it, type\n\n    make run\n")
	return nil
}
