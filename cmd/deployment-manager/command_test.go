package main

import (
	"os/exec"
	"strings"
	"testing"

	dm "github.com/pndaproject/deployment-manager"
)

// TestDeployCommand has a real shell read the command: it must see one curl
// with these words, whatever the name of the person holds.
func TestDeployCommand(t *testing.T) {
	t.Parallel()
	ref, err := dm.ParsePackageRef("wind-1.2.3")
	if err != nil {
		t.Fatal(err)
	}
	const address = "http://127.0.0.1:5000"
	for user, inQuery := range map[dm.UserName]string{
		"ana": "ana", "a b": "a+b", "o'hara": "o%27hara", "$(touch x)": "%24%28touch+x%29", "`id`;": "%60id%60%3B",
		"a&b": "a%26b", "\u00e9\"": "%C3%A9%22", "!!": "%21%21", "*": "%2A",
	} {
		for _, tt := range []struct {
			insecure bool
			want     []string
		}{
			{true, []string{"curl", "-X", "PUT", address + "/packages/wind-1.2.3?user.name=" + inQuery}},
			{false, []string{"curl", "-u", string(user), "-X", "PUT", address + "/packages/wind-1.2.3"}},
		} {
			command := deployCommand(address, tt.insecure, user, ref)
			shell := exec.Command("sh", "-c", `curl() { printf '%s\n' curl "$@"; }; `+command)
			shell.Dir = t.TempDir()
			out, err := shell.Output()
			if got := strings.Split(strings.TrimSuffix(string(out), "\n"), "\n"); err != nil || strings.Join(got, "|") != strings.Join(tt.want, "|") {
				t.Errorf("%s\nis read as %q, %v; want %q", command, got, err, tt.want)
			}
		}
	}
}
