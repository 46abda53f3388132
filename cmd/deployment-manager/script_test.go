package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/pndaproject/deployment-manager/plugins/jupyter/sync"
)

// TestMain makes the test binary answer to the command's own name, so that the
// scripts run the real program, with the race detector when the tests have it.
func TestMain(m *testing.M) {
	endHookAtOnce()
	runHook()
	if filepath.Base(os.Args[0]) == podProgram {
		os.Exit(sync.Main(os.Args[1:], sync.Config{Getenv: os.Getenv, Stdout: os.Stdout, Stderr: os.Stderr}))
	}
	testscript.Main(m, map[string]func(){
		"deployment-manager": func() {
			os.Exit(run(process{
				args: os.Args[1:], environ: os.Environ(),
				stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr,
				lockWait: crashLockWait(),
				step:     bothSteps(stepFromFolder(os.Getenv(stepsVariable)), stepKills(os.Getenv(crashVariable))),
			}))
		},
	})
}

// podProgram is the program of users' pods. sync.sh finds it mounted, away from the
// server, which would hand it out.
const podProgram = "deployment-manager-sync"

// stepsVariable names the folder whose files say what happens at named steps:
// a file <step> holds the server there until it is removed, and a file
// <step>.die kills it once.
const stepsVariable = "DM_TEST_STEPS"

func stepFromFolder(folder string) func(string) {
	if folder == "" {
		return nil
	}
	return func(name string) {
		file := filepath.Join(folder, strings.ReplaceAll(name, "/", "-"))
		if os.Remove(file+".die") == nil {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		}
		for first := true; ; first = false {
			if _, err := os.Stat(file); err != nil {
				return
			}
			if first {
				_ = os.WriteFile(file+".reached", nil, 0o600)
			}
			time.Sleep(2 * time.Millisecond)
		}
	}
}

func TestScripts(t *testing.T) {
	t.Parallel()
	checkScriptsRunToTheEnd(t)
	oldFolder, err := filepath.Abs(filepath.Join("..", "..", "gitstore", "testdata", "format-2", "folder.tar.gz"))
	if err != nil {
		t.Fatal(err)
	}
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir:                 filepath.Join("testdata", "script"),
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(env *testscript.Env) error {
			steps := filepath.Join(env.WorkDir, "steps")
			for _, pair := range [][2]string{
				{"HOME", env.WorkDir},
				{"GIT_CONFIG_NOSYSTEM", "1"},
				{"GIT_CONFIG_GLOBAL", os.DevNull},
				{"GIT_TERMINAL_PROMPT", "0"},
				{"TZ", "UTC"},
				{stepsVariable, steps},
				{"DATA", filepath.Join(env.WorkDir, "data")},
				{"OLDFOLDER", oldFolder},
				{"DM_SYNC_MOUNT", filepath.Join(env.WorkDir, "mounted")},
				{"GORACE", "atexit_sleep_ms=0"},
			} {
				env.Setenv(pair[0], pair[1])
			}
			mounted := filepath.Join(env.WorkDir, "mounted")
			return errors.Join(os.Mkdir(steps, 0o700), os.Mkdir(mounted, 0o700), os.Symlink(program, filepath.Join(mounted, podProgram)))
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"serve": cmdServe, "beside": cmdBeside, "shutdown": cmdShutdown, "kill9": cmdKill, "term": cmdTerm, "waitexit": cmdWaitExit,
			"http": cmdHTTP, "waitfor": cmdWaitFor, "waitclosed": cmdWaitClosed, "code": cmdCode,
			"http-background": cmdHTTPBackground, "http-answer": cmdHTTPAnswer, "http-parallel": cmdHTTPParallel,
			"hold": cmdHold, "held": cmdHeld, "release": cmdRelease, "die": cmdDie,
			"pack": cmdPack, "example": cmdExample, "htpasswd": cmdHtpasswd, "damage": cmdDamage,
			"untold": cmdUntold, "unkept": cmdUnkept, "waitlog": cmdWaitLog, "hub": cmdHub,
			"capture": cmdCapture, "mask": cmdMask, "page": cmdPage,
		},
	})
}

// checkScriptsRunToTheEnd refuses the testscript's own stop and skip. They end a
// script as passed, and nobody sees that the lines after them did not run.
func checkScriptsRunToTheEnd(t *testing.T) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("testdata", "script", "*.txtar"))
	if err != nil || len(files) == 0 {
		t.Fatalf("there are no scripts: %v", err)
	}
	ends := regexp.MustCompile(`^(\[[^]]*\]\s*)*(stop|skip)\b`)
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		script, _, _ := strings.Cut(string(text), "\n-- ") // files follow
		for line := range strings.Lines(script) {
			if ends.MatchString(line) {
				t.Errorf("%s: %q would end the script as passed; use shutdown to end the server", file, strings.TrimSpace(line))
			}
		}
	}
}

// cmdHold: hold STEP... makes the server wait when it reaches a step.
func cmdHold(ts *testscript.TestScript, neg bool, args []string) {
	eachStep(ts, neg, args, func(file string) error { return os.WriteFile(file, nil, 0o600) })
}

// cmdHeld: held STEP... waits until the server waits there.
func cmdHeld(ts *testscript.TestScript, neg bool, args []string) {
	eachStep(ts, neg, args, func(file string) error {
		return poll(func() (bool, string) {
			_, err := os.Stat(file + ".reached")
			return err == nil, "the server does not reach the step " + filepath.Base(file)
		})
	})
}

// cmdRelease: release STEP... lets the server go on.
func cmdRelease(ts *testscript.TestScript, neg bool, args []string) {
	eachStep(ts, neg, args, func(file string) error {
		_ = os.Remove(file + ".reached") // it may never have been reached
		return os.Remove(file)
	})
}

// cmdDie: die STEP... kills the server when it next reaches a step.
func cmdDie(ts *testscript.TestScript, neg bool, args []string) {
	eachStep(ts, neg, args, func(file string) error { return os.WriteFile(file+".die", nil, 0o600) })
}

func eachStep(ts *testscript.TestScript, neg bool, args []string, do func(file string) error) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: hold|held|release|die STEP...")
	}
	for _, step := range args {
		ts.Check(do(filepath.Join(ts.Getenv(stepsVariable), strings.ReplaceAll(step, "/", "-"))))
	}
}

// poll asks until done or 20 seconds have passed.
func poll(ask func() (done bool, want string)) error {
	deadline := time.Now().Add(20 * time.Second)
	for {
		done, want := ask()
		if done {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("gave up: %s", want)
		}
		time.Sleep(10 * time.Millisecond)
	}
}
