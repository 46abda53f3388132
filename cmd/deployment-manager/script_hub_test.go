package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"
)

// cmdHub: hub FOLDER starts a fakeHub and sets $HUB to its API's address.
func cmdHub(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: hub FOLDER")
	}
	server := httptest.NewServer(fakeHub(ts.MkAbs(args[0])))
	ts.Defer(server.Close)
	ts.Setenv("HUB", server.URL+"/hub/api")
}

// fakeHub answers GET /hub/api/user as JupyterHub does: with the file of its
// folder that is named like the token. While a file "down" is there, it fails. A
// script that has to end tokens and the Hub itself at will needs it; a real
// JupyterHub is asked in deploy/testcluster.
type fakeHub string

func (f fakeHub) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if _, err := os.Stat(filepath.Join(string(f), "down")); err == nil {
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "token ")
	answer, err := os.ReadFile(filepath.Join(string(f), filepath.Base(token)))
	if !ok || r.URL.Path != "/hub/api/user" || err != nil {
		w.WriteHeader(http.StatusForbidden)
		fmt.Fprint(w, `{"status": 403, "message": "Missing or invalid credentials."}`)
		return
	}
	_, _ = w.Write(answer) // who is gone needs none
}
