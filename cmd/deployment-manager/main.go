package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/hooks/hook"
)

func main() {
	runHook()
	os.Exit(run(process{
		args: os.Args[1:], environ: os.Environ(),
		stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr,
		lockWait: 10 * time.Second,
	}))
}

// runHook makes this program the hook that git calls, where the small one that is
// made for it is missing; see hookProgram.
func runHook() {
	if hook.Called(os.Args[0]) {
		os.Exit(hook.Program(os.Stdin, os.Stdout, os.Stderr, os.Getenv))
	}
}

// process is what the operating system gives to one run of the command.
type process struct {
	args           []string
	environ        []string
	stdin          io.Reader
	stdout, stderr io.Writer
	lockWait       time.Duration // how long serve waits for another process to leave the data folder
	step           func(string)  // called at named steps of durable writes; nil in production, tests stop there
}

// run carries out one command line and returns the exit code.
func run(p process) int {
	root := rootCommand(p)
	err := root.Execute()
	if err == nil {
		return exitOK
	}
	fmt.Fprintf(p.stderr, "deployment-manager: %s\n", sentence(err))
	return exitCode(err)
}

// The exit codes, as the help lists them.
const (
	exitOK       = 0
	exitFailure  = 1
	exitUsage    = 2
	exitInUse    = 3
	exitProblems = 4
)

const exitCodesHelp = `Exit codes:
  0  success
  1  failure; the message says what
  2  the command line or the configuration is wrong
  3  another server uses the data folder
  4  verify found problems, or repair left a repository out of service`

// exitCodes is the one table from kind to exit code; other kinds are failures.
var exitCodes = map[dm.Kind]int{
	dm.Invalid:  exitUsage,
	dm.Conflict: exitInUse,
}

// problemsFound says that verify did its work and how much it found.
type problemsFound int

func (n problemsFound) Error() string {
	if n == 1 {
		return "one problem was found"
	}
	return fmt.Sprintf("%d problems were found", int(n))
}

func exitCode(err error) int {
	var e *dm.Error
	var found problemsFound
	var left stillAway
	switch {
	case errors.As(err, &found), errors.As(err, &left):
		return exitProblems
	case !errors.As(err, &e):
		return exitUsage // cobra's own errors are about the command line
	}
	if code, ok := exitCodes[e.Kind]; ok {
		return code
	}
	return exitFailure
}

// sentence is what a person at the terminal reads. That person runs the
// server, so the cause of an internal error is told as well.
func sentence(err error) string {
	var e *dm.Error
	switch {
	case !errors.As(err, &e):
		return err.Error()
	case e.Kind == dm.Internal:
		return e.Error()
	}
	return e.Public()
}

func rootCommand(p process) *cobra.Command {
	root := &cobra.Command{
		Use:   "deployment-manager",
		Short: "Keeps packages and applications of PNDA in git and deploys them",
		Long: `deployment-manager keeps every uploaded package, every deployment and every
notebook folder in git repositories, and serves PNDA's package repository,
PNDA's deployment manager and git over HTTP from one program.

Every option is a flag, a variable DM_... and a key of the YAML file named by
--config; a flag wins over a variable, a variable over the file.

` + exitCodesHelp,
		SilenceUsage:      true,
		SilenceErrors:     true,
		Version:           versionLine(),
		CompletionOptions: cobra.CompletionOptions{DisableDefaultCmd: true},
		Args:              cobra.NoArgs,
		RunE:              func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	root.SetVersionTemplate("{{.Version}}\n")
	root.SetArgs(p.args)
	root.SetIn(p.stdin)
	root.SetOut(p.stdout)
	root.SetErr(p.stderr)
	root.AddCommand(serveCommand(p), tokenCommand(p), demoCommand(p), verifyCommand(p), repairCommand(p), versionCommand(p))
	return root
}
