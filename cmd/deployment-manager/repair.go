package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/gitstore/repair"
)

func repairCommand(p process) *cobra.Command {
	return folderCommand(p, runRepair, "repair", "Check again what is out of service, and say why the rest stays so",
		`Looks again, now, at every repository that answers 503: those whose files are
damaged, and those that could not be read. What is sound comes back into service.
Refs that are missing or rewound are moved to where the record had them, if
what they named is there; see docs/disk-layout.md. For each repository that stays
out of service it prints one line with the file and the cause, and ends with exit
code 4.

A running server does the same by itself, every ten minutes or sooner. With a
running server, this asks it, through its data folder, and waits; in Kubernetes:

  kubectl -n pnda exec deployment-manager-0 -- deployment-manager repair

Put the file that is named back from a copy of the data folder, to where it was,
and run this again; nothing is moved or renamed. KIND/NAME stands for the folder
KIND/NAME.git of the data folder, in which the file is.`)
}

// stillAway says how many repositories stay out of service.
type stillAway int

func (n stillAway) Error() string {
	if n == 1 {
		return "one repository is still out of service"
	}
	return fmt.Sprintf("%d repositories are still out of service", int(n))
}

func runRepair(ctx context.Context, cfg config, p process) error {
	done, err := repairStopped(ctx, cfg, p)
	if dm.KindOf(err) == dm.Conflict { // a server is at work on it
		done, err = repair.Ask(ctx, cfg.Data)
	}
	if err != nil {
		return err
	}
	for _, r := range done.Back {
		fmt.Fprintf(p.stdout, "%s/%s: in service again\n", r.Kind, r.Name)
	}
	for _, left := range done.Left {
		fmt.Fprintln(p.stdout, left)
	}
	if n := len(done.Left); n > 0 {
		return stillAway(n)
	}
	_, err = fmt.Fprintln(p.stdout, "all repositories are in service")
	return err
}

// repairStopped repairs the record of a stopped server.
func repairStopped(ctx context.Context, cfg config, p process) (done repair.Repaired, err error) {
	record, err := openStopped(ctx, cfg, p)
	if err != nil {
		return done, err
	}
	done = record.store.Service().Repair(ctx)
	return done, record.store.Close()
}
