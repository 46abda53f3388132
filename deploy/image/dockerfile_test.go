package main

import (
	"encoding/json"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// instructions reads a Dockerfile: the words after each instruction of the last
// stage, and all lines before that.
func instructions(t *testing.T) (last map[string][]string, before string) {
	t.Helper()
	content, err := os.ReadFile("../Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	text := strings.ReplaceAll(string(content), "\\\n", " ")
	stage := strings.LastIndex(text, "\nFROM ")
	last = map[string][]string{}
	for line := range strings.Lines(text[stage:]) {
		if name, rest, ok := strings.Cut(strings.TrimSpace(line), " "); ok {
			last[name] = append(last[name], strings.TrimSpace(rest))
		}
	}
	return last, text[:stage]
}

// pairs reads key=value words, of which values may be in quotes.
func pairs(words string) map[string]string {
	found := map[string]string{}
	for words = strings.TrimSpace(words); words != ""; words = strings.TrimSpace(words) {
		key, rest, _ := strings.Cut(words, "=")
		value := ""
		if quoted, ok := strings.CutPrefix(rest, `"`); ok {
			value, words, _ = strings.Cut(quoted, `"`)
		} else {
			value, words, _ = strings.Cut(rest, " ")
		}
		found[key] = value
	}
	return found
}

func TestDockerfileRunsTheSame(t *testing.T) {
	t.Parallel()
	got, before := instructions(t)
	want := runConfig(build{version: "$VERSION", commit: "$REVISION"})
	single := func(name string) string {
		if len(got[name]) != 1 {
			t.Fatalf("%d times %s, want one: %q", len(got[name]), name, got[name])
		}
		return got[name][0]
	}
	list := func(name string) (words []string) {
		if err := json.Unmarshal([]byte(single(name)), &words); err != nil {
			t.Fatalf("%s %s: %v", name, single(name), err)
		}
		return words
	}
	file := v1.Config{
		User: single("USER"), WorkingDir: single("WORKDIR"), Entrypoint: list("ENTRYPOINT"), Cmd: list("CMD"),
		Labels: pairs(single("LABEL")), ExposedPorts: map[string]struct{}{}, Volumes: map[string]struct{}{single("VOLUME"): {}},
	}
	for port := range strings.FieldsSeq(single("EXPOSE")) {
		file.ExposedPorts[port+"/tcp"] = struct{}{}
	}
	for key, value := range pairs(single("ENV")) {
		file.Env = append(file.Env, key+"="+value)
	}
	slices.Sort(file.Env)
	slices.Sort(want.Env)
	for _, fact := range []struct {
		name string
		same bool
	}{
		{"USER", file.User == want.User}, {"WORKDIR", file.WorkingDir == want.WorkingDir},
		{"ENTRYPOINT", slices.Equal(file.Entrypoint, want.Entrypoint)}, {"CMD", slices.Equal(file.Cmd, want.Cmd)},
		{"ENV", slices.Equal(file.Env, want.Env)}, {"LABEL", maps.Equal(file.Labels, want.Labels)},
		{"EXPOSE", maps.Equal(file.ExposedPorts, want.ExposedPorts)}, {"VOLUME", maps.Equal(file.Volumes, want.Volumes)},
	} {
		if !fact.same {
			t.Errorf("%s differs: the Dockerfile has %+v, facts.go %+v", fact.name, file, want)
		}
	}
	if !slices.Equal(got["FROM"], []string{"scratch"}) || !slices.Equal(got["COPY"], []string{"--from=build /image /"}) || len(got["RUN"]) > 0 {
		t.Errorf("the last stage is not what the first one made: FROM %q, COPY %q, RUN %q", got["FROM"], got["COPY"], got["RUN"])
	}
	if made := "&& image -root /image\n"; !strings.Contains(before+"\n", made) {
		t.Errorf("the first stage does not run %q", made)
	}
	known := []string{"FROM", "COPY", "ARG", "LABEL", "ENV", "WORKDIR", "USER", "VOLUME", "EXPOSE", "ENTRYPOINT", "CMD"}
	for name := range got {
		if !slices.Contains(known, name) {
			t.Errorf("the Dockerfile says %s, which this test does not compare", name)
		}
	}
}
