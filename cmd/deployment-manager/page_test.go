package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/pflag"
)

var update = flag.Bool("update", false, "write generated pages and golden files instead of comparing them")

func TestConfigurationPageIsCurrent(t *testing.T) {
	t.Parallel()
	page := filepath.Join("..", "..", "docs", "configuration.md")
	want := configurationPage()
	if *update {
		if err := os.WriteFile(page, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Errorf("%s is stale; run go test ./cmd/deployment-manager -run TestConfigurationPage -update", page)
	}
}

// configurationPage writes docs/configuration.md from the table of options.
func configurationPage() string {
	var b strings.Builder
	b.WriteString(pageHead)
	for _, o := range options() {
		if o.section != "" {
			fmt.Fprintf(&b, "\n## %s\n\n| key | flag | variable | default | meaning |\n| --- | --- | --- | --- | --- |\n", o.section)
		}
		preset := "none"
		if o.preset != "" {
			preset = "`" + o.preset + "`"
		}
		_, help := pflag.UnquoteUsage(&pflag.Flag{Usage: o.help, Value: o.field(&config{})})
		fmt.Fprintf(&b, "| `%s` | `--%s` | `%s` | %s | %s |\n", o.key, o.flag(), o.variable(), preset, strings.ReplaceAll(help, "|", "\\|"))
	}
	b.WriteString(pageTail)
	return b.String()
}

const pageHead = `# Configuration

<!-- Made from cmd/deployment-manager/options.go by "go test ./cmd/deployment-manager -run TestConfigurationPage -update". -->

Every option can be given in three ways. A flag wins over a variable, a variable over the YAML file, and the file over
the default. The file is named by ` + "`--config FILE` or `DM_CONFIG`" + `; dots in a key are levels of the file. A key that
is not on this page stops the start with a message that names it. Sizes are numbers with ` + "`KiB`, `MiB`, `GiB` or `TiB`" + `;
lists in flags and variables are separated by commas; maps in them are written as in YAML, ` + "`{admin: [ana]}`" + `.

` + "```yaml" + `
data: /var/lib/deployment-manager
auth: strict
htpasswd: /etc/deployment-manager/users
groups:
  admin: [ana]
listen:
  packages: 0.0.0.0:8888
  manager: 0.0.0.0:5000
  git: 0.0.0.0:8099
environment:
  kafka_brokers: "kafka:9092"
` + "```" + `
`

const pageTail = `
## Connections and open files

Half of the files that the process may have open (` + "`ulimit -n`" + `, which the server raises to what the system allows) are for connections, at
most 4,096; the rest is the record's own, so that no client can spend what a change needs. When all places are taken, the connection that
has been idle longest is closed for the new one; when none is idle, new ones wait, and after five seconds are answered 503 with
` + "`Retry-After`" + `, as is one too many of an address. With fewer than 1,024 files the server says at its start how many connections
it takes, with fewer than 64 it does not start. ` + "`dm_connections` and `dm_connections_refused_total`" + ` tell how it goes.

One client, of whose uploads, downloads and pushes there may be a quarter of all at a time, is a person whom a credential proved, or
else an address; on this machine it is a name, as it is claimed.

## From PNDA's dm-config.json and pr-config.json

| PNDA's key | here |
| --- | --- |
| ` + "`environment`" + ` | ` + "`environment`, the same map; values must be strings or maps of strings" + ` |
| ` + "`config.package_callback`, `config.application_callback`" + ` | the same names, at the top of the file |
| ` + "`config.deployer_thread_limit`, `config.oozie_spark_version`" + ` | the same names, at the top of the file |
| ` + "`config.log_level`" + ` | ` + "`log.level`" + ` |
| ` + "`config.stage_root`, `config.git_repos_root`, `FsRepository.location.path`" + ` | none: everything is under ` + "`data`" + ` |
| ` + "`config.package_repository`" + ` | none: it is the same program |
| ` + "`config.plugins_path`, `config.environment_sync_interval`, `SwiftRepository`, `S3Repository`" + ` | none |
`
