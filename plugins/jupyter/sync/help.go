package sync

import (
	"fmt"
	"runtime"
)

// Main is the command. It returns the exit code.
func Main(args []string, c Config) int {
	switch {
	case len(args) == 0:
		Run(c)
	case args[0] == "--version":
		fmt.Fprintf(c.Stdout, "deployment-manager-sync, %s %s/%s\n", runtime.Version(), runtime.GOOS, runtime.GOARCH)
	case args[0] == "--help":
		fmt.Fprint(c.Stdout, help)
	default:
		fmt.Fprintf(c.Stderr, "deployment-manager-sync: unknown argument %q; try --help\n", args[0])
		return 2
	}
	return 0
}

const help = `deployment-manager-sync brings the notebooks that are deployed for a user into
the user's folder. What the user made or changed there is never changed or deleted:
where both sides changed a file, the server's version comes beside it.
SYNC.md in the folder tells what was done.

Variables:
  JUPYTERHUB_USER       the user's name, as JupyterHub writes it
  JUPYTERHUB_API_TOKEN  proves the name to the server; may be missing
  DM_GIT_URL            the server; default http://deployment-manager-git:8099
  DM_SYNC_FOLDER        the folder; default $HOME/apps-notebooks
  DM_SYNC_SECONDS       the longest time that all of it may take, 5 or more; default 30

It needs git 2.31 or newer, tells one line, and ends with 0 always, because a
failing start hook ends the notebook server.
`
