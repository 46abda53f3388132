package debian

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// preferences leave out what others than the distribution publish, such as the
// machine's sources of a vendor.
const preferences = `Package: *
Pin: release o=Debian
Pin-Priority: 500

Package: *
Pin: release o=Ubuntu
Pin-Priority: 500

Package: *
Pin: release o=*
Pin-Priority: -1
`

// configure writes apt's configuration: nothing of the machine's but how to
// reach the archive, where sources and keys are, and the architecture. In
// particular none of the commands that a system runs after an update.
func (a *apt) configure(ctx context.Context) error {
	// The shell form is the only one that makes whole paths of Dir::….
	out, err := output(ctx, os.Environ(), "apt-config", "shell", "lists", "Dir::State::lists/d", "list", "Dir::Etc::sourcelist/f",
		"parts", "Dir::Etc::sourceparts/d", "trusted", "Dir::Etc::trusted/f", "trustedparts", "Dir::Etc::trustedparts/d",
		"netrc", "Dir::Etc::netrc/f", "netrcparts", "Dir::Etc::netrcparts/d", "arch", "APT::Architecture")
	if err != nil {
		return err
	}
	machine := map[string]string{}
	for line := range strings.Lines(out) {
		if key, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok {
			machine[key] = strings.Trim(value, "'")
		}
	}
	dump, err := output(ctx, os.Environ(), "apt-config", "dump")
	if err != nil {
		return err
	}
	a.machineLists = machine["lists"]
	sources := [2]string{machine["list"], machine["parts"]}
	if a.o.Sources != "" {
		sources = [2]string{"/dev/null", filepath.Join(a.dir, "parts") + "/"}
		if err := os.WriteFile(filepath.Join(a.dir, "parts", "own.sources"), []byte(a.o.Sources), 0o644); err != nil {
			return err
		}
	}
	if err := os.WriteFile(filepath.Join(a.dir, "preferences"), []byte(preferences), 0o644); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(a.dir, "apt.conf"), []byte(a.configuration(machine, sources)+reach(dump)), 0o644)
}

// configuration is apt's, as a text.
func (a *apt) configuration(machine map[string]string, sources [2]string) string {
	var out strings.Builder
	for _, line := range [][2]string{
		{"Dir::Etc::main", "/dev/null"}, {"Dir::Etc::parts", "/dev/null"},
		{"Dir::Etc::preferences", a.dir + "/preferences"}, {"Dir::Etc::preferencesparts", "/dev/null"},
		{"Dir::Etc::sourcelist", sources[0]}, {"Dir::Etc::sourceparts", sources[1]},
		{"Dir::Etc::trusted", machine["trusted"]}, {"Dir::Etc::trustedparts", machine["trustedparts"]},
		{"Dir::Etc::netrc", machine["netrc"]}, {"Dir::Etc::netrcparts", machine["netrcparts"]},
		{"Dir::State", a.dir}, {"Dir::State::lists", a.dir + "/lists/"}, {"Dir::State::status", a.dir + "/status"},
		{"Dir::Cache", a.dir}, {"Dir::Cache::archives", a.dir + "/archives/"}, {"Dir::Log", a.dir},
		{"APT::Architecture", machine["arch"]}, {"APT::Architectures", machine["arch"]},
		{"APT::Install-Recommends", "false"}, {"APT::Install-Suggests", "false"},
		{"APT::Sandbox::User", ""}, // another user could not write into our folders
		{"Debug::NoLocking", "true"},
		{"Acquire::Languages", "none"}, {"Acquire::ForceHash", "SHA256"}, {"Acquire::Retries", "2"},
	} {
		fmt.Fprintf(&out, "%s %q;\n", line[0], line[1])
	}
	return out.String()
}

// reach picks from a dump of the machine's configuration what says how to reach
// the archive, such as a proxy.
func reach(dump string) string {
	var out strings.Builder
	for line := range strings.Lines(dump) {
		for _, prefix := range []string{"Acquire::http", "Acquire::ftp", "Acquire::Check-", "Acquire::ForceIPv", "Acquire::BlockDotOnion"} {
			if strings.HasPrefix(line, prefix) {
				out.WriteString(line)
			}
		}
	}
	return out.String()
}
