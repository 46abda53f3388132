// Package pushtest has pushes for tests: a corpus of hostile ones and of odd
// ones that do no harm, and what it takes to build them byte by byte, because
// git's client would not.
//
// It owns no rules: each case only says how it must be answered. It imports
// the standard library alone.
package pushtest
