package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/gitstore/format"
)

func verifyCommand(p process) *cobra.Command {
	return folderCommand(p, verify, "verify", "Check every repository and archive of a stopped server",
		`Checks the data folder: every repository with git's own fsck, every ref
against what is known of it, every uploaded archive against its digest, every
commit and tag against what the server would have written for the person, the
time and the action that it names, and the order of all of it. What that finds,
and what only somebody outside can tell, stands in docs/disk-layout.md.

Prints one line for each problem and ends with exit code 4 when there are any.
The server must be stopped; like a start of the server, it sets a repository
that is damaged aside, and takes one that is sound again back. A folder of an earlier
format is checked and keeps it.`)
}

// folderCommand is a command that does something to a data folder.
func folderCommand(p process, do func(context.Context, config, process) error, use, short, long string) *cobra.Command {
	cmd := &cobra.Command{
		Use:   use,
		Short: short,
		Long:  long,
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			cfg, err := load(c.Flags(), p.environ)
			if err != nil {
				return err
			}
			ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
			defer stop()
			return do(ctx, cfg, p)
		},
	}
	declareFlags(cmd.Flags(), "data", "git", "log-level", "log-format")
	return cmd
}

// openStopped opens the record of a stopped server.
func openStopped(ctx context.Context, cfg config, p process) (*record, error) {
	// Opening the record would make the folder, and a mistyped name would be
	// found to hold a sound record of nothing.
	if _, err := os.Stat(filepath.Join(cfg.Data, "format")); err != nil {
		return nil, dm.Errorf(dm.Invalid, "open the record", "%s is not the data folder of a server", cfg.Data).
			WithHint("name it with --data")
	}
	cfg.Auth = dm.InsecurePNDA // nobody calls; the file of users is not needed
	who, err := buildPeople(cfg, prometheus.NewRegistry(), newLog(cfg, p.stderr))
	if err != nil {
		return nil, err
	}
	return openRecord(ctx, cfg, serving{log: newLog(cfg, p.stderr), step: p.step, earlier: format.ReadEarlier}, who, noEngines(), prometheus.NewRegistry())
}

func verify(ctx context.Context, cfg config, p process) (err error) {
	record, err := openStopped(ctx, cfg, p)
	if err != nil {
		return err
	}
	defer func() {
		if closing := record.store.Close(); err == nil {
			err = closing
		}
	}()
	var problems problemsFound
	if err := record.store.Verify(ctx, func(problem string) {
		problems++
		fmt.Fprintln(p.stdout, problem)
	}); err != nil {
		return err
	}
	if problems > 0 {
		return problems
	}
	_, err = fmt.Fprintln(p.stdout, "no problems found")
	return err
}
