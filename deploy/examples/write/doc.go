// Command write puts the archives of all example packages into a folder, which
// it makes: always the same bytes for the same sources, so that an archive can
// be uploaded again.
//
// Imports: package examples and the standard library.
package main
