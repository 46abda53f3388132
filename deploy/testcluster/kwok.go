package testcluster

import _ "embed"

// kwokStages tell kwok how nodes and pods go on.
//
//go:embed kwok.yaml
var kwokStages string
