package engines_test

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/pndaproject/deployment-manager/deploy/testcluster/engines"
	"github.com/pndaproject/deployment-manager/deploy/testcluster/node"
)

// world is the node's, nil where this machine can't be one, for which unfit has the
// reason. TestMain finds it out.
var (
	world *node.World
	unfit error
)

func TestMain(m *testing.M) {
	flag.Parse()
	checkout, err := filepath.Abs("../../..")
	if err != nil {
		panic(err)
	}
	suite := node.Suite{
		Name: engines.Suite, Checkout: checkout, OnDisk: true, Prepare: engines.Prepare, Another: engines.Another,
		Packages: []string{"sed"}, // for the images' first program, which is tried outside of them too
		Able: func() error {
			if testing.Short() || flag.Lookup("test.list").Value.String() != "" {
				return errors.New("-short or -list was given")
			}
			_, err := engines.Pip()
			return err
		},
		Run: func(w *node.World, reason error) int {
			world, unfit = w, reason
			return m.Run()
		},
	}
	os.Exit(suite.Main())
}
