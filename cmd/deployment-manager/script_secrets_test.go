package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"
)

// cmdWaitLog: waitlog TEXT waits until the server has logged it. The server
// looks at a file when it needs it, so somebody calls with a password, and with
// what could be a token.
func cmdWaitLog(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: waitlog TEXT")
	}
	ts.Check(poll(func() (bool, string) {
		for _, password := range []string{"x", "dmt_00000000_" + strings.Repeat("0", 48)} {
			_, _, err := send(http.MethodGet, "http://nobody:"+password+"@"+ts.Getenv("MANAGER_HOST")+"/applications", "")
			ts.Check(err)
		}
		return strings.Contains(ts.ReadFile("server.log"), args[0]), "the server does not log " + args[0]
	}))
}

// cmdUntold: untold SECRET... wants that no command line and no environment of
// the server and of the programs it runs now, git among them, holds a secret.
func cmdUntold(ts *testscript.TestScript, neg bool, args []string) {
	found, ok := servers.Load(ts.Getenv("WORK"))
	if neg || len(args) == 0 || !ok {
		ts.Fatalf("usage: untold SECRET..., while a server runs")
	}
	family, err := descendants(found.(*runningServer).cmd.Process.Pid)
	ts.Check(err)
	git := false
	for _, pid := range family {
		for _, name := range []string{"cmdline", "environ"} {
			text, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), name))
			if err != nil {
				continue // it has ended
			}
			git = git || name == "cmdline" && bytes.Contains(text, []byte("receive-pack"))
			for _, secret := range args {
				if bytes.Contains(text, []byte(secret)) {
					ts.Fatalf("the %s of a process tells a secret: %q", name, text)
				}
			}
		}
	}
	if !git {
		ts.Fatalf("no git is at work among %d processes", len(family))
	}
}

// descendants returns a process and all that it started, directly or not.
func descendants(root int) ([]int, error) {
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return nil, err
	}
	children := map[int][]int{}
	for _, path := range stats {
		text, err := os.ReadFile(path)
		if err != nil {
			continue // it has ended
		}
		// The name in brackets may hold anything; state and parent follow it.
		var pid, parent int
		var state string
		if _, err := fmt.Sscan(string(text), &pid); err != nil {
			return nil, err
		}
		if _, err := fmt.Sscan(string(text[bytes.LastIndexByte(text, ')')+1:]), &state, &parent); err != nil {
			return nil, err
		}
		children[parent] = append(children[parent], pid)
	}
	family := []int{root}
	for i := 0; i < len(family); i++ {
		family = append(family, children[family[i]]...)
	}
	return family, nil
}

// cmdUnkept: unkept SECRET... wants that neither a file of $DATA nor an object of
// a repository in it holds a secret. A grep alone would not see the objects,
// because git compresses them.
func cmdUnkept(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: unkept SECRET...")
	}
	lacks := func(what string, text []byte) {
		for _, secret := range args {
			if bytes.Contains(text, []byte(secret)) {
				ts.Fatalf("%s holds the secret %q", what, secret)
			}
		}
	}
	repositories := 0
	ts.Check(filepath.WalkDir(ts.Getenv("DATA"), func(path string, entry fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil // a server that runs has taken it away
		case err != nil:
			return err
		case entry.IsDir() && filepath.Ext(path) == ".git":
			repositories++
			show := exec.Command("git", "--git-dir", path, "cat-file", "--batch", "--batch-all-objects", "--buffer")
			show.Env = environment(ts)
			objects, err := show.Output()
			if err != nil || len(objects) == 0 {
				return fmt.Errorf("%s: %d bytes of objects, %v", path, len(objects), err)
			}
			lacks("an object of "+path, objects)
		case entry.Type().IsRegular():
			text, err := os.ReadFile(path)
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
			lacks(path, text)
		}
		return nil
	}))
	if repositories == 0 {
		ts.Fatalf("the data folder has no repository")
	}
}
