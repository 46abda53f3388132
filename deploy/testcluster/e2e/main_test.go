package e2e

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/pndaproject/deployment-manager/deploy/testcluster/node"
)

// settings are what the first process tells the second, beside the node's world.
type settings struct {
	node.World `json:"-"`
	User       string // a Debian folder with what a user's pod needs
	Image      string // the archive of the server's image, with values for Helm beside it
	Program    string // what brings notebooks, for a user's image that has it
	Jupyter    string // the environment with JupyterHub, or empty
	NoJupyter  string // why there is none
	Token      string // the user's, for the server
	Tokens     string // the file that lets the server know it
}

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
		Name: "e2e", Checkout: checkout, Packages: []string{"curl"}, // with which the test does what a person does
		Able: func() error {
			if testing.Short() || flag.Lookup("test.list").Value.String() != "" {
				return errors.New("-short or -list was given")
			}
			return nil
		},
		Prepare: prepare, Furnish: hireHub,
		Run: func(w *node.World, reason error) int {
			world, unfit = w, reason
			return m.Run()
		},
	}
	os.Exit(suite.Main())
}
