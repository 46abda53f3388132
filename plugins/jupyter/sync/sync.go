package sync

import _ "embed" // for sync.sh

//go:embed sync.sh
var script string

// Script is sync.sh.
func Script() []byte { return []byte(script) }
