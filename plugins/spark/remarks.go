package spark

import (
	"bufio"
	"io"
	"regexp"
	"strings"

	dm "github.com/pndaproject/deployment-manager"
)

// pythonLook is how much of a Python file Remarks reads.
const pythonLook = 64 << 10

// Looks implements dm.Remarker.
func (*Plugin) Looks(path string, size int64) int64 {
	if strings.HasSuffix(path, ".py") {
		return min(size, pythonLook)
	}
	return 0
}

// Remarks implements dm.Remarker: what of a component is not as it was on PNDA's
// clusters, and why its job may end at once on today's Spark.
func (p *Plugin) Remarks(c dm.PackageComponent) ([]string, error) {
	at := string(c.Type) + "/" + string(c.Name) + "/"
	j, _ := p.cfg.parse(c.Properties, c.Files)
	if j.main == "" {
		return nil, nil // nothing is known of a job that overrides complete
	}
	var notes []string
	for _, note := range j.notes {
		notes = append(notes, at+"properties.json: "+note)
	}
	if !j.python {
		return notes, nil
	}
	f, err := c.Files.Open(j.main)
	if err != nil {
		return notes, nil // a sketch of a package may not hold it
	}
	defer f.Close()
	lines := bufio.NewScanner(io.LimitReader(f, pythonLook))
	for lines.Scan() {
		for _, d := range dated {
			if d.line.MatchString(lines.Text()) {
				return append(notes, at+j.main+": "+d.means), nil
			}
		}
	}
	return notes, nil
}

// dated are lines of Python that today's Spark can't run, each with the reason.
var dated = []struct {
	line  *regexp.Regexp
	means string
}{
	{regexp.MustCompile(`^\s*print\s+[^\s=(.,:)]`), "it has a print statement of Python 2; today's Spark runs Python 3"},
	{regexp.MustCompile(`^\s*(import|from)\s+(urllib2|ConfigParser|StringIO|Queue|cPickle)\b`), "it imports a module of Python 2; today's Spark runs Python 3"},
	{regexp.MustCompile(`^\s*except\s+[\w.]+\s*,\s*\w+\s*:`), "it has an except clause of Python 2; today's Spark runs Python 3"},
	{regexp.MustCompile(`\bpyspark\.streaming\.(kafka|flume|kinesis)\b`), "it reads by pyspark.streaming.kafka or the like, which Spark 3 does not have; use structured streaming"},
}
