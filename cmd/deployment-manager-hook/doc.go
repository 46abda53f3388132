// Command deployment-manager-hook is what git starts when a push has arrived. The
// server looks for it beside itself; where it is missing the server's own program
// does the same and takes longer to start. It promises to start fast, so it
// imports hooks/hook and nothing else of the house.
package main
