// Package plugins owns what a package means: its structure, the properties of
// its components, the variables, and the files that each component delivers.
//
// [Registry] knows the component types and their spellings; [Planner] implements
// dm.Planner on it. What hangs on a type, such as which files are filled, the
// plugin of the type says (dm.FileRuler); nothing here compares types.
// How references are filled is told in docs/variables.md: [Planner] finds the
// files that need it by a glance, a format says how values are written in one,
// and a filling tells the size of the outcome before it makes it.
//
// Both are pure: they read the package's files and nothing else, keep no state
// between calls, and may be used from many goroutines.
//
// The folders below hold one component type each. They import this package for
// the checks that more than one of them needs, and dm; this package imports
// none of them, so cmd/deployment-manager registers them by name.
//
// Imports: dm and the standard library.
package plugins
