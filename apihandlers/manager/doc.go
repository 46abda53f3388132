// Package manager is PNDA's deployment manager API: packages in its sense,
// applications, the environment and the self-test. It promises PNDA's routes,
// codes, bodies and order of checks with the corrections of the contract. A
// change answers 202 when the record has it; reads answer from the record's
// index. It may import dm and apihandlers.
package manager
