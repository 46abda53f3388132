// Package files gives the pods of applications what is delivered for them. A driver
// fetches its job by an address that names one file and the digest of its content, and
// is signed: the signature is the right to read it, since nothing that fetches for a
// pod can sign in.
//
// # Promises
//
//   - An address opens one file, as long as the deployment in effect, or the one that
//     is being carried out, has it with that content. There is no listing. Whatever is
//     wrong with an address, the answer is the same 404.
//   - What is sent has the digest: the content is read and proved before a byte goes
//     out.
//   - Addresses are the same each time and on each start of the server; their key is
//     made once and stays in the data folder.
//   - A request holds no content in memory, but on disk, under no name. So many are
//     answered at once as Config says, of one application half of them; others wait for
//     their turn, and are told to come again when it does not come.
//
// # Imports
//
// Packages dm and apihandlers, gorilla/mux through it. How a jar is filled is told by
// Config.
package files
