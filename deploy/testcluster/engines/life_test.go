package engines_test

import (
	"archive/tar"
	"bytes"
	"cmp"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pndaproject/deployment-manager/deploy/testcluster/engines"
	"github.com/pndaproject/deployment-manager/deploy/testcluster/node"
)

// javaPackage has a job in Java, and javaArchive makes it of the jar that was compiled.
const javaPackage = "java-count-1.0.0"

func javaArchive(jar []byte) ([]byte, error) {
	var archive bytes.Buffer
	zip := gzip.NewWriter(&archive)
	out := tar.NewWriter(zip)
	for name, content := range map[string]string{
		"count.jar": string(jar), "application.properties": "", "log4j.properties": "log4j.rootLogger=WARN\n",
		"properties.json": `{"main_jar": "count.jar", "main_class": "org.example.Count", "text": "even", "rounds": "1", "respawn_type": "no",
  "driver_mem": "512m", "executors_mem": "512m", "executors_num": "1",
  "spark_submit_args": "--conf spark.kubernetes.driver.request.cores=100m --conf spark.kubernetes.executor.request.cores=100m"}`,
	} {
		header := &tar.Header{Typeflag: tar.TypeReg, Name: javaPackage + "/sparkStreaming/count/" + name, Mode: 0o644, Size: int64(len(content))}
		if err := out.WriteHeader(header); err != nil {
			return nil, err
		}
		if _, err := out.Write([]byte(content)); err != nil {
			return nil, err
		}
	}
	err := errors.Join(out.Close(), zip.Close())
	return archive.Bytes(), err
}

// TestEngines takes jobs of Spark through their lives, through PNDA's API, first
// without an operator and then with it.
func TestEngines(t *testing.T) {
	if world == nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(unfit) // what a person may lack, the project's own checks may not
		}
		t.Skip(unfit)
	}
	begun := time.Now()
	in, err := engines.Install(t.Context(), *world, os.Stderr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			in.Explain(context.Background(), os.Stderr)
		}
		if err := in.Node.Stop(); err != nil {
			t.Error(err)
		}
	})
	t.Logf("node and server: %.1f s", time.Since(begun).Seconds())
	prepare(t, in)
	step(t, "native", func(t *testing.T) { life(t, in, "native") })
	step(t, "the operator", func(t *testing.T) {
		if err := in.InstallOperator(t.Context(), os.Stderr); err != nil {
			t.Fatal(err)
		}
	})
	step(t, "operator", func(t *testing.T) { life(t, in, "operator") })
}

func step(t *testing.T, name string, do func(*testing.T)) {
	begun := time.Now()
	if !t.Run(name, do) {
		t.FailNow()
	}
	t.Logf("%s: %.1f s", name, time.Since(begun).Seconds())
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func prepare(t *testing.T, in *engines.Installation) {
	t.Helper()
	must(t, in.UploadFile(t.Context(), in.Examples, "spark-count-1.0.0"))
	jar, err := os.ReadFile(filepath.Join(in.Java, "count.jar"))
	must(t, err)
	archive, err := javaArchive(jar)
	must(t, err)
	must(t, in.Upload(t.Context(), javaPackage, archive))
	must(t, node.Apply(t.Context(), engines.TeamSpace, `{apiVersion: v1, kind: Secret, metadata: {name: words}, stringData: {text: "a secret"}}`))
}

// life is that of a job in Python and of one in Java, side by side, so that they
// wait together.
func life(t *testing.T, in *engines.Installation, engine string) {
	before := objects(t, engine)
	t.Run("jobs", func(t *testing.T) {
		t.Run("python", func(t *testing.T) {
			t.Parallel()
			one(t, in, "python-"+engine, "spark-count-1.0.0", "round 1: git 2", `"changed git git git"`, "round 1: git 3")
		})
		t.Run("java", func(t *testing.T) {
			t.Parallel()
			one(t, in, "java-"+engine, javaPackage, "round 1: even 500", `{"secretRef": "words/text"}`, "round 1: a secret 500")
		})
	})
	if t.Failed() {
		return
	}
	must(t, node.Await(t.Context(), "all to be gone", node.Patience, func() error {
		if after := objects(t, engine); !slices.Equal(before, after) {
			return fmt.Errorf("in the namespace is\n%v, want what was there before:\n%v", after, before)
		}
		return nil
	}))
}

// one takes one application through its life: the job ends by itself, is run again
// with more to do and another text, stopped and started while it runs, rolled back and
// destroyed.
func one(t *testing.T, in *engines.Installation, app, id, says, text, saysChanged string) {
	ctx := t.Context()
	must(t, in.Create(ctx, app, `{"package": "`+id+`"}`))
	must(t, in.AwaitState(ctx, app, "CREATED"))
	must(t, in.Start(ctx, app))
	must(t, in.AwaitState(ctx, app, "COMPLETED"))
	must(t, in.AwaitLog(ctx, app, says))

	must(t, in.Change(ctx, app, `{"overrides": {"sparkStreaming": {"count": {"rounds": "1000", "pause": "1", "text": `+text+`}}}}`))
	must(t, in.AwaitState(ctx, app, "RUNNING"))
	must(t, in.AwaitLog(ctx, app, saysChanged))
	must(t, in.AwaitJobs(ctx, app))
	pods := running(t, in, app)
	if want := []string{"driver", "executor"}; !slices.Equal(pods, want) {
		t.Errorf("the pods that run are %v, want %v", pods, want)
	}
	if state, err := in.DetailState(ctx, app); err != nil || state != "RUNNING" {
		t.Errorf("the detail has the state %q, %v, want RUNNING", state, err)
	}

	must(t, in.Stop(ctx, app))
	must(t, in.AwaitState(ctx, app, "KILLED"))
	must(t, in.AwaitLog(ctx, app, saysChanged)) // it was kept
	must(t, in.Start(ctx, app))
	must(t, in.AwaitState(ctx, app, "RUNNING"))
	must(t, in.Rollback(ctx, app, 1))
	must(t, in.AwaitState(ctx, app, "COMPLETED"))
	must(t, in.Destroy(ctx, app))
}

// running are the roles of an application's pods that run.
func running(t *testing.T, in *engines.Installation, app string) (roles []string) {
	t.Helper()
	pods, err := in.Node.Client.CoreV1().Pods(engines.TeamSpace).List(t.Context(), metav1.ListOptions{FieldSelector: "status.phase=Running"})
	must(t, err)
	for _, p := range pods.Items {
		if p.Annotations["pnda.io/application"] == app && p.DeletionTimestamp == nil {
			roles = append(roles, cmp.Or(p.Labels["spark-role"], p.Labels["pnda.io/role"])) // a driver of ours has only the second
		}
	}
	slices.Sort(roles)
	return roles
}

// objects are all in the namespace that could be of an application.
func objects(t *testing.T, engine string) []string {
	t.Helper()
	kinds := "pods,services,configmaps,secrets,jobs,deployments,networkpolicies,persistentvolumeclaims"
	if engine == "operator" {
		kinds += ",sparkapplications"
	}
	out, err := node.Run(t.Context(), "kubectl", "-n", engines.TeamSpace, "get", kinds, "-o", "name")
	must(t, err)
	return slices.Sorted(slices.Values(strings.Fields(out)))
}
