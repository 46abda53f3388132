package plugins_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"testing/fstest"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/plugins"
)

// text is the JSON text of n bytes.
func text(n int) json.RawMessage { return json.RawMessage(`"` + strings.Repeat("x", n) + `"`) }

// lists is JSON that takes little on one line and much with a line for each
// element: n zeros, as deep as JSON may be.
func lists(n int) json.RawMessage {
	const depth = dm.MaxJSONDepth - 4
	return json.RawMessage(strings.Repeat("[", depth) + strings.Repeat("0,", n-1) + "0" + strings.Repeat("]", depth))
}

// TestPlanThatMultipliesIsNeverBuilt plans what is small when it comes and huge
// when it is filled.
func TestPlanThatMultipliesIsNeverBuilt(t *testing.T) {
	const most = 8 << 20
	many := bytes.Repeat([]byte("$component_long "), 20_000)
	manyFiles := fstest.MapFS{}
	for i := range 400 {
		manyFiles[fmt.Sprintf("jupyter/c/%03d.txt", i)] = &fstest.MapFile{Data: []byte("$component_long")}
	}
	components := fstest.MapFS{}
	for i := range 60 {
		components[fmt.Sprintf("flink/c%02d/application.properties", i)] = &fstest.MapFile{}
		components[fmt.Sprintf("flink/c%02d/properties.json", i)] = &fstest.MapFile{Data: []byte(`{"main_py": "x", "a": "` + strings.Repeat("x", 100<<10) + `"}`)}
	}
	controls := strings.Repeat(`\u0001`, 50<<10)
	own := func(key string, value json.RawMessage) dm.Overrides {
		return dm.Overrides{"jupyter": {"c": {key: value}}}
	}
	for _, c := range []struct {
		name      string
		overrides dm.Overrides
		files     fstest.MapFS
		want      string
	}{
		{"a long value, many times", own("long", text(50<<10)), fstest.MapFS{"jupyter/c/a.txt": {Data: many}},
			"jupyter/c/a.txt: with its variables filled in the file has up to 1024020000 bytes, at most 8388608 are allowed"},
		{"a notebook", own("long", text(50<<10)), fstest.MapFS{"jupyter/c/deep/n.ipynb": {Data: many}},
			"jupyter/c/deep/n.ipynb: with its variables filled in the file has up to 1024020000 bytes"},
		{"characters that a notebook spells longer", own("long", json.RawMessage(`"`+controls+`"`)), fstest.MapFS{"jupyter/c/n.ipynb": {Data: many[:len("$component_long ")*40]}},
			"jupyter/c/n.ipynb: with its variables filled in the file has up to 12288040 bytes"},
		{"many files", own("long", text(50<<10)), manyFiles,
			"jupyter/c/163.txt: with its variables filled in the file has up to 51200 bytes, and with those before it 8396800; at most 8388608 are allowed for all filled files of an application"},
		{"lines of application.properties", dm.Overrides{}, components, "application.properties: with its variables filled in"},
		{"depth", own("deep", lists(200_000)), fstest.MapFS{}, "overrides and audience take up to"},
		{"depth of the package's own", nil, fstest.MapFS{"jupyter/c/properties.json": {Data: fmt.Appendf(nil, `{"deep": %s}`, lists(200_000))}},
			"jupyter/c/properties.json: with its variables filled in the file has"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if len(c.files) == 0 || c.files["flink/c00/application.properties"] == nil {
				c.files["jupyter/c/x.ipynb"] = &fstest.MapFile{}
			}
			planner := newPlanner(t)
			planner.Limit(most, most)
			reserve := func(int64) error { t.Error("memory is reserved for what is refused"); return nil }
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			_, findings, err := planner.Plan(ref, spec(c.overrides), c.files, reserve)
			runtime.ReadMemStats(&after)
			if got := dm.JoinFindings(findings); err != nil || !strings.Contains(got, c.want) {
				t.Errorf("findings = %.400q, %v; want %q", got, err, c.want)
			}
			if used := after.TotalAlloc - before.TotalAlloc; used > 12*most {
				t.Errorf("%d bytes of memory were used to refuse it", used)
			}
		})
	}
}

func TestPlanReservesWhatItHolds(t *testing.T) {
	t.Parallel()
	files := fstest.MapFS{
		"jupyter/c/x.ipynb": {Data: []byte("{}")},
		"jupyter/c/a.txt":   {Data: bytes.Repeat([]byte("$component_long "), 20)},
		"jupyter/c/quiet":   {Data: bytes.Repeat([]byte(" "), 3<<20)},
	}
	s := spec(dm.Overrides{"jupyter": {"c": {"long": text(50 << 10)}}})
	var asked []int64
	p, findings, err := newPlanner(t).Plan(ref, s, files, func(n int64) error { asked = append(asked, n); return nil })
	if err != nil || len(findings) > 0 || len(asked) != 1 {
		t.Fatalf("Plan: %v, %v, reserved %d", findings, err, asked)
	}
	held := int64(0)
	for _, f := range p.Components[0].Files {
		held += int64(len(f.Content))
	}
	if asked[0] < held || asked[0] > 6*held {
		t.Errorf("%d bytes are reserved for %d, want a little more than is held", asked[0], held)
	}
	full := dm.Errorf(dm.Unavailable, "test", "too many")
	if p, _, err := newPlanner(t).Plan(ref, s, files, func(int64) error { return full }); !errors.Is(err, full) || len(p.Components) > 0 {
		t.Errorf("without memory: %d components, %v; want %v", len(p.Components), err, full)
	}
}

// TestPropertiesAreCountedAsTheyAreWritten holds the count of properties.json
// against what is written.
func TestPropertiesAreCountedAsTheyAreWritten(t *testing.T) {
	t.Parallel()
	for _, value := range []string{`1`, `"a, b: [c] {d} \" , \\"`, `{}`, `[]`, `[1,2,{"a":[true,null]}]`, string(lists(100)), `{"a":{"b":{"c":[[],[[]]]}}}`} {
		written, counted := plugins.PropertiesSize(json.RawMessage(value))
		if counted < written || counted > 2*written+200 {
			t.Errorf("%.60s: counted %d bytes, written %d", value, counted, written)
		}
	}
}

func TestPackageOfManySmallPropertiesIsRefused(t *testing.T) {
	t.Parallel()
	var keys []string
	for i := range dm.MaxJSONKeys {
		keys = append(keys, fmt.Sprintf(`"k%d":1`, i))
	}
	files := fstest.MapFS{}
	for i := range 5 {
		files[fmt.Sprintf("jupyter/c%d/properties.json", i)] = &fstest.MapFile{Data: []byte("{" + strings.Join(keys, ",") + "}")}
		files[fmt.Sprintf("jupyter/c%d/x.ipynb", i)] = &fstest.MapFile{}
	}
	v, err := newPlanner(t).Validate(ref, ref.String(), files)
	if got, want := dm.JoinFindings(v.Findings), "jupyter/c4/properties.json: parsing failed: at most 40000 keys are allowed for all of a package"; err != nil || got != want {
		t.Errorf("findings = %q, %v; want %q", got, err, want)
	}
}
