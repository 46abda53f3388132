package testcluster

import (
	"context"
	"fmt"
	"os/exec"
	"slices"

	"k8s.io/client-go/kubernetes"
)

// Kill ends one of the control plane's programs, such as kube-apiserver, without a
// chance to tidy up, and returns what starts it again as it was. That waits until the
// API server is ready.
func (c *Cluster) Kill(name string) (restart func(context.Context) error, err error) {
	killed, err := c.take(name)
	if err != nil {
		return nil, err
	}
	if err := killed.stop(); err != nil {
		return nil, err
	}
	return func(ctx context.Context) error {
		command := exec.Command(killed.command.Path, killed.command.Args[1:]...)
		command.Dir, command.Env = killed.command.Dir, killed.command.Env
		if _, err := c.run(name, command, killed.grace); err != nil {
			return err
		}
		client, err := kubernetes.NewForConfig(c.Config())
		if err != nil {
			return err
		}
		return c.await(ctx, "the API server to be ready", func(ctx context.Context) error {
			return client.Discovery().RESTClient().Get().AbsPath("/readyz").Do(ctx).Error()
		})
	}, nil
}

// take takes a program out of those that may not end.
func (c *Cluster) take(name string) (*Process, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, process := range c.processes {
		if process.Name == name && process.grace == 0 {
			c.processes = slices.Delete(c.processes, i, i+1)
			return process, nil
		}
	}
	return nil, fmt.Errorf("kill %s: it is not one of the control plane's programs that run", name)
}
