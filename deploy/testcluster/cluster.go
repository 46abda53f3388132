package testcluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// Options say what Start starts. The zero value is a control plane on loopback.
type Options struct {
	Progress   io.Writer // hears of builds and of what is waited for; nil means silent
	Dir        string    // holds certificates, logs and data; empty means a temporary folder that Stop removes
	Components string    // what Components returned; empty means to call it
	Kwok       bool      // a node whose pods become ready and never run

	// Namespace is the file of a network namespace, such as /run/netns/name,
	// in which all programs run and in which loopback is meant. Config's
	// clients reach it from outside; a Kubeconfig is for programs inside.
	Namespace string

	// Advertise is the address by which pods and nodes know the API server;
	// empty means loopback. It does not listen there.
	Advertise string

	// Flags are added to those of the programs, by the programs' names, as
	// "--name=value". A flag that is given twice has the later value.
	Flags map[string][]string
}

// Cluster is a running control plane. Its methods may be called from any
// goroutine.
type Cluster struct {
	options Options
	home    *home
	pki     *PKI
	address string // of the API server, host:port
	admin   Pair

	mu        sync.Mutex
	processes []*Process // in the order of their start
	temporary bool
	stopped   bool

	background context.Context // ends when the cluster is stopped
	cancel     context.CancelFunc
	workers    sync.WaitGroup
}

// Start starts a cluster and returns when it can be used. The context bounds
// the start only; Stop must be called.
func Start(ctx context.Context, options Options) (*Cluster, error) {
	if options.Progress == nil {
		options.Progress = io.Discard
	}
	if options.Components == "" {
		folder, err := Components(ctx, options.Progress)
		if err != nil {
			return nil, err
		}
		options.Components = folder
	}
	// The port is free when it is chosen, and may be taken when it is used.
	var err error
	for range 3 {
		var c *Cluster
		if c, err = attempt(ctx, options); err == nil {
			return c, nil
		}
		if !errors.Is(err, errPortTaken) {
			break
		}
	}
	return nil, err
}

func attempt(ctx context.Context, options Options) (*Cluster, error) {
	c := &Cluster{options: options}
	c.background, c.cancel = context.WithCancel(context.Background())
	err := c.prepare()
	if err == nil {
		err = c.startAll(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, c.end())
	}
	return c, nil
}

// prepare makes all that needs no process: the folder, the thread, the keys.
func (c *Cluster) prepare() (err error) {
	if c.options.Dir == "" {
		if c.options.Dir, err = os.MkdirTemp("", "testcluster-"); err != nil {
			return err
		}
		c.temporary = true
	}
	if c.options.Dir, err = filepath.Abs(c.options.Dir); err != nil {
		return err
	}
	if c.pki, err = newPKI(c.path("pki")); err != nil {
		return err
	}
	if c.admin, err = c.pki.Client("admin", "system:masters"); err != nil {
		return err
	}
	home, err := newHome(c.options.Namespace)
	if err != nil {
		return err
	}
	c.home = home
	c.address, err = c.home.freeAddress()
	return err
}

// Config is a client's configuration with all rights. Each call returns a new
// one, so it may be changed.
func (c *Cluster) Config() *rest.Config { return c.config(c.admin) }

// ConfigFor is the configuration of a client that signs in as the user, a
// member of the groups and of system:authenticated.
func (c *Cluster) ConfigFor(user string, groups ...string) (*rest.Config, error) {
	pair, err := c.pki.Client(user, groups...)
	if err != nil {
		return nil, err
	}
	return c.config(pair), nil
}

func (c *Cluster) config(pair Pair) *rest.Config {
	return &rest.Config{
		Host:            "https://" + c.address,
		TLSClientConfig: rest.TLSClientConfig{CAFile: c.pki.CA, CertFile: pair.Certificate, KeyFile: pair.Key},
		Dial:            c.home.dial,
		QPS:             -1, // no limit: what waits on a client's own brake tests nothing
	}
}

// Kubeconfig is the file with which kubectl, a kubelet or kwok signs in with
// all rights.
func (c *Cluster) Kubeconfig() string { return c.path("admin.kubeconfig") }

// KubeconfigFor writes such a file for the user and returns its name.
func (c *Cluster) KubeconfigFor(user string, groups ...string) (string, error) {
	pair, err := c.pki.Client(user, groups...)
	if err != nil {
		return "", err
	}
	name := c.path(fileName(user) + ".kubeconfig")
	return name, c.writeKubeconfig(name, pair)
}

func (c *Cluster) writeKubeconfig(name string, pair Pair) error {
	config := clientcmdapi.NewConfig()
	config.Clusters["test"] = &clientcmdapi.Cluster{Server: "https://" + c.address, CertificateAuthority: c.pki.CA}
	config.AuthInfos["user"] = &clientcmdapi.AuthInfo{ClientCertificate: pair.Certificate, ClientKey: pair.Key}
	config.Contexts["test"] = &clientcmdapi.Context{Cluster: "test", AuthInfo: "user"}
	config.CurrentContext = "test"
	return clientcmd.WriteToFile(*config, name)
}

// PKI is the authority that the cluster trusts.
func (c *Cluster) PKI() *PKI { return c.pki }

// Dir holds the run's files; logs are in its folder logs.
func (c *Cluster) Dir() string { return c.options.Dir }

// Components is the folder of the programs, the kubelet among them.
func (c *Cluster) Components() string { return c.options.Components }

// Run starts one more program in the cluster's network namespace, such as a
// kubelet. Its output goes to a log file; Stop gives it ten seconds to end, the
// last started first, before it ends the control plane.
func (c *Cluster) Run(name string, command *exec.Cmd) (*Process, error) {
	return c.run(name, command, 10*time.Second)
}

// run starts the program; grace is how long Stop lets it end by itself, none
// for the control plane's own, whose data nobody needs.
func (c *Cluster) run(name string, command *exec.Cmd, grace time.Duration) (*Process, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stopped {
		return nil, fmt.Errorf("start %s: %w", name, errStopped)
	}
	process, err := start(c.home, name, c.path("logs", name+".log"), command)
	if err != nil {
		return nil, err
	}
	process.grace = grace
	c.processes = append(c.processes, process)
	return process, nil
}

// Stop ends everything that was started, and removes the folder if Start chose
// it. A program of the control plane that had ended by itself is an error.
// Calling Stop again does nothing.
func (c *Cluster) Stop() error {
	return errors.Join(c.dead(), c.end())
}

func (c *Cluster) end() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stopped {
		return nil
	}
	c.stopped = true
	c.cancel()
	c.workers.Wait()
	var faults []error
	for _, process := range slices.Backward(c.processes) {
		faults = append(faults, process.stop())
	}
	if c.home != nil {
		c.home.close()
	}
	if c.temporary {
		faults = append(faults, os.RemoveAll(c.options.Dir))
	}
	return errors.Join(faults...)
}

func (c *Cluster) path(parts ...string) string {
	return filepath.Join(append([]string{c.options.Dir}, parts...)...)
}
