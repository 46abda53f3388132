package kube_test

import (
	"archive/tar"
	"bytes"
	"cmp"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/pndaproject/deployment-manager/deploy/testcluster"
)

// door is the way of a server to the API server: it can be shut, and counts what
// writes.
type door struct {
	*httptest.Server
	shut   atomic.Bool
	writes atomic.Int64
}

func openDoor(t *testing.T, user *rest.Config) *door {
	t.Helper()
	transport, err := rest.TransportFor(user)
	if err != nil {
		t.Fatal(err)
	}
	to, err := url.Parse(user.Host)
	if err != nil {
		t.Fatal(err)
	}
	d := &door{}
	proxy := &httputil.ReverseProxy{
		Rewrite:   func(r *httputil.ProxyRequest) { r.SetURL(to) },
		Transport: transport, FlushInterval: -1, ErrorHandler: func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) },
	}
	d.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if d.shut.Load() {
			panic(http.ErrAbortHandler)
		}
		reviews := strings.HasSuffix(r.URL.Path, "selfsubjectaccessreviews") // a question, by POST
		if r.Method != http.MethodGet && !reviews && !strings.Contains(r.URL.RawQuery, "dryRun=All") {
			d.writes.Add(1)
		}
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(d.Close)
	return d
}

// server is the real one, as a process that can be killed.
type server struct {
	t       *testing.T
	program string
	flags   []string
	base    map[string]string // by "packages" and "manager"
	command *exec.Cmd
	ready   time.Duration // of its last start
}

func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func newServer(t *testing.T, r *rig, d *door) *server {
	t.Helper()
	folder := t.TempDir()
	build := exec.Command("go", "build", "-buildvcs=false", "-o", folder, "./cmd/...")
	build.Dir = "../../.."
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	config := clientcmdapi.NewConfig()
	config.Clusters["c"] = &clientcmdapi.Cluster{Server: d.URL}
	config.Contexts["c"] = &clientcmdapi.Context{Cluster: "c"}
	config.CurrentContext = "c"
	kubeconfig := filepath.Join(folder, "kubeconfig")
	r.must(clientcmd.WriteToFile(*config, kubeconfig))
	packages, manager, git := freePort(t), freePort(t), freePort(t)
	s := &server{t: t, program: filepath.Join(folder, "deployment-manager"), base: map[string]string{"packages": "http://" + packages, "manager": "http://" + manager}}
	s.flags = []string{"serve", "--data", filepath.Join(folder, "data"), "--auth", "insecure-pnda", "--groups", "{" + team + ": [ana]}",
		"--listen-packages", packages, "--listen-manager", manager, "--listen-git", git, "--log-level", "error",
		"--kubernetes-enabled", "--kubernetes-kubeconfig", kubeconfig, "--kubernetes-files-url", "http://" + manager,
		"--kubernetes-teams", fmt.Sprintf(`{%s: {namespace: %s, serviceAccount: jobs, images: ["spark:*"]}}`, team, r.namespace),
		"--spark-images", `{"4.3.0": "spark:4.3.0"}`, "--spark-engine", "operator"}
	t.Cleanup(func() { s.kill() })
	return s
}

// start returns when the server is ready.
func (s *server) start() {
	s.t.Helper()
	begun := time.Now()
	s.command = exec.Command(s.program, s.flags...)
	s.command.Stderr = os.Stderr
	s.command.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := s.command.Start(); err != nil {
		s.t.Fatal(err)
	}
	eventually(s.t, "the server is ready", func() error {
		_, err := s.do(http.MethodGet, "manager", "/readyz", nil)
		return err
	})
	s.ready = time.Since(begun)
}

// kill is a server that ends at once, wherever it is.
func (s *server) kill() {
	if s.command == nil || s.command.Process == nil {
		return
	}
	_ = s.command.Process.Kill()
	_ = s.command.Wait()
}

// do sends one request as ana.
func (s *server) do(method, port, path string, body io.Reader) (string, error) {
	r, err := http.NewRequestWithContext(context.Background(), method, s.base[port]+path+"?user.name=ana", body)
	if err != nil {
		return "", err
	}
	client := http.Client{Timeout: time.Minute}
	answer, err := client.Do(r)
	if err != nil {
		return "", err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err == nil && answer.StatusCode >= http.StatusBadRequest {
		err = fmt.Errorf("%s %s: %s: %s", method, path, answer.Status, text)
	}
	return string(text), err
}

// is waits for a phase of an application.
func (s *server) is(app, phase string) {
	s.t.Helper()
	eventually(s.t, app+" is "+phase, func() error {
		text, err := s.do(http.MethodGet, "manager", "/applications/"+app+"/status", nil)
		if err != nil && !(phase == "NOTCREATED" && strings.Contains(err.Error(), phase)) {
			return err
		}
		if err == nil && !strings.Contains(text, `"`+phase+`"`) {
			return errors.New(text)
		}
		return nil
	})
}

const threePackage = "three-1.0.0"

// three is the archive of a package of three components.
func three() ([]byte, error) {
	var archive bytes.Buffer
	zip := gzip.NewWriter(&archive)
	out := tar.NewWriter(zip)
	for _, component := range []string{"a", "b", "c"} {
		for name, text := range map[string]string{
			"job.py": "print(1)\n", "application.properties": "", "log4j.properties": "", "properties.json": `{"main_py": "job.py"}`,
		} {
			header := &tar.Header{Typeflag: tar.TypeReg, Name: threePackage + "/sparkStreaming/" + component + "/" + name, Mode: 0o644, Size: int64(len(text))}
			if err := out.WriteHeader(header); err != nil {
				return nil, err
			}
			if _, err := io.WriteString(out, text); err != nil {
				return nil, err
			}
		}
	}
	err := errors.Join(out.Close(), zip.Close())
	return archive.Bytes(), err
}

// TestServer is the real server before a real API server: away, killed at any moment,
// and started with nothing to do.
func TestServer(t *testing.T) {
	cluster, err := testcluster.Start(t.Context(), testcluster.Options{Kwok: true, Progress: os.Stderr})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := cluster.Stop(); err != nil {
			t.Error(err)
		}
	})
	r := newRig(t, cluster, nil)
	r.installOperator()
	d := openDoor(t, r.user)
	s := newServer(t, r, d)
	s.start()
	archive, err := three()
	r.must(err)
	_, err = s.do(http.MethodPut, "packages", "/packages/"+threePackage+".tar.gz", bytes.NewReader(archive))
	r.must(err)
	_, err = s.do(http.MethodPut, "manager", "/packages/"+threePackage, nil)
	r.must(err)
	eventually(t, "the package is deployed", func() error {
		text, err := s.do(http.MethodGet, "manager", "/packages/"+threePackage+"/status", nil)
		if err == nil && !strings.Contains(text, `"DEPLOYED"`) {
			err = errors.New(text)
		}
		return err
	})
	for _, step := range []struct {
		name string
		do   func(t *testing.T)
	}{
		{"away", func(t *testing.T) { away(t, r, s, d) }},
		{"killed", func(t *testing.T) { killed(t, r, s) }},
		{"nothing to do", func(t *testing.T) { nothingToDo(t, s, d) }},
	} {
		passed := t.Run(step.name, func(t *testing.T) {
			r.T, s.t = t, t
			step.do(t)
		})
		if r.T, s.t = t, t; !passed {
			t.FailNow()
		}
	}
}

const create = `{"package": "` + threePackage + `"}`

// away: what is asked for while the cluster is away is accepted and waits, can be taken
// back, and is done when it is there again.
func away(t *testing.T, r *rig, s *server, d *door) {
	d.shut.Store(true)
	for _, app := range []string{"waits", "goes"} {
		_, err := s.do(http.MethodPut, "manager", "/applications/"+app, strings.NewReader(create))
		r.must(err)
		eventually(t, app+" says why it waits", func() error {
			text, err := s.do(http.MethodGet, "manager", "/applications/"+app+"/status", nil)
			if err == nil && !strings.Contains(text, "Waiting: ") {
				err = errors.New(text)
			}
			return err
		})
	}
	_, err := s.do(http.MethodDelete, "manager", "/applications/goes", nil)
	r.must(err)
	d.shut.Store(false)
	s.is("waits", "CREATED")
	s.is("goes", "NOTCREATED")
	if got := len(sparkObjects(r)); got != 3 {
		t.Errorf("%d SparkApplications are there, want the 3 of the one that waited", got)
	}
	_, err = s.do(http.MethodDelete, "manager", "/applications/waits", nil)
	r.must(err)
	s.is("waits", "NOTCREATED")
}

func sparkObjects(r *rig) []unstructured.Unstructured {
	r.Helper()
	list, err := r.dynamic.Resource(sparks).Namespace(r.namespace).List(r.Context(), metav1.ListOptions{})
	r.must(err)
	return list.Items
}

// killed: a server that is killed at any moment, while applications are created,
// started, stopped and destroyed, leaves no change half done and runs nothing twice.
func killed(t *testing.T, r *rig, s *server) {
	kills, err := strconv.Atoi(cmp.Or(os.Getenv("DM_TEST_KILLS"), "20"))
	r.must(err)
	const apps = 8
	want := map[string]string{} // the verb of the last change that was accepted, by application
	var mu sync.Mutex
	for range kills {
		stop, working := make(chan struct{}), sync.WaitGroup{}
		for n := range apps {
			working.Go(func() {
				app := fmt.Sprintf("app-%d", n)
				for {
					select {
					case <-stop:
						return
					default:
					}
					verb := []string{"create", "start", "stop", "destroy"}[rand.N(4)]
					if ask(s, app, verb) == nil {
						mu.Lock()
						want[app] = verb
						mu.Unlock()
					}
				}
			})
		}
		time.Sleep(time.Duration(100+rand.N(400)) * time.Millisecond) // the moment of the kill is what is tried
		s.kill()
		close(stop)
		working.Wait()
		s.start()
	}
	phases := map[string]string{}
	for n := range apps {
		app := fmt.Sprintf("app-%d", n)
		eventually(t, app+" is settled", func() error {
			text, err := s.do(http.MethodGet, "manager", "/applications/"+app+"/status", nil)
			phases[app] = "NOTCREATED"
			if err != nil {
				if strings.Contains(err.Error(), "NOTCREATED") {
					err = nil
				}
				return err
			}
			var got struct{ Status string }
			r.must(json.Unmarshal([]byte(text), &got))
			if phases[app] = got.Status; !slices.Contains([]string{"CREATED", "STARTED", "NOTCREATED"}, got.Status) {
				return errors.New(text)
			}
			return nil
		})
	}
	t.Logf("%d kills; accepted last: %v; now: %v", kills, want, phases)
	running, standing := 0, 0
	for _, phase := range phases {
		if phase != "NOTCREATED" {
			standing += 3
		}
		if phase == "STARTED" {
			running += 3
		}
	}
	got, suspended := sparkObjects(r), 0
	for _, o := range got {
		if yes, _, _ := unstructured.NestedBool(o.Object, "spec", "suspend"); yes {
			suspended++
		}
	}
	if len(got) != standing || len(got)-suspended != running {
		t.Errorf("%d SparkApplications are there, %d of them to run; want %d and %d", len(got), len(got)-suspended, standing, running)
	}
	for app, phase := range phases {
		if phase != "NOTCREATED" {
			_, err := s.do(http.MethodDelete, "manager", "/applications/"+app, nil)
			r.must(err)
			s.is(app, "NOTCREATED")
		}
	}
	if left := sparkObjects(r); len(left) > 0 {
		t.Errorf("%d SparkApplications are left, want none", len(left))
	}
}

// ask asks for one change; not every one is legal.
func ask(s *server, app, verb string) error {
	var err error
	switch verb {
	case "create":
		_, err = s.do(http.MethodPut, "manager", "/applications/"+app, strings.NewReader(create))
	case "destroy":
		_, err = s.do(http.MethodDelete, "manager", "/applications/"+app, nil)
	default:
		_, err = s.do(http.MethodPost, "manager", "/applications/"+app+"/"+verb, nil)
	}
	return err
}

// nothingToDo: a server that starts beside many applications reads them all and writes
// nothing. How many is told by DM_TEST_APPLICATIONS; the times and the memory are
// printed.
func nothingToDo(t *testing.T, s *server, d *door) {
	many, err := strconv.Atoi(cmp.Or(os.Getenv("DM_TEST_APPLICATIONS"), "50"))
	if err != nil {
		t.Fatal(err)
	}
	name := func(n int) string { return fmt.Sprintf("many-%d", n) }
	var making sync.WaitGroup
	places := make(chan struct{}, 8)
	for n := range many {
		making.Go(func() {
			places <- struct{}{}
			defer func() { <-places }()
			if err := ask(s, name(n), "create"); err != nil {
				t.Error(err)
			}
		})
	}
	making.Wait()
	for n := range many {
		s.is(name(n), "CREATED")
	}
	s.kill()
	d.writes.Store(0)
	begun := time.Now()
	s.start()
	for n := range many {
		eventually(t, name(n)+" is known", func() error {
			text, err := s.do(http.MethodGet, "manager", "/applications/"+name(n)+"/summary", nil)
			if err == nil && (strings.Contains(text, "unavailable") || !strings.Contains(text, `"CREATED"`)) {
				err = errors.New(text)
			}
			return err
		})
	}
	known := time.Since(begun)
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.command.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(status)) {
		if strings.HasPrefix(line, "VmRSS") || strings.HasPrefix(line, "VmHWM") {
			t.Logf("%s", strings.Join(strings.Fields(line), " "))
		}
	}
	t.Logf("%d applications of 3 components: ready after %.1f s, all known after %.1f s", many, s.ready.Seconds(), known.Seconds())
	if n := d.writes.Load(); n > 0 {
		t.Errorf("the server wrote %d times, want nothing: there was nothing to do", n)
	}
}
