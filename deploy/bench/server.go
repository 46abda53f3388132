package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// stopTime is how long a process may take to end before it is killed.
const stopTime = 15 * time.Second

// server is the program under measurement, running on a data folder.
type server struct {
	*child
	data                   string
	packages, manager, git string // base addresses
	client                 *http.Client
}

// child is a process that bench started and ends.
type child struct {
	command *exec.Cmd
	account *account // nil where the machine has none
	ended   chan struct{}
	err     error // how it ended, once ended is closed
}

// start starts a process, in an account of its own where that can be had.
func (b *bench) start(command *exec.Cmd) (*child, error) {
	c := &child{command: command, ended: make(chan struct{})}
	if b.accounts != "" {
		var err error
		if c.account, err = openAccount(b.accounts); err != nil {
			return nil, err
		}
		enter, err := c.account.enter(command)
		if err != nil {
			return nil, errors.Join(err, c.account.close())
		}
		defer enter.Close()
	}
	if err := command.Start(); err != nil {
		return nil, errors.Join(err, c.closeAccount())
	}
	go func() {
		c.err = command.Wait()
		close(c.ended)
	}()
	return c, nil
}

func (c *child) pid() int { return c.command.Process.Pid }

func (c *child) stop() {
	_ = c.command.Process.Signal(syscall.SIGTERM) // fails only when it has ended
	select {
	case <-c.ended:
	case <-time.After(stopTime):
		_ = c.command.Process.Kill()
		<-c.ended
	}
	_ = c.closeAccount() // an empty group that stays costs nothing
}

func (c *child) closeAccount() error {
	if c.account == nil {
		return nil
	}
	return c.account.close()
}

// spent is the processor time of the process and of all that it started; where
// there are no accounts, of those that it waited for.
func (c *child) spent() time.Duration {
	if c.account != nil {
		if sum, err := c.account.spent(); err == nil {
			return sum
		}
	}
	return cpu(c.pid())
}

// serve starts the program on free loopback ports and waits until it is ready.
// It logs to a file, as it does in service, and with its default options but for more.
func (b *bench) serve(ctx context.Context, name string, more ...string) (*server, error) {
	folder, err := b.sub(name)
	if err != nil {
		return nil, err
	}
	log, err := os.Create(filepath.Join(folder, "log"))
	if err != nil {
		return nil, err
	}
	defer log.Close()
	data := filepath.Join(folder, "data")
	command := exec.Command(b.program, append([]string{"serve", "--data", data, "--auth", "insecure-pnda", "--log-format", "json",
		"--listen-packages", "127.0.0.1:0", "--listen-manager", "127.0.0.1:0", "--listen-git", "127.0.0.1:0"}, more...)...)
	command.Stderr = log
	c, err := b.start(command)
	if err != nil {
		return nil, err
	}
	s := &server{child: c, data: data, client: newClient()}
	if err := s.await(ctx, log.Name()); err != nil {
		s.stop()
		return nil, err
	}
	return s, nil
}

// newClient asks nobody but the address itself and keeps a connection for each
// client of a burst.
func newClient() *http.Client {
	return &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 32, DisableCompression: true, DialContext: loopback}}
}

// await reads the addresses from the server's log.
func (s *server) await(ctx context.Context, log string) error {
	for {
		text, err := os.ReadFile(log)
		if err != nil {
			return err
		}
		if s.readAddresses(text) {
			return nil
		}
		select {
		case <-s.ended:
			return fmt.Errorf("the server ended at once: %w: %s", s.err, bytes.TrimSpace(text))
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(5 * time.Millisecond):
		}
	}
}

func (s *server) readAddresses(log []byte) bool {
	for lines := bufio.NewScanner(bytes.NewReader(log)); lines.Scan(); {
		var entry struct{ Msg, Packages, Manager, Git string }
		if json.Unmarshal(lines.Bytes(), &entry) == nil && entry.Msg == "ready" {
			s.packages, s.manager, s.git = "http://"+entry.Packages, "http://"+entry.Manager, "http://"+entry.Git
			return true
		}
	}
	return false
}

// send makes one request and wants the status.
func (s *server) send(ctx context.Context, method, url string, body io.Reader, size int64, want int) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, method, url, body)
	if err != nil {
		return nil, err
	}
	request.ContentLength = size
	response, err := s.client.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != want {
		err = fmt.Errorf("%s %s: got %s, want %d: %s", method, url, response.Status, want, bytes.TrimSpace(answer))
	}
	return answer, err
}

func (s *server) sendText(ctx context.Context, method, url, body string, want int) ([]byte, error) {
	return s.send(ctx, method, url, strings.NewReader(body), int64(len(body)), want)
}

// upload publishes an archive under a package id.
func (s *server) upload(ctx context.Context, id string, body io.Reader, size int64) error {
	_, err := s.send(ctx, http.MethodPut, s.packages+"/packages/"+id+".tar.gz?user.name=ana", body, size, http.StatusOK)
	return err
}

func (s *server) uploadFile(ctx context.Context, id, path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	return s.upload(ctx, id, f, info.Size())
}

// deploy makes a published package available and waits for that.
func (s *server) deploy(ctx context.Context, id string) error {
	url := s.manager + "/packages/" + id
	if _, err := s.sendText(ctx, http.MethodPut, url+"?user.name=ana", "", http.StatusAccepted); err != nil {
		return err
	}
	return s.settle(ctx, url+"/status", "DEPLOYED")
}

// settle polls a status until it is want; another state that does not pass by
// itself is an error.
func (s *server) settle(ctx context.Context, url, want string) error {
	for {
		answer, err := s.sendText(ctx, http.MethodGet, url, "", http.StatusOK)
		if err != nil {
			return err
		}
		var state struct{ Status, Information string }
		if err := json.Unmarshal(answer, &state); err != nil {
			return err
		}
		switch {
		case state.Status == want:
			return nil
		case !strings.HasSuffix(state.Status, "ING"):
			return fmt.Errorf("%s: got %s, want %s: %s", url, state.Status, want, state.Information)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Millisecond):
		}
	}
}

// ask has a user's repository brought up and returns the commit of its main.
func (s *server) ask(ctx context.Context, user string) (string, error) {
	answer, err := s.sendText(ctx, http.MethodGet, s.git+"/jupyter-"+user+"/head", "", http.StatusOK)
	return strings.TrimSpace(string(answer)), err
}

// change changes an application and returns how long that was until CREATED.
func (s *server) change(ctx context.Context, app, owner, body string) (time.Duration, error) {
	begin := time.Now()
	if _, err := s.sendText(ctx, http.MethodPut, s.manager+"/api/v1/applications/"+app+"?user.name="+owner, body, http.StatusAccepted); err != nil {
		return 0, err
	}
	err := s.settle(ctx, s.manager+"/applications/"+app+"/status", "CREATED")
	return time.Since(begin), err
}

// parallel calls do(0) to do(n-1) by several workers and returns all errors of
// the calls that were made; the first error ends the rest.
func parallel(ctx context.Context, workers, n int, do func(context.Context, int) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	numbers := make(chan int)
	results := make(chan error)
	for range workers {
		go func() {
			var err error
			for i := range numbers {
				if err == nil && ctx.Err() == nil {
					if err = do(ctx, i); err != nil {
						cancel()
					}
				}
			}
			results <- err
		}()
	}
	for i := range n {
		numbers <- i
	}
	close(numbers)
	var all error
	for range workers {
		all = errors.Join(all, <-results)
	}
	return errors.Join(all, context.Cause(ctx))
}
