package testcluster

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

// inChild is the variable that makes TestKilled the process that is killed; it
// names the run's folder.
const inChild = "TESTCLUSTER_KILLED_IN"

// TestKilled kills a test process with a running cluster. The kernel ends the
// cluster's programs.
func TestKilled(t *testing.T) {
	if folder := os.Getenv(inChild); folder != "" {
		beKilled(t, folder)
		return
	}
	t.Parallel()
	components(t) // so that the child only has to start it
	folder := t.TempDir()
	child := exec.Command(os.Args[0], "-test.run=^TestKilled$")
	child.Env = append(os.Environ(), inChild+"="+folder)
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	said, err := bufio.NewReader(out).ReadString('\n')
	if err != nil || said != "started\n" {
		t.Errorf("the child said %q, %v", said, err)
	}
	if running := processesIn(t, folder); len(running) < 4 {
		t.Errorf("the child has %d programs, want at least 4", len(running))
	}
	if err := child.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = child.Wait() // "signal: killed"
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	eventually(ctx, t, "the programs end with the process that started them", func() error {
		if left := processesIn(t, folder); len(left) > 0 {
			return fmt.Errorf("left: %v", left)
		}
		return nil
	})
}

func beKilled(t *testing.T, folder string) {
	startForTest(t, Options{Dir: folder})
	fmt.Println("started")
	select {} // until it is killed; the time limit of tests would end it too
}

// TestNamespace runs a cluster in a network namespace, where its port is not
// this machine's, and speaks to it from outside.
func TestNamespace(t *testing.T) {
	t.Parallel()
	namespace := newNamespace(t)
	cluster := startForTest(t, Options{Components: components(t), Namespace: namespace, Advertise: "10.200.0.1"})
	client := kubernetes.NewForConfigOrDie(cluster.Config())
	if _, err := client.CoreV1().Namespaces().Get(t.Context(), "default", metav1.GetOptions{}); err != nil {
		t.Error(err)
	}
	// Outside, the port may be that of any other program, which has no
	// certificate of this cluster's authority.
	outside := cluster.Config()
	outside.Dial, outside.Timeout = nil, 10*time.Second
	if _, err := kubernetes.NewForConfigOrDie(outside).Discovery().ServerVersion(); err == nil {
		t.Errorf("%s answers outside the namespace", cluster.address)
	}
	// What is started beside the cluster is in the namespace too.
	process, err := cluster.Run("look", exec.Command("readlink", "/proc/self/ns/net"))
	if err != nil {
		t.Fatal(err)
	}
	<-process.Ended()
	got, err := os.ReadFile(process.Log)
	if err != nil {
		t.Fatal(err)
	}
	want, err := os.Readlink(namespace)
	if err != nil {
		t.Fatal(err)
	}
	if strings.TrimSpace(string(got)) != want {
		t.Errorf("a program beside the cluster is in %s, want %s", got, want)
	}
}

// newNamespace makes a network namespace with nothing but loopback. A thread
// holds it until the test has ended.
func newNamespace(t *testing.T) string {
	t.Helper()
	made, release := make(chan error), make(chan struct{})
	var name string
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends, and the namespace with it
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			made <- err
			return
		}
		name = fmt.Sprintf("/proc/%d/task/%d/ns/net", os.Getpid(), unix.Gettid())
		made <- loopbackUp()
		<-release
	}()
	if err := <-made; err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("a network namespace cannot be made here: %v", err)
		}
		t.Skipf("a network namespace cannot be made here, it needs root: %v", err)
	}
	t.Cleanup(func() { close(release) })
	return name
}

func loopbackUp() error {
	socket, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(socket)
	loopback, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	loopback.SetUint16(unix.IFF_UP)
	return unix.IoctlIfreq(socket, unix.SIOCSIFFLAGS, loopback)
}
