// Package archivetest has archives for tests: a corpus of hostile and of
// benign ones, and a builder of packages.
//
// It owns no rules: each case only says how it must be answered. It imports
// the root package alone, for the kinds of errors.
package archivetest
