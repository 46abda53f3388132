package plugintest_test

import (
	"testing"
	"testing/fstest"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/plugins/plugintest"
)

// TestContract holds the fake to what is asked of the plugins that it stands for.
func TestContract(t *testing.T) {
	t.Parallel()
	plugintest.Run(t, plugintest.Harness{
		New: func(*testing.T) (dm.Plugin, func() []string) {
			engine := plugintest.NewFakeEngine("weaver")
			return engine, engine.Standing
		},
		Files:     fstest.MapFS{"job.txt": {Data: []byte("weave")}},
		Mandatory: []string{"missing file job.txt"},
	})
}
