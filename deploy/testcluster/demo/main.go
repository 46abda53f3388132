package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/pndaproject/deployment-manager/deploy/testcluster/engines"
)

func main() {
	word := ""
	if len(os.Args) == 2 {
		word = os.Args[1]
	}
	var err error
	switch word {
	case "up":
		err = up()
	case "down":
		err = down()
	case "hold":
		os.Exit(hold())
	default:
		err = errors.New("usage: demo up|down")
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

// files are those by which the commands know of each other.
type files struct{ pid, log, ready string }

func places() (files, error) {
	folder, err := engines.Cache()
	if err != nil {
		return files{}, err
	}
	in := func(name string) string { return filepath.Join(folder, "demo."+name) }
	return files{in("pid"), in("log"), in("ready")}, nil
}

// runs is the process that holds the node, 0 when there is none.
func (f files) runs() int {
	text, err := os.ReadFile(f.pid)
	if err != nil {
		return 0
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil || syscall.Kill(pid, 0) != nil {
		return 0
	}
	command, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if err != nil || !strings.HasSuffix(strings.TrimRight(string(command), "\x00"), "\x00hold") {
		return 0 // the number is somebody else's by now
	}
	return pid
}

// up starts the process that holds the node and shows what it does, until the job has
// ended.
func up() error {
	f, err := places()
	if err != nil {
		return err
	}
	if f.runs() != 0 {
		text, err := os.ReadFile(f.ready)
		if err != nil {
			return errors.New("it is being started already; its words are in " + f.log)
		}
		fmt.Print("It runs already.\n", string(text))
		return nil
	}
	if os.Getuid() != 0 {
		return errors.New("a node that runs containers needs root; on a cluster of yours, install the chart, see docs/kubernetes.md")
	}
	fmt.Println("A Spark job on Kubernetes, from an upload to its end. The first time this builds Kubernetes,\nfetches Spark and makes images, which takes about 15 minutes on two processors; later, 2 minutes.")
	for _, old := range []string{f.ready, f.log} {
		if err := os.Remove(old); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	log, err := os.Create(f.log)
	if err != nil {
		return err
	}
	defer log.Close()
	holder := exec.Command("/proc/self/exe", "hold")
	holder.Stdout, holder.Stderr = log, log
	holder.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := holder.Start(); err != nil {
		return err
	}
	if err := os.WriteFile(f.pid, []byte(strconv.Itoa(holder.Process.Pid)), 0o600); err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- holder.Wait() }()
	return follow(f, holder.Process, ended)
}

// follow shows the log until everything is ready, or the process ends.
func follow(f files, holder *os.Process, ended <-chan error) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	log, err := os.Open(f.log)
	if err != nil {
		return err
	}
	defer log.Close()
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		_, known := os.Stat(f.ready)
		if _, err := io.Copy(os.Stdout, log); err != nil {
			return err
		}
		if known == nil {
			return nil
		}
		select {
		case err := <-ended:
			_, _ = io.Copy(os.Stdout, log)
			return errors.Join(errors.New("it ended early"), err)
		case <-ctx.Done():
			fmt.Println("\nending it; what was fetched and built is kept")
			return errors.Join(holder.Signal(syscall.SIGTERM), <-ended)
		case <-tick.C:
		}
	}
}

// down ends the process that holds the node, and with it the node.
func down() error {
	f, err := places()
	if err != nil {
		return err
	}
	pid := f.runs()
	if pid == 0 {
		fmt.Println("It does not run.")
		return nil
	}
	if err := syscall.Kill(pid, syscall.SIGTERM); err != nil {
		return err
	}
	deadline := time.Now().Add(2 * time.Minute)
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for f.runs() != 0 {
		if time.Now().After(deadline) {
			return fmt.Errorf("the process %d does not end", pid)
		}
		<-tick.C
	}
	fmt.Println("It has ended, and nothing of it is left but what was fetched and built.")
	return errors.Join(os.Remove(f.pid), os.Remove(f.ready))
}
