package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/pndaproject/deployment-manager/deploy/testcluster/engines"
	"github.com/pndaproject/deployment-manager/deploy/testcluster/node"
)

// doors are the ports of this machine that lead to the server, and the sockets
// between the two processes, in the folder that both see.
var doors = map[string]string{"PORT_PACKAGES": "packages.sock", "PORT_MANAGER": "manager.sock"}

// hold is the node's process: it shows the job, then keeps the node until it is told to
// end.
func hold() int {
	slog.SetLogLoggerLevel(slog.LevelWarn) // Helm tells of each link in a chart
	checkout, err := exec.Command("git", "-c", "safe.directory=*", "rev-parse", "--show-toplevel").Output()
	if os.Getenv("DM_TEST_NODE") == "" { // the second process begins where this one is
		if err == nil {
			err = os.Chdir(filepath.Join(strings.TrimSpace(string(checkout)), "deploy", "testcluster"))
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, "demo: start it in a clone of the project:", err)
			return 1
		}
	}
	suite := node.Suite{
		Name: engines.Suite, Checkout: strings.TrimSpace(string(checkout)), OnDisk: true, Grace: time.Minute, Another: engines.Another,
		Able:    func() error { _, err := engines.Pip(); return err },
		Prepare: engines.Prepare, Beside: beside,
		Run: func(w *node.World, unfit error) int {
			if w == nil {
				fmt.Fprintln(os.Stderr, "demo:", unfit)
				return 1
			}
			if err := show(*w); err != nil {
				fmt.Fprintln(os.Stderr, "demo:", err)
				return 1
			}
			return 0
		},
	}
	return suite.Main()
}

// show takes the job from an upload to its end.
func show(w node.World) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	begun := time.Now()
	in, err := engines.Install(ctx, w, os.Stdout)
	if err != nil {
		return err
	}
	err = play(ctx, in)
	if err == nil {
		fmt.Printf("\n%s after the node was started.\n", time.Since(begun).Round(time.Second))
		err = open(ctx, in)
	} else if ctx.Err() == nil {
		in.Explain(ctx, os.Stderr)
	}
	return errors.Join(err, in.Node.Stop())
}

// play is what a person would do, each step with the line that does it.
func play(ctx context.Context, in *engines.Installation) error {
	if err := in.InstallOperator(ctx, os.Stdout); err != nil {
		return err
	}
	const (
		id, app = "spark-count-1.0.0", "count"
		body    = `{"package": "` + id + `", "sparkStreaming": {"count": {"rounds": "4"}}}`
	)
	for _, step := range []struct {
		line string
		do   func() error
	}{
		{"PUT :8888/packages/" + id + ".tar.gz, PUT :5000/packages/" + id, func() error { return in.UploadFile(ctx, in.Examples, id) }},
		{"PUT :5000/applications/" + app + " " + body, func() error { return in.Create(ctx, app, body) }},
		{"POST :5000/applications/" + app + "/start", func() error { return in.Start(ctx, app) }},
		{"GET :5000/applications/" + app + "/summary, until Spark has done something", func() error { return in.AwaitJobs(ctx, app) }},
		{"GET :5000/applications/" + app + "/summary", func() error { return summarize(ctx, in, app) }},
		{"GET :5000/applications/" + app + "/summary, until it is COMPLETED", func() error { return in.AwaitState(ctx, app, "COMPLETED") }},
		{"GET :5000/applications/" + app + "/summary", func() error { return summarize(ctx, in, app) }},
		{"GET :5000/api/v1/applications/" + app + "/logs", func() error { return results(ctx, in, app) }},
	} {
		fmt.Println(">", step.line)
		if err := step.do(); err != nil {
			return err
		}
	}
	return nil
}

func summarize(ctx context.Context, in *engines.Installation, app string) error {
	summary, err := in.Summary(ctx, app)
	if err != nil {
		return err
	}
	text, err := json.MarshalIndent(summary, "", "  ")
	if err != nil {
		return err
	}
	fmt.Println(string(text))
	return nil
}

// results are the lines that the job wrote, of those that Spark wrote around them.
func results(ctx context.Context, in *engines.Installation, app string) error {
	if err := in.AwaitLog(ctx, app, "round 4"); err != nil {
		return err
	}
	log, err := in.Logs(ctx, app)
	if err != nil {
		return err
	}
	for line := range strings.Lines(log) {
		if strings.Contains(line, "round ") {
			fmt.Print(line)
		}
	}
	return nil
}

// open lets the sockets lead to the server, says that all is ready and waits for the
// end.
func open(ctx context.Context, in *engines.Installation) error {
	var working sync.WaitGroup
	defer working.Wait()
	for port, socket := range doors {
		to := strings.TrimPrefix(in.Manager, "http://")
		if port == "PORT_PACKAGES" {
			to = strings.TrimPrefix(in.Repository, "http://")
		}
		listener, err := net.Listen("unix", filepath.Join(node.Folder, "logs", socket))
		if err != nil {
			return err
		}
		working.Go(func() { lead(ctx, listener, func() (net.Conn, error) { return net.Dial("tcp", to) }) })
	}
	<-ctx.Done()
	return nil
}

// beside lets this machine's ports lead to the sockets, in the first process.
func beside(ctx context.Context, w node.World) {
	f, err := places()
	if err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		return
	}
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		if _, err := os.Stat(filepath.Join(w.Logs(), doors["PORT_MANAGER"])); err == nil {
			break
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
	var working sync.WaitGroup
	defer working.Wait()
	text, manager := "The server goes on, and believes every caller of this machine:\n", ""
	for port, socket := range doors {
		listener, err := net.Listen("tcp", "127.0.0.1:"+os.Getenv(port))
		if err != nil {
			fmt.Println(err, "- set", port, "to a free one; the job has run all the same")
			continue
		}
		address := "http://" + listener.Addr().String()
		text += "  " + address + "\n"
		if port == "PORT_MANAGER" {
			manager = address
		}
		working.Go(func() {
			lead(ctx, listener, func() (net.Conn, error) { return net.Dial("unix", filepath.Join(w.Logs(), socket)) })
		})
	}
	if manager != "" {
		text += "Try: curl '" + manager + "/applications/count/summary?user.name=ana'\n"
	}
	text += "make demo-kubernetes-down ends it.\n"
	fmt.Print(text)
	if err := os.WriteFile(f.ready, []byte(text), 0o600); err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
	}
	<-ctx.Done()
}

// lead carries what comes to a listener to another end, until ctx ends.
func lead(ctx context.Context, from net.Listener, to func() (net.Conn, error)) {
	stop := context.AfterFunc(ctx, func() { from.Close() })
	defer stop()
	for {
		in, err := from.Accept()
		if err != nil {
			return
		}
		go func() {
			defer in.Close()
			out, err := to()
			if err != nil {
				return
			}
			defer out.Close()
			done := make(chan struct{}, 2)
			for _, way := range [][2]net.Conn{{in, out}, {out, in}} {
				go func() { _, _ = io.Copy(way[0], way[1]); done <- struct{}{} }()
			}
			<-done
		}()
	}
}
