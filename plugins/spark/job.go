package spark

import (
	"cmp"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/mod/semver"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/plugins"
)

// job is one component as it is to run: what its properties say, checked.
type job struct {
	python  bool
	main    string // path of the jar or the Python file in the component
	class   string // of a jar
	version string // of Spark, as it was asked for or as the server runs it
	image   string
	respawn string // a word of systemd
	pause   int    // seconds before it is run again

	pyFiles []string // paths in the component
	data    []string // likewise, put beside the job
	log4j   string   // likewise, "" for none
	level   string   // of Spark's log, "" for Spark's default
	args    []string

	jars, remote, remotePy, archives []string // addresses that Spark fetches itself
	packages, excludes, repositories []string // of Maven
	driver, executor                 part
	executors                        int // 0 for Spark's default
	conf                             map[string]string
	secrets                          map[string]plugins.SecretReference // by environment variable
	notes                            []string
}

// part is the driver or the executors.
type part struct {
	cores    int    // 0 for Spark's default
	memory   string // as Spark spells it; "" for its default
	overhead string
	request  string // of cores, as Kubernetes spells it; "" for as many as cores
	limit    string
	java     string // options
	env      map[string]string
}

// reading makes a job of properties and gathers what is wrong with them.
type reading struct {
	job      *job
	p        dm.Properties
	files    fs.FS
	findings []dm.Finding
}

func (r *reading) fault(format string, args ...any) {
	r.findings = append(r.findings, dm.Finding{Path: "properties.json", Message: fmt.Sprintf(format, args...)})
}

// parse reads all that the properties of a component say of its job. What the job
// itself reads of them is none of its business.
func (cfg *Config) parse(p dm.Properties, files fs.FS) (*job, []dm.Finding) {
	r := &reading{job: &job{conf: map[string]string{}, secrets: map[string]plugins.SecretReference{}}, p: p, files: files}
	r.job.driver.env, r.job.executor.env = map[string]string{}, map[string]string{}
	r.main()
	r.pyFiles()
	r.sizes()
	r.respawn()
	for name, ref := range plugins.SecretRefs(p) {
		r.job.secrets[plugins.SecretEnv(name)] = ref
	}
	r.job.args = r.list("main_args")
	r.arguments(r.text("spark_submit_args"))
	r.versionAndImage(cfg)
	r.log4j()
	return r.job, r.findings
}

const (
	log4jFile       = "log4j.properties"
	propertiesName  = "application.properties"
	log4jLook       = 64 << 10
	longestValue    = 4096
	mostExecutors   = 10_000
	mostCores       = 1_000
	longestPauseSec = 86_400
)

// text is a property as text; "" when it is not set. Control characters have no
// place in what becomes an argument of a program.
func (r *reading) text(name string) string {
	raw, set := r.p[name]
	if !set || string(raw) == "null" {
		return ""
	}
	if raw[0] == '{' || raw[0] == '[' || raw[0] == 't' || raw[0] == 'f' {
		r.fault("%s must be a text or a number", name)
		return ""
	}
	return r.clean(name, plugins.Text(raw))
}

func (r *reading) clean(name, text string) string {
	if len(text) > 16*longestValue {
		r.fault("%s has %d bytes, at most %d are allowed", name, len(text), 16*longestValue)
		return ""
	}
	if strings.ContainsFunc(text, func(c rune) bool { return c < ' ' && c != '\t' || c == 0x7f }) {
		r.fault("%s holds a line break or another control character", name)
		return ""
	}
	return text
}

// list is a property that is a list of texts, or one text of words.
func (r *reading) list(name string) []string {
	raw := r.p[name]
	if len(raw) == 0 || raw[0] != '[' {
		words, err := split(r.text(name))
		if err != nil {
			r.fault("%s: %s", name, dm.Public(err))
		}
		return words
	}
	var list []any
	if err := unmarshal(raw, &list); err != nil {
		r.fault("%s must be a list of texts", name)
		return nil
	}
	var words []string
	for _, one := range list {
		switch one.(type) {
		case string, float64, bool:
			words = append(words, r.clean(name, fmt.Sprint(one)))
		default:
			r.fault("%s must be a list of texts", name)
			return nil
		}
	}
	return words
}

func (r *reading) number(name string, least, most int) int {
	text := r.text(name)
	if text == "" {
		return 0
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < least || n > most {
		r.fault("%s must be a number from %d to %d, not %.40q", name, least, most, text)
		return 0
	}
	return n
}

// main finds what is run. That one of the two is there is plugins.CheckMain's.
func (r *reading) main() {
	jar, class, py := r.text("main_jar"), r.text("main_class"), r.text("main_py")
	if r.job.python = py != ""; r.job.python {
		r.job.main = r.inComponent("main_py", py)
		if r.job.main != "" && !strings.HasSuffix(py, ".py") {
			r.fault("main_py must name a .py file, not %q", py)
		}
		return
	}
	if jar != "" {
		r.job.main = r.inComponent("main_jar", jar)
	}
	if r.job.class = class; class != "" && !javaName.MatchString(class) {
		r.fault("main_class must be the name of a class, not %.80q", class)
	}
}

var javaName = regexp.MustCompile(`^[\pL_$][\pL\pN_$]*(\.[\pL_$][\pL\pN_$]*)*$`)

// inComponent is a path that a property names, "" when there is no such file.
func (r *reading) inComponent(property, path string) string {
	path = strings.TrimPrefix(path, "./")
	if info, err := fs.Stat(r.files, path); !fs.ValidPath(path) || err != nil || info.IsDir() {
		r.fault("%s names %.80q, which is no file of the component", property, path)
		return ""
	}
	return path
}

// pyFiles are modules for the job, and data beside it: PNDA's own packages name both.
func (r *reading) pyFiles() {
	for one := range strings.SplitSeq(r.text("py_files"), ",") {
		if one = strings.TrimSpace(one); one == "" {
			continue
		}
		path := r.inComponent("py_files", one)
		switch {
		case path == "":
		case isModule(path):
			r.job.pyFiles = append(r.job.pyFiles, path)
		default:
			r.job.data = append(r.job.data, path)
		}
	}
}

func isModule(path string) bool {
	return strings.HasSuffix(path, ".py") || strings.HasSuffix(path, ".zip") || strings.HasSuffix(path, ".egg")
}

func (r *reading) sizes() {
	j := r.job
	j.driver.memory, j.executor.memory = r.memory("driver_mem"), r.memory("executors_mem")
	j.driver.cores, j.executor.cores = r.number("driver_cores", 1, mostCores), r.number("executor_cores", 1, mostCores)
	j.executors = r.number("executors_num", 1, mostExecutors)
}

func (r *reading) memory(name string) string { return r.memoryOf(name, r.text(name)) }

var memorySize = regexp.MustCompile(`^([1-9][0-9]{0,9})(b|kb?|mb?|gb?|tb?)?$`)

// memoryOf spells a size of memory as Spark does: 256M is 256m.
func (r *reading) memoryOf(name, text string) string {
	if text == "" {
		return ""
	}
	parts := memorySize.FindStringSubmatch(strings.ToLower(text))
	if parts == nil {
		r.fault("%s must be a size such as 512m or 2g, not %.40q", name, text)
		return ""
	}
	return parts[1] + strings.TrimSuffix(cmp.Or(parts[2], "m"), "b")
}

var rootLevel = regexp.MustCompile(`(?m)^\s*log4j\.root(?:Logger|Category)\s*[=:]\s*(ALL|TRACE|DEBUG|INFO|WARN|ERROR|FATAL|OFF)\b`)

// log4j takes of log4j.properties what Spark still knows: the level. It is of Log4j 1,
// which Spark has not used since 3.3, and is fetched when logging has long begun.
func (r *reading) log4j() {
	f, err := r.files.Open(log4jFile)
	if err != nil {
		return // that it must be there is Validate's to say
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, log4jLook))
	if err != nil {
		return
	}
	r.job.log4j = log4jFile
	if found := rootLevel.FindSubmatch(text); found != nil {
		r.job.level = string(found[1])
	}
}

// respawn has systemd's words. One that runs a job again only after it succeeded has
// no counterpart.
func (r *reading) respawn() {
	r.job.respawn = cmp.Or(r.text("respawn_type"), "always")
	if r.job.respawn == "on-success" {
		r.fault("respawn_type on-success has no counterpart on Kubernetes; use always, on-failure or no")
	}
	r.job.pause = 2
	if r.text("respawn_timeout_sec") != "" {
		r.job.pause = r.number("respawn_timeout_sec", 0, longestPauseSec)
	}
}

// versionAndImage finds what runs the job: the image of the version that the package
// asks for, or of the one that this server runs.
func (r *reading) versionAndImage(cfg *Config) {
	asked := r.text("spark_version")
	j := r.job
	j.version = cfg.Version
	for _, v := range slices.Backward(slices.SortedFunc(maps.Keys(cfg.Images), compareVersions)) {
		if asked != "" && (v == asked || strings.HasPrefix(v, asked+".")) {
			j.version = v
			break
		}
	}
	switch {
	case j.version == "": // there is no cluster
	case asked == "":
		j.notes = append(j.notes, fmt.Sprintf("spark_version is not set, for which PNDA took 1: Spark %s is used", j.version))
	case j.version != asked && !strings.HasPrefix(j.version, asked+"."):
		j.notes = append(j.notes, fmt.Sprintf("spark_version %s is not run here, Spark %s is used", asked, j.version))
	}
	j.image = cfg.Images[j.version]
	if image := r.text("spark_image"); image != "" {
		j.image = image
	}
}

func compareVersions(a, b string) int { return semver.Compare("v"+a, "v"+b) }

// since tells whether the job's Spark is of that version or newer.
func (j *job) since(version string) bool { return compareVersions(j.version, version) >= 0 }

// again tells what becomes of a job that has ended: "Always", "OnFailure" or "Never".
func (j *job) again() string {
	switch j.respawn {
	case "always":
		return "Always"
	case "no":
		return "Never"
	}
	return "OnFailure"
}

// IsVersion tells whether text is a version of Spark in full.
func IsVersion(text string) bool { return semver.IsValid("v" + text) }
