// Command bench measures the server beside what it replaces: plain git and tar,
// a static file server, gitkit, and git http-backend behind nginx and fcgiwrap.
//
// It starts the real program as a real process on loopback ports, with data
// folders under the temporary folder, and prints one table. Both sides of a
// line take turns in one run on the same disk (A B A B), and the table holds
// medians, so that a slow or busy machine is slow for both. A goal that is
// missed is printed as missed; the exit status is 1 only when something could
// not be measured.
//
// docs/benchmarks.md tells what each line means.
//
// Processor time is read from a control group for each server where the machine
// lets bench make them, as a rule for root only; else from /proc, which misses
// the children of fcgiwrap. Nothing but this machine's loopback is spoken to,
// except that nginx and fcgiwrap come from Debian's archive, into the user's
// cache, when they are not installed.
//
// Imports: the standard library, gitkit, and of the project deploy/examples and
// gitstore/gitcmd, whose move of a ref is measured without a server around it.
// It is a module of its own, so that nothing it may need weighs on the server.
package main
