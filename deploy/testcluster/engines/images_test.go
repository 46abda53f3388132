package engines

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestEntrypoint: what Spark asks of its image's first program, which PyPI has not.
func TestEntrypoint(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	script := filepath.Join(folder, "entrypoint.sh")
	for file, text := range map[string]string{script: entrypoint, filepath.Join(folder, "tini"): "#!/bin/sh\nshift 2\necho \"$@\"\n"} {
		if err := os.WriteFile(file, []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct {
		name      string
		arguments []string
		env       []string
		want      string
	}{
		{"driver", []string{"driver", "--class", "org.example.Count", "local:///count.jar", "a b"}, []string{"SPARK_DRIVER_BIND_ADDRESS=10.0.0.1"},
			"/opt/spark/bin/spark-submit --deploy-mode client --conf spark.driver.bindAddress=10.0.0.1 --class org.example.Count local:///count.jar a b"},
		{"executor", []string{"executor"}, []string{
			"SPARK_JAVA_OPT_10=-Dten", "SPARK_JAVA_OPT_9=-Dnine=a=b", "SPARK_EXECUTOR_MEMORY=512m", "SPARK_DRIVER_URL=spark://driver:1", "SPARK_EXECUTOR_ID=1",
			"SPARK_EXECUTOR_CORES=2", "SPARK_APPLICATION_ID=app", "SPARK_EXECUTOR_POD_IP=10.0.0.2", "SPARK_RESOURCE_PROFILE_ID=0", "SPARK_EXECUTOR_POD_NAME=pod",
		}, "java -Dnine=a=b -Dten -Xms512m -Xmx512m -cp /opt/spark/conf:/opt/spark/jars/* org.apache.spark.scheduler.cluster.k8s.KubernetesExecutorBackend " +
			"--driver-url spark://driver:1 --executor-id 1 --cores 2 --app-id app --hostname 10.0.0.2 --resourceProfileId 0 --podName pod"},
		{"anything else", []string{"echo", "driver"}, nil, "driver"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			command := exec.CommandContext(t.Context(), "/bin/sh", append([]string{script}, tt.arguments...)...)
			command.Env = append([]string{"PATH=" + folder + ":/usr/bin:/bin"}, tt.env...)
			out, err := command.CombinedOutput()
			if got := strings.TrimSpace(string(out)); err != nil || got != tt.want {
				t.Errorf("it runs, %v:\n%s\nwant:\n%s", err, got, tt.want)
			}
		})
	}
}

// TestLeft: with a part of Spark's machine learning left in, Spark looks for the rest in
// every shuffle.
func TestLeft(t *testing.T) {
	t.Parallel()
	for jar, want := range map[string]bool{
		"spark-core_2.13-4.3.0.jar": false, "spark-sql_2.13-4.3.0.jar": false, "spark-kubernetes_2.13-4.3.0.jar": false, "kubernetes-client-7.0.0.jar": false,
		"netty-transport-native-epoll-4.1.0-linux-x86_64.jar": false, "hadoop-client-api-3.4.0.jar": false,
		"spark-mllib_2.13-4.3.0.jar": true, "spark-mllib-local_2.13-4.3.0.jar": true, "breeze_2.13-2.1.0.jar": true, "hive-exec-2.3.10-core.jar": true,
		"netty-transport-native-kqueue-4.1.0-osx-x86_64.jar": true, "netty-transport-native-epoll-4.1.0-linux-aarch_64.jar": true,
	} {
		if got := left(jar); got != want {
			t.Errorf("left(%s) = %v, want %v", jar, got, want)
		}
	}
}

// TestImagesShareLayers: what is brought to a node is as large as the one with all
// layers, and each image has those that the table has.
func TestImagesShareLayers(t *testing.T) {
	t.Parallel()
	var s sources
	known, used := s.layers(), map[string]bool{}
	for _, i := range s.images() {
		for n, called := range i.layers {
			if known[called] == nil {
				t.Errorf("%s has the layer %s, which nothing makes", i.tag, called)
			}
			if n == 0 && called != "debian" {
				t.Errorf("%s begins with the layer %s, want Debian's, which all share", i.tag, called)
			}
			used[called] = true
		}
	}
	if len(used) != len(known) {
		t.Errorf("of the layers %v only %v are used", known, used)
	}
}
