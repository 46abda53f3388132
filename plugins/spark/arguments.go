package spark

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/resource"

	dm "github.com/pndaproject/deployment-manager"
)

func unmarshal(raw []byte, into any) error { return json.Unmarshal(raw, into) }

// split makes words of a line as a shell would: by blanks, quotes and backslashes.
// Nothing is ever run or expanded, and # is a character like others.
func split(line string) (words []string, err error) {
	var word []rune
	var quote rune // of the quotes that are open, 0 for none
	inWord, escaped := false, false
	for _, c := range line {
		switch {
		case escaped:
			if quote == '"' && c != '"' && c != '\\' && c != '$' && c != '`' {
				word = append(word, '\\')
			}
			word, escaped = append(word, c), false
		case c == '\\' && quote != '\'':
			inWord, escaped = true, true
		case quote != 0 && c == quote:
			quote = 0
		case quote == 0 && (c == '"' || c == '\''):
			inWord, quote = true, c
		case quote == 0 && (c == ' ' || c == '\t'):
			if inWord {
				words = append(words, string(word))
			}
			word, inWord = nil, false
		default:
			word, inWord = append(word, c), true
		}
	}
	if quote != 0 || escaped {
		return nil, dm.Errorf(dm.Invalid, "spark.split", "the quotes in %.80q do not match", line)
	}
	if inWord {
		words = append(words, string(word))
	}
	return words, nil
}

// refusedOptions are those of spark-submit that are not for a package to say, each
// with who says it.
var refusedOptions = map[string]string{
	"--master": "the server decides where a job runs", "--deploy-mode": "the server decides how a job runs",
	"--class": "use main_class", "--name": "the server names jobs", "--proxy-user": "a job runs as its team's service account",
	"--principal": "Kerberos is not supported", "--keytab": "Kerberos is not supported", "--supervise": "use respawn_type",
	"--total-executor-cores": "use executors_num and executor_cores", "--kill": "stop the application", "--status": "ask the application's status",
	"--properties-file": "use --conf, or properties.json",
}

// flags are the options of spark-submit without a value.
var flags = []string{"--verbose", "-v"}

// reference is one that Spark's configuration has to where it is read first: that is
// the operator's pod, whose environment is not the package's to know.
var reference = regexp.MustCompile(`\$\{(env|system):`)

// arguments reads spark_submit_args. Options are allowed by name; what is in no list
// is refused by its own.
func (r *reading) arguments(line string) {
	if found := reference.FindString(line); found != "" {
		r.fault("spark_submit_args: %s…} is not allowed: it is filled in by whoever starts the job, and not in the job's pods", found)
		return
	}
	words, err := split(line)
	if err != nil {
		r.fault("spark_submit_args: %s", dm.Public(err))
		return
	}
	for i := 0; i < len(words); i++ {
		option, value, joined := strings.Cut(words[i], "=")
		if slices.Contains(flags, words[i]) {
			continue
		}
		if !strings.HasPrefix(option, "-") {
			r.fault("spark_submit_args: %.80q is no option; arguments of the job belong into main_args", words[i])
			return
		}
		if why, refused := refusedOptions[option]; refused {
			r.fault("spark_submit_args: %s is not allowed: %s", option, why)
			if !joined {
				i++
			}
			continue
		}
		take, known := options[option]
		if !known {
			r.fault("spark_submit_args: unknown option %.80q", option)
			return // whether it has a value is not known either
		}
		if !joined {
			if i++; i >= len(words) {
				r.fault("spark_submit_args: %s needs a value", option)
				return
			}
			value = words[i]
		}
		if len(value) > longestValue {
			r.fault("spark_submit_args: the value of %s has %d bytes, at most %d are allowed", option, len(value), longestValue)
			continue
		}
		take(r, value)
	}
}

// options are those of spark-submit that a package may say.
var options = map[string]func(*reading, string){
	"--conf": func(r *reading, v string) {
		key, value, ok := strings.Cut(v, "=")
		if !ok {
			r.fault("spark_submit_args: --conf %.80q is not <key>=<value>", v)
			return
		}
		r.configure(strings.TrimSpace(key), strings.TrimSpace(value))
	},
	"--jars":     func(r *reading, v string) { r.job.jars = append(r.job.jars, r.addresses("--jars", v)...) },
	"--files":    func(r *reading, v string) { r.job.remote = append(r.job.remote, r.addresses("--files", v)...) },
	"--py-files": func(r *reading, v string) { r.job.remotePy = append(r.job.remotePy, r.addresses("--py-files", v)...) },
	"--archives": func(r *reading, v string) { r.job.archives = append(r.job.archives, r.addresses("--archives", v)...) },
	"--packages": func(r *reading, v string) { r.job.packages = append(r.job.packages, r.coordinates("--packages", v)...) },
	"--exclude-packages": func(r *reading, v string) {
		r.job.excludes = append(r.job.excludes, r.coordinates("--exclude-packages", v)...)
	},
	"--repositories": func(r *reading, v string) {
		r.job.repositories = append(r.job.repositories, r.addresses("--repositories", v)...)
	},
	"--driver-memory": func(r *reading, v string) { r.job.driver.memory = r.memoryOf("spark_submit_args: --driver-memory", v) },
	"--executor-memory": func(r *reading, v string) {
		r.job.executor.memory = r.memoryOf("spark_submit_args: --executor-memory", v)
	},
	"--driver-cores":        func(r *reading, v string) { r.job.driver.cores = r.whole("--driver-cores", v, mostCores) },
	"--executor-cores":      func(r *reading, v string) { r.job.executor.cores = r.whole("--executor-cores", v, mostCores) },
	"--num-executors":       func(r *reading, v string) { r.job.executors = r.whole("--num-executors", v, mostExecutors) },
	"--driver-java-options": func(r *reading, v string) { r.java("--driver-java-options", &r.job.driver, v) },
	"--driver-class-path":   func(r *reading, v string) { r.job.conf["spark.driver.extraClassPath"] = v },
	"--driver-library-path": func(r *reading, v string) { r.job.conf["spark.driver.extraLibraryPath"] = v },
	"--queue": func(r *reading, v string) {
		r.job.notes = append(r.job.notes, "the option --queue of spark_submit_args is ignored, Kubernetes has no queues of YARN")
	},
}

// whole is a number of an option.
func (r *reading) whole(option, value string, most int) int {
	rr := reading{job: r.job, p: dm.Properties{option: json.RawMessage(value)}}
	if _, err := json.Number(value).Int64(); err != nil {
		r.fault("spark_submit_args: %s must be a number, not %.40q", option, value)
		return 0
	}
	n := rr.number(option, 1, most)
	for _, f := range rr.findings {
		r.fault("spark_submit_args: %s", f.Message)
	}
	return n
}

// schemes are those from which a job may have files fetched. A file of the pod
// itself is said as local.
var schemes = []string{"http", "https", "hdfs", "s3a", "gs", "abfs", "abfss", "local", "ftp"}

// addresses reads a list of what is fetched: an address, or a file of the component.
func (r *reading) addresses(option, list string) []string {
	var all []string
	for one := range strings.SplitSeq(list, ",") {
		if one = strings.TrimSpace(one); one == "" {
			continue
		}
		scheme, _, absolute := strings.Cut(one, ":")
		switch {
		case !absolute:
			if path := r.inComponent("spark_submit_args: "+option, one); path != "" {
				all = append(all, componentScheme+path)
			}
		case !slices.Contains(schemes, strings.ToLower(scheme)):
			r.fault("spark_submit_args: %s %.80q can't be fetched; the addresses that can begin with %s", option, one, strings.Join(schemes, ", "))
		default:
			if _, err := url.Parse(one); err != nil {
				r.fault("spark_submit_args: %s %.80q is no address", option, one)
				continue
			}
			if strings.HasPrefix(one, "hdfs:///") {
				r.job.notes = append(r.job.notes, fmt.Sprintf("%s %s names no name node: it needs fs.defaultFS, by --conf spark.hadoop.fs.defaultFS or in the image", option, one))
			}
			all = append(all, one)
		}
	}
	return all
}

// componentScheme marks, within a job, a file of the component among addresses.
const componentScheme = "component:"

var coordinate = regexp.MustCompile(`^[A-Za-z0-9_.-]+(:[A-Za-z0-9_.-]+){1,3}$`)

func (r *reading) coordinates(option, list string) []string {
	var all []string
	for one := range strings.SplitSeq(list, ",") {
		if one = strings.TrimSpace(one); one == "" {
			continue
		}
		if !coordinate.MatchString(one) {
			r.fault("spark_submit_args: %s %.80q is not <group>:<artifact>:<version>", option, one)
			continue
		}
		all = append(all, one)
	}
	return all
}

// javaOptions are the fronts of the options that a JVM may be given, and
// deniedOptions those among them that it may not: what takes code from elsewhere, or
// belongs to Spark, which refuses it only when an executor starts.
var (
	javaOptions = []string{
		"-D", "-XX:", "-Xms", "-Xmn", "-Xss", "-Xlog:", "-Xloggc:", "-verbose:", "-ea", "-da", "-server", "--add-opens=", "--add-exports=", "--add-modules=",
	}
	deniedOptions = []string{
		"-Dspark", "-XX:OnError", "-XX:OnOutOfMemoryError", "-XX:Flags", "-XX:VMOptionsFile", "-XX:MaxHeapSize", "-XX:InitialHeapSize",
		"-XX:MaxRAM", "-Djava.system.class.loader", "-Djava.security.manager", "-Djdk.attach", "-Dcom.sun.management",
	}
)

// java takes options of a JVM. Spark makes words of them in its own way, so that
// quotes, of which it could make others, have no place in them.
func (r *reading) java(where string, p *part, value string) {
	if strings.ContainsAny(value, "'\"\\") {
		r.fault("spark_submit_args: %s must hold no quotes and backslashes of its own", where)
		return
	}
	words := strings.Fields(value)
	for _, w := range words {
		has := func(front string) bool { return strings.HasPrefix(w, front) }
		switch {
		case has("-Xmx"):
			r.fault("spark_submit_args: %s must not set -Xmx; use driver_mem or executors_mem", where)
		case has("-Dspark"):
			r.fault("spark_submit_args: %s must not set spark.* by -D; use --conf", where)
		case slices.ContainsFunc(deniedOptions, has) || !slices.ContainsFunc(javaOptions, has):
			r.fault("spark_submit_args: %s: %.80q is not an option that a package may give a JVM", where, w)
		default:
			p.java = strings.TrimSpace(p.java + " " + w)
		}
	}
}

// settings leads from a configuration key to what it sets here instead.
var settings = map[string]func(*reading, string, string){
	"spark.driver.memory":                     func(r *reading, k, v string) { r.job.driver.memory = r.memoryOf(k, v) },
	"spark.executor.memory":                   func(r *reading, k, v string) { r.job.executor.memory = r.memoryOf(k, v) },
	"spark.driver.cores":                      func(r *reading, k, v string) { r.job.driver.cores = r.whole(k, v, mostCores) },
	"spark.executor.cores":                    func(r *reading, k, v string) { r.job.executor.cores = r.whole(k, v, mostCores) },
	"spark.executor.instances":                func(r *reading, k, v string) { r.job.executors = r.whole(k, v, mostExecutors) },
	"spark.driver.memoryOverhead":             func(r *reading, k, v string) { r.job.driver.overhead = r.memoryOf(k, v) },
	"spark.executor.memoryOverhead":           func(r *reading, k, v string) { r.job.executor.overhead = r.memoryOf(k, v) },
	"spark.yarn.driver.memoryOverhead":        func(r *reading, k, v string) { r.job.driver.overhead = r.memoryOf(k, v) },
	"spark.yarn.executor.memoryOverhead":      func(r *reading, k, v string) { r.job.executor.overhead = r.memoryOf(k, v) },
	"spark.driver.extraJavaOptions":           func(r *reading, k, v string) { r.java(k, &r.job.driver, v) },
	"spark.driver.defaultJavaOptions":         func(r *reading, k, v string) { r.java(k, &r.job.driver, v) },
	"spark.executor.extraJavaOptions":         func(r *reading, k, v string) { r.java(k, &r.job.executor, v) },
	"spark.executor.defaultJavaOptions":       func(r *reading, k, v string) { r.java(k, &r.job.executor, v) },
	"spark.kubernetes.driver.request.cores":   func(r *reading, k, v string) { r.job.driver.request = r.cpu(k, v) },
	"spark.kubernetes.driver.limit.cores":     func(r *reading, k, v string) { r.job.driver.limit = r.cpu(k, v) },
	"spark.kubernetes.executor.request.cores": func(r *reading, k, v string) { r.job.executor.request = r.cpu(k, v) },
	"spark.kubernetes.executor.limit.cores":   func(r *reading, k, v string) { r.job.executor.limit = r.cpu(k, v) },
}

func (r *reading) cpu(key, value string) string {
	q, err := resource.ParseQuantity(value)
	if err != nil || q.Sign() <= 0 || q.CmpInt64(mostCores) > 0 {
		r.fault("spark_submit_args: %s must be a number of cores such as 500m or 2, not %.40q", key, value)
		return ""
	}
	return value
}

// environments leads from the front of a configuration key to whose variable it sets.
var environments = []struct {
	front string
	of    func(*job) map[string]string
}{
	{"spark.executorEnv.", func(j *job) map[string]string { return j.executor.env }},
	{"spark.yarn.appMasterEnv.", func(j *job) map[string]string { return j.driver.env }},
	{"spark.kubernetes.driverEnv.", func(j *job) map[string]string { return j.driver.env }},
}

// allowed are the fronts of the configuration keys that a package may set; denied are
// those among them that it may not. All that says where, as whom and in which pod a
// job runs is in neither.
var (
	allowed = []string{
		"spark.sql.", "spark.streaming.", "spark.shuffle.", "spark.memory.", "spark.default.parallelism", "spark.serializer", "spark.kryo",
		"spark.dynamicAllocation.", "spark.speculation", "spark.task.", "spark.network.", "spark.rpc.", "spark.locality.", "spark.io.",
		"spark.broadcast.", "spark.cleaner.", "spark.scheduler.", "spark.storage.", "spark.rdd.", "spark.reducer.", "spark.stage.",
		"spark.checkpoint.", "spark.hadoop.", "spark.python.", "spark.executor.", "spark.driver.", "spark.ui.retained", "spark.files.",
		"spark.excludeOnFailure.", "spark.decommission.", "spark.extraListeners", "spark.logConf", "spark.pyspark.",
		"spark.kafka.", "spark.cassandra.", "spark.es.", "spark.mongodb.", "spark.hbase.", "spark.redis.", "spark.kubernetes.memoryOverheadFactor",
		"spark.kubernetes.allocation.batch.", "spark.kubernetes.executor.deleteOnTermination", "spark.log.level", "spark.eventLog.compress",
	}
	denied = []string{
		"spark.driver.host", "spark.driver.port", "spark.driver.bindAddress", "spark.driver.blockManager.port", "spark.driver.resource.",
		"spark.executor.resource.", "spark.driver.supervise", "spark.executor.id", "spark.driver.appUIAddress",
		"spark.driver.pod", "spark.executor.pod",
	}
)

var confKey = regexp.MustCompile(`^[A-Za-z0-9_.-]{1,200}$`)
var envName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]{0,200}$`)

// configure takes one --conf.
func (r *reading) configure(key, value string) {
	has := func(front string) bool { return strings.HasPrefix(key, front) }
	if take, ours := settings[key]; ours {
		take(r, key, value)
		return
	}
	for _, e := range environments {
		if has(e.front) {
			r.environment(e.of(r.job), strings.TrimPrefix(key, e.front), value)
			return
		}
	}
	switch {
	case !confKey.MatchString(key):
		r.fault("spark_submit_args: --conf %.80q is no key of Spark's configuration", key)
	case has("spark.yarn."):
		r.job.notes = append(r.job.notes, key+" is ignored, jobs run on Kubernetes and not on YARN")
	case key == "spark.jars" || key == "spark.files" || key == "spark.submit.pyFiles" || key == "spark.archives" || key == "spark.jars.packages":
		r.fault("spark_submit_args: --conf %s is not allowed; use --jars, --files, --py-files, --archives or --packages", key)
	case has("spark.eventLog.") && key != "spark.eventLog.compress":
		r.fault("spark_submit_args: --conf %s is not allowed: the server decides about event logs", key)
	case slices.ContainsFunc(denied, has) || !slices.ContainsFunc(allowed, has):
		r.fault("spark_submit_args: --conf %s is not allowed", key)
	default:
		r.job.conf[key] = value
	}
}

// ownVariables are the fronts of the variables that say how a pod and its JVM are
// run, and that secrets have.
var ownVariables = []string{"SPARK_", "KUBERNETES_", "SECRET_", "JAVA_TOOL_OPTIONS", "JDK_JAVA_OPTIONS", "_JAVA_OPTIONS", "LD_", "POD_", "HOME", "PATH"}

// environment takes a variable of pods.
func (r *reading) environment(of map[string]string, name, value string) {
	if !envName.MatchString(name) {
		r.fault("spark_submit_args: %.80q is no name of an environment variable", name)
		return
	}
	if slices.ContainsFunc(ownVariables, func(front string) bool { return strings.HasPrefix(name, front) }) {
		r.fault("spark_submit_args: the environment variable %s is not for packages to set", name)
		return
	}
	of[name] = value
}

// sortedKeys is for what must come out the same each time.
func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
