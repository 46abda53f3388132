package main

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/pndaproject/deployment-manager/gitstore/format"
)

func serveCommand(p process) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run the server",
		Long: `Runs the server on three ports: the package repository, the deployment manager
and git over HTTP. It logs "ready" when all three answer.

SIGTERM and SIGINT stop it: no new request is taken, running ones have ten
seconds to end. A second signal ends it at once; nothing acknowledged is lost.

Files of users, tokens and certificates are read again when they change. A
changed file with a fault is logged, and the one before stays in force.

After a crash just start it again: a start puts the record in order. It waits
up to ten seconds while the data folder is in use, because a git process of the
server that crashed may still be at work there.

A data folder of an earlier format is refused: take a snapshot of it, then start
once with --upgrade-format.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			cfg, err := load(c.Flags(), p.environ)
			if err != nil {
				return err
			}
			if err := cfg.checkSafety(); err != nil {
				return err
			}
			ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
			defer stop()
			context.AfterFunc(ctx, stop) // gives the second signal its plain meaning back
			s := serving{knobs: serveKnobs, log: newLog(cfg, p.stderr), lockWait: p.lockWait, step: p.step, ready: func(doors) {}}
			if cfg.UpgradeFormat {
				s.earlier = format.UpgradeEarlier
			}
			return serve(ctx, cfg, s)
		},
	}
	declareFlags(cmd.Flags())
	return cmd
}

// serving is what differs between serve and demo.
type serving struct {
	knobs    knobs
	log      *slog.Logger
	lockWait time.Duration
	step     func(string)
	earlier  format.Earlier
	programs fs.FS       // where the programs for pods lie; nil where no pod is served
	ready    func(doors) // called once, when requests are answered; must not block
}

// serve runs the server until ctx ends.
func serve(ctx context.Context, cfg config, s serving) (err error) {
	secure, err := openTLS(cfg, s.log)
	if err != nil {
		return err
	}
	d, err := openDoors(cfg, s.knobs)
	if err != nil {
		return err
	}
	defer d.close()
	scheme := "http"
	if secure != nil {
		scheme = "https"
	}
	if cfg.PublicManager == "" {
		cfg.PublicManager = scheme + "://" + d.manager.Addr().String()
	}
	server, err := build(ctx, cfg, s)
	if ctx.Err() != nil && err != nil {
		s.log.Info("stopped before it was ready", "err", err)
		return nil // as it was told
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, server.store.Close()) }()
	d = d.counted(server.connections, secure == nil)
	defer server.connections.Wait()
	if secure != nil {
		d = d.secure(secure)
	}
	stages := append(server.stages, []part{
		door("packages", d.packages, server.packages, server.connections.State, s.log),
		door("manager", d.manager, server.manager, server.connections.State, s.log),
		door("git", d.git, server.git, server.connections.State, s.log),
	})
	return runStages(ctx, stages, func() {
		server.readiness.yes.Store(true)
		s.log.Info("ready", "packages", d.packages.Addr().String(), "manager", d.manager.Addr().String(), "git", d.git.Addr().String(), "tls", secure != nil)
		s.ready(d)
	}, func() {
		server.readiness.end()
		s.log.Info("stopping")
	})
}

func newLog(cfg config, w io.Writer) *slog.Logger {
	options := &slog.HandlerOptions{Level: cfg.LogLevel}
	if cfg.LogFormat == formatJSON {
		return slog.New(slog.NewJSONHandler(w, options))
	}
	return slog.New(slog.NewTextHandler(w, options))
}
