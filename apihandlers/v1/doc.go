// Package v1 is the native API under /api/v1, for what PNDA's API has no words
// for: change an application in place, roll it back, and see who changed what,
// when, why, how it ended and what ran at a time, and follow it all as it happens.
// Errors have the deployment
// manager's bodies. It may import dm and apihandlers.
package v1
