package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// fcgiWorkers is how many requests fcgiwrap answers at once. Its default of 1,
// which PNDA's container had, would make every burst a queue.
const fcgiWorkers = 16

// serveNginx serves the repositories in a folder as PNDA's container did: nginx
// in front, fcgiwrap behind it, which starts git http-backend for each request.
// Unlike PNDA's it passes Git-Protocol on, so that both sides speak version 2.
func serveNginx(folder string) error {
	told, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	run, err := os.MkdirTemp("", "nginx-") // short: the path of a socket has a limit
	if err != nil {
		return err
	}
	defer os.RemoveAll(run)
	address, err := freeAddress()
	if err != nil {
		return err
	}
	programs, err := nginxPrograms(run, folder, address)
	if err != nil {
		return err
	}
	if err := adoptOrphans(); err != nil {
		return err
	}
	for _, program := range programs {
		// fcgiwrap leaves its workers behind when it is told to end; with a
		// group of its own they can be told too.
		program.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		if err := program.Start(); err != nil {
			return err
		}
		defer endGroup(program)
	}
	if err := awaitAddress(told, address, filepath.Join(run, "fcgi")); err != nil {
		said, _ := os.ReadFile(filepath.Join(run, "errors"))
		return fmt.Errorf("nginx does not answer: %w: %s", err, said)
	}
	fmt.Println(address)
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		stop() // bench has ended without a word
	}()
	<-told.Done()
	return nil
}

// nginxPrograms are fcgiwrap and nginx, configured to serve a folder.
func nginxPrograms(run, folder, address string) ([]*exec.Cmd, error) {
	cache, err := cacheFolder()
	if err != nil {
		return nil, err
	}
	w, err := findWebServer(filepath.Join(cache, "debian"))
	if err != nil {
		return nil, err
	}
	configuration := filepath.Join(run, "nginx.conf")
	wrap := exec.Command(w.fcgiwrap, "-c", fmt.Sprint(fcgiWorkers), "-s", "unix:"+filepath.Join(run, "fcgi"))
	wrap.Env = cleanEnvironment("LD_LIBRARY_PATH=" + w.libraries)
	nginx := exec.Command(w.nginx, "-c", configuration, "-p", run, "-e", filepath.Join(run, "errors"))
	nginx.Env = cleanEnvironment()
	return []*exec.Cmd{wrap, nginx}, os.WriteFile(configuration, []byte(nginxConfiguration(run, folder, address, w.backend)), 0o600)
}

// adoptOrphans makes this process the parent of those whose parent has ended.
func adoptOrphans() error {
	const setChildSubreaper = 36 // PR_SET_CHILD_SUBREAPER of prctl(2)
	if _, _, err := syscall.Syscall(syscall.SYS_PRCTL, setChildSubreaper, 1, 0); err != 0 {
		return err
	}
	return nil
}

// endGroup ends a program and all it started, and waits for them.
func endGroup(program *exec.Cmd) {
	_ = syscall.Kill(-program.Process.Pid, syscall.SIGTERM) // fails only when all have ended
	_ = program.Wait()
	for {
		if _, err := syscall.Wait4(-program.Process.Pid, nil, 0, nil); err != nil && err != syscall.EINTR {
			return
		}
	}
}

func freeAddress() (string, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return listener.Addr().String(), listener.Close()
}

// awaitAddress waits until both programs listen.
func awaitAddress(ctx context.Context, address, socket string) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	for {
		_, err := os.Stat(socket)
		if err == nil {
			var response *http.Response
			if response, err = http.Get("http://" + address + "/ready"); err == nil {
				return response.Body.Close()
			}
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// nginxConfiguration has what PNDA's had, and the paths of this run.
func nginxConfiguration(run, folder, address, backend string) string {
	user := ""
	if os.Geteuid() == 0 {
		user = "user root;\n" // else its workers may not use the socket
	}
	return user + strings.NewReplacer("RUN", run, "FOLDER", folder, "ADDRESS", address, "BACKEND", backend).Replace(`daemon off;
worker_processes 2;
pid RUN/pid;
events { worker_connections 1024; }
http {
  access_log off;
  client_max_body_size 0;
  client_body_temp_path RUN/body;
  fastcgi_temp_path RUN/fastcgi;
  proxy_temp_path RUN/proxy;
  scgi_temp_path RUN/scgi;
  uwsgi_temp_path RUN/uwsgi;
  server {
    listen ADDRESS;
    location = /ready { return 204; }
    location / {
      fastcgi_pass unix:RUN/fcgi;
      fastcgi_buffering off;
      fastcgi_request_buffering off;
      fastcgi_read_timeout 600;
      fastcgi_param SCRIPT_FILENAME BACKEND;
      fastcgi_param GIT_PROJECT_ROOT FOLDER;
      fastcgi_param GIT_HTTP_EXPORT_ALL 1;
      fastcgi_param PATH_INFO $uri;
      fastcgi_param QUERY_STRING $query_string;
      fastcgi_param REQUEST_METHOD $request_method;
      fastcgi_param CONTENT_TYPE $content_type;
      fastcgi_param CONTENT_LENGTH $content_length;
      fastcgi_param SERVER_PROTOCOL $server_protocol;
      fastcgi_param REMOTE_ADDR $remote_addr;
      fastcgi_param GIT_PROTOCOL $http_git_protocol;
    }
  }
}
`)
}
