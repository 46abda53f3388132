package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/cgi"
	"os"
	"os/exec"
	"strings"

	"github.com/sosedoff/gitkit"
)

// peers are the servers beside which ours is measured. Each runs in a process
// of its own, so that its processor time can be read like the server's:
// bench <peer> <folder>.
var peers = map[string]func(folder string) error{
	"files":   serveFiles,
	"backend": serveBackend,
	"gitkit":  serveGitkit,
	"nginx":   serveNginx,
}

// serveFiles is the plainest way to give out a file.
func serveFiles(folder string) error { return servePeer(http.FileServer(http.Dir(folder))) }

// serveBackend serves the repositories in a folder as PNDA did: one git
// http-backend for each request. It also passes Git-Protocol on, which PNDA's
// nginx did not, so that both sides speak the newer protocol.
func serveBackend(folder string) error {
	git, err := exec.LookPath("git")
	if err != nil {
		return err
	}
	return servePeer(&cgi.Handler{
		Path: git, Args: []string{"http-backend"},
		Env:        append(gitSettings(), "GIT_PROJECT_ROOT="+folder, "GIT_HTTP_EXPORT_ALL=1"),
		InheritEnv: []string{"PATH"},
		Stderr:     io.Discard, // http-backend tells there of every client that left
	})
}

// serveGitkit serves the repositories in a folder by gitkit with its defaults.
// What it logs for each request is thrown away.
func serveGitkit(folder string) error {
	log.SetOutput(io.Discard)
	server := gitkit.New(gitkit.Config{Dir: folder})
	if err := server.Setup(); err != nil {
		return err
	}
	return servePeer(server)
}

// servePeer prints the address and serves until standard input ends, which it
// also does when bench is killed.
func servePeer(handler http.Handler) error {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println(listener.Addr())
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}()
	return http.Serve(listener, handler)
}

// peer starts this program as one of the peers and returns its base address.
func (b *bench) peer(name, folder string) (*child, string, error) {
	command := exec.Command(b.self, name, folder)
	command.Env = cleanEnvironment()
	if cache, err := os.UserCacheDir(); err == nil { // it follows from HOME, which git must not have
		command.Env = append(command.Env, "XDG_CACHE_HOME="+cache)
	}
	var said bytes.Buffer
	command.Stderr = &said
	if _, err := command.StdinPipe(); err != nil { // stays open until the peer is waited for
		return nil, "", err
	}
	out, err := command.StdoutPipe()
	if err != nil {
		return nil, "", err
	}
	c, err := b.start(command)
	if err != nil {
		return nil, "", err
	}
	address, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		c.stop()
		return nil, "", fmt.Errorf("%s did not tell its address: %w: %s", name, err, bytes.TrimSpace(said.Bytes()))
	}
	return c, "http://" + strings.TrimSpace(address), nil
}
